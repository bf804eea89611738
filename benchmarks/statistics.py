"""A million case results: seconds and memory from Parquet to intervals, by counts and by a loop over pandas groups.

    python benchmarks/statistics.py [--cases N] [--naive-cases N] [--json]

Student and teacher ran the same N cases (two files in the run's own format, so 2 N case results), which lie in 20 slices. Of
every slice and of all cases together are measured: exact match, level (Clopper-Pearson) and paired difference (Tango); token
F1, level and paired difference (BCa, 2,000 resamples): 84 measurements. The files are made first, which is not timed.

`counts` is `evals.aggregate`. `naive` is what one writes first: pandas, a group a slice, the same functions for proportions,
and a bootstrap that draws every case again. It runs on `--naive-cases`, and what it takes for N is scaled up, since it is
linear in them. Each way is a process of its own; its peak is that process's, as the kernel counts it (`ru_maxrss`), and the
seconds stand beside those of the processor, which other work on the machine disturbs less. `same` compares both on the smaller
files: proportions and means must be equal, bounds of the bootstrap within a fifth of an interval, or the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

# A script's directory comes first on the path, and this script has the name of a module of the standard library: last.
sys.path.sort(key=lambda entry: Path(entry or ".").resolve() == Path(__file__).resolve().parent)

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill_gov.records.files import format_name
from evals.aggregate import aggregate
from evals.evidence import MeasurementRequest, cases_schema
from evals.intervals import clopper_pearson, tango

SLICES = 20
SUBJECTS = ("student", "teacher")
BARS = {"seconds": 10.0, "peak_mb": 2000.0}
WANTED: tuple[tuple[str, Literal["level", "difference"], str], ...] = (
    ("exact_match", "level", "clopper_pearson"),
    ("exact_match", "difference", "tango"),
    ("token_f1", "level", "bca"),
    ("token_f1", "difference", "bca"),
)


@dataclass(frozen=True)
class Way:
    """What one way took."""

    cases: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


# --- the case results


def write_evidence(folder: Path, cases: int) -> None:
    """One file a subject, with the columns of a run's: right on four of five cases, and mostly on the same ones."""
    rng = np.random.default_rng(1)
    slices, easy = rng.integers(0, SLICES, cases), rng.random(cases)
    for subject in SUBJECTS:
        right = (easy + 0.1 * rng.random(cases) < 0.85).astype(np.float64)
        f1 = np.clip(rng.beta(4, 2, cases) * 0.5 + 0.5 * right, 0, 1)
        ones = np.ones(cases)
        scores = {"exact_match": right, "has_target_text": ones, "schema_valid": ones, "token_f1": f1}
        _write(folder / f"{subject}.parquet", subject, slices, scores)


def _write(path: Path, subject: str, slices: np.ndarray[Any, Any], scores: dict[str, np.ndarray[Any, Any]]) -> None:
    schema, n = cases_schema(), len(slices)
    ids = pa.array([f"case-{i:08d}" for i in range(n)])
    one_each = pa.array(np.arange(n + 1, dtype=np.int32))
    none = pa.array(np.zeros(n + 1, dtype=np.int32))
    names = pa.array(sorted(scores) * n)
    values = pa.array(np.stack([scores[name] for name in sorted(scores)], axis=1).ravel())
    columns = {
        "subject": pa.array([f"sha256:{subject}"] * n),
        "dataset": pa.array(["sha256:cases"] * n),
        "case": ids,
        "suite": pa.array(["holdout"] * n),
        "cluster": ids,
        "slices": pa.ListArray.from_arrays(one_each, pa.array([f"slice={i}" for i in slices])),
        "status": pa.array(["ok"] * n),
        "scores": pa.MapArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * len(scores)), names, values),
        "decisions": pa.ListArray.from_arrays(none, pa.array([], schema.field("decisions").type.value_type)),
        "output": pa.array([""] * n),
        "provenance": pa.array(["measured"] * n),
        "timings": pa.MapArray.from_arrays(none, pa.array([], pa.string()), pa.array([], pa.float64())),
    }
    tagged = schema.with_metadata({b"format": format_name("cases").encode()})
    pq.write_table(pa.Table.from_arrays([columns[name] for name in schema.names], schema=tagged), path, compression="zstd")


# --- both ways


def requests() -> list[MeasurementRequest]:
    found = []
    for name in [None, *(f"slice={i}" for i in range(SLICES))]:
        for metric, statistic, method in WANTED:
            other = "teacher" if statistic == "difference" else None
            found.append(MeasurementRequest(metric, "holdout", name, "student", other, statistic, method, 0.95, "lower"))
    return found


def by_counts(folder: Path, cases: int) -> list[tuple[float, float, float]]:
    files = {subject: [folder / f"{subject}.parquet"] for subject in SUBJECTS}
    found = aggregate(files, requests(), {"holdout": cases})
    wrong = sorted({m.note for m in found if m.value is None})
    if wrong:
        raise SystemExit(f"a measurement has no value: {', '.join(wrong)}")
    return [(m.value or 0.0, m.low or 0.0, m.high or 0.0) for m in found]


