"""Rows a second of every filter, with a naive way beside it where there is one; precision and recall for refusals and hazards.

    python benchmarks/filters.py [--rows N] [--json]

The rows are the support desk's invented messages with the replies that its labels name, repeated with a number in them until
there are enough; secrets and residual, which run the language model, see an eighth of them. `same` says whether the naive way
found the same rows (of the holdout's filter: none that it did not); otherwise the exit code is 1.

Refusals are told from answers on `benchmarks/data/refusals.jsonl`: 100 invented replies, written by this project for this
purpose (by a language model, as the rest of the demo's data). The patterns were tuned on the one half (`tuning`), the other
(`held`) was only scored. It is small and of one hand: it is no XSTest, and says how the patterns fare on replies of that kind.
A second set is the demo's own replies by their label. The hazard lexicon is scored on the demo's hazardous and benign suites
and, where `../shared/data/simple_safety_tests` is (100 unsafe prompts, CC-BY-4.0), on that, each in the part that was read
while it was written (`tuning`) and the part that was not (`held`). What is not there is skipped, and said.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distill_gov.records.keys import KeyRing
from evals.intervals import wilson
from redaction import Redactor
from redaction.filters import AnswerItem, Filter, PromptItem, answer_filters, build_index, decide_all, prompt_filters
from redaction.filters.hazards import hazard_codes
from redaction.filters.ngrams import folded
from redaction.filters.policy import (
    AnswerFilterPolicy,
    FilterPolicy,
    GopherRule,
    HardRule,
    HazardRule,
    LanguageRule,
    LengthRule,
    MetadataRule,
    NearDuplicatePolicy,
    NearHoldoutRule,
    PromptFilterPolicy,
    ProtectedRule,
    Rule,
    VoiceRule,
)  # fmt: skip
from redaction.filters.refusals import refuses
from redaction.filters.similarity import jaccard, near_duplicates, shingles
from redaction.policy import load_policy

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "support_desk"
SHARED = Path(os.environ.get("DISTILL_GOV_DATA", HERE.parent.parent / "shared" / "data"))
KEYRING = KeyRing(b"\x01" * 32)
PHRASES = ["we guarantee", "full compensation", "within 24 hours", "free of charge", "never again", "best price"]
REPEATED = "we will look into it and then we will come back to you about it as soon as we know more than we do now"
WITHOUT_MODEL = "all that need no language model"
NAIVE = {
    "prompt/near_duplicate": "Jaccard index of every pair",
    "prompt/near_holdout": "every run of words looked for in every text of the holdout",
    "answer/gopher_repetition": "n-grams counted by slices of a list for every n, characters marked one by one",
    "answer/forbidden": "a search for each phrase",
    "answer/protected": "every run of words looked for in the protected texts",
}


@dataclass(frozen=True)
class Speed:
    """One filter's pace."""

    rows: int
    rows_per_s: float
    naive: str = ""
    naive_rows_per_s: float | None = None
    same: bool | None = None


# --- the rows


def messages() -> list[tuple[str, str, str]]:
    """(message, reply, action) of the demo's teaching traces, as they stand in its files."""
    labels = {row["id"]: row for row in _jsonl(EXAMPLE / "data" / "teaching_labels.jsonl")}
    traces = _jsonl(EXAMPLE / "data" / "teaching.jsonl")
    return [(t["messages"][-1]["content"], labels[t["id"]]["reply"], labels[t["id"]]["action"]) for t in traces]


def _jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def items(count: int) -> tuple[list[PromptItem], list[AnswerItem]]:
    """So many prompts and answers: one in fifty answers loops, so that the filters have something to find."""
    base = messages()
    prompts, answers = [], []
    for n in range(count):
        text, reply, action = base[n % len(base)]
        said = REPEATED + ", " + REPEATED if n % 50 == 0 else f"{reply} ({n // len(base)})" if n >= len(base) else reply
        prompts.append(PromptItem(f"t{n:06d}", f"{text} {n // len(base)}", metadata={"licence": "own", "consent": "granted"}))
        fields = {"action": action, "reply": said}
        answers.append(AnswerItem(f"t{n:06d}/0", text, json.dumps(fields), said, "stop", fields, trace=f"t{n:06d}"))
    return prompts, answers


def every_filter() -> FilterPolicy:
    """A policy in which everything is on."""
    on = Rule()
    prompts = PromptFilterPolicy(
        empty=on,
        role=on,
        metadata=[MetadataRule(name="licence", field="licence", one_of=["own"])],
        length=LengthRule(max_chars=900),
        language=LanguageRule(),
        injection=on,
        invisible=on,
        hazards=HazardRule(action="flag"),
        near_holdout=NearHoldoutRule(),
        exact_duplicates=on,
    )
    answers = AnswerFilterPolicy(
        empty=on,
        truncated=on,
        role=on,
        max_reply_chars=400,
        length=LengthRule(max_words=80),
        language=LanguageRule(),
        repetition=on,
        gopher=GopherRule(),
        boilerplate=on,
        refusal=on,
        forbidden_phrases=PHRASES,
        voice=VoiceRule(forbidden=["cheap"]),
        harm=on,
        hazards=HazardRule(action="flag"),
        injection=on,
        invisible=on,
        echo=on,
        secrets=HardRule(),
        residual=HardRule(),
        protected_index=ProtectedRule(path="protected.parquet"),
    )
    return FilterPolicy(prompts=prompts, answers=answers)


