"""The teaching set's datasheet: who taught, on what terms, what was kept, and what was taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill_gov.records.books import StageBalance
from gates.policy import shown
from reports.suppression import shown_count, shown_counts, shown_slices

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["datasheet"]


def datasheet(project: Project, facts: Mapping[str, Any], books: Sequence[StageBalance]) -> str:
    """The datasheet in Markdown.

    Args:
        facts: those of the build's manifest.
    """
    t, redaction = project.settings.teacher, facts["redaction"]
    lines = [
        f"# Teaching set of {project.settings.task}",
        "",
        f"Answers by the teacher: {t.note or t.kind}. Licence: {shown(t.licence)}. Revision: {shown(t.revision)}. "
        f"Terms accepted by: {shown(t.terms_accepted_by)}.",
        f"Whose labels are taught: {_sources(facts)}.",
        f"Model input: {project.settings.model_input}.",
        *_admission(facts.get("admission", {})),
        "",
        "| stage | unit | in | made | kept | dropped | reserved |",
        "|---|---|---|---|---|---|---|",
        *(f"| {b.stage} | {b.unit} | {b.came_in} | {b.made} | {b.kept} | {b.dropped} | {b.reserved} |" for b in books),
        *_slices(facts.get("slices", {})),
        *_turns(facts.get("turns", {}), project),
        "",
        "Personal values replaced, by entity: "
        + (", ".join(f"{n} {c}" for n, c in sorted(shown_counts(redaction["by_entity"]).items())) or "none")
        + f". Found when the {redaction['scanned']} texts to be taught were scanned again: {redaction['residual'] or 'none'}.",
        *_recall(facts.get("redaction_recall", {})),
        "",
        *_soft_targets(facts.get("soft_targets", {})),
        *_refusals(facts.get("refusals")),
        *_filters(facts.get("filters", {})),
    ]
    return "\n".join(lines)


def _soft_targets(soft: Mapping[str, Any]) -> list[str]:
    """What is kept of the teacher's distributions, and what that loses."""
    if not soft.get("tokens"):
        return []
    told = f"Soft targets: the {soft['k']} likeliest tokens of a position and the mass of the rest; {soft['tokens']} tokens in "
    told += f"{soft['bytes']} bytes."
    if lost := soft.get("kl_to_dense"):
        told += (
            f" Against the teacher's whole distribution, on {soft['measured']} positions: KL {lost['by_tail']:.3g} nats by an"
            f" even tail and {lost['by_quantisation']:.2g} by quantisation, in the mean; {lost['largest']:.3g} at most."
        )
    return [told, ""]


def _refusals(refusals: Mapping[str, int] | None) -> list[str]:
    if refusals is None:
        return []
    return [
        f"Refusals among the teacher's answers: {refusals['to_hazardous']} of hazardous prompts, which are good examples, and "
        f"{refusals['to_benign']} of harmless ones (over-refusal).",
        "",
    ]


def _filters(rules: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What every filter did that noticed anything; an item may be noticed by several and is dropped by one."""
    rows = [f"| {rule} | {r['action']} | {r['fired']} | {r['decided']} |" for rule, r in rules.items() if r["fired"]]
    if not rows:
        return []
    return ["| filter | policy | fired | dropped by it |", "|---|---|---|---|", *rows, ""]


def _recall(recall: Mapping[str, Any]) -> list[str]:
    if not recall:
        return []
    return [f"Of {recall['spans']} values known beforehand (`pii_spans`), {recall['covered']} were wholly covered."]


def _slices(slices: Mapping[str, Any]) -> list[str]:
    """Each slice's share of what came in, is taught and is held out: what the student sees more of than it will meet."""
    rows = shown_slices(slices.get("counts", {}))
    if not rows:
        return []
    lines = [f"| {' | '.join([row.name.replace('|', chr(92) + '|'), row.traces, row.teaching, row.holdout])} |" for row in rows]
    return ["", f"| {slices['by']} | traces | teaching | holdout |", "|---|---|---|---|", *lines]


def _turns(turns: Mapping[str, int], project: Project) -> list[str]:
    """What the traces held beside plain turns, and what of it is not taught."""
    keeps = project.redactor.policy.keeps_reasoning
    why = "a structured answer has no place for it" if keeps else "redaction.yaml drops it"
    told = {
        "context": "The student reads the context documents of {} traces.",
        "tools": "The student reads the tool calls and results of {} traces, as text; ids of calls are left out.",
        "reasoning_taught": "The student is taught the reasoning of {} traces.",
        "reasoning_left_out": f"Not taught: the reasoning of {{}} traces ({why}).",
        "unread_by_teacher": "Not read by the teacher, but by the student: the turns of {} traces that are neither the user's "
        "nor context documents.",
    }
    return ["", *(said.format(shown_count(turns[name])) for name, said in told.items() if turns.get(name))]


def _sources(facts: Mapping[str, Any]) -> str:
    said = facts["answer_source"]
    told = f"the teacher's in {said.get('teacher', 0)} answers, a reference's in {said.get('reference', 0)}"
    aligned = facts.get("aligned_on")
    return told if aligned is None else f"{told}; the teacher was aligned on {aligned} labelled messages"


def _admission(admission: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not admission:
        return []
    rows = [
        f"| {metric} | {figure['value']:.3f} | {'no floor' if figure['floor'] is None else figure['floor']} | {figure['n']} |"
        for metric, figure in admission.items()
    ]
    return ["", "| teacher's | value | floor | n |", "|---|---|---|---|", *rows]
