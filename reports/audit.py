"""The audit of a teaching set, for the privacy officer: what was found, what was kept and dropped and by which rule.

One self-contained page, or one JSON object. Every text in it is redacted text; counts under :data:`reports.suppression.K` are
withheld, and with them the counts that would give them away.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill_gov.records.books import DECISION_FORMAT, StageBalance, differing_stage
from distill_gov.records.errors import IntegrityError, MissingFileError
from distill_gov.records.files import loads_strict, read_parquet, write_text
from distill_gov.records.layout import RunLayout
from distill_gov.records.manifest import StageManifest, read_manifest
from distill_gov.records.purges import Purges
from redaction.findings import FINDING_FORMAT
from reports.loading import RunFiles, conforming
from reports.markup import Html, definition_list, page, table, text
from reports.suppression import K, shown_counts, shown_table
from reports.trust import project_of, read_checked_ledger, read_checked_purges

__all__ = ["Audit", "SampledRow", "audit_object", "read_audit", "write_audit"]

_NO_SLICE = "none given"
_TOKEN = re.compile(r"<[A-Z_]{2,}[_:][^<>\s]{1,100}>")

Counts = tuple[tuple[str, str], ...]
"""Names and their counts as they may be shown."""


@dataclass(frozen=True, slots=True)
class SampledRow:
    """One taught example as it is stored: redacted."""

    id: str
    slice: str
    turns: tuple[tuple[str, str], ...]
    """Role and text of each turn; the answer is the last."""
    found: tuple[str, ...]
    """Kinds of personal data that were found in it, most frequent first."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an auditor is shown of a run's teaching set."""

    run: str
    facts: tuple[tuple[str, str], ...]
    books: tuple[StageBalance, ...]
    outcomes: tuple[tuple[str, Counts], ...]
    """For each slice, what became of its traces."""
    reasons: Counts
    """Deciding rule and reason of what was dropped or reserved."""
    fired: Counts
    """Every rule that fired, whether or not it decided."""
    entities: Counts
    rules: Counts
    """Rules that found something."""
    actions: Counts
    by_slice: tuple[tuple[str, Counts], ...]
    """For each kind of personal data, in which slices it was found."""
    sample: tuple[SampledRow, ...]


def read_audit(run: RunLayout, *, sample: int = 20) -> Audit:
    """Read what a build left behind.

    Args:
        sample: how many taught examples to show; which, the digest of the example's id and the build's outputs decides.

    Raises:
        MissingFileError: the run was not built.
        IntegrityError: a file is not the one that the build recorded, or the books do not agree with the decisions.
        MalformedFileError, UnknownFormatError: a file holds something else.
    """
    path = run.manifest("build")
    if not path.exists():
        raise MissingFileError("this run was not built", where=str(path), fix="Run `distill-gov build` first.")
    manifest = read_manifest(path)
    project = project_of(run)
    purges = read_checked_purges(project, read_checked_ledger(project).content).content
    files = RunFiles(run.root, manifest.outputs, purges or Purges())
    for needed in (run.decisions, run.findings, run.examples):
        if problem := files.problem(needed):
            raise IntegrityError(problem, where=run.name, fix="See `distill-gov verify`.")
    decisions = read_parquet(run.decisions, format=DECISION_FORMAT)
    findings = read_parquet(run.findings, format=FINDING_FORMAT)
    examples = read_parquet(run.examples, format="examples")
    books = tuple(conforming(line, StageBalance, "build.json: books") for line in manifest.facts.get("books", ()))
    if (stage := differing_stage(books, decisions)) is not None:
        raise IntegrityError(
            f"the decisions at stage {stage} are not those of the books", where="decisions.parquet", fix="Build again."
        )
    slices = _slices(decisions, examples)
    entities = Counter(row["entity"] for row in findings)
    traces = {row["item"] for row in decisions if row["unit"] == "trace"}
    placed = Counter((row["entity"], slices.get(_trace(row["item"], traces), _NO_SLICE)) for row in findings)
    # The rows stand in the order of the stages: the last one says what became of the trace.
    last = {_trace(row["item"], traces): row["outcome"] for row in decisions}
    became = Counter((slices.get(item, _NO_SLICE), outcome) for item, outcome in last.items())
    return Audit(
        run=run.name,
        facts=_facts(manifest),
        books=books,
        outcomes=_crossed(became, ("kept", "dropped", "reserved")),
        reasons=_shown(Counter(_reason(row) for row in decisions if row["outcome"] != "kept")),
        fired=_shown(Counter(name for row in decisions for name in row.get("fired") or ())),
        entities=_shown(entities),
        rules=_shown(Counter(f"{row['rule']} {row['rule_version']}" for row in findings)),
        actions=_shown(Counter(row["action"] for row in findings)),
        by_slice=_crossed(placed, sorted({name for _, name in placed})),
        sample=_sample(manifest, examples, findings, sample),
    )


