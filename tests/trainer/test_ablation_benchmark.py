"""The rules of benchmarks/ablation.py; tests/end_to_end runs it whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from distill_gov.settings import LossSettings
from evals import request
from evals.calibration import fit_temperature
from evals.cases import Case
from evals.evidence import Measurement
from tests.benchmarks import load_benchmark

LABELS = ("refund", "status")


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    return load_benchmark(repository, "ablation")


def test_each_line_has_one_term_more_at_the_projects_weight(bench: ModuleType) -> None:
    own = LossSettings(calibration=0.25, format=1.5, unlikelihood=2.0, confidence_penalty=1.0, contrastive=3.0, rationale=1.0)
    known = {name for name, field in LossSettings.model_fields.items() if "Schedule" in str(field.annotation)}
    assert known == set(bench.TERMS), "every weight is set by every condition"
    before: set[str] = set()
    for condition, added in zip(bench.CONDITIONS, (1, 1, 2, 1, 1, 1), strict=True):
        losses = condition.losses(own)
        terms = {name for name in bench.TERMS if getattr(losses, name)}
        assert terms > before
        assert len(terms - before) == added
        before = terms
    assert (losses.calibration, losses.format, losses.hints) == (0.25, 1.5, bench.HINTS)
    assert bench.CONDITIONS[3].losses(own.model_copy(update={"hints": 0.3})).hints == 0.3
    assert [c.hard_only for c in bench.CONDITIONS] == [True, True, False, False, False, False]
    assert [c.plain for c in bench.CONDITIONS] == [True, False, False, False, False, False]


def cases(count: int, suite: str) -> tuple[Case, ...]:
    rng = np.random.default_rng(count)
    return tuple(
        Case(f"{suite}-{n}", suite, ({"role": "user", "content": "x"},), {"intent": LABELS[rng.integers(2)]})
        for n in range(count)
    )


def test_no_case_has_a_temperature_that_was_fitted_on_it(bench: ModuleType) -> None:
    measured = bench.Measured(cases(20, "dev"), cases(6, "benign"), ())
    rng = np.random.default_rng(1)
    scores = log_softmax(rng.normal(0, 3, (26, 2)), axis=1)
    found = bench.temperatures(measured, scores.tolist(), LABELS, "intent")
    truth = [LABELS.index((c.reference or {})["intent"]) for c in measured.dev]
    assert found[20:] == [fit_temperature(scores[:20].tolist(), truth)] * 6
    assert found[0] == fit_temperature(scores[1:20:2].tolist(), truth[1::2])
    assert found[1] == fit_temperature(scores[0:20:2].tolist(), truth[0::2])
    # A case's own label does not move its temperature; it moves those of the others.
    flipped = replace(measured.dev[4], reference={"intent": LABELS[1 - truth[4]]})
    other = replace(measured, dev=(*measured.dev[:4], flipped, *measured.dev[5:]))
    moved = bench.temperatures(other, scores.tolist(), LABELS, "intent")
    assert [a == b for a, b in zip(found, moved, strict=True)] == [n % 2 == 0 for n in range(20)] + [False] * 6


def change(value: float | None, low: float | None, high: float | None, metric: str) -> Measurement:
    asked = request(metric, "desk", "b", reference="a")
    return Measurement(
        asked, "", "", "", value, low, high, 9, 9, 0, 9, 9, ("measured",), "" if value is not None else "undefined"
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "accuracy", "error"),
    [
        (0.1, 0.02, 0.2, "better", "worse"),
        (-0.1, -0.2, -0.02, "worse", "better"),
        (0.1, 0.0, 0.2, "", ""),
        (0.0, -0.1, 0.1, "", ""),
        (None, None, None, "unknown", "unknown"),
    ],
)
def test_a_change_is_told_by_its_interval_and_the_metrics_direction(
    bench: ModuleType, value: float | None, low: float | None, high: float | None, accuracy: str, error: str
) -> None:
    assert bench.says(change(value, low, high, "exact_match")) == accuracy
    assert bench.says(change(value, low, high, "calibration_error.intent")) == error


def test_the_table_shows_what_has_no_value_as_none(bench: ModuleType) -> None:
    level = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "note": ""}
    absent = {"value": None, "low": None, "high": None, "n": 0, "note": "no_variation"}
    column: dict[str, Any] = {"level": level, "change": {**level, "value": -0.25, "low": -0.3, "high": -0.2}, "says": "worse"}
    rows = [
        {"condition": "hard", "seed": 0, "columns": {"a": {"level": level}, "b": {"level": absent}}},
        {
            "condition": "+ soft",
            "seed": 0,
            "columns": {"a": column, "b": {"level": absent, "change": absent, "says": "unknown"}},
        },
    ]
    told = {
        "lines": rows, "planned": 4, "minutes": 1.0, "machine": "here", "date": "2026-11-26", "quick": True,
        "cases": {"dev": 1, "benign": 2, "free": 3},
    }  # fmt: skip
    shown = bench.show(told)
    assert "2 of 4 students" in shown
    assert "QUICK" in shown
    assert "| hard | 0 | 0.500 [0.400, 0.600] | no_variation |" in shown
    assert "| + soft | 0 | -0.250 [-0.300, -0.200] worse | no_variation" in shown
    assert bench.show({**told, "lines": []}).startswith("0 of 4")
