"""Soft targets on disk: bytes a token, what is lost, and how fast they are read, beside dense logits and a plain top-k.

    python benchmarks/soft_targets.py [--answers N] [--json]

The teacher is made up: logits that fall with the logarithm of the rank (Zipf's law, exponents 0.9 to 2.5) with noise, two
positions in five with a token far before the rest; T = 2, k = 32, answers of 32 tokens, vocabularies of 49,152 and 151,936.
Three ways to keep the same distributions, files counted whole:

- `ours`: `distill_gov.teachers.target_store`.
- `plain top-k`: int32 ids and float32 log-probabilities as lists in Parquet (zstd), what this project wrote before.
- `dense fp16`: all logits of a token as float16, in one mapped file.

KL is that of the dense distribution to what comes back, in nats: the k likeliest tokens' masses as stored, the rest spread
evenly over the other tokens; measured at one token in eight. `by quantisation` is the part that the form of the numbers costs.
`cold` is a first reading of all answers in shuffled order after the kernel was told to drop the files from its cache, opening
and checking included; `warm` the best of three further ones, by the seconds of the processor, which other work on the machine
disturbs less. The exit code is 1 if ours takes more than 130 bytes a token.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

# A script's directory comes first on the path, and scripts beside this one have names of the standard library: last.
sys.path.sort(key=lambda entry: Path(entry or ".").resolve() == Path(__file__).resolve().parent)

import pyarrow as pa

from distill_gov.records.files import read_parquet, write_parquet
from distill_gov.teachers.quantisation import divergences
from distill_gov.teachers.soft_targets import Capture, SoftTargets
from distill_gov.teachers.target_store import SoftTargetStore, write_soft_targets

VOCABULARIES = (49_152, 151_936)
K, TEMPERATURE, TOKENS = 32, 2.0, 32
BAR = 130.0
"""Bytes a token."""

Array = np.ndarray[Any, np.dtype[Any]]
_PLAIN = pa.schema(
    [
        pa.field("example", pa.string()),
        pa.field("token_ids", pa.list_(pa.int32())),
        pa.field("ids", pa.list_(pa.list_(pa.int32()))),
        pa.field("logp", pa.list_(pa.list_(pa.float32()))),
        pa.field("log_tail", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class Way:
    """What one way to keep them takes."""

    bytes_per_token: float
    kl: float
    kl_by_quantisation: float
    cold_tokens_per_second: int
    warm_tokens_per_cpu_second: int


# --- the teacher


def answers(vocabulary: int, count: int) -> Iterator[tuple[Array, Array]]:
    """Logits of answers, (tokens, vocabulary) each, about in the order of their ranks, and the token id of every column."""
    rng = np.random.default_rng(vocabulary)
    falling = np.log(np.arange(1, vocabulary + 1, dtype=np.float32))
    for _ in range(count):
        logits = rng.standard_normal((TOKENS, vocabulary), np.float32) * np.float32(0.5)
        logits -= rng.uniform(0.9, 2.5, (TOKENS, 1)).astype(np.float32) * falling
        logits[:, 0] += np.where(rng.random(TOKENS) < 0.4, rng.uniform(2, 12, TOKENS), 0)
        yield logits, rng.permutation(vocabulary)


def normaliser(logits: Array) -> Array:
    z = logits / np.float32(TEMPERATURE)
    top = z.max(1, keepdims=True)
    return np.asarray(top + np.log(np.exp(z - top).sum(1, keepdims=True, dtype=np.float64)))


def log_softmax(logits: Array) -> Array:
    z = logits.astype(np.float64) / TEMPERATURE
    return np.asarray(z - np.logaddexp.reduce(z, axis=1)[:, None])


def kept(name: str, logits: Array, ids: Array, capture: Capture) -> SoftTargets:
    columns = np.argpartition(-logits, K, axis=1)[:, :K]
    top = np.take_along_axis(logits, columns, 1) / TEMPERATURE - normaliser(logits)
    order = np.argsort(-top, axis=1)
    columns, top = np.take_along_axis(columns, order, 1), np.take_along_axis(top, order, 1)
    return SoftTargets.ragged(
        name, capture.identity, "full", TEMPERATURE, token_ids=ids[columns[:, 0]], field=[""] * TOKENS, forced=[False] * TOKENS,
        ids=ids[columns], logp=top, log_tail=np.log1p(-np.exp(top).sum(1)), log_allowed=np.zeros(TOKENS),
    )  # fmt: skip


# --- the ways


def measure_one(vocabulary: int, count: int, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    made: dict[str, SoftTargets] = {}
    captures: dict[str, Capture] = {}
    lost, rounded = [], []
    with (folder / "dense.f16").open("wb") as dense:
        for number, (logits, ids) in enumerate(answers(vocabulary, count)):
            name = f"t-{number:05d}/0"
            captures[name] = Capture.of(
                teacher="teacher", tokenizer="tokenizer", template="lines", prompt=name, text=name, temperature=TEMPERATURE,
                k=K, support="full",
            )  # fmt: skip
            half = logits.astype(np.float16)
            dense.write(half.tobytes())
            made[name] = kept(name, logits, ids, captures[name])
            places = range(0, TOKENS, 8)
            logp, back = log_softmax(logits[::8]), log_softmax(half[::8])
            rounded.append((np.exp(logp) * (logp - back)).sum(1))
            lost += [
                divergences(row, made[name].support_at(j)[1], float(made[name].log_tail[j]))
                for row, j in zip(logp, places, strict=True)
            ]
    write_soft_targets(folder / "ours", list(made.values()), captures)
    rows = [_plain(t) for t in made.values()]
    write_parquet(folder / "plain.parquet", rows, _PLAIN, format="soft_targets_plain")
    order = np.random.default_rng(0).permutation(list(made)).tolist()
    by_quantisation, by_tail = np.array(lost).mean(0)
    tokens, rate = count * TOKENS, np.mean(np.concatenate(rounded))
    shards = sorted((folder / "ours").iterdir())
    ways = {
        "ours": (shards, _ours(folder / "ours", order), by_quantisation + by_tail, by_quantisation),
        "plain top-k": ([folder / "plain.parquet"], _plainly(folder / "plain.parquet", order), by_tail, 0.0),
        "dense fp16": ([folder / "dense.f16"], _densely(folder / "dense.f16", vocabulary, order), rate, rate),
    }
    found = {}
    for name, (files, reader, kl, part) in ways.items():
        cold, warm = timed(files, reader)
        size = sum(f.stat().st_size for f in files) / tokens
        found[name] = Way(round(size, 1), float(f"{kl:.4g}"), float(f"{part:.2g}"), round(tokens / cold), round(tokens / warm))
    ours = found["ours"].bytes_per_token
    return {
        "vocabulary": vocabulary,
        "ways": {name: way.__dict__ for name, way in found.items()},
        "smaller_than": {name: round(found[name].bytes_per_token / ours, 1) for name in ("plain top-k", "dense fp16")},
        "within_bar": ours <= BAR,
    }


def _plain(t: SoftTargets) -> dict[str, Any]:
    supports = [t.support_at(j) for j in range(t.n)]
    ids, logp = [i.tolist() for i, _ in supports], [p.tolist() for _, p in supports]
    return {
        "example": t.example, "token_ids": t.token_ids.tolist(), "ids": ids, "logp": logp, "log_tail": t.log_tail.tolist(),
    }  # fmt: skip


Reader = Callable[[], Callable[[], None]]
"""Opens, and returns what reads every answer."""


def _ours(folder: Path, order: list[str]) -> Reader:
    def opened() -> Callable[[], None]:
        store = SoftTargetStore(folder)
        return lambda: [store[name] for name in order].clear()

    return opened


def _plainly(path: Path, order: list[str]) -> Reader:
    def opened() -> Callable[[], None]:
        def read() -> None:
            # Row groups are not addressable by example, so that every reading is of the file.
            rows = {row["example"]: row for row in read_parquet(path, format="soft_targets_plain")}
            for name in order:
                np.array(rows[name]["ids"], np.int32), np.array(rows[name]["logp"], np.float32)

        return read

    return opened


def _densely(path: Path, vocabulary: int, order: list[str]) -> Reader:
    def opened() -> Callable[[], None]:
        data = np.memmap(path, np.float16, "r").reshape(-1, TOKENS, vocabulary)
        rows = [int(name[2:7]) for name in order]
        return lambda: [data[row].astype(np.float32) for row in rows].clear()

    return opened


def timed(files: list[Path], reader: Reader) -> tuple[float, float]:
    """Seconds of a first reading of everything, and seconds of the processor of the best further one."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    started = time.perf_counter()
    read = reader()
    read()
    cold, warm = time.perf_counter() - started, []
    for _ in range(3):
        started = time.process_time()
        read()
        warm.append(time.process_time() - started)
    return cold, min(warm)


