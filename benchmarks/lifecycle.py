"""Seconds, tokens per second and peak memory of each stage of the demo.

    python benchmarks/lifecycle.py [--dir DIR] [--json]

Runs ``distill-gov demo`` twice in DIR: fresh, then over again with the teacher's work in the cache (a second run name would pay
for training and the student's answers again; the same name does nothing). Ratios are cached to fresh.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from distill_gov.demo import run_demo
from distill_gov.progress import on_stderr
from distill_gov.records.files import read_parquet
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.manifest import read_manifest
from distill_gov.teachers.soft_targets import FORMAT


def _stages(root: Path) -> dict[str, dict[str, float]]:
    run = ProjectLayout(root).run("r1")
    return {stage: dict(read_manifest(run.manifest(stage)).seconds) for stage in ("build", "train", "evaluate")}


def _training_tokens(root: Path) -> int:
    """Supervised tokens of one epoch."""
    shards = sorted((ProjectLayout(root).run("r1").soft_targets).glob("*.parquet"))
    return sum(len(row["token_ids"]) for shard in shards for row in read_parquet(shard, format=FORMAT))


def _once(root: Path) -> tuple[float, int]:
    started = time.perf_counter()
    ended = run_demo(root, progress=on_stderr(), console=Console(stderr=True))
    return time.perf_counter() - started, ended.exit_code


def measure(root: Path) -> dict[str, object]:
    fresh, code = _once(root)
    stages = _stages(root)
    epochs = read_manifest(ProjectLayout(root).run("r1").manifest("train")).settings["epochs"]
    tokens = _training_tokens(root) * epochs
    # Everything but the teacher's cached work is done anew.
    layout = ProjectLayout(root)
    shutil.rmtree(layout.runs)
    layout.ledger.unlink()
    for key in layout.keys.glob("*ratings-*.json"):  # of packets that are gone, sealed in a ledger that is gone
        key.unlink()
    shutil.rmtree(root / ".distill-gov" / "cache" / "subjects", ignore_errors=True)
    for kind in ("grammar", "free"):
        shutil.rmtree(root / ".distill-gov" / "cache" / kind, ignore_errors=True)
    again, _ = _once(root)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "exit": code,
        "fresh_s": round(fresh, 1),
        "teacher_cached_s": round(again, 1),
        "ratio": round(again / fresh, 2),
        "stages_fresh": stages,
        "stages_teacher_cached": _stages(root),
        "supervised_tokens_per_s_training": round(tokens / stages["train"]["training"], 1),
        "peak_memory_one_process_mib": peak // 1024,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, help="where to (default: a temporary directory)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure((given.dir or Path(scratch)) / "lifecycle")
    if given.json:
        print(json.dumps(found, indent=2))
        return 0
    for name, value in found.items():
        if isinstance(value, dict):
            print(name)
            for stage, steps in value.items():
                print(f"  {stage:9s} {sum(steps.values()):7.1f} s  " + ", ".join(f"{k} {v:.1f}" for k, v in steps.items()))
        else:
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
