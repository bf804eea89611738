"""Results of lm-evaluation-harness, in its format (0.4.13), with invented content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    HashMismatchError,
    IntegrityError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
)
from evals.evidence import MeasurementRequest, Subject
from evals.imported import read_harness
from evals.measuring import measure

SUBJECT = Subject("student", "student", "m", "p", "t", "free", "lm-eval 0.4.13", declared=True)
DATE = "2026-11-26T10-00-00.000000"
CHOICES = ["a teapot", "two kettles", "rain"]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def choice_sample(number: int, weights: list[float], gold: int, choices: list[str] = CHOICES) -> dict[str, Any]:
    doc = {"question": f"What is in box {number}? é", "choices": choices, "gold": gold}
    prompt = f"Box {number}:"
    best = weights.index(max(weights))
    norm = [w / len(c) for w, c in zip(weights, choices, strict=True)]
    return {
        "doc_id": number,
        "doc": doc,
        "target": str(gold),
        "arguments": {f"gen_args_{i}": {"arg_0": prompt, "arg_1": f" {c}"} for i, c in enumerate(choices)},
        "resps": [[[str(w), "False"]] for w in weights],
        "filtered_resps": [[str(w), "False"] for w in weights],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(prompt),
        "target_hash": sha(str(gold)),
        "acc": float(best == gold),
        "acc_norm": float(norm.index(max(norm)) == gold),
    }


def text_sample(number: int, said: str, target: str, filter: str = "none") -> dict[str, Any]:
    doc = {"question": f"Say {target}", "target": target}
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": doc["question"], "arg_1": {"until": [], "do_sample": False}}},
        "resps": [[said]],
        "filtered_resps": [said],
        "filter": filter,
        "metrics": ["exact_match", "bleu"],
        "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(doc["question"]),
        "target_hash": sha(target),
        "exact_match": float(said == target),
        "bleu": [target, said],
    }


def figures(samples: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": "x", "sample_len": len(samples)}
    for filter in {s["filter"] for s in samples}:
        rows = [s for s in samples if s["filter"] == filter]
        for name in rows[0]["metrics"]:
            values = [row[name] for row in rows]
            numbers = all(isinstance(v, float) for v in values)
            found[f"{name},{filter}"] = sum(values) / len(values) if numbers else 12.5
            found[f"{name}_stderr,{filter}"] = "N/A"
    return found


def write(directory: Path, tasks: dict[str, list[dict[str, Any]]], change: Callable[[Any], None] = lambda told: None) -> Path:
    told: dict[str, Any] = {
        "results": {},
        "configs": {},
        "n-samples": {},
        "lm_eval_version": "0.4.13",
        "config": {"limit": None},
    }
    for name, samples in tasks.items():
        count = len({s["doc_id"] for s in samples})
        kind = "generate_until" if "gen_args_1" not in samples[0]["arguments"] else "multiple_choice"
        told["results"][name] = figures(samples)
        told["configs"][name] = {"task": name, "output_type": kind, "target_delimiter": " "}
        told["n-samples"][name] = {"original": count, "effective": count}
        (directory / f"samples_{name}_{DATE}.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples), "utf-8")
    change(told)
    path = directory / f"results_{DATE}.json"
    path.write_text(json.dumps(told), "utf-8")
    return path


def boxes(count: int = 4) -> list[dict[str, Any]]:
    return [choice_sample(n, [-3.0 - n, -4.5, -6.0], n % 3) for n in range(count)]


def said(count: int = 4) -> list[dict[str, Any]]:
    return [text_sample(n, "yes" if n % 2 else "no", "yes") for n in range(count)]


def test_samples_become_decisions(tmp_path: Path) -> None:
    found = read_harness(write(tmp_path, {"boxes": boxes(), "words": said()}), SUBJECT)
    assert {name: len(rows) for name, rows in found.items()} == {"boxes": 4, "words": 4}
    first = found["boxes"][0]
    assert (first.provenance, first.status, first.scores, first.output) == ("imported", "ok", {}, "")
    assert first.subject == SUBJECT.digest
    choice, per_byte = first.decisions
    assert (choice.field, choice.predicted, choice.reference, choice.correct) == ("choice", "a teapot", "a teapot", True)
    weights = [-3.0, -4.5, -6.0]
    assert choice.confidence == pytest.approx(math.exp(-3.0) / sum(map(math.exp, weights)))
    assert (per_byte.field, per_byte.predicted) == ("choice_per_byte", "a teapot")
    assert [(d.field, d.correct, d.confidence) for r in found["words"] for d in r.decisions] == [
        ("sequence", n % 2 == 1, None) for n in range(4)
    ]
    assert len({r.case for rows in found.values() for r in rows}) == 8


def test_order_of_lines_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = read_harness(write(tmp_path / "a", {"boxes": boxes()}), SUBJECT)
    assert one == read_harness(write(tmp_path / "b", {"boxes": boxes()[::-1]}), SUBJECT)


def test_what_the_harness_lacks_has_no_number(tmp_path: Path) -> None:
    rows = read_harness(write(tmp_path, {"boxes": boxes(60)}), SUBJECT)["boxes"]
    planned = {"boxes": {r.case for r in rows}}

    def measured(metric: str, method: str) -> Any:
        request = MeasurementRequest(metric, "boxes", None, "student", None, "level", method, 0.95, "lower")
        return measure({"student": rows}, [request], planned)[0]

    for metric in ("schema_validity", "pii_leak_rate", "violation_rate"):
        missing = measured(metric, "clopper_pearson")
        assert missing.value is None
        assert missing.note
    known = measured("accuracy.choice", "clopper_pearson")
    assert known.value == pytest.approx(sum(r.decisions[0].correct is True for r in rows) / 60)
    assert known.provenance == ("imported",)


def test_a_target_may_be_the_choice_itself(tmp_path: Path) -> None:
    samples = boxes()
    for sample in samples:
        sample["target"] = CHOICES[int(sample["target"])]
        sample["target_hash"] = sha(sample["target"])
    assert [r.decisions[0].reference for r in read_harness(write(tmp_path, {"boxes": samples}), SUBJECT)["boxes"]] == [
        CHOICES[n % 3] for n in range(4)
    ]


def test_hashes_are_held_where_they_were_recorded(tmp_path: Path) -> None:
    samples = boxes()
    for key in ("doc_hash", "prompt_hash", "target_hash"):
        for sample in samples:
            del sample[key]
    assert len(read_harness(write(tmp_path, {"boxes": samples}), SUBJECT)["boxes"]) == 4


def test_one_of_several_filters(tmp_path: Path) -> None:
    path = write(tmp_path, {"words": [*said(), *(text_sample(n, "yes", "yes", "strict") for n in range(4))]})
    assert all(r.decisions[0].correct for r in read_harness(path, SUBJECT, filter="strict")["words"])
    with pytest.raises(BadInputError, match="none is chosen"):
        read_harness(path, SUBJECT)
    with pytest.raises(BadInputError, match="no filter `loose`"):
        read_harness(path, SUBJECT, filter="loose")


def _edited(key: str, value: Any, number: int = 1) -> Callable[[list[dict[str, Any]]], None]:
    def edit(samples: list[dict[str, Any]]) -> None:
        samples[number][key] = value

    return edit


BROKEN: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], type[DistillGovError]]] = {
    "twice": (lambda s: s.append(dict(s[0])), DuplicateIdError),
    "missing": (lambda s: s.pop(), IntegrityError),
    "document": (lambda s: s[1]["doc"].update(question="another"), HashMismatchError),
    "prompt": (lambda s: [a.update(arg_0="another") for a in s[1]["arguments"].values()], HashMismatchError),
    "target": (_edited("target", "2"), HashMismatchError),
    "two prompts": (lambda s: s[1]["arguments"]["gen_args_0"].update(arg_0="another"), MalformedFileError),
    "score": (_edited("acc", 1.0, 0), IntegrityError),
    "score of words": (_edited("acc", "1.0"), MalformedFileError),
    "true": (_edited("acc", True), MalformedFileError),
    "null": (_edited("acc", None), MalformedFileError),
    "nan": (_edited("acc", math.nan), MalformedFileError),
    "weights": (_edited("filtered_resps", [["-1", "False"]]), MalformedFileError),
    "nan weight": (_edited("filtered_resps", [["nan", "x"], ["-1", "x"], ["-2", "x"]]), MalformedFileError),
    "positive weight": (_edited("filtered_resps", [["1", "x"], ["-1", "x"], ["-2", "x"]]), MalformedFileError),
    "other weights": (lambda s: s[0].update(filtered_resps=[["-1", "x"], ["-9", "x"], ["-9", "x"]]), IntegrityError),
    "doc_id": (_edited("doc_id", True), MalformedFileError),
    "arguments": (_edited("arguments", {"gen_args_1": {}}), MalformedFileError),
    "metrics": (_edited("metrics", "acc"), MalformedFileError),
    "a score less": (_edited("metrics", ["acc_norm"]), IntegrityError),
    "no filter": (_edited("filter", None), MalformedFileError),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_samples_are_named(how: str, tmp_path: Path) -> None:
    edit, error = BROKEN[how]
    samples = boxes(4)
    samples[0] = choice_sample(0, [-5.0, -1.0, -9.0], 0)  # wrong, so that a score of 1 is a lie
    path = write(tmp_path, {"boxes": samples})
    edit(samples)
    (tmp_path / f"samples_boxes_{DATE}.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples), "utf-8")
    with pytest.raises(error) as caught:
        read_harness(path, SUBJECT)
    assert "\n" not in str(caught.value)
    assert "teapot" not in str(caught.value)


def _set(*keys: str, value: Any) -> Callable[[Any], None]:
    def change(told: Any) -> None:
        for key in keys[:-1]:
            told = told[key]
        told[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_set("results", "boxes", "acc,none", value=0.9), IntegrityError),
        (_set("results", "boxes", "acc,none", value=None), IntegrityError),
        (_set("results", "boxes", "acc,none", value=True), IntegrityError),
        (_set("results", "boxes", "f1,none", value=0.9), IntegrityError),
        (_set("results", "boxes", "acc,none", value=math.nan), MalformedFileError),
        (_set("n-samples", "boxes", value={"original": 9, "effective": 4}), BadInputError),
        (_set("n-samples", "boxes", value={"original": 5, "effective": 5}), IntegrityError),
        (_set("n-samples", "boxes", value={}), MalformedFileError),
        (_set("n-samples", value={}), MalformedFileError),
        (_set("results", value={}), MalformedFileError),
        (_set("configs", value={}), NothingLeftError),
        (_set("configs", "boxes", "output_type", value="loglikelihood_rolling"), BadInputError),
        (_set("configs", "other", value={"output_type": "multiple_choice"}), MalformedFileError),
    ],
)
def test_an_aggregate_that_is_not_the_samples_is_named(
    change: Callable[[Any], None], error: type[DistillGovError], tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        read_harness(write(tmp_path, {"boxes": boxes()}, change), SUBJECT)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_harness(tmp_path / "results_x.json", SUBJECT)
    path = write(tmp_path, {"boxes": boxes()})
    samples = tmp_path / f"samples_boxes_{DATE}.jsonl"
    samples.write_text("\n")
    with pytest.raises(NothingLeftError):
        read_harness(path, SUBJECT)
    samples.unlink()
    with pytest.raises(MissingFileError):
        read_harness(path, SUBJECT)
    path.write_text("[]")
    with pytest.raises(MalformedFileError):
        read_harness(path, SUBJECT)


def test_a_subject_must_be_declared(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="declared"):
        read_harness(write(tmp_path, {"boxes": boxes()}), Subject("student", "student", "m", "p", "t", "free", "e"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats(-9, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(sorted(set(boxes(1)[0]) - {"resps"}))


@settings(max_examples=60, deadline=None)
@given(KEYS, JSON, st.integers(0, 3))
def test_any_value_in_any_place_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any, number: int
) -> None:
    """A changed sample is refused by name, or is one that says the same."""
    directory = tmp_path_factory.mktemp("any")
    samples = boxes()
    path = write(directory, {"boxes": samples})
    before = read_harness(path, SUBJECT)
    samples[number][key] = value
    (directory / f"samples_boxes_{DATE}.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples), "utf-8")
    try:
        after = read_harness(path, SUBJECT)
    except DistillGovError:
        return
    assert after == before or key == "filtered_resps"
