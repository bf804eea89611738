"""How many edited copies of teaching messages are found to be in the teaching set, and how many honest cases; texts a second.

    python benchmarks/contamination.py [--texts N] [--json]

The support desk's messages (invented). Copies: every teaching message of 8 words and more, edited in one way with seed 1; the
words put in are drawn from all teaching messages. Honest: the cases of the holdout, benign and hazardous suites, before and
after redaction, against the teaching messages without t-0334 and t-0335, which are planted near-copies that the build drops.
Beside our rule stand those of the field, on the same texts: PaLM's (70 % of the runs of 8 words), any shared run of 12 words
(datatrove; GPT-3 took 13), and the equality of the whole folded text.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from distill_gov.records.keys import KeyRing
from distill_gov.stages.chats import asked, clean_chats, user_text
from distill_gov.traces import read_traces
from evals.contamination import NGRAM, SHARED, ContaminationIndex
from redaction import Redactor
from redaction.filters.ngrams import PURPOSE, folded, ngrams, runs

EXAMPLE = Path(__file__).parents[1] / "examples" / "support_desk"
NEAR_COPIES = frozenset(("t-0334", "t-0335"))
SUITES = ("holdout", "benign", "hazardous")

Texts = Sequence[tuple[str, str]]
"""(id, text)."""
Rule = Callable[[str], bool]
"""Whether a text is in the teaching set."""
Edit = Callable[[list[str], random.Random, Sequence[str]], list[str]]
"""From a text's words, a source of chance and words to put in, to the words of an edited copy."""


def _replaced(words: list[str], rng: random.Random, others: Sequence[str], count: int) -> list[str]:
    for place in rng.sample(range(len(words)), count):
        words[place] = rng.choice(others)
    return words


def _inserted(words: list[str], rng: random.Random, others: Sequence[str], count: int) -> list[str]:
    for _ in range(count):
        words.insert(rng.randrange(len(words) + 1), rng.choice(others))
    return words


def _removed(words: list[str], rng: random.Random, others: Sequence[str], count: int) -> list[str]:
    for _ in range(count):
        del words[rng.randrange(len(words))]
    return words


EDITS: Mapping[str, Edit] = {
    "none": lambda words, rng, others: words,
    "capitals and dashes": lambda words, rng, others: " - ".join(words).upper().split(),
    "1 word replaced": lambda *given: _replaced(*given, 1),
    "2 words replaced": lambda *given: _replaced(*given, 2),
    "3 words replaced": lambda *given: _replaced(*given, 3),
    "1 word put in": lambda *given: _inserted(*given, 1),
    "2 words put in": lambda *given: _inserted(*given, 2),
    "1 word taken out": lambda *given: _removed(*given, 1),
    "2 words taken out": lambda *given: _removed(*given, 2),
    "a greeting before it": lambda words, rng, others: ["Hello", "there,", "good", "morning,", *words],
}


def rules(taught: Texts) -> dict[str, Rule]:
    """The rules, over one teaching set."""
    index = ContaminationIndex.of(((name, [text]) for name, text in taught), KeyRing(b"5" * 32).subkey(PURPOSE))
    eights = set[str]().union(*(runs(text, NGRAM) for _, text in taught))
    twelves = set[str]().union(*(ngrams(text, 12) for _, text in taught))
    whole = {folded(text) for _, text in taught}

    def palm(text: str) -> bool:
        own = runs(text, NGRAM)
        return bool(own) and len(own & eights) / len(own) >= SHARED

    return {
        "ours": lambda text: index.overlap(text).contaminated,
        "70 % of runs of 8": palm,
        "any run of 12": lambda text: bool(ngrams(text, 12) & twelves),
        "equal texts": lambda text: folded(text) in whole,
    }


def caught(taught: Texts, judges: Mapping[str, Rule]) -> dict[str, dict[str, float]]:
    """Share of the edited copies that each rule finds, by edit."""
    others = [word for _, text in taught for word in text.split()]
    long = [text for _, text in taught if len(folded(text).split()) >= NGRAM]
    found = {}
    for name, edit in EDITS.items():
        rng = random.Random(1)
        copies = [" ".join(edit(text.split(), rng, others)) for text in long]
        found[name] = {rule: round(sum(map(judge, copies)) / len(copies), 3) for rule, judge in judges.items()}
    return found


def _texts(name: str, redactor: Redactor | None, most: int) -> Texts:
    traces = read_traces(EXAMPLE / "data" / f"{name}.jsonl")[:most]
    if redactor is None:
        return [(t.id, user_text(asked(t))) for t in traces]
    return [(c.trace, c.text) for c in clean_chats(redactor, ((t.id, asked(t)) for t in traces))]


def measure(most: int) -> dict[str, Any]:
    """Everything, on the first texts of every file."""
    redactor = Redactor.from_policy(EXAMPLE / "redaction.yaml", KeyRing(b"5" * 32))
    raw = _texts("teaching", None, most)
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "texts": len(raw),
        "caught": caught(raw, rules(raw)),
        "honest": {},
    }
    for end, by in (("raw", None), ("redacted", redactor)):
        taught = [(name, text) for name, text in _texts("teaching", by, most) if name not in NEAR_COPIES]
        judges = rules(taught)
        cases = {suite: _texts(suite, by, most) for suite in SUITES}
        result["honest"][end] = {
            suite: {"n": len(rows), **{rule: sum(judge(text) for _, text in rows) for rule, judge in judges.items()}}
            for suite, rows in cases.items()
        }
    started = time.perf_counter()
    judge = rules(raw)["ours"]
    built = time.perf_counter()
    for _, text in raw:
        judge(text)
    result["seconds"] = {"rules made": round(built - started, 3), "a text judged": (time.perf_counter() - built) / len(raw)}
    return result


def show(result: Mapping[str, Any]) -> str:
    names = list(next(iter(result["caught"].values())))
    lines = [f"{result['date']}, {result['machine']}, {result['texts']} teaching messages", ""]
    lines.append("".join(["copies that are found".ljust(24), *(n.rjust(20) for n in names)]))
    for edit, shares in result["caught"].items():
        lines.append("".join([edit.ljust(24), *(f"{shares[n]:.1%}".rjust(20) for n in names)]))
    lines += ["", "".join(["honest cases found".ljust(24), *(n.rjust(20) for n in names)])]
    for end, suites in result["honest"].items():
        for suite, counts in suites.items():
            of = f"{suite}, {end}"
            lines.append("".join([of.ljust(24), *(f"{counts[n]} of {counts['n']}".rjust(20) for n in names)]))
    return "\n".join([*lines, "", f"{result['seconds']['a text judged'] * 1000:.2f} ms a text"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=10_000, help="at most so many of each file")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = measure(max(1, given.texts))
    print(json.dumps(result, indent=2) if given.json else show(result))
    honest = sum(counts["ours"] for suites in result["honest"].values() for counts in suites.values())
    return int(honest > 0 or result["caught"]["none"]["ours"] < 1)


if __name__ == "__main__":
    sys.exit(main())
