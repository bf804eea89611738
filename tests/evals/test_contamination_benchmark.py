"""The pieces of benchmarks/contamination.py: copies are found, honest messages are not, the rules are what they are called."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks import load_benchmark


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    return load_benchmark(repository, "contamination")


def test_what_docs_say_of_copies_and_honest_cases(bench: ModuleType) -> None:
    """Figures of the table in docs/evidence.md, before redaction; a change that loses them has to say so there."""
    raw = bench._texts("teaching", None, 1000)
    found = bench.caught(raw, bench.rules(raw))
    assert found["none"] == dict.fromkeys(found["none"], 1.0) | {"any run of 12": found["none"]["any run of 12"]}
    assert found["1 word replaced"]["ours"] >= 0.85
    assert found["1 word replaced"]["70 % of runs of 8"] <= 0.25
    honest = bench.rules([(name, text) for name, text in raw if name not in bench.NEAR_COPIES])["ours"]
    assert not [name for suite in bench.SUITES for name, text in bench._texts(suite, None, 1000) if honest(text)]
    with_copies = bench.rules(raw)["ours"]
    assert [name for name, text in bench._texts("holdout", None, 1000) if with_copies(text)] == ["h-0001", "h-0044"]


def test_the_rules_by_hand(bench: ModuleType) -> None:
    text = " ".join(f"w{i}" for i in range(15))
    judged = {name: rule(text + " and more") for name, rule in bench.rules([("t", text)]).items()}
    assert judged == {"ours": True, "70 % of runs of 8": True, "any run of 12": True, "equal texts": False}


def test_edits_do_what_they_say(bench: ModuleType) -> None:
    words = [f"w{i}" for i in range(12)]
    lengths = {name: len(edit(list(words), random.Random(2), ["x"])) for name, edit in bench.EDITS.items()}
    assert (lengths["1 word put in"], lengths["2 words taken out"], lengths["3 words replaced"]) == (13, 10, 12)
    assert bench.EDITS["3 words replaced"](list(words), random.Random(2), ["x"]).count("x") == 3
