"""The pieces of benchmarks/evaluate.py on a tiny model; lm-eval itself is no part of the tests."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from evals.models.local import load_model, load_tokenizer, render_template
from tests.benchmarks import load_benchmark
from tests.tiny import save


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    return load_benchmark(repository, "evaluate")


needs_data = pytest.mark.skipif(
    not (Path(os.environ.get("DISTILL_GOV_DATA", "/none")) / "clinc_oos").is_dir(), reason="no clinc_oos below DISTILL_GOV_DATA"
)


@needs_data
def test_both_sides_get_the_same_documents(bench: ModuleType) -> None:
    choice, text = bench.choice_docs(7), bench.text_docs(7)
    assert len(choice) == len(text) == 7
    assert choice == bench.choice_docs(7)
    for one, other in zip(choice, text, strict=True):
        assert len(set(one["choices"])) == bench.OPTIONS
        assert one["choices"][one["gold"]] == other["target"]
    cases = bench.as_cases("choice", choice)
    assert [c.target for c in cases] == [d["choices"][d["gold"]] for d in choice]
    config = bench.task_config("choice", Path("x.jsonl"))
    assert (config["output_type"], config["target_delimiter"]) == ("multiple_choice", "")


@needs_data
def test_ours_tells_scores_and_what_was_said(bench: ModuleType, tmp_path: Path) -> None:
    save(tmp_path / "tiny", seed=3)
    directory = bench.with_our_template(tmp_path / "tiny", tmp_path / "model")
    assert (directory / "chat_template.jinja").read_text() == render_template()
    local = bench.Recording(load_model(directory), load_tokenizer(directory), max_tokens=4)
    (wall, cpu), scores, said = bench.ours(local, "choice", bench.choice_docs(3), 2)
    assert wall > 0
    assert cpu > 0
    assert scores.keys() == {"acc", "acc_norm"}
    assert [len(row) for row in said] == [bench.OPTIONS] * 3
    _, scores, said = bench.ours(local, "text", bench.text_docs(3), 2)
    assert scores == {"exact_match": 0.0}
    assert all(isinstance(text, str) for text in said)


def test_what_differs_is_not_the_same(bench: ModuleType) -> None:
    assert bench.compared("choice", [[-1.0, -2.0]], [[-1.0, -2.0005]])["same"]
    assert not bench.compared("choice", [[-1.0, -2.0]], [[-1.0, -2.002]])["same"]
    assert not bench.compared("choice", [[-1.0]], [[float("nan")]])["same"]
    assert bench.compared("text", ["a "], ["a"])["same"]
    assert not bench.compared("text", ["a", "b"], ["a", "c"])["same"]


def test_the_table_shows_both_sides(bench: ModuleType) -> None:
    task = {
        "n": 2,
        "ours_s": 1.0,
        "lm_eval_s": 3.0,
        "ratio": 3.0,
        "cpu_ratio": 2.5,
        "ours": {"acc": 0.5},
        "lm_eval": {"acc": 0.5},
    }
    told = {"machine": "here", "date": "2026-11-26", "load": 1, "lm_eval": "0.4.13", "threads": 2, "batch": 16, "rounds": 1}
    shown = bench.show({**told, "tasks": {"choice": {**task, "same": True, "worst_difference": 1e-5}}})
    assert "3.00" in shown
    assert "0.500 / 0.500" in shown
