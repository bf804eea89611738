"""The model card: the report's content for the student's directory, in Markdown.

Every row is a number with its gate, or says that it was not measured. Headings follow Mitchell et al. (2019), "Model Cards for
Model Reporting".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from distill_gov.records.files import write_text
from distill_gov.records.layout import RunLayout
from gates.policy import NOT_APPROVED
from reports.loading import Part
from reports.markup import printable
from reports.queries import read_run
from reports.record import RunRecord
from reports.wording import NOT_DONE, SIMULATED, STATEMENT

__all__ = ["render_card", "write_model_card"]

T = TypeVar("T")


def write_model_card(run: RunLayout, policy: str = "gates", *, path: Path | None = None) -> Path:
    """Write the model card of a run's student, and return where it is.

    Args:
        run: the run; any part of it may be absent.
        policy: whose verdict it tells.
        path: where to write; None takes the run's ``pages/model_card.md``.

    Raises:
        BadInputError: ``policy`` is no name that a policy could have.
    """
    target = path or run.model_card
    write_text(target, render_card(read_run(run, policy)))
    return target


def render_card(record: RunRecord) -> str:
    """The card as text."""
    head, headers = record.headline, dict(record.headers)
    ends = "no exit code" if head.exit_code is None else f"exit code {head.exit_code}"
    lines = [f"# Student of run {_plain(record.run)}", ""]
    if record.simulated:
        lines += [f"> **Simulated ratings.** {SIMULATED}", ""]
    lines += [f"**{head.icon} {head.state}** under policy {_plain(record.policy)} ({ends}). {_plain(head.why)}", ""]
    lines += [f"- ! {_plain(problem)}" for problem in record.problems] + [
        f"- ▲ {_plain(warning)}" for warning in record.warnings
    ]
    lines += ["", "## Model details", "", *_details(record)]
    lines += ["", "## Uses", ""]
    lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in headers.items()] or [
        f"- {NOT_APPROVED}: there is no verdict."
    ]
    lines += ["", "## Training", "", *_training(record)]
    lines += ["", "## Evaluation", "", *_gates(record)]
    lines += ["", "## Limits", ""]
    lines += [f"- {_plain(row.gate)}: {_plain(row.not_shown)}" for row in record.gates] or ["- Nothing was measured."]
    lines += ["- Risks that no gate names were not measured.", "", STATEMENT, ""]
    return "\n".join(lines)


def _details(record: RunRecord) -> list[str]:
    v = record.verdict
    identity = (
        [
            f"- Digest of the subject: {_plain(v.subject or 'not measured')}",
            f"- Attempt {v.attempt} of {v.max_attempts} on its holdout, which evaluations opened {record.opened} times",
        ]
        if v
        else []
    )
    subjects = _lines(
        record.subjects,
        lambda found: [
            f"- {_plain(s.name)} ({_plain(s.role)}): {_plain(s.decoding)}, {_plain(s.engine)}"
            + (f". {_plain(s.note)}" if s.note else "")
            for s in found
            if s.role in ("student", "teacher")
        ],
    )
    return identity + subjects


def _training(record: RunRecord) -> list[str]:
    lines = _lines(
        record.training, lambda t: [f"- {t.parameters} parameters, {t.layers} layers; teacher {t.teacher_parameters}"]
    )
    head = ("Stage", "Unit", "In", "Made", "Kept", "Dropped", "Reserved")
    books = _lines(
        record.funnel,
        lambda f: _table(head, [(s.stage, s.unit, s.came_in, s.made, s.kept, s.dropped, s.reserved) for s in f.stages]),
    )
    redacted = _lines(record.redaction, lambda r: [f"- Personal data: {r.total} found and replaced; {_after(r.residual)}"])
    return [*lines, "", "Teaching set:", "", *books, "", *redacted]


def _after(residual: int | None) -> str:
    return "not scanned again" if residual is None else f"{residual:,} found by the scan after it"


def _gates(record: RunRecord) -> list[str]:
    if not record.gates:
        return ["Not done: no gate was decided."]
    head = ("Gate", "Teacher", "Student", "Must be", "Bound", "n", "Outcome", "Reason")
    return _table(
        head,
        [
            (r.gate, r.reference, r.subject, r.must_be, r.bound, r.n, f"{r.mark.icon} {r.mark.word}", r.reason)
            for r in record.gates
        ],
    )


def _lines(part: Part[T], show: Callable[[T], list[str]]) -> list[str]:
    if part.problem:
        return [f"- ! Cannot be shown: {_plain(part.problem)}"]
    return [f"- {NOT_DONE}"] if part.content is None else show(part.content)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    body = [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *body]


def _plain(value: object) -> str:
    """A value as Markdown text: nothing in it is markup, a link or HTML."""
    escaped = re.sub(r"([\\`*_{}\[\]()#|~!])", r"\\\1", printable(value))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