# --- naive ways


def naive_near_duplicates(prompts: Sequence[PromptItem], policy: NearDuplicatePolicy) -> set[str]:
    kept: list[frozenset[str]] = []
    found = set()
    for item in sorted(prompts, key=lambda i: i.id):
        own = shingles(item.text, policy.shingle)
        if any(jaccard(own, other) >= policy.threshold for other in kept):
            found.add(item.id)
        else:
            kept.append(own)
    return found


def naive_shares_run(item: str, texts: Sequence[str], n: int) -> bool:
    words = folded(item).split()
    runs = [f" {' '.join(words[i : i + n])} " for i in range(len(words) - n + 1)]
    return any(run in text for run in runs for text in texts)


def naive_gopher(text: str) -> bool:
    words = [w.casefold() for w in re.findall(r"\w+", text)]
    if len(words) < 20:
        return False
    total = sum(map(len, words))
    for n, limit in ((2, 0.20), (3, 0.18), (4, 0.16)):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        gram, count = max(grams.items(), key=lambda g: (g[1], sum(map(len, g[0]))))
        if count >= 3 and count * sum(map(len, gram)) / total > limit:
            return True
    for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)):
        covered: set[int] = set()
        for i in range(len(words) - n + 1):
            if any(words[j : j + n] == words[i : i + n] for j in range(i)):
                covered.update(range(i, i + n))
        if sum(len(words[i]) for i in covered) / total > limit:
            return True
    return False


def naive_forbidden(text: str) -> bool:
    wanted = [re.escape(phrase).replace(r"\ ", r"\s+") for phrase in PHRASES]
    return any(re.search(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE) for phrase in wanted)


# --- measuring


def paced(judges: Sequence[Filter[Any]], rows: Sequence[Any]) -> tuple[float, set[str]]:
    """Rows a second through some filters, and the ids on which one fired."""
    return timed(lambda: {row.id for row, one in zip(rows, decide_all(judges, rows), strict=True) if one.fired}, len(rows))


def timed(call: Callable[[], set[str]], rows: int) -> tuple[float, set[str]]:
    started = time.perf_counter()
    found = call()
    return rows / (time.perf_counter() - started), found


