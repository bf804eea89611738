"""A sweep: what is tried, what is refused, how dev is cut, and how the best is chosen. Nothing here trains a model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from distill_gov.progress import NoProgress
from distill_gov.project import Project
from distill_gov.records.errors import BadInputError, MissingFileError
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.settings import parse_settings
from distill_gov.settings import DistillSettings
from distill_gov.settings.sweep import candidates, with_values
from distill_gov.stages.build import Prepared
from distill_gov.stages.sweep import _summed_up, _tried
from distill_gov.stages.trials import Dev, Trial, cross_fitted, halves, tuning_project
from distill_gov.tables import sweep_table, swept_difference
from evals.cases import Case
from evals.evidence import CaseResult, FieldDecision
from evals.shards import Failed
from tests.end_to_end.tiny_project import SETTINGS

FEW = settings(max_examples=12)


def read(sweep: Mapping[str, Any], **changes: Any) -> DistillSettings:
    """``distill.yaml`` of the tiny project with a sweep, through the reader that the command line uses."""
    text = yaml.safe_dump({**SETTINGS, **changes, "sweep": dict(sweep)}, sort_keys=False)
    return parse_settings(text, DistillSettings, where="distill.yaml")


# --- what is tried

RATES = st.lists(st.sampled_from([1e-5, 5e-5, 1e-4, 2e-4, 1e-3]), min_size=1, max_size=3, unique=True)
LAYERS = st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)


@FEW
@given(RATES, LAYERS)
def test_a_grid_is_every_combination_once_behind_the_file_as_it_stands(rates: list[float], layers: list[int]) -> None:
    found = candidates(read({"over": {"train.learning_rate": rates, "student.layers": layers}}))
    pairs = [(v["train.learning_rate"], v["student.layers"]) for v in found[1:]]
    # 2e-4 and 2 layers are what the file has.
    assert found[0] == {}
    assert pairs == [pair for pair in itertools.product(rates, layers) if pair != (2e-4, 2)]


@FEW
@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 3))
def test_a_random_search_with_more_trials_begins_as_one_with_fewer(few: int, more: int, seed: int) -> None:
    over = {
        "train.learning_rate": {"low": 1e-5, "high": 1e-3, "scale": "log"},
        "train.epochs": {"low": 1, "high": 9},
        "train.losses.divergence": ["forward_kl", "jsd"],
    }
    short, long = (
        candidates(read({"search": "random", "over": over, "trials": n}, seed=seed)) for n in (few, few + more)
    )  # fmt: skip
    assert long[: len(short)] == short
    assert len(short) == few + 1
    for values in long[1:]:
        assert 1e-5 <= values["train.learning_rate"] <= 1e-3
        assert float(f"{values['train.learning_rate']:.3g}") == values["train.learning_rate"]
        assert type(values["train.epochs"]) is int
        assert 1 <= values["train.epochs"] <= 9


def test_another_seed_draws_others_and_the_same_draws_the_same() -> None:
    wanted = {"search": "random", "over": {"train.learning_rate": {"low": 1e-5, "high": 1e-3}}, "trials": 4}
    assert candidates(read(wanted, seed=1)) == candidates(read(wanted, seed=1))
    assert candidates(read(wanted, seed=1)) != candidates(read(wanted, seed=2))


def test_a_random_search_ends_where_nothing_new_is_left() -> None:
    found = candidates(read({"search": "random", "over": {"student.layers": [1, 2, 3]}, "trials": 50}))
    assert sorted(v["student.layers"] for v in found[1:]) == [1, 3]


def test_values_are_put_where_they_belong_and_nothing_else_changes() -> None:
    stages = {"stages": [{"name": "align"}, {"name": "gold", "losses": {"soft_text": 0.25}}]}
    whole = read({"over": {"train.stages.gold.losses.hard_text": [2.0]}}, train=stages)
    changed = with_values(whole, {"train.stages.gold.losses.hard_text": 2.0, "student.layers": 1})
    assert [stage.losses.hard_text for stage in changed.train.stages] == [1.0, 2.0]
    assert changed.train.stages[1].losses.soft_text == 0.25
    assert (changed.student.layers, changed.sweep) == (1, None)
    assert changed.train.stages[0] == whole.train.stages[0]
    assert changed.model_dump(exclude={"sweep", "train", "student"}) == whole.model_dump(exclude={"sweep", "train", "student"})


def test_a_weight_may_be_tried_as_a_schedule() -> None:
    schedule = {"start": 0.0, "end": 1.0}
    found = candidates(read({"over": {"train.losses.calibration": [0.25, schedule]}}))
    assert [values["train.losses.calibration"] for values in found[1:]] == [0.25, schedule]


# --- what is refused

RATE = "train.learning_rate"
REFUSED: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], Sequence[str]]] = {
    "a key misspelt": ({"over": {"train.lerning_rate": [1e-4]}}, {}, ("lerning_rate`", "mean `train.learning_rate`")),
    "a key that build reads": ({"over": {"teacher.top_k": [4]}}, {}, ("teacher.top_k`", "`build` reads it")),
    "the holdout": ({"over": {"holdout": ["data/dev.jsonl"]}}, {}, ("over.holdout`", "cannot be swept")),
    "dev": ({"over": {"dev": ["data/holdout.jsonl"]}}, {}, ("over.dev`", "cannot be swept")),
    "a whole section": ({"over": {"train": [1]}}, {}, ("over.train`", "no key that can be swept")),
    "the accepted risk": ({"over": {"train.accepted_risk": [0.1]}}, {}, ("accepted_risk`", "no key that can be swept")),
    "a stage that is not there": (
        {"over": {"train.stages.gold.epochs": [1]}}, {"train": {"stages": [{"name": "align"}]}}, ("gold.epochs`", "no key"),
    ),
    "no key": ({"over": {}}, {}, ("`sweep.over`", "at least 1")),
    "no value": ({"over": {RATE: []}}, {}, (RATE, "at least 1")),
    "no list": ({"over": {RATE: 1e-4}}, {}, (RATE, "valid list")),
    "a value out of its range": ({"over": {RATE: [1e-4, -1.0]}}, {}, (f"`sweep.over.{RATE}`", "greater than 0", "-1.0")),
    "a value of another kind": ({"over": {"train.epochs": [1.5]}}, {}, ("train.epochs`", "integer")),
    "a word that is none": ({"over": {"train.losses.divergence": ["kl"]}}, {}, ("divergence`", "forward_kl")),
    "YAML's text for a number": ({"over": {RATE: ["1e-4"]}}, {}, (RATE, "write `1.0e-4`")),
    "not a number": ({"over": {RATE: [math.nan]}}, {}, (RATE, "finite")),
    "a range in a grid": ({"over": {RATE: {"low": 1e-5, "high": 1e-3}}}, {}, (RATE, "`search: random`")),
    "a range upside down": (
        {"search": "random", "over": {RATE: {"low": 1e-3, "high": 1e-5}}}, {}, (RATE, "`low` must be less"),
    ),
    "a range from 0 by powers": (
        {"search": "random", "over": {"train.losses.format": {"low": 0, "high": 1, "scale": "log"}}}, {}, ("format", "above 0"),
    ),
    "a range that leaves the key's own": (
        {"search": "random", "over": {"train.losses.beta": {"low": 0.1, "high": 3.0}}}, {}, ("losses.beta`", "less than 1"),
    ),
    "a grid over its trials": ({"over": {"train.epochs": [1, 2, 3]}, "trials": 2}, {}, ("`sweep.trials`", "3 combinations")),
    "no trials": ({"over": {RATE: [1e-4]}, "trials": 0}, {}, ("`sweep.trials`",)),
    "no time": ({"over": {RATE: [1e-4]}, "max_minutes": 0.0}, {}, ("`sweep.max_minutes`",)),
    "a metric misspelt": ({"over": {RATE: [1e-4]}, "metric": ["exact_macth"]}, {}, ("sweep.metric.0`", "exact_match")),
    "a time as the metric": ({"over": {RATE: [1e-4]}, "metric": ["first_token_p50"]}, {}, ("sweep.metric.0`", "not measured")),
    "no metric": ({"over": {RATE: [1e-4]}, "metric": []}, {}, ("`sweep.metric`", "at least 1")),
    "a key of the sweep misspelt": ({"over": {RATE: [1e-4]}, "metrics": ["exact_match"]}, {}, ("sweep.metrics", "`metric`")),
    "no dev": ({"over": {RATE: [1e-4]}}, {"dev": ""}, ("`sweep`", "needs `dev`")),
    "a temperature of recorded answers": (
        {"over": {"teacher.temperature": [1.0]}},
        {"teacher": {**SETTINGS["teacher"], "kind": "recorded"}},
        ("teacher.temperature`", "no distribution"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(REFUSED))
def test_a_sweep_that_cannot_be_is_one_line_with_file_line_and_key(kind: str) -> None:
    sweep, changes, named = REFUSED[kind]
    text = yaml.safe_dump({**SETTINGS, **changes, "sweep": sweep}, sort_keys=False)
    begins = 1 + text.splitlines().index("sweep:")
    with pytest.raises(BadInputError) as refused:
        read(sweep, **changes)
    told = str(refused.value)
    assert refused.value.exit_code == 2
    assert "\n" not in told
    place, line, *_ = told.split(":")
    assert place == "distill.yaml"
    assert begins <= int(line) <= len(text.splitlines())
    for words in named:
        assert words in told, told


# --- no path to the holdout


def test_the_project_of_the_trials_has_no_holdout_and_no_suites(tmp_path: Path) -> None:
    whole = read({"over": {"student.layers": [1]}}, labels="data/labels.jsonl")
    blind = tuning_project(Project(ProjectLayout(tmp_path), whole))
    named = str(with_values(blind.settings, {"student.layers": 1}).model_dump())
    assert "holdout.jsonl" in str(whole.model_dump())
    for path in ("holdout.jsonl", "hazardous.jsonl", "benign.jsonl", "labels.jsonl"):
        assert path not in named
    with pytest.raises(MissingFileError):
        blind.seal()


# --- dev in halves


@FEW
@given(st.sets(st.text("abc", min_size=1, max_size=4), min_size=2, max_size=12), st.integers(0, 3))
def test_halves_are_as_large_as_they_can_be_and_know_no_order(units: set[str], seed: int) -> None:
    found = halves(units, seed)
    assert list(found) == list(halves(set(sorted(units, reverse=True)), seed))  # noqa: C414 - another order of insertion
    assert abs(sum(found.values()) * 2 - len(units)) <= 1


LABELS = ("a", "b", "c")


def case(number: int, label: str, group: str = "") -> Case:
    return Case(f"d-{number}", "dev", ({"role": "user", "content": "x"},), {"intent": label}, cluster=group or f"c-{number}")


def answer(scores: Sequence[float]) -> dict[str, Any]:
    return {"text": "{}", "tokens": [1], "decisions": {"intent": dict(zip(LABELS, scores, strict=True))}}


@FEW
@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.lists(st.floats(-4, 0), min_size=3, max_size=3)), min_size=4, max_size=8),
    st.permutations(LABELS),
)
def test_a_case_is_never_read_at_a_temperature_that_its_own_half_was_fitted_on(
    rows: list[tuple[str, list[float]]], others: list[str]
) -> None:
    folds = [number % 2 for number in range(len(rows))]
    answers = [answer(log_softmax(scores).tolist()) for _, scores in rows]
    cases = [case(n, label) for n, (label, _) in enumerate(rows)]
    # Half 0 gets other labels: its own temperature must not move.
    renamed = dict(zip(LABELS, others, strict=True))
    changed = [case(n, renamed[label] if n % 2 == 0 else label) for n, (label, _) in enumerate(rows)]
    heated, fitted = cross_fitted(cases, folds, answers, ["intent"])
    again, refitted = cross_fitted(changed, folds, answers, ["intent"])
    assert fitted["intent"][0] == refitted["intent"][0]
    for fold, before, one, other in zip(folds, answers, heated, again, strict=True):
        assert not isinstance(one, Failed)
        assert not isinstance(other, Failed)
        assert one["raw"] == before["decisions"]
        if fold == 0:
            assert one == other
        expected = log_softmax(np.array(list(before["decisions"]["intent"].values())) / fitted["intent"][fold])
        assert list(one["decisions"]["intent"].values()) == pytest.approx(expected.tolist())


def test_failed_answers_are_passed_through_and_fit_nothing() -> None:
    failed = Failed("RuntimeError")
    cases, folds = [case(0, "a"), case(1, "b")], [0, 1]
    heated, fitted = cross_fitted(cases, folds, [failed, answer([-1.0, -1.0, -1.0])], ["intent"])
    assert heated[0] is failed
    assert fitted["intent"][1] == 1.0


# --- the best


def trial(name: str, right: Sequence[int], sure: float = 0.9, stopped: str = "") -> Trial:
    logp = {"a": math.log(sure), "b": math.log(1 - sure)}
    results = tuple(
        CaseResult(
            subject=name, dataset="d", case=f"d-{n}", suite="dev", cluster=f"c-{n}", slices=(), status="ok",
            scores={"exact_match": float(hit)},
            decisions=(FieldDecision("intent", "a", sure, bool(hit), "a" if hit else "b", logp),),
        )
        for n, hit in enumerate(right)
    )  # fmt: skip
    facts = {"parameters": 10, "layers": 1, "temperature": {}, "seconds": 1.0, "stopped": stopped}
    return Trial(name, () if stopped else results, facts)


def summed(trials: Sequence[Trial], metric: Sequence[str], planned: int = 0) -> dict[str, Any]:
    layers = list(range(1, max(len(trials), planned) + 2))
    whole = read({"over": {"student.layers": layers}, "metric": list(metric)})
    cases = tuple(case(n, "a") for n in range(len(trials[0].results)))
    plan = candidates(whole)
    assert whole.sweep is not None
    dev = Dev(cases, tuple(n % 2 for n in range(len(cases))))
    return _summed_up(whole, whole.sweep, plan[: planned or len(trials)], trials, dev)


SOME, MORE = [1, 1, 0, 0, 0, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1, 0, 1, 1, 0]


def test_the_best_is_told_with_its_interval_and_against_the_runner_up_and_the_file_as_it_stands() -> None:
    found = summed([trial("a", SOME), trial("b", MORE), trial("c", [*MORE[:3], 0, *MORE[4:]])], ["exact_match"])
    assert [row["rank"] for row in found["trials"]] == [3, 1, 2]
    best = found["best"]
    assert best["trial"] == 1
    level = found["trials"][1]["measured"][0]
    assert level["low"] < level["value"] == 0.7 < level["high"]
    assert [(d["to"], round(d["value"], 9)) for d in best["differences"]] == [(2, 0.1), (0, 0.4)]
    assert all(d["low"] < d["value"] < d["high"] for d in best["differences"])
    assert yaml.safe_load(best["lines"]) == {"student": {"layers": found["trials"][1]["values"]["student.layers"]}}
    assert "dev does not tell them apart" in swept_difference(best["differences"][0], 1)


def test_that_many_were_tried_is_said_beside_the_best() -> None:
    found = summed([trial("a", SOME), trial("b", MORE)], ["exact_match"], planned=5)
    assert "2 settings were tried on the same 10 cases" in found["caution"]
    assert "optimistic" in found["caution"]
    assert "3 more were planned" in found["caution"]
    assert (found["planned"], found["tried"]) == (5, 2)


def test_a_later_metric_decides_only_between_equals() -> None:
    # Better likelihood, fewer right: the first metric decides.
    first = summed([trial("a", SOME, 0.5), trial("b", MORE, 0.99)], ["exact_match", "nll.intent"])
    assert first["best"]["trial"] == 1
    # As many right: the surer one is wrong more dearly.
    tie = summed([trial("a", SOME, 0.99), trial("b", SOME, 0.6)], ["exact_match", "nll.intent"])
    assert tie["best"]["trial"] == 1
    # Less is better of a loss, as the only metric too.
    assert summed([trial("a", SOME, 0.6), trial("b", SOME, 0.99)], ["nll.intent"])["best"]["trial"] == 0


def test_of_equals_the_file_as_it_stands_is_best_and_needs_no_lines() -> None:
    found = summed([trial("a", SOME), trial("b", SOME)], ["exact_match"])
    assert (found["best"]["trial"], found["best"]["lines"]) == (0, "")


def test_a_training_that_stopped_is_a_trial_without_a_rank() -> None:
    found = summed([trial("a", SOME), trial("b", SOME, stopped="the loss is not finite")], ["exact_match"])
    assert [row["rank"] for row in found["trials"]] == [1, None]
    assert found["best"]["differences"] == []
    assert found["tried"] == 2
    assert sweep_table(found).row_count == 2


# --- how long, and how far


class Ready:
    """Trials that were run before."""

    def __init__(self, *trials: Trial) -> None:
        self.left = list(trials)

    def run(self, values: Mapping[str, Any], progress: Any) -> Trial:
        return self.left.pop(0)


def tried(trials: Sequence[Trial], **asked: Any) -> list[Trial]:
    wanted = read({"over": {"student.layers": [1]}, **asked}).sweep
    assert wanted is not None
    ready: Any = Ready(*trials)
    return _tried(ready, wanted, [{} for _ in trials], Prepared(NoProgress()))


def test_no_trial_is_begun_when_the_time_is_over_but_the_first() -> None:
    # Each took a second; what was read from the cache counts too, so that a resumed sweep ends where it would have ended.
    four = [trial(name, SOME) for name in "abcd"]
    assert len(tried(four)) == 4
    assert len(tried(four, max_minutes=2.5 / 60)) == 3
    assert len(tried(four, max_minutes=1e-6)) == 1


def test_a_metric_without_a_case_on_dev_ends_the_sweep_at_its_first_trial() -> None:
    ready = [trial("a", SOME, stopped="the loss is not finite"), trial("b", SOME), trial("c", SOME)]
    with pytest.raises(BadInputError, match=r"sweep\.metric: `rouge_l` has no case on dev"):
        tried(ready, metric=["exact_match", "rouge_l"])


def test_where_every_training_stops_nothing_is_best() -> None:
    with pytest.raises(BadInputError, match="every trial stopped"):
        tried([trial(name, SOME, stopped="the loss is not finite") for name in "ab"])
