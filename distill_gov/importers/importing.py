"""From the rows of files to traces: turns, papers, references, tags and ids."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from distill_gov.importers.columns import ASSERTABLE, OPTIONAL_PAPERS, PAPERS, File, merged, open_file
from distill_gov.importers.mapping import ImportMap, Kind
from distill_gov.importers.opaque import LETTERS
from distill_gov.importers.rows import Row, as_text, count, filled, first_filled, json_object, pointer_tokens
from distill_gov.importers.turns import turns
from distill_gov.records.digest import digest_json
from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    MalformedFileError,
    NothingLeftError,
    UnknownKeyError,
)
from distill_gov.records.keys import Subkey
from distill_gov.traces import Trace, parse_trace, shown_key

__all__ = ["Imported", "import_traces"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made."""

    traces: tuple[Trace, ...]
    kind: Kind
    said: str
    """One line: what was detected, how many rows, which were passed over, what was asserted, which columns were left out."""


def import_traces(
    files: Sequence[Path],
    *,
    mapping: ImportMap | None = None,
    defaults: Mapping[str, str | date | None],
    text: str | None = None,
    label: str | None = None,
    key: Subkey | None = None,
) -> Imported:
    """Read files of one kind into traces, in the order given.

    Args:
        files: JSON Lines, JSON arrays, CSV, XLSX, Parquet or Arrow files, or directories that `datasets` saved.
        mapping: the columns to read, where they do not have the usual names.
        defaults: consent, licence, retention_until, language, purpose, region and tenant for files without such a column; each
            use is marked in the trace's tag ``asserted``.
        text: the column that holds the customer's message, as ``mapping.text``.
        label: the column that holds the right answer, as ``mapping.label``; the reference's field gets the column's name.
        key: hides ids of sessions and users in exports that could name a person; needed only where there are such.

    Raises:
        MissingFileError, NothingLeftError: no file, or no row in it.
        MalformedFileError, UnknownKeyError, DuplicateIdError: a bad row, with file and line (or row).
        BadInputError: more than one reading is possible, or a default is missing that is needed.
    """
    names = merged(mapping or ImportMap(), text=text, label=label)
    given = _checked_defaults(defaults)
    if not files:
        raise NothingLeftError("no file to import", fix="Name at least one.")
    read = [open_file(path, names, key) for path in files]
    kinds = {file.kind: file for file in read}
    if len(kinds) > 1:
        raise BadInputError(
            f"files of several kinds: {', '.join(f'{kind} in {file.path}' for kind, file in kinds.items())}",
            fix="Import each kind apart.",
        )
    drafts = [(row.where, _draft(row, file, given)) for file in read for row in file.rows]
    _give_ids(drafts)
    traces = tuple(parse_trace(draft, where=where) for where, draft in drafts)
    return Imported(traces, read[0].kind, _said(read, given, label=names.label))


def _checked_defaults(defaults: Mapping[str, str | date | None]) -> dict[str, str]:
    for key in defaults:
        if key not in ASSERTABLE:
            near = difflib.get_close_matches(key, ASSERTABLE, n=1, cutoff=0.5)
            raise UnknownKeyError(
                f"unknown key `{key}`", where="defaults", fix=f"Did you mean `{near[0]}`?" if near else "Remove it."
            )
    given = {key: as_text(value) for key, value in defaults.items() if filled(value)}
    stand_in = {"id": "x", "group": "x", "messages": [{"role": "user", "content": "x"}], "tags": {}}
    papers = {"consent": "x", "licence": "x", "retention_until": "2000-01-01"}
    parse_trace(stand_in | papers | given, where="defaults")  # a bad default is not the fault of the row that needs it
    return given


# --- rows -------------------------------------------------------------------------------------------------------------


def _draft(row: Row, file: File, given: Mapping[str, str]) -> dict[str, Any]:
    """The row of a trace, whose id may still be missing and which nobody has checked."""
    held = {part: value for part, columns in file.columns.items() if (value := first_filled(row, columns)) is not None}
    draft: dict[str, Any] = {part: as_text(held[part]) for part in ("id", "group", *ASSERTABLE) if part in held}
    asserted = {part: given[part] for part in given if part not in draft and not _is_hole(part, file)}
    draft.update(asserted)
    for part in PAPERS:
        if part not in draft:
            raise BadInputError(
                f"no `{part}` in the file, and no default for it",
                where=str(file.path),
                fix=f"Set `{part}` under `defaults:` in distill.yaml, or map a column to it.",
            )
    draft["messages"] = _messages(file.shape, held, row.where)
    if "context" in held:
        draft["context"] = _documents(held["context"], row.where)
    reference = _reference(held, file, row.where)
    if reference is not None:
        draft["reference"] = reference
    draft["tags"] = _tags(held.get("tags", {}), asserted, held.get("slice"), row.where)
    return draft


def _is_hole(part: str, file: File) -> bool:
    # A trace that does not say its region must not get one by default, where others of the file say theirs.
    return part in OPTIONAL_PAPERS and part in file.columns