def speeds(count: int) -> dict[str, Speed]:
    """Every filter alone, and all of them together: a row is a prompt and its answer there."""
    prompts, answers = items(count)
    near = NearDuplicatePolicy()
    holdout = [row["messages"][-1]["content"] for row in _jsonl(EXAMPLE / "data" / "holdout.jsonl")]
    policy = load_policy(EXAMPLE / "redaction.yaml").model_copy(update={"filters": every_filter()})
    redactor = Redactor(policy, KEYRING)
    redactor.detect("The model is loaded before anything is timed.")
    with TemporaryDirectory() as scratch:
        root, key = Path(scratch), KEYRING.subkey("protected")
        rows = "".join(json.dumps({"text": text}) + "\n" for text in [REPEATED, *holdout])
        (root / "texts.jsonl").write_text(rows, "utf-8")
        build_index(root / "texts.jsonl", root / "protected.parquet", key)
        of_answers = answer_filters(policy, redactor, key=key, root=root)
    # Near-duplicates are worked out where the filter is made, so they are timed apart.
    of_prompts = prompt_filters(policy, prompts, holdout)
    naive = _naive(prompts, answers, holdout, near)
    alike = timed(lambda: set(near_duplicates(((i.id, i.text) for i in prompts), near)), count)
    found = {"prompt/near_duplicate": _beside("prompt/near_duplicate", count, *alike, naive)}
    few = answers[: max(1, count // 8)]
    slow = [judge for judge in of_answers if judge.rule in ("answer/secrets", "answer/residual")]
    quick = [judge for judge in of_answers if judge not in slow]
    for judges, all_rows in ((of_prompts, prompts), (quick, answers), (slow, few)):
        for judge in judges:
            found[judge.rule] = _beside(judge.rule, len(all_rows), *paced([judge], all_rows), naive)
    seconds = [count / alike[0], count / paced(of_prompts, prompts)[0], count / paced(quick, answers)[0]]
    found[WITHOUT_MODEL] = Speed(count, round(count / sum(seconds)))
    found["all"] = Speed(len(few), round(count / (sum(seconds) + count / paced(slow, few)[0])))
    return found


def _naive(
    prompts: Sequence[PromptItem], answers: Sequence[AnswerItem], holdout: Sequence[str], near: NearDuplicatePolicy
) -> dict[str, Callable[[], set[str]]]:
    guarded = [f" {folded(text)} " for text in holdout]
    protected = [f" {folded(text)} " for text in [REPEATED, *holdout]]
    return {
        "prompt/near_duplicate": lambda: naive_near_duplicates(prompts, near),
        "prompt/near_holdout": lambda: {i.id for i in prompts if naive_shares_run(i.text, guarded, 8)},
        "answer/gopher_repetition": lambda: {i.id for i in answers if naive_gopher(i.reply_text)},
        "answer/forbidden": lambda: {i.id for i in answers if naive_forbidden(i.reply_text)},
        "answer/protected": lambda: {i.id for i in answers if naive_shares_run(i.answer_text, protected, 12)},
    }


def _beside(rule: str, rows: int, pace: float, hits: set[str], naive: Mapping[str, Callable[[], set[str]]]) -> Speed:
    if rule not in naive:
        return Speed(rows, round(pace))
    other, found = timed(naive[rule], rows)
    # The holdout's filter also finds texts that share no run and are nearly the same.
    same = found <= hits if rule == "prompt/near_holdout" else found == hits
    return Speed(rows, round(pace), NAIVE[rule], round(other), same)


def quality(rows: Iterable[tuple[str, bool]], judge: Callable[[str], bool]) -> dict[str, Any]:
    """Precision and recall with Wilson's 95 % intervals."""
    counts = Counter((judge(text), wanted) for text, wanted in rows)
    hit, false, missed = counts[True, True], counts[True, False], counts[False, True]
    rates = {"precision": _rate(hit, hit + false), "recall": _rate(hit, hit + missed)}
    return {"n": sum(counts.values()), "positive": hit + missed, **rates}


def _rate(part: int, whole: int) -> dict[str, float] | None:
    if not whole:
        return None
    found = wilson(part, whole)
    return {"value": round(part / whole, 3), "low": round(found.low, 3), "high": round(found.high, 3)}


def qualities() -> dict[str, Any]:
    """Refusals and hazards, each on what was read while the patterns were written and on what was not."""
    written = _jsonl(HERE / "data" / "refusals.jsonl")
    found: dict[str, Any] = {
        f"refusals, {half} half": quality(((r["reply"], r["refuses"]) for r in written if r["half"] == half), refuses)
        for half in ("tuning", "held")
    }
    found["refusals, demo's replies"] = quality(((reply, action == "refuse") for _, reply, action in messages()), refuses)
    harmful, harmless = (
        [row["messages"][-1]["content"] for row in _jsonl(EXAMPLE / "data" / f"{name}.jsonl")]
        for name in ("hazardous", "benign")
    )
    # Every third message was read while the lexicon was written.
    for half, wanted in (("tuning", (0,)), ("held", (1, 2))):
        rows = [
            (t, sure) for texts, sure in ((harmful, True), (harmless, False)) for n, t in enumerate(texts) if n % 3 in wanted
        ]
        found[f"hazard lexicon, demo's suites, {half}"] = quality(rows, _hazardous)
    path = SHARED / "simple_safety_tests" / "SimpleSafetyTests.csv"
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            unsafe = [row["prompts_final"] for row in csv.DictReader(stream)]
        for half, part in (("tuning", unsafe[::2]), ("held", unsafe[1::2])):
            found[f"hazard lexicon, SimpleSafetyTests, {half}"] = quality(((text, True) for text in part), _hazardous)
    else:
        found["skipped"] = f"SimpleSafetyTests is not at {SHARED}; set DISTILL_GOV_DATA"
    return found


def _hazardous(text: str) -> bool:
    return bool(hazard_codes(text))


def measure(count: int) -> dict[str, Any]:
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "speed": {rule: asdict(speed) for rule, speed in speeds(count).items()},
        "quality": qualities(),
    }


def show(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    lines = [f"{found['machine']}, {found['date']}", "", f"{'filter':34s} {'rows':>7s} {'rows/s':>9s} {'naive':>9s}  same"]
    for rule, s in found["speed"].items():
        beside = f"{s['naive_rows_per_s']:9,} {'yes' if s['same'] else 'NO'!s:>5s}  {s['naive']}" if s["naive"] else ""
        lines.append(f"{rule:34s} {s['rows']:7,} {s['rows_per_s']:9,} {beside}")
    lines += ["", f"{'':48s} {'n':>5s}  {'precision':22s} {'recall':22s}"]
    for name, q in found["quality"].items():
        shown = q if isinstance(q, str) else f"{q['n']:5d}  {_shown(q['precision'])} {_shown(q['recall'])}"
        lines.append(f"{name:48s} {shown}")
    return "\n".join(lines)


def _shown(rate: Mapping[str, float] | None) -> str:
    return f"{rate['value']:.2f} ({rate['low']:.2f} to {rate['high']:.2f})".ljust(22) if rate else "-".ljust(22)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(max(1, given.rows))
    print(json.dumps(found, indent=2) if given.json else show(found))
    return int(not all(speed["same"] in (None, True) for speed in found["speed"].values()))


if __name__ == "__main__":
    sys.exit(main())
