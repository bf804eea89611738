import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
    exact, calibration, validity = json.loads(done.stdout.splitlines()[-1])
    assert exact == {"exact_match_fields": 0.5}
    assert calibration == {"calibration_error": 1.0}
    assert validity == {"schema_validity": 0.5, "errors": {"type": 1, "fenced_or_prose": 1}}


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
    ],
)
def test_what_is_undefined_is_an_error(name, arguments):
    import evals.metrics

    with pytest.raises(ValueError):
        getattr(evals.metrics, name)()._compute(**arguments)
