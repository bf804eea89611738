import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evals.texts
from evals.metrics.values import same_value

pytest.importorskip("evaluate")

METRICS = Path(importlib.util.find_spec("evals.metrics").origin).parent

# In a process of its own: `evaluate` reads these variables once, when it is imported.
CODE = """
import json, socket, sys
def never(*args, **kwargs):
    raise AssertionError("a socket was opened")
socket.socket.connect = never
import evaluate
folder, schema = sys.argv[1:]
print(json.dumps([
    evaluate.load(folder + "/exact_match_fields.py").compute(
        predictions=['{"a": "x", "b": "1"}', "nope"], references=['{"a": "x"}', '{"a": "y"}']),
    evaluate.load(folder + "/calibration_error.py").compute(predictions=[1.0] * 4, references=[0] * 4),
    evaluate.load(folder + "/schema_validity.py").compute(predictions=["{}", "[]", "x", "{}"], schema=schema),
    evaluate.load(folder + "/field_accuracy.py").compute(
        predictions=['{"a": "x", "b": "1"}', "nope"], references=['{"a": "x", "b": "2"}', '{"a": "y"}']),
    evaluate.load(folder + "/macro_f1.py").compute(predictions=["a", "b", ""], references=["a", "b", "b"]),
    *(evaluate.load(folder + "/" + name + ".py").compute(
        predictions=["police kill the gunman"], references=["Police killed the gunman."])
      for name in ("token_f1", "rouge_l", "chrf")),
]))
"""


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}))
    return path


def test_they_load_offline_by_path(tmp_path, schema):
    import os

    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(METRICS), str(schema)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    exact, calibration, validity, fields, macro, *texts = json.loads(done.stdout.splitlines()[-1])
    assert exact == {"exact_match_fields": 0.5}
    assert calibration == {"calibration_error": 1.0}
    assert validity == {"schema_validity": 0.5, "errors": {"type": 1, "fenced_or_prose": 1}}
    assert fields == {"accuracy.a": 0.5, "accuracy.b": 0.0}
    assert macro == {"macro_f1": pytest.approx((1 + 2 / 3) / 2)}
    assert texts == [
        {name: getattr(evals.texts, name)("police kill the gunman", "Police killed the gunman.")}
        for name in ("token_f1", "rouge_l", "chrf")
    ]


def test_they_are_thin_over_the_functions(monkeypatch, tmp_path):
    from evals.calibration import calibration_error
    from evals.metrics import CalibrationError, ExactMatchFields

    rng = np.random.default_rng(0)
    confidence = rng.random(50)
    correct = (rng.random(50) < confidence).astype(int)
    metric = CalibrationError(cache_dir=str(tmp_path))
    expected = calibration_error(confidence, correct.astype(float), 3)
    found = metric.compute(predictions=confidence, references=correct, bins=3)
    assert found["calibration_error"] == pytest.approx(expected)
    match = ExactMatchFields(cache_dir=str(tmp_path))
    rows = {"predictions": ['{"a": "x", "b": 1}'], "references": ['{"a": "x", "b": 2}']}
    assert match.compute(**rows, fields=["a"]) == {"exact_match_fields": 1.0}
    assert match.compute(**rows) == {"exact_match_fields": 0.0}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("CalibrationError", {"predictions": [], "references": []}),
        ("CalibrationError", {"predictions": [1.5], "references": [1]}),
        ("CalibrationError", {"predictions": [float("nan")], "references": [1]}),
        ("CalibrationError", {"predictions": [0.5], "references": [2]}),
        ("ExactMatchFields", {"predictions": [], "references": []}),
        ("ExactMatchFields", {"predictions": ["{}"], "references": ["no"]}),
        ("ExactMatchFields", {"predictions": ["{}"], "references": ["{}"]}),
        ("ExactMatchFields", {"predictions": ["{}"], "references": ['{"a": 1}'], "fields": ["b"]}),
        ("SchemaValidity", {"predictions": [], "schema": "x"}),
        ("FieldAccuracy", {"predictions": [], "references": []}),
        ("FieldAccuracy", {"predictions": ["{}"], "references": ["no"]}),
        ("FieldAccuracy", {"predictions": ["{}"], "references": ["{}"]}),
        ("FieldAccuracy", {"predictions": ["{}"], "references": ['{"a": 1}'], "fields": ["b"]}),
        ("MacroF1", {"predictions": [], "references": []}),
        ("MacroF1", {"predictions": ["a"], "references": ["a", "b"]}),
        ("MacroF1", {"predictions": ["a"], "references": ["a"], "labels": ["a", "b"]}),
        ("MacroF1", {"predictions": ["a"], "references": ["a"], "labels": []}),
        ("TokenF1", {"predictions": [], "references": []}),
        ("TokenF1", {"predictions": ["a"], "references": ["a", "b"]}),
        ("RougeL", {"predictions": [], "references": []}),
        ("Chrf", {"predictions": [], "references": []}),
    ],
)
def test_what_is_undefined_is_an_error(name, arguments):
    import evals.metrics

    with pytest.raises(ValueError):
        getattr(evals.metrics, name)()._compute(**arguments)


@pytest.mark.parametrize("name", ["Chrf", "ExactMatchFields", "FieldAccuracy", "MacroF1", "RougeL", "TokenF1"])
def test_no_predictions_are_an_error_through_the_public_way_too(name, tmp_path):
    import evals.metrics

    with pytest.raises(ValueError, match="undefined"):
        getattr(evals.metrics, name)(cache_dir=str(tmp_path)).compute(predictions=[], references=[])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c", ""])), min_size=1, max_size=40))
def test_macro_f1_is_scikit_learns(pairs):
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    from evals.metrics import MacroF1

    references, predictions = map(list, zip(*pairs, strict=True))
    expected = f1_score(references, predictions, labels=sorted(set(references)), average="macro", zero_division=0)
    assert MacroF1()._compute(predictions, references)["macro_f1"] == pytest.approx(expected)


def test_true_is_not_one():
    from evals.metrics import ExactMatchFields, FieldAccuracy

    pair = (['{"a": true, "b": 1.0}'], ['{"a": 1, "b": 1}'])
    assert ExactMatchFields()._compute(*pair) == {"exact_match_fields": 0.0}
    assert FieldAccuracy()._compute(*pair) == {"accuracy.a": 0.0, "accuracy.b": 1.0}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@given(JSON, JSON)
def test_values_are_the_same_where_their_texts_are(one, other):
    assert same_value(one, other) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
