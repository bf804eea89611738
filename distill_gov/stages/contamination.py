"""Whether cases of the suites are in the teaching set: looked for at both ends, after redaction and before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_json
from distill_gov.records.manifest import read_manifest
from distill_gov.stages.chats import asked, user_text
from distill_gov.stages.settled import FORMAT_SUITE, HOLDOUT, check_teaching
from distill_gov.teaching_set.examples import read_examples
from distill_gov.traces import Trace, recorded_answer
from evals.cases import Case
from evals.contamination import ContaminationIndex, asked_text, contaminated_cases, write_hashes
from redaction.filters.ngrams import PURPOSE

if TYPE_CHECKING:
    from distill_gov.project import Project, Run

__all__ = ["Contamination", "End", "checked", "contaminated_holdout", "teaching_inputs", "write_text_hashes"]

CHECKED, UNKNOWN, NOT_CHECKED = "checked", "unknown", "not checked"
"""The raw texts are unknown where the build left no hashes of them; without a teaching set nothing could be checked."""


@dataclass(frozen=True, slots=True)
class End:
    """What came of one of the two ends."""

    status: str
    cases: frozenset[str] = frozenset()
    """Ids of the cases that are in the teaching set."""


@dataclass(frozen=True, slots=True)
class Contamination:
    """What was looked at, and what was found."""

    redacted: End
    raw: End

    @property
    def cases(self) -> frozenset[str]:
        """Ids of the cases that are in the teaching set, at whatever end that shows."""
        return self.redacted.cases | self.raw.cases

    def facts(self, suites: Mapping[str, Sequence[Case]]) -> dict[str, Any]:
        """What the manifest tells: of each end its status and the cases by suite, ids only; and how many there are in all."""
        return {
            **{name: {"status": e.status, "cases": _by_suite(e.cases, suites)} for name, e in self._ends.items()},
            "counts": {name: sum(c.id in self.cases for c in cases) for name, cases in suites.items()},
        }

    @property
    def _ends(self) -> dict[str, End]:
        return {"redacted": self.redacted, "raw": self.raw}


def _by_suite(ids: frozenset[str], suites: Mapping[str, Sequence[Case]]) -> dict[str, list[str]]:
    found = {name: sorted(c.id for c in cases if c.id in ids) for name, cases in suites.items()}
    return {name: hit for name, hit in found.items() if hit}


def write_text_hashes(project: Project, run: Run, taught: Sequence[Trace]) -> Mapping[str, int]:
    """Store keyed hashes of the traces that are taught, as they came in; what was counted."""
    texts = ((trace.id, [user_text(asked(trace)), recorded_answer(trace) or ""]) for trace in taught)
    return write_hashes(run.layout.text_hashes, texts, project.keyring.subkey(PURPOSE))


def teaching_inputs(run: Run) -> dict[str, str]:
    """Digest of what the build left, where there was one."""
    path = run.layout.manifest("build")
    return {"teaching set": digest_json(dict(sorted(read_manifest(path).outputs.items())))} if path.exists() else {}


def contaminated_holdout(run: Run) -> frozenset[str]:
    """Ids of the cases of the holdout that the run's evaluation found in the teaching set."""
    facts = read_manifest(run.layout.manifest("evaluate")).facts.get("contamination", {})
    return frozenset(case for end in ("redacted", "raw") for case in facts.get(end, {}).get("cases", {}).get(HOLDOUT, ()))


def checked(
    project: Project, run: Run, suites: Mapping[str, Sequence[Case]], traces: Mapping[str, Sequence[Trace]]
) -> Contamination:
    """Look for the cases of all suites in the run's teaching set.

    Args:
        suites: redacted cases, by suite.
        traces: the same cases before redaction.

    Raises:
        HashMismatchError: a file is not what the build left.
        BadInputError and its kinds: the stored hashes cannot be read, or are under another key.
    """
    layout, key = run.layout, project.keyring.subkey(PURPOSE)
    check_teaching(run)
    if not layout.examples.exists():
        return Contamination(End(NOT_CHECKED), End(NOT_CHECKED))
    taught = ((e.id, [user_text(e.messages), e.answer]) for e in read_examples(layout.examples))
    # The format suite asks the cases of the others once more, under the same ids.
    cases = ((c.id, asked_text(c)) for name, rows in suites.items() if name != FORMAT_SUITE for c in rows)
    redacted = End(CHECKED, frozenset(contaminated_cases(cases, ContaminationIndex.of(taught, key))))
    if not layout.text_hashes.exists():
        return Contamination(redacted, End(UNKNOWN))
    raw = ((t.id, user_text(asked(t))) for rows in traces.values() for t in rows)
    index = ContaminationIndex.read(layout.text_hashes, key)
    return Contamination(redacted, End(CHECKED, frozenset(contaminated_cases(raw, index))))
