"""The pieces of benchmarks/train_step.py on a tiny model; TRL itself is no part of the tests."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from evals.models.local import load_model
from tests import tiny
from tests.benchmarks import load_benchmark


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    return load_benchmark(repository, "train_step")


@pytest.fixture(scope="module")
def job(bench: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("step")
    teacher = tiny.save(root / "teacher", layers=7)
    return bench.Job(str(teacher), str(root / "student"), str(root / "targets"), batch=3, steps=2, threads=1)


def test_examples_are_of_one_length_and_all_different(bench: ModuleType) -> None:
    cuts = bench.examples(lambda text: [ord(c) for c in text], 1, 2, 40)
    assert {len(c.prompt) + len(c.answer) for c in cuts} == {bench.LENGTH}
    sizes = [len(c.answer) for c in cuts]
    assert (min(sizes), max(sizes)) == (bench.SHORTEST, bench.LONGEST)
    assert all(c.prompt[0] == c.prompt[-1] == 1 and c.answer[-1] == 2 for c in cuts)
    assert len({(c.prompt, c.answer) for c in cuts}) == len({c.id for c in cuts}) == 40
    assert cuts == bench.examples(lambda text: [ord(c) for c in text], 1, 2, 40)


def test_ours_minimises_what_trl_does(bench: ModuleType, job: Any) -> None:
    captured = bench.work("capture", job)
    assert captured["losses"] == []
    assert len(captured["seconds"]) == 1
    online, cached = bench.work("online", job), bench.work("cache", job)
    batch = [
        {"input_ids": [*c.prompt, *c.answer], "labels": [-100] * len(c.prompt) + list(c.answer)} for c in bench.cut_for(job)
    ]
    given = bench.collate(batch[: job.batch])
    student, teacher = load_model(Path(job.student)), load_model(Path(job.teacher))
    assert student.config.num_hidden_layers == bench.LAYERS
    with torch.no_grad():
        # TRL's `compute_loss` and `generalized_jsd_loss` at beta 0, as their text has it.
        q, p = (
            (model(input_ids=given["input_ids"]).logits[:, :-1] / bench.TEMPERATURE).log_softmax(-1)
            for model in (student, teacher)
        )
        taught = given["labels"][:, 1:] != -100
        theirs = float((p.exp() * (p - q)).sum(-1)[taught].mean())
    assert online["losses"][0] == pytest.approx(theirs, rel=1e-5)
    assert len(online["losses"]) == len(online["seconds"]) == job.steps
    assert online["losses"][1] != online["losses"][0], "the weights moved, or the batch did"
    assert 0 < cached["losses"][0] < theirs
    found = bench.objective({"trl": {**online, "losses": [theirs, online["losses"][1]]}, "online": online, "cache": cached})
    assert found["ok"]


@pytest.mark.parametrize(
    ("online", "cache", "ok"),
    [
        ([2.0, 1.0], [1.9, 1.0], True),
        ([2.0, 1.002], [1.9, 1.0], False),
        ([2.0, float("nan")], [1.9, 1.0], False),
        ([2.0, 1.0], [2.1, 1.0], False),
        ([2.0, 1.0], [float("nan"), 1.0], False),
    ],
)
def test_another_objective_is_noticed(bench: ModuleType, online: list[float], cache: list[float], ok: bool) -> None:
    ways = {"trl": {"losses": [2.0, 1.0]}, "online": {"losses": online}, "cache": {"losses": cache}}
    assert bench.objective(ways)["ok"] is ok


def run(seconds: float, peak: float) -> dict[str, Any]:
    return {"seconds": [9.0, seconds, seconds], "cpu": [9.0, seconds, seconds], "peak_mib": peak, "losses": [2.0, 1.0, 0.5]}


def test_ratios_leave_the_warm_up_out_and_bars_bite(bench: ModuleType, job: Any) -> None:
    runs = {"trl": [run(6.0, 4000.0)], "online": [run(4.0, 1900.0)], "cache": [run(2.0, 1900.0)]}
    found = bench.compared(runs, job, 1)
    assert found["ways"]["cache"]["speed_ratio"] == pytest.approx(3.0)
    assert found["ways"]["online"]["tokens_per_s"] == pytest.approx(3 * bench.LENGTH / 4)
    assert all(found["bars"].values())
    for way, worse in (
        ("cache", run(2.1, 1900.0)),
        ("cache", run(2.0, 2100.0)),
        ("online", run(4.7, 1.0)),
        ("online", run(1.0, 2100.0)),
    ):
        missed = bench.compared({**runs, way: [worse]}, job, 1)["bars"]
        assert [name.startswith(way) for name, met in missed.items() if not met] == [True]
    told = {
        "machine": "here", "date": "2026-11-26", "load": 1.0, "batch": 3, "threads": 1, "steps": 2, "rounds": 1,
        "versions": dict.fromkeys(("trl", "torch", "transformers"), "1.16.0"), "trl_loss_temperature": 1.0,
        "capture": {"seconds": 3.0, "peak_mib": 900.0, "bytes_per_token": 110.0}, **found,
    }  # fmt: skip
    shown = bench.show(told)
    assert "same objective: yes" in shown
    assert "MISSED" not in shown
    assert "told temperature 2, is at 1" in shown