def measure(count: int, vocabularies: tuple[int, ...] = VOCABULARIES) -> dict[str, Any]:
    with TemporaryDirectory() as scratch:
        found = [measure_one(vocabulary, count, Path(scratch) / str(vocabulary)) for vocabulary in vocabularies]
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "tokens": count * TOKENS,
        "k": K,
        "temperature": TEMPERATURE,
        "found": found,
        "bar": BAR,
        "within_bar": all(one["within_bar"] for one in found),
    }


def show(found: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [f"{found['machine']}, load {found['load']}, {found['date']}; {found['tokens']:,} tokens, k = {found['k']}"]
    for one in found["found"]:
        lines += ["", f"V = {one['vocabulary']:,}"]
        lines += [f"{'way':12s} {'bytes/token':>12s} {'KL':>9s} {'by quant.':>10s} {'cold tok/s':>11s} {'warm tok/CPU s':>15s}"]
        for name, w in one["ways"].items():
            lines.append(
                f"{name:12s} {w['bytes_per_token']:12,.1f} {w['kl']:9.2g} {w['kl_by_quantisation']:10.1e} "
                f"{w['cold_tokens_per_second']:11,} {w['warm_tokens_per_cpu_second']:15,}"
            )
        times = ", ".join(f"{ratio:,} times smaller than {name}" for name, ratio in one["smaller_than"].items())
        lines.append(f"ours: {times}; at most {found['bar']:.0f} bytes a token: {'yes' if one['within_bar'] else 'NO'}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=48)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.answers < 1:
        parser.error("give at least one answer")
    found = measure(asked.answers)
    print(json.dumps(found, indent=2) if asked.json else show(found))
    sys.exit(0 if found["within_bar"] else 1)


if __name__ == "__main__":
    main()
