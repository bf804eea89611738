"""The LM head and the distillation loss, forward and backward: seconds and memory of dense autograd, TRL's loss and ours.

    python benchmarks/kd_loss.py [--json] [--tokens 1024] [--vocab 49152 151936] [--k 32] [--rounds 3]

Forward KL at T = 2, times T squared, of a student 576 wide from a teacher 2,048 wide, both with heads as wide as the
vocabulary that hold random numbers; what lies below the heads is left out. The ways:

- `dense`: both logits, two log-softmaxes and `kl_div`, differentiated by autograd: what one writes first;
- `trl_gkd`: `GKDTrainer.generalized_jsd_loss` (beta 0) on both logits;
- `trl_chunked`: `ChunkedDivergenceFunction` (beta 0), the loss of TRL's `DistillationTrainer` since 1.16;
- `online`: `head_loss` with `DenseDivergence`: the teacher's hidden states are there;
- `cached`: `head_loss` with `SparseDivergence`: the teacher's top k and tail bucket are there, made beforehand (not timed).

Ways of TRL need it installed, and say so where it is not; run this script with the interpreter of an environment that has it
and with this repository on PYTHONPATH. TRL's losses lack T squared, which is multiplied on.

Each way is a process of its own, which does it twice (the first also touches fresh memory for the first time); the ways take
turns, so that a slow minute of the machine meets all of them. Seconds are the best of all rounds, with the processor's beside
them, which other work on the machine disturbs less. Memory is the process's peak (`ru_maxrss`)
less what it held before the first round: inputs are not in it, gradients are. All ways but `cached` must give one loss and one
gradient, within a thousandth, and `cached` a smaller one (a bucket hides differences), or the exit code is 1; so it is where
`cached` is less than 3 times as fast as `dense` or needs more than a quarter of its memory at the largest vocabulary measured
of at least 151,936.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# A script's directory comes first on the path, and a script beside this one has the name of a module of the standard library.
sys.path.sort(key=lambda entry: Path(entry or ".").resolve() == Path(__file__).resolve().parent)

import torch

from distill_gov.trainer.losses.head import DenseDivergence, HeadTerm, SparseDivergence, head_loss

STUDENT, TEACHER, TEMPERATURE = 576, 2048, 2.0
WAYS = ("dense", "trl_gkd", "trl_chunked", "online", "cached")
BAR_VOCABULARY, BARS = 151_936, {"faster": 3.0, "smaller": 4.0}


@dataclass(frozen=True)
class Way:
    """What one way took at one vocabulary."""

    name: str
    vocabulary: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    loss: float
    gradient: float
    """Norm of the gradients of hidden states and head together."""


# --- inputs


@dataclass(frozen=True)
class Inputs:
    hidden: torch.Tensor
    weight: torch.Tensor
    teacher: torch.Tensor
    teacher_weight: torch.Tensor


def inputs(tokens: int, vocabulary: int, teacher: bool = True) -> Inputs:
    """The same for every way. Numbers are drawn in place, so that making them takes no memory that counts as a way's."""

    def drawn(seed: int, rows: int, width: int, scale: float = 1.0) -> torch.Tensor:
        return torch.empty(rows, width).normal_(0, scale, generator=torch.Generator().manual_seed(seed))

    student = drawn(1, tokens, STUDENT).requires_grad_(), drawn(2, vocabulary, STUDENT, 1.5 / STUDENT**0.5).requires_grad_()
    if not teacher:
        return Inputs(*student, torch.empty(0), torch.empty(0))
    return Inputs(*student, drawn(3, tokens, TEACHER), drawn(4, vocabulary, TEACHER, 3 / TEACHER**0.5))


def write_targets(path: Path, tokens: int, vocabulary: int, k: int) -> None:
    given, found = inputs(tokens, vocabulary), []
    for rows in given.teacher.split(64):
        logp = ((rows @ given.teacher_weight.t()) / TEMPERATURE).log_softmax(1)
        best = logp.topk(k, 1)
        found.append((best.indices, best.values, logp.scatter_(1, best.indices, -math.inf).logsumexp(1)))
    torch.save([torch.cat(part) for part in zip(*found, strict=True)], path)