def _messages(shape: str, held: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    said = turns(held[shape], "user", where)
    if shape == "prompt" and "completion" in held:
        said += turns(held["completion"], "assistant", where)
        if "reasoning" in held:
            said[-1] = {**said[-1], "reasoning": held["reasoning"]}
    if "system" in held:
        if any(turn["role"] == "system" for turn in said):
            raise BadInputError("ambiguous: the row has `system` and a system turn", where=where, fix="Keep one of them.")
        said.insert(0, {"role": "system", "content": held["system"]})
    return said


def _documents(value: Any, where: str) -> list[Any]:
    """Context documents: one text, texts, or objects."""
    if isinstance(value, str):
        return [{"text": value}]
    if not isinstance(value, list):
        raise MalformedFileError("`context` is neither text nor a list of documents", where=where)
    return [{"text": one} if isinstance(one, str) else json_object(one, where) for one in value]


def _reference(held: Mapping[str, Any], file: File, where: str) -> Any:
    if "label" not in held:
        found = held.get("reference")
        return {"text": found} if isinstance(found, str) else found
    if "reference" in held:
        raise BadInputError("ambiguous: the row has a label and a `reference`", where=where, fix="Keep one of them.")
    if not isinstance(held["label"], str | int | float):
        raise MalformedFileError("the label is not one text, number or truth value", where=where)
    name = file.columns["label"][0]
    return {pointer_tokens(name)[-1] if name.startswith("/") else name: held["label"]}


def _tags(own: Any, asserted: Mapping[str, str], slice_: Any, where: str) -> Any:
    if not isinstance(own, dict):
        return own
    tags = {name: value for name, value in own.items() if value is not None}
    if slice_ is not None:
        if "slice" in tags:
            raise BadInputError("ambiguous: a slice is mapped, and the row's tags have one", where=where, fix="Keep one.")
        tags["slice"] = as_text(slice_)
    if asserted:
        before = [tags["asserted"]] if isinstance(tags.get("asserted"), str) else []
        tags["asserted"] = ",".join([*before, *asserted])
    return tags


def _give_ids(drafts: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Complete ids and groups in place: an own id must be unique, a missing one comes from the content."""
    taken: dict[str, str] = {}
    for where, draft in drafts:
        own = draft.get("id")
        if not isinstance(own, str):
            continue
        if own in taken:
            fix = "Give each row an id of its own, or map `group` to this column if it names the conversation."
            raise DuplicateIdError(f"its id was taken by {taken[own]}", where=where, fix=fix)
        taken[own] = where
    counts: Counter[str] = Counter()
    for where, draft in drafts:
        if "id" not in draft:
            stem = _content_id(draft, where)
            counts[stem] += 1
            own = stem if counts[stem] == 1 else f"{stem}-{counts[stem]}"
            while own in taken:
                counts[stem] += 1
                own = f"{stem}-{counts[stem]}"
            taken[own] = where
            draft["id"] = own
        draft.setdefault("group", draft["id"])


def _content_id(draft: Mapping[str, Any], where: str) -> str:
    parts = [draft["messages"], draft.get("reference")]
    # Only where there is some: traces imported before there was context keep their ids.
    parts += [draft["context"]] if "context" in draft else []
    try:
        digest = digest_json(parts).removeprefix("sha256:")[:16]
    except (DistillGovError, RecursionError):
        raise MalformedFileError("nested too deep, or a value that is no JSON", where=where) from None
    return "t-" + digest.translate(LETTERS)


# --- what is said -----------------------------------------------------------------------------------------------------


def _said(files: Sequence[File], given: Mapping[str, str], *, label: str | None) -> str:
    columns = dict.fromkeys(shown_key(name) for file in files for name in file.read)
    containers = dict.fromkeys(file.container for file in files)
    line = f"detected {files[0].kind} ({', '.join(f'`{name}`' for name in columns)}) in {' and '.join(containers)}: "
    line += count(sum(len(file.rows) for file in files), "row") + (f" of {len(files)} files" if len(files) > 1 else "")
    if over := _sum(file.passed_over for file in files):
        line += f"; passed over: {', '.join(f'{n} {shown_key(reason)}' for reason, n in sorted(over.items()))}"
    if label is not None and (bare := _lacking("label", files)):
        line += f"; {bare} without a label"
    if asserted := [part for part in given if _asserts(part, files)]:
        line += f"; asserted from defaults: {', '.join(asserted)}"
    if turns_left_out := _sum(file.turns_left_out for file in files):
        line += f"; left out of turns: {_first_eight(sorted(turns_left_out))}"
    if left_out := list(dict.fromkeys(name for file in files for name in file.left_out)):
        line += f"; columns left out: {_first_eight(left_out)}"
    return line


def _sum(counts: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _first_eight(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(shown_key(name) for name in names[:8]) + more


def _asserts(part: str, files: Sequence[File]) -> bool:
    return any(first_filled(row, f.columns.get(part, ())) is None for f in files if not _is_hole(part, f) for row in f.rows)


def _lacking(part: str, files: Sequence[File]) -> int:
    return sum(first_filled(row, file.columns.get(part, ())) is None for file in files for row in file.rows)
