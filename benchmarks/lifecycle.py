"""Seconds, tokens per second and peak memory of each stage of the demo.

    python benchmarks/lifecycle.py [--dir DIR] [--json]

Two passes in DIR: `fresh`, and `teacher_cached`, a second project with the first one's keys and the teacher's work, which is
then found by content; training and the student's answers are done anew. Each stage is a process of its own, and its peak memory
is that of the largest among this process and its workers. The last one, `demo`, finds the stages done and does what is left:
ratings, gates, reports. The exit code is that of the demo in the first pass.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Nothing heavy here: a child's peak memory is never less than this process has at the moment of its start.
from distill_gov.records.files import read_json
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.manifest import read_manifest

RUN = "r1"
STAGES = ("build", "train", "evaluate")
TEACHERS_WORK = ("models", "features", "decide", "write", "score")
"""Folders of the cache that hold what the teacher did, and the teacher itself."""

_COMMAND = "import sys; from distill_gov.cli import run_arguments; sys.exit(run_arguments(sys.argv[1:]))"
_TO_MIB = 2**20 if sys.platform == "darwin" else 2**10
"""What ``ru_maxrss`` counts in, by platform, to a MiB."""


@dataclass(frozen=True)
class Ran:
    """One process and its workers."""

    exit: int
    seconds: float
    peak_mib: int
    """Resident memory of the largest process, at its largest."""


def ran(*arguments: str) -> Ran:
    """Run one command of distill-gov; what it prints goes to stderr."""
    started = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, 2, 1)]
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", _COMMAND, *arguments], dict(os.environ), file_actions=actions)
    # The usage of a waited-for process covers the workers that it waited for.
    _, status, usage = os.wait4(pid, 0)
    return Ran(os.waitstatus_to_exitcode(status), round(time.perf_counter() - started, 1), round(usage.ru_maxrss / _TO_MIB))


def run_pass(root: Path, last: Sequence[str] = ()) -> tuple[dict[str, Ran], int]:
    """Every stage of a project that is there, then the command ``last``; and the tokens of the teacher's answers after `build`.

    Raises:
        SystemExit: a stage did not end with 0; what it said is on stderr.
    """
    found, answered = {}, 0
    for stage in ("seal", *STAGES):
        found[stage] = ran(stage, "-C", str(root))
        if found[stage].exit != 0:
            raise SystemExit(f"{stage} ended with {found[stage].exit}")
        if stage == "build":
            # Before `evaluate` lets the teacher answer more.
            answered = kept_tokens(root, "write")
    if last:
        found[last[0]] = ran(*last)
    return found, answered


def steps(root: Path) -> dict[str, dict[str, float]]:
    """Seconds of each step of the stages that keep time, from their manifests."""
    run = ProjectLayout(root).run(RUN)
    return {stage: dict(read_manifest(run.manifest(stage)).seconds) for stage in STAGES}


def kept_tokens(root: Path, kind: str) -> int:
    """Tokens of the teacher's stored answers (``write``), or positions of its stored scores (``score``)."""
    name = {"write": "tokens", "score": "positions"}[kind]
    shards = sorted((ProjectLayout(root).cache / kind).rglob("*.json"))
    return sum(len(result[name]) for shard in shards for result in read_json(shard, format="shard")["results"])


def rates(root: Path, answered: int) -> dict[str, float]:
    """Tokens per second of every step that makes some, in a pass that found nothing in the cache.

    Args:
        answered: tokens that the teacher had answered when the build was done.
    """
    run = ProjectLayout(root).run(RUN)
    build, train, evaluate = (read_manifest(run.manifest(stage)) for stage in STAGES)
    tokens = {
        "teacher answers": answered,
        "teacher scores": kept_tokens(root, "score"),
        "training": _taught_tokens(run.soft_targets) * int(train.settings["epochs"]),
        **evaluate.facts["tokens"],
    }
    seconds = {**build.seconds, **train.seconds, **evaluate.seconds}
    return {step: round(n / seconds[step], 1) for step, n in tokens.items() if n and seconds.get(step)}


def _taught_tokens(folder: Path) -> int:
    """Supervised tokens of one epoch."""
    from distill_gov.teachers.target_store import SoftTargetStore

    return SoftTargetStore(folder).tokens


def with_the_teachers_work(done: Path, root: Path) -> None:
    """Give a new project the keys of another one and what its teacher did: the same texts then have the same digests."""
    old, new = ProjectLayout(done), ProjectLayout(root)
    if old.keys != new.keys:  # $DISTILL_GOV_KEYS names one place for all projects
        shutil.copytree(old.keys, new.keys, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*ratings*"))
    for kind in TEACHERS_WORK:
        if (old.cache / kind).exists():
            shutil.copytree(old.cache / kind, new.cache / kind, dirs_exist_ok=True)


def _made(root: Path) -> Path:
    if ran("init", "-C", str(root)).exit != 0:
        raise SystemExit(f"no project could be made at {root}")
    return root


def measure(directory: Path) -> dict[str, Any]:
    """Both passes."""
    fresh, again = _made(directory / "fresh"), _made(directory / "teacher_cached")
    first, answered = run_pass(fresh, ("demo", str(fresh)))
    with_the_teachers_work(fresh, again)
    second, _ = run_pass(again, ("demo", str(again)))
    seconds = [round(sum(stage.seconds for stage in stages.values()), 1) for stages in (first, second)]
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "exit": first["demo"].exit,
        "fresh_s": seconds[0],
        "teacher_cached_s": seconds[1],
        "ratio": round(seconds[1] / seconds[0], 2),
        "stages_fresh": {name: asdict(stage) for name, stage in first.items()},
        "stages_teacher_cached": {name: asdict(stage) for name, stage in second.items()},
        "steps_fresh_s": steps(fresh),
        "steps_teacher_cached_s": steps(again),
        "tokens_per_s": rates(fresh, answered),
    }


def show(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    lines = [found["machine"]]
    for name in ("fresh", "teacher_cached"):
        lines.append(f"{name}: {found[f'{name}_s']:.1f} s")
        lines += [
            f"  {stage:9s} {figures['seconds']:8.1f} s  peak {figures['peak_mib']:6,} MiB  exit {figures['exit']}"
            for stage, figures in found[f"stages_{name}"].items()
        ]
    lines.append(f"cached to fresh: {found['ratio']}")
    lines.append("tokens per second")
    lines += [f"  {step:28s} {rate:8.1f}" for step, rate in found["tokens_per_s"].items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, help="where to (default: a temporary directory)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure((given.dir or Path(scratch)).resolve())
    print(json.dumps(found, indent=2) if given.json else show(found))
    return int(found["exit"])


if __name__ == "__main__":
    sys.exit(main())
