"""``init``: a project that runs as it is, on the support desk's example or on somebody's own chats."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from distill_gov import starter
from distill_gov.importers import ImportMap, import_traces
from distill_gov.records.errors import BadInputError, DistillGovError, MissingFileError
from distill_gov.records.files import loads_strict, write_text
from distill_gov.records.keys import KeyRing, Subkey
from distill_gov.records.layout import ProjectLayout
from distill_gov.traces import Trace, carried_answer, recorded_answer, write_traces

__all__ = ["HOLDOUT_SHARE", "IMPORT_KEY", "LEFT_OUT", "Scaffolded", "example_directory", "import_key_ring", "scaffold"]

IMPORT_KEY = "import"
"""Purpose of the subkey that hides ids of sessions and users."""

HOLDOUT_SHARE = 0.2
"""Share of the traces, by whole conversations, that is held out."""

MOST_LABELS = 30
"""Labels beyond which a property of the answers is taken for free text."""

_EXAMPLE = "support_desk"
_SCHEMA = "answer.schema.json"
LEFT_OUT = ("__pycache__", "source", "make_data.py", "pii_values.json")
"""What made the example's data; a project needs only what was made."""


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """What was made."""

    teaching: int
    holdout: int
    said: tuple[str, ...]
    """For a person: what was found, what was assumed, what to look at."""


def scaffold(
    root: Path,
    *,
    files: Sequence[Path] = (),
    mapping: ImportMap | None = None,
    text: str | None = None,
    label: str | None = None,
    today: date | None = None,
) -> Scaffolded:
    """Make a project. Nothing is written until everything could be read, and nothing is overwritten.

    Args:
        root: its directory; made where it is not there.
        files: chats to import; none: the support desk's example.
        mapping: as for :func:`distill_gov.importers.import_traces`; likewise ``text`` and ``label``.
        today: asserted retention counts from here; default: the present day.

    Raises:
        BadInputError: there is a project already, or nothing can be learnt from the files; and what an import raises.
    """
    layout = ProjectLayout(root)
    if files:
        _refuse_to_overwrite(root, (layout.settings.name, layout.redaction.name, layout.gates.name, _SCHEMA, "data"))
        return _on_own_chats(layout, files, mapping, text, label, today or datetime.now(UTC).date())
    if mapping or text or label:
        raise BadInputError("--map, --text and --label are for your own files", fix="Name them with --from.")
    return _on_the_example(layout)


def _refuse_to_overwrite(root: Path, names: Sequence[str]) -> None:
    for name in names:
        if (root / name).exists():
            raise BadInputError(
                "is already there", where=str(root / name), fix="Choose another directory; nothing was changed."
            )


# --- the example


def example_directory() -> Path:
    """The support desk: inside the installed package, or in the source tree beside it.

    Raises:
        MissingFileError
    """
    package = Path(__file__).resolve().parent
    for place in (package / "examples" / _EXAMPLE, package.parent / "examples" / _EXAMPLE):
        if (place / "distill.yaml").is_file():
            return place
    raise MissingFileError("the example is not installed", where=str(package), fix="Install distill-gov again.")


def _on_the_example(layout: ProjectLayout) -> Scaffolded:
    example = example_directory()
    _refuse_to_overwrite(layout.root, sorted({path.name for path in example.iterdir()} - set(LEFT_OUT)))
    ignored = shutil.ignore_patterns(*LEFT_OUT, layout.settings.name)
    shutil.copytree(example, layout.root, ignore=ignored, dirs_exist_ok=True)
    _common(layout)
    # Last: a directory with distill.yaml is a project, so a half-made one is none.
    shutil.copyfile(example / layout.settings.name, layout.settings)
    lines = {name: (layout.root / "data" / f"{name}.jsonl").read_bytes().count(b"\n") for name in ("teaching", "holdout")}
    said = "with the support desk's messages, invented ones; put your own traces into data/, or use --from"
    return Scaffolded(lines["teaching"], lines["holdout"], (said,))


def _common(layout: ProjectLayout, ring: KeyRing | None = None) -> KeyRing:
    for name, content in ((".gitignore", starter.GITIGNORE), ("README.md", starter.readme(layout.root.resolve().name))):
        if not (layout.root / name).exists():
            write_text(layout.root / name, content)
    return KeyRing.create(layout.keys, ring)


# --- somebody's own chats


