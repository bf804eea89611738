"""The pieces of benchmarks/lifecycle.py on a tiny project; the whole of it takes the real teacher."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from distill_gov.records.layout import ProjectLayout
from distill_gov.records.manifest import read_manifest
from tests.benchmarks import load_benchmark
from tests.end_to_end.conftest import Finished


@pytest.fixture(scope="module")
def lifecycle(repository: Path) -> ModuleType:
    return load_benchmark(repository, "lifecycle")


def test_a_stage_is_a_process_of_its_own_with_its_own_peak(lifecycle: ModuleType, fresh: Path) -> None:
    good, bad = lifecycle.ran("seal", "-C", str(fresh)), lifecycle.ran("verify", "-C", str(fresh))
    assert (good.exit, bad.exit) == (0, 2)
    assert good.seconds > 0
    assert good.peak_mib > 10


def test_a_stage_that_ends_otherwise_ends_the_pass(lifecycle: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="seal ended with 2"):
        lifecycle.run_pass(tmp_path)


def test_tokens_per_second_of_everything_that_writes_or_reads_some(lifecycle: ModuleType, finished: Finished) -> None:
    cache = ProjectLayout(finished.root).cache
    stored = [json.loads(p.read_text("utf-8"))["results"] for p in (cache / "write").rglob("*.json")]
    everything = sum(len(result["tokens"]) for results in stored for result in results)
    assert lifecycle.kept_tokens(finished.root, "write") == everything > 0
    assert lifecycle.kept_tokens(finished.root, "score") > 0
    found = lifecycle.rates(finished.root, 1000)
    run = ProjectLayout(finished.root).run("r1")
    seconds = {s: t for stage in lifecycle.STAGES for s, t in read_manifest(run.manifest(stage)).seconds.items()}
    assert all(rate > 0 for rate in found.values())
    quick = {step for step, n in seconds.items() if n == 0}  # too quick for a rate
    wanted = {"teacher answers", "teacher scores", "training", "student: holdout", "student: format", "teacher: holdout"}
    assert wanted - quick <= found.keys()
    assert found["teacher answers"] == pytest.approx(1000 / seconds["teacher answers"], abs=0.1)


def test_the_second_pass_finds_what_the_teacher_did_and_nothing_else(
    lifecycle: ModuleType, finished: Finished, sealed: Path, tmp_path: Path
) -> None:
    root = tmp_path / "again"
    shutil.copytree(sealed, root)
    (root / ".distill-gov" / "keys" / "root.key").write_text("00" * 32 + "\n", "ascii")
    lifecycle.with_the_teachers_work(finished.root, root)
    old, new = ProjectLayout(finished.root), ProjectLayout(root)
    assert (new.keys / "root.key").read_bytes() == (old.keys / "root.key").read_bytes()
    assert {p.name for p in new.cache.iterdir()} == {"features", "decide", "write", "score"}
    assert lifecycle.kept_tokens(root, "write") == lifecycle.kept_tokens(finished.root, "write")


def test_a_pass_runs_every_stage_and_counts_the_teachers_answers_after_the_build(
    lifecycle: ModuleType, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage as the command line is called; that commands work is tested elsewhere, in one process."""
    called: list[tuple[str, ...]] = []

    def ran(*arguments: str) -> Any:
        called.append(arguments)
        return lifecycle.Ran(exit=1 if arguments[0] == "demo" else 0, seconds=2.0, peak_mib=3 * len(called))

    monkeypatch.setattr(lifecycle, "ran", ran)
    monkeypatch.setattr(lifecycle, "kept_tokens", lambda _, kind: 7 * len(called))
    root = str(finished.root)
    found, answered = lifecycle.run_pass(finished.root, ("demo", root))
    assert called == [(stage, "-C", root) for stage in ("seal", "build", "train", "evaluate")] + [("demo", root)]
    assert (answered, found["demo"].exit, found["evaluate"].peak_mib) == (14, 1, 12)
    stages = {name: asdict(stage) for name, stage in found.items()}
    told = {"machine": "here", "fresh_s": 10.0, "teacher_cached_s": 5.0, "ratio": 0.5, "tokens_per_s": {"training": 150.0}}
    shown = lifecycle.show({**told, "stages_fresh": stages, "stages_teacher_cached": stages})
    assert re.search(r"evaluate +2\.0 s +peak +12 MiB +exit 0", shown)
    assert re.search(r"training +150\.0", shown)