def _slices(decisions: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Trace to its slice, as far as a decision or an example says."""
    found = {row["item"]: row["slice"] for row in decisions if row.get("slice") and row["parent"] is None}
    for row in examples:
        tags = loads_strict(row["tags"], where="examples.parquet")
        found.setdefault(row["trace"], str(tags.get("slice") or _NO_SLICE))
    return found


def _trace(item: str, traces: Collection[str]) -> str:
    """The trace that an item is, or is an answer to."""
    return item if item in traces else item.rpartition("/")[0]


def _reason(row: Mapping[str, Any]) -> str:
    return f"{row['stage']}: {row['rule']}" + (f" ({row['reason']})" if row["reason"] else "")


def _shown(counts: Mapping[str, int]) -> Counts:
    shown = shown_counts(counts)
    return tuple((name, shown[name]) for name in sorted(counts, key=lambda name: (-counts[name], name)))


def _crossed(counts: Mapping[tuple[str, str], int], columns: Sequence[str]) -> tuple[tuple[str, Counts], ...]:
    shown = shown_table({row: {column: counts.get((row, column), 0) for column in columns} for row in sorted(_rows(counts))})
    return tuple((row, tuple(cells.items())) for row, cells in shown.items())


def _rows(counts: Iterable[tuple[str, str]]) -> set[str]:
    return {row for row, _ in counts}


def _facts(manifest: StageManifest) -> tuple[tuple[str, str], ...]:
    redaction = manifest.facts.get("redaction", {})
    scanned, left = redaction.get("scanned"), redaction.get("residual")
    after = "not scanned" if left is None else f"{left} in {scanned} texts" if scanned is not None else str(left)
    recall = manifest.facts.get("redaction_recall", {})
    known = f"{recall['covered']} of {recall['spans']} wholly covered" if recall else ""
    named = {
        "Built": manifest.finished,
        "Found by the scan after redaction": after,
        "Values known beforehand": known,
        "Key id of the hashes": str(manifest.inputs.get("key", "")),
        "redaction.yaml": str(manifest.inputs.get("redaction.yaml", "")),
        "Redactor": str(redaction.get("digest", "")),
    }
    return tuple((name, value) for name, value in named.items() if value)


def _sample(
    manifest: StageManifest, examples: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]], count: int
) -> tuple[SampledRow, ...]:
    seed = json.dumps(manifest.outputs, sort_keys=True)
    drawn = sorted(examples, key=lambda row: hashlib.sha256(f"{seed}\n{row['id']}".encode()).digest())[:count]
    found: dict[str, Counter[str]] = {row["id"]: Counter() for row in drawn}
    of_trace = {row["trace"]: row["id"] for row in drawn}
    for finding in findings:
        item = of_trace.get(finding["item"], finding["item"])
        if item in found:
            found[item][finding["entity"]] += 1
    return tuple(
        SampledRow(
            row["id"],
            str(loads_strict(row["tags"], where="examples.parquet").get("slice") or _NO_SLICE),
            (*((m["role"], m["content"]) for m in row["messages"]), ("answer", row["answer"])),
            tuple(entity for entity, _ in found[row["id"]].most_common()),
        )
        for row in sorted(drawn, key=lambda row: row["id"])
    )


# --- shown


def audit_object(audit: Audit) -> dict[str, Any]:
    """The audit as a JSON object, without the sampled texts."""
    shown = asdict(audit)
    del shown["sample"]
    for name in ("facts", "reasons", "fired", "entities", "rules", "actions"):
        shown[name] = dict(shown[name])
    for name in ("outcomes", "by_slice"):
        shown[name] = {row: dict(cells) for row, cells in shown[name]}
    return shown


def write_audit(run: RunLayout, *, sample: int = 20, path: Path | None = None) -> Path:
    """Write the audit's page; raises as :func:`read_audit`."""
    target = path or run.audit
    write_text(target, _render(read_audit(run, sample=sample)))
    return target


def _render(audit: Audit) -> str:
    books = table(
        "In + made = kept + dropped + reserved; a stage takes in what the one before kept.",
        ("Stage", "Unit", "In", "Made", "Kept", "Dropped", "Reserved"),
        [(b.stage, b.unit, *(f"{n:,}" for n in (b.came_in, b.made, b.kept, b.dropped, b.reserved))) for b in audit.books],
        numeric=range(2, 7),
    )
    body = [
        f'<p class="eyebrow">distill-gov · run {text(audit.run)}</p><h1><span class="word">Audit</span></h1>',
        "<p>What redaction and the filters did to the traces of this run. Texts are shown redacted. "
        f"Counts under {K} are shown as &lt;{K}; where a total would give one away, others are withheld.</p>",
        definition_list(audit.facts),
        _section("The books", books, _crossed_table("What became of the traces of each slice.", "Slice", audit.outcomes)),
        _section(
            "Why",
            _counts_table("Dropped or reserved: one deciding rule each.", "Stage, rule, reason", audit.reasons),
            _counts_table("Every rule that fired, deciding or not.", "Rule", audit.fired),
        ),
        _section(
            "What was found",
            _counts_table("By kind.", "Kind", audit.entities),
            _counts_table("By rule.", "Rule", audit.rules),
            _counts_table("What was done.", "Operator", audit.actions),
            _crossed_table("Where: kind by slice.", "Kind", audit.by_slice),
        ),
        _section("Sample", '<p class="note">Drawn by digest from what is taught.</p>', *map(_row, audit.sample)),
    ]
    return page(f"Audit · {audit.run}", "".join(body))


def _section(title: str, *content: str) -> Html:
    return Html(f"<section><h2>{text(title)}</h2>{''.join(content)}</section>")


def _counts_table(caption: str, head: str, counts: Counts) -> str:
    return table(caption, (head, "n"), counts, numeric=(1,)) if counts else f'<p class="note">{text(caption)} None.</p>'


def _crossed_table(caption: str, head: str, rows: Sequence[tuple[str, Counts]]) -> str:
    if not rows:
        return f'<p class="note">{text(caption)} None.</p>'
    columns = [name for name, _ in rows[0][1]]
    cells = [(row, *(n for _, n in counts)) for row, counts in rows]
    return table(caption, (head, *columns), cells, numeric=range(1, len(columns) + 1))


def _row(row: SampledRow) -> Html:
    found = ", ".join(row.found) or "nothing"
    turns = "".join(f"<dt>{text(role)}</dt><dd>{_marked(said)}</dd>" for role, said in row.turns)
    return Html(
        f'<h3>{text(row.id)}</h3><p class="note">slice {text(row.slice)} · found: {text(found)}</p>'
        f'<dl class="turns">{turns}</dl>'
    )


def _marked(said: str) -> Html:
    """A redacted text with its placeholders marked."""
    parts: list[str] = []
    position = 0
    for match in _TOKEN.finditer(said):
        parts += (text(said[position : match.start()]), f"<mark>{text(match[0])}</mark>")
        position = match.end()
    return Html("".join([*parts, text(said[position:])]))
