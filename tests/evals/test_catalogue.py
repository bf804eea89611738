import math
import subprocess
import sys

import pytest

from distill_gov.records.errors import UnknownKeyError
from evals.catalogue import CONTRADICTIONS, METHODS, NOTES, lookup, metric_names


@pytest.mark.parametrize("name", [name.replace("<field>", "intent") for name in metric_names()])
def test_every_entry_is_whole(name):
    metric = lookup(name)
    assert metric.name == name
    low, high = metric.range
    assert low < high
    assert {metric.worst, metric.best} == {low, high}
    assert metric.worst == (low if metric.direction == "higher" else high)
    assert metric.min_n >= 1
    assert metric.estimand
    assert metric.why
    assert metric.unit
    assert metric.methods["level"]
    allowed = (*metric.methods["level"], *metric.methods["difference"])
    assert METHODS.keys() >= set(allowed)
    # Within a point of nominal where a gate uses it, or it says how far off it is and where.
    assert all(METHODS[method].short_by <= 0.01 or "%" in METHODS[method].coverage for method in allowed)
    assert not {"wilson", "pivotal"} & set(allowed)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name):
    method = METHODS[name]
    assert method.name == name
    assert method.words
    assert method.source
    assert method.coverage
    assert 0 <= method.short_by < 1


def test_methods_that_know_clusters():
    knowing = {name for name, method in METHODS.items() if not method.independent}
    assert knowing == {"korn_graubard", "bootstrap", "pivotal", "bca", "permutation", "alpha_bootstrap"}


def test_a_field_makes_the_metric():
    assert lookup("accuracy.intent").field == "intent"
    assert lookup("calibration_error.urgency").field == "urgency"
    assert "accuracy.<field>" in metric_names()


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("acuracy.intent", "accuracy.intent"),
        ("violation_rat", "violation_rate"),
        ("exact-match", "exact_match"),
        ("calibration_eror.urgency", "calibration_error.urgency"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(wrong, nearest):
    with pytest.raises(UnknownKeyError) as caught:
        lookup(wrong)
    assert f"`{nearest}`" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["accuracy", "accuracy.", "accuracy.a b", "accuracy..intent"])
def test_a_family_needs_a_field(name):
    with pytest.raises(UnknownKeyError, match="needs a decision field"):
        lookup(name)


def test_the_empty_name_is_refused():
    with pytest.raises(UnknownKeyError):
        lookup("")


def test_contradictions_are_notes():
    assert set(NOTES) >= CONTRADICTIONS


def test_latency_is_open_above():
    assert lookup("last_token_p95").range == (0.0, math.inf)
    assert lookup("last_token_p95").quantile == 0.95


def test_importing_imports_nothing_heavy():
    code = (
        "import sys, evals, evals.metrics, evals.catalogue, evals.evidence, evals.measuring, evals.score, evals.holdout\n"
        "heavy = {'torch', 'transformers', 'presidio_analyzer', 'spacy', 'streamlit', 'evaluate', 'datasets', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_exported_is_there():
    import evals

    assert all(getattr(evals, name) is not None for name in evals.__all__)
    with pytest.raises(AttributeError):
        _ = evals.nothing