def naive(folder: Path, cases: int) -> list[tuple[float, float, float]]:
    import pandas as pd

    frames = []
    for subject in SUBJECTS:
        rows = pq.read_table(folder / f"{subject}.parquet", columns=["case", "slices", "scores"]).to_pandas()
        scores = pd.DataFrame([dict(row) for row in rows["scores"]])
        frames.append(pd.DataFrame({"case": rows["case"], "slice": [s[0] for s in rows["slices"]]}).join(scores))
    both = frames[0].merge(frames[1], on=["case", "slice"], suffixes=("", "_teacher"))
    if len(both) != cases:
        raise SystemExit("the two subjects did not run the same cases")
    found = []
    rng = np.random.default_rng(0)
    for name in [None, *(f"slice={i}" for i in range(SLICES))]:
        group = both if name is None else both[both["slice"] == name]
        change = group["exact_match"] - group["exact_match_teacher"]
        level = clopper_pearson(int(group["exact_match"].sum()), len(group), side="lower")
        paired = tango(int((change > 0).sum()), int((change < 0).sum()), len(group), side="lower")
        found += [(e.value, e.low or 0.0, e.high or 0.0) for e in (level, paired)]
        for values in (group["token_f1"].to_numpy(), (group["token_f1"] - group["token_f1_teacher"]).to_numpy()):
            means = [rng.choice(values, len(values)).mean() for _ in range(2000)]
            found.append((float(values.mean()), float(np.quantile(means, 0.05)), float(np.quantile(means, 0.95))))
    return found


def compared(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> bool:
    """Whether both ways say the same of the same files."""
    pairs = list(zip(requests(), ours, theirs, strict=True))
    return all(
        abs(one[0] - other[0]) < 1e-9
        and all(
            abs(a - b) <= (1e-12 if request.method != "bca" else 0.2 * (other[2] - other[1]))
            for a, b in zip(one[1:], other[1:], strict=True)
        )
        for request, one, other in pairs
    )


# --- processes


def child(way: str, folder: Path, cases: int) -> dict[str, Any]:
    """One way in this process: what it found and what it took; imports count for memory and not for time."""
    started, before = time.perf_counter(), time.process_time()
    found = (by_counts if way == "counts" else naive)(folder, cases)
    took = time.perf_counter() - started, time.process_time() - before
    # In kilobytes, on macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"found": found, "way": asdict(Way(cases, round(took[0], 2), round(took[1], 2), round(peak)))}


def in_a_process(way: str, folder: Path, cases: int) -> tuple[list[Sequence[float]], Way]:
    asked = [sys.executable, __file__, "--way", way, "--folder", str(folder), "--cases", str(cases)]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise SystemExit(f"{way} failed: {done.stderr[-800:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["found"], Way(**answer["way"])


def measure(cases: int, naive_cases: int) -> dict[str, Any]:
    with TemporaryDirectory() as scratch:
        large, small = Path(scratch) / "large", Path(scratch) / "small"
        for folder, n in ((large, cases), (small, naive_cases)):
            folder.mkdir()
            write_evidence(folder, n)
        loop, took = in_a_process("naive", small, naive_cases)
        same = compared(in_a_process("counts", small, naive_cases)[0], loop)
        counts = in_a_process("counts", large, cases)[1]
    scale = cases / naive_cases
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "measurements": len(requests()),
        "counts": asdict(counts),
        "naive": asdict(took),
        "naive_scaled_seconds": round(took.seconds * scale),
        "ratio": round(took.seconds * scale / counts.seconds, 1),
        "cpu_ratio": round(took.cpu_seconds * scale / counts.cpu_seconds, 1),
        "same": same,
        "bars": BARS,
        "within_bars": counts.seconds < BARS["seconds"] and counts.peak_mb < BARS["peak_mb"],
    }


def show(found: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [f"{found['machine']}, load {found['load']}, {found['date']}", ""]
    lines += [f"{'way':8s} {'cases':>10s} {'seconds':>9s} {'of CPU':>9s} {'peak MB':>9s}"]
    for name in ("counts", "naive"):
        w = found[name]
        lines.append(f"{name:8s} {w['cases']:10,} {w['seconds']:9.2f} {w['cpu_seconds']:9.2f} {w['peak_mb']:9,.0f}")
    lines += [
        "",
        f"{found['measurements']} measurements; naive scaled to {found['counts']['cases']:,} cases: "
        f"{found['naive_scaled_seconds']:,} s, {found['ratio']} times as long ({found['cpu_ratio']} times the CPU)",
        f"same: {'yes' if found['same'] else 'NO'}; under {BARS['seconds']:.0f} s and {BARS['peak_mb']:,.0f} MB: "
        f"{'yes' if found['within_bars'] else 'NO'}",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--naive-cases", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=["counts", "naive"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(child(asked.way, asked.folder, asked.cases)))
        return
    if min(asked.cases, asked.naive_cases) < 100 * SLICES:
        parser.error(f"give at least {100 * SLICES} cases, so that every slice has some")
    found = measure(asked.cases, asked.naive_cases)
    print(json.dumps(found, indent=2) if asked.json else show(found))
    sys.exit(0 if found["same"] else 1)


if __name__ == "__main__":
    main()