# --- ways


def installed(name: str) -> bool:
    return not name.startswith("trl") or importlib.util.find_spec("trl") is not None


def way(name: str, given: Inputs, targets: Sequence[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The mean loss a position as a function without arguments; what it imports is imported here."""
    n, square = len(given.hidden), TEMPERATURE**2
    if name in ("online", "cached"):
        rows = torch.arange(n)
        term: HeadTerm = (
            DenseDivergence(rows, given.teacher, given.teacher_weight, TEMPERATURE)
            if name == "online"
            else SparseDivergence(rows, targets[0], targets[1], targets[2], TEMPERATURE)
        )
        return lambda: head_loss(given.hidden, given.weight, None, {"kd": term}, {"kd": 1 / n}).total

    def logits() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            teacher = given.teacher @ given.teacher_weight.t()
        return given.hidden @ given.weight.t(), teacher

    def dense() -> torch.Tensor:
        student, teacher = (x / TEMPERATURE for x in logits())
        return (
            square
            / n
            * torch.nn.functional.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="sum", log_target=True)
        )

    if name == "dense":
        return dense
    if name == "trl_gkd":
        from trl.experimental.gkd import GKDTrainer

        labels = torch.zeros(1, n, dtype=torch.long)

        def gkd() -> torch.Tensor:
            student, teacher = logits()
            return square * GKDTrainer.generalized_jsd_loss(
                student[None], teacher[None], labels, beta=0, temperature=TEMPERATURE
            )

        return gkd
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    def chunked() -> torch.Tensor:
        teacher = given.teacher, given.teacher_weight, None
        scales = 0.0, TEMPERATURE, 1.0, None, 1.0, None
        found = ChunkedDivergenceFunction.apply(given.hidden, given.weight, None, *teacher, *scales)
        return square / n * found[0].sum()

    return chunked


def resident() -> float:
    """What this process holds now, in MB; where the system does not say, the most it has held."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return peak()


def peak() -> float:
    # In kilobytes, on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def child(name: str, tokens: int, vocabulary: int, targets: Path) -> Way:
    given = inputs(tokens, vocabulary, teacher=name != "cached")
    loss_of = way(name, given, torch.load(targets) if name == "cached" else ())
    before, times = resident(), []
    for _ in range(2):
        given.hidden.grad = given.weight.grad = None
        started, cpu = time.perf_counter(), time.process_time()
        loss = loss_of()
        loss.backward()
        times.append((time.perf_counter() - started, time.process_time() - cpu))
        value = loss.item()
        del loss
    most = peak() - before
    assert given.hidden.grad is not None
    assert given.weight.grad is not None
    norm = math.hypot(given.hidden.grad.norm().item(), given.weight.grad.norm().item())
    best = min(t for t, _ in times), min(c for _, c in times)
    return Way(name, vocabulary, round(best[0], 3), round(best[1], 3), round(most), value, norm)


# --- processes and verdict


def in_a_process(name: str, tokens: int, vocabulary: int, k: int, targets: Path) -> Way | None:
    """None where the way is not installed, and for making the targets, which ``name`` can also ask for."""
    if not installed(name):
        return None
    numbers = {"--tokens": tokens, "--vocab": vocabulary, "--k": k}
    asked = [
        sys.executable,
        __file__,
        "--way",
        name,
        "--targets",
        str(targets),
        *(str(x) for pair in numbers.items() for x in pair),
    ]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr[-800:]}")
    return None if name == "targets" else Way(**json.loads(done.stdout.splitlines()[-1]))


def measure(tokens: int, vocabularies: Sequence[int], k: int, rounds: int) -> dict[str, Any]:
    found: dict[int, dict[str, Way | None]] = {}
    held = {}
    with TemporaryDirectory() as scratch:
        targets = Path(scratch) / "targets.pt"
        for vocabulary in vocabularies:
            in_a_process("targets", tokens, vocabulary, k, targets)
            turns = [{name: in_a_process(name, tokens, vocabulary, k, targets) for name in WAYS} for _ in range(rounds)]
            found[vocabulary] = {name: fastest([turn[name] for turn in turns]) for name in WAYS}
            held[vocabulary] = verdict(found[vocabulary]) | {"same": all(verdict(turn)["same"] for turn in turns)}
    barred = [v for v in found if v >= BAR_VOCABULARY]
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "tokens": tokens,
        "k": k,
        "ways": {v: {name: w and asdict(w) for name, w in ways.items()} for v, ways in found.items()},
        "against_dense": held,
        "same": all(h["same"] for h in held.values()),
        "bars": BARS,
        "within_bars": held[max(barred)]["within_bars"] if barred else None,
    }


