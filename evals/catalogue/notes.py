"""Why a measurement has no value: reason codes and their words."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CONTRADICTIONS", "NOTES"]

NOTES: Mapping[str, str] = {
    "absent": "there is no evidence",
    "empty": "no case counts for it",
    "undefined": "the value is undefined on these cases",
    "no_variation": "all values are equal, so nothing can be said",
    "too_few_clusters": "too few independent groups of cases",
    "incomplete": "not every planned case was run",
    "clustered": "cases depend on each other and the method takes them as independent",
    "contaminated": "cases of the suite are in the teaching set, so that it measures memory",
    "method_not_allowed": "the catalogue does not allow this method for the metric",
    "non_finite": "a score is not a finite number",
    "out_of_range": "a score lies outside the metric's range",
    "duplicate_cases": "a case appears twice",
    "mixed_evidence": "the case results are of several subjects or datasets",
    "case_mismatch": "the cases run are not the cases planned, or not those of the reference",
    "judge_unlabelled": "no labelled case is a violation, or none is clean, so nobody knows how often the judge errs",
    "judge_uninformative": "on the labelled cases the judge is no better than chance",
}
"""Reason code to words."""

CONTRADICTIONS = frozenset({"non_finite", "out_of_range", "duplicate_cases", "mixed_evidence", "case_mismatch"})
"""Notes that mean the evidence contradicts itself, rather than that there is too little of it."""