def _on_own_chats(
    layout: ProjectLayout, files: Sequence[Path], mapping: ImportMap | None, text: str | None, label: str | None, today: date
) -> Scaffolded:
    defaults = {
        "consent": starter.DEFAULT_CONSENT,
        "licence": starter.DEFAULT_LICENCE,
        "retention_until": (today + timedelta(days=365)).isoformat(),
    }
    # The key that hides ids of sessions and users is written with the rest, once everything could be read.
    ring = import_key_ring(layout) or KeyRing.fresh()
    key = ring.subkey(IMPORT_KEY)
    imported = import_traces(files, mapping=mapping, defaults=defaults, text=text, label=label, key=key)
    everything = [_with_text_labels(trace) for trace in imported.traces]
    traces = [trace for trace in everything if carried_answer(trace) is not None]
    unanswered = [trace for trace in everything if carried_answer(trace) is None]
    _refuse_too_little(traces, files[0])
    labels = bool(label or (mapping and mapping.label))
    schema = _inferred_schema([carried_answer(trace) or "" for trace in traces], labels=labels)
    keyring = _common(layout, ring)
    teaching, holdout = _split(traces, keyring.subkey("holdout-split"))
    for name, part in (("teaching", teaching), ("holdout", holdout), ("unanswered", unanswered)):
        if part:
            write_traces(layout.root / "data" / f"{name}.jsonl", part)
    if schema is not None:
        write_text(layout.root / _SCHEMA, json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    write_text(layout.redaction, starter.REDACTION)
    write_text(layout.gates, _policy(schema, traces))
    task = layout.root.resolve().name
    write_text(layout.settings, starter.distill_yaml(task=task, answer_schema=_SCHEMA if schema else "", defaults=defaults))
    said = [imported.said, f"{len(teaching):,} traces to teach, {len(holdout):,} held out, by whole conversations"]
    return Scaffolded(len(teaching), len(holdout), (*said, *_remarks(everything, len(unanswered), schema)))


def import_key_ring(layout: ProjectLayout) -> KeyRing | None:
    """The project's key, where there is one."""
    return KeyRing.load(layout.keys) if (layout.keys / "root.key").exists() else None


def _refuse_too_little(traces: Sequence[Trace], source: Path) -> None:
    if not traces:
        raise BadInputError(
            "no trace carries an answer or a label, so nobody can teach",
            where=str(source),
            fix="Export the assistant's turns too, or name the column of the right answer with --label.",
        )
    if len({trace.group for trace in traces}) < 2:
        raise BadInputError(
            "only one conversation carries an answer, so none can be held out", where=str(source), fix="Bring more."
        )


def _policy(schema: Mapping[str, Any] | None, traces: Sequence[Trace]) -> str:
    decisions = _decisions(schema)
    return starter.gates_yaml(
        # A metric's name ends with its field's, and a policy can only name such metrics.
        fields=[name for name in decisions if name.isidentifier() and name.isascii() and _all_know(name, traces)],
        compared=all(recorded_answer(trace) is not None for trace in traces),
        structured=schema is not None,
        free_text=schema is None or len(decisions) < len(schema["properties"]),
    )


def _decisions(schema: Mapping[str, Any] | None) -> list[str]:
    return [name for name, rule in (schema["properties"] if schema else {}).items() if "enum" in rule]


def _all_know(name: str, traces: Sequence[Trace]) -> bool:
    return all(trace.reference is not None and name in trace.reference for trace in traces)


def _with_text_labels(trace: Trace) -> Trace:
    """Labels as text: a label that the file writes as a number is a name all the same."""
    if trace.reference is None:
        return trace
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in trace.reference.items()}
    return replace(trace, reference=texts)


def _inferred_schema(answers: Sequence[str], *, labels: bool) -> dict[str, Any] | None:
    """A schema that every answer meets; None where not all are flat JSON objects of text, written as `json.dumps` writes.

    Leading properties with few values become decision fields, if they are known as labels or use each value twice on average.
    """
    values = [_flat_object(answer) for answer in answers]
    first = values[0]
    if first is None or not first or any(value is None or list(value) != list(first) for value in values):
        return None
    properties: dict[str, Any] = {}
    deciding = True
    for name in first:
        given = [value[name] for value in values if value is not None]
        distinct = sorted(set(given))
        few = len(distinct) <= MOST_LABELS and (labels or 2 * len(distinct) <= len(given))
        deciding = deciding and few and all(distinct)
        longest = max(map(len, distinct))
        properties[name] = {"enum": distinct} if deciding else {"type": "string", "maxLength": max(2 * longest, 40)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One answer",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _flat_object(answer: str) -> dict[str, str] | None:
    try:
        value = loads_strict(answer, where="an answer")
    except DistillGovError:
        return None
    if not isinstance(value, dict) or not all(isinstance(part, str) for part in value.values()):
        return None
    # Answers are taught as they stand, and the grammar knows only this way of writing them.
    return value if json.dumps(value, ensure_ascii=False) == answer else None


def _split(traces: Sequence[Trace], key: Subkey) -> tuple[list[Trace], list[Trace]]:
    """Teaching and holdout, by whole conversations in the order of a keyed hash: nobody picks them."""
    groups = sorted({trace.group for trace in traces}, key=key.mac)
    wanted, held, count = HOLDOUT_SHARE * len(traces), set[str](), 0
    sizes = Counter(trace.group for trace in traces)
    for group in groups[:-1]:
        if count >= wanted:
            break
        held.add(group)
        count += sizes[group]
    return [t for t in traces if t.group not in held], [t for t in traces if t.group in held]


def _remarks(traces: Sequence[Trace], unanswered: int, schema: Mapping[str, Any] | None) -> list[str]:
    lines = []
    if unanswered:
        lines.append(f"{unanswered:,} traces carry neither an answer nor a label: set aside in data/unanswered.jsonl")
    if schema is None:
        lines.append("answers are free text")
    else:
        decisions = _decisions(schema)
        named = f"decision fields: {', '.join(decisions)}" if decisions else "no decision field"
        lines.append(f"answers follow {_SCHEMA}, inferred from them ({named}): look whether it is right")
    if any("asserted" in trace.tags for trace in traces):
        lines.append("nobody has checked what was asserted: see `defaults` in distill.yaml before anything is used")
    others = sum(trace.consent != starter.DEFAULT_CONSENT or trace.licence not in starter.LICENCES for trace in traces)
    if others:
        lines.append(
            f"{others:,} traces have a `consent` or `licence` that redaction.yaml does not admit: add it if it allows this"
        )
    return lines