def fastest(turns: Sequence[Way | None]) -> Way | None:
    """The best times and the highest peak of one way's processes."""
    ways = [w for w in turns if w is not None]
    if not ways:
        return None
    seconds, cpu, most = (w.seconds for w in ways), (w.cpu_seconds for w in ways), (w.peak_mb for w in ways)
    return replace(ways[0], seconds=min(seconds), cpu_seconds=min(cpu), peak_mb=max(most))


def verdict(ways: dict[str, Way | None]) -> dict[str, Any]:
    """How `cached` stands against `dense` at one vocabulary, and whether all ways agree."""
    dense, cached = ways["dense"], ways["cached"]
    assert dense is not None
    assert cached is not None
    others = [w for name, w in ways.items() if w is not None and name != "cached"]
    faster, smaller = dense.seconds / cached.seconds, dense.peak_mb / max(cached.peak_mb, 1.0)
    return {
        "faster": round(faster, 2),
        "cpu": round(dense.cpu_seconds / cached.cpu_seconds, 2),
        "smaller": round(smaller, 2),
        "within_bars": faster >= BARS["faster"] and smaller >= BARS["smaller"],
        "same": all(_near(w.loss, dense.loss) and _near(w.gradient, dense.gradient) for w in others)
        and 0 <= cached.loss <= dense.loss * 1.001,
    }


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-3 * abs(other)


def show(found: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [f"{found['machine']}, load {found['load']}, {found['date']}; {found['tokens']:,} tokens, k = {found['k']}"]
    for vocabulary, ways in found["ways"].items():
        lines += [
            "",
            f"{vocabulary:,} tokens of vocabulary",
            f"{'way':12s} {'seconds':>9s} {'of CPU':>9s} {'peak MB':>9s} {'loss':>10s}",
        ]
        for name, w in ways.items():
            if w is None:
                lines.append(f"{name:12s} not installed")
            else:
                lines.append(f"{name:12s} {w['seconds']:9.2f} {w['cpu_seconds']:9.2f} {w['peak_mb']:9,.0f} {w['loss']:10.6f}")
        v = found["against_dense"][vocabulary]
        lines.append(
            f"cached against dense: {v['faster']} times as fast ({v['cpu']} of CPU), a {v['smaller']}th of the memory; "
            f"same losses: {'yes' if v['same'] else 'NO'}"
        )
    held = {None: "not measured at so many", True: "yes", False: "NO"}[found["within_bars"]]
    lines += ["", f"at {BAR_VOCABULARY:,}, {BARS['faster']:g} times as fast and a {BARS['smaller']:g}th of the memory: {held}"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--vocab", type=int, nargs="+", default=[49_152, 151_936])
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=[*WAYS, "targets"], help=argparse.SUPPRESS)
    parser.add_argument("--targets", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if min(asked.tokens, asked.rounds, asked.k) < 1 or min(asked.vocab) <= asked.k:
        parser.error("give at least one token and round, and a k from 1 to below the vocabulary")
    if asked.way == "targets":
        write_targets(asked.targets, asked.tokens, asked.vocab[0], asked.k)
        return
    if asked.way:
        print(json.dumps(asdict(child(asked.way, asked.tokens, asked.vocab[0], asked.targets))))
        return
    found = measure(asked.tokens, asked.vocab, asked.k, asked.rounds)
    print(json.dumps(found, indent=2) if asked.json else show(found))
    sys.exit(0 if found["same"] and found["within_bars"] is not False else 1)


if __name__ == "__main__":
    main()
