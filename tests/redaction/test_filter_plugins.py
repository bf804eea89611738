"""Filters and scorers of others: loaded by name, judged by the clock, and never trusted to let an item through."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from distill_gov.records.errors import BadInputError
from distill_gov.records.settings import parse_settings
from redaction.filters import AnswerItem, decide, plugins
from redaction.filters.hits import FAILED, FilterBrokenError
from redaction.filters.plugins import FILTERS, SCORERS, TimedOutError, hazard_scorer, plugin_filter, within
from redaction.filters.policy import FilterPolicy

ITEM = AnswerItem("t/0", "where is it", "It costs 7 EUR, Zebrowska.", "It costs 7 EUR, Zebrowska.", "stop")


class _Distribution:
    version = "4.2"


class _Point:
    def __init__(self, name: str, made: Any, dist: Any = _Distribution) -> None:
        self.name, self.made, self.dist = name, made, dist

    def load(self) -> Any:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    found: dict[str, list[_Point]] = {FILTERS: [], SCORERS: []}
    monkeypatch.setattr(plugins, "entry_points", lambda group: found[group])

    def add(name: str, made: Any, group: str = FILTERS, **more: Any) -> None:
        found[group].append(_Point(name, made, **more))

    return add


def _own_version(item: AnswerItem) -> str:
    return "seen"


_own_version.version = "7"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "fired"),
    [
        (lambda item: None, []),
        (lambda item: "names_a_price" if "EUR" in item.reply_text else None, ["plugin/own@4.2:names_a_price"]),
        (lambda item: [], []),
        (lambda item: ["a", ("b", 2.0)], ["plugin/own@4.2:a", "plugin/own@4.2:b"]),
        (_own_version, ["plugin/own@7:seen"]),
        # What is no reason code might be text: it is dropped and not repeated.
        (lambda item: item.reply_text, [f"plugin/own@4.2:{FAILED}"]),
        (lambda item: ["a", item.reply_text], [f"plugin/own@4.2:{FAILED}"]),
        (lambda item: [("a", float("nan"))], [f"plugin/own@4.2:{FAILED}"]),
        (lambda item: True, [f"plugin/own@4.2:{FAILED}"]),
        (lambda item: 1 / 0, [f"plugin/own@4.2:{FAILED}"]),
        (lambda item: exec("raise SystemExit(0)"), [f"plugin/own@4.2:{FAILED}"]),
    ],
)
def test_what_a_plugin_says(install: Callable[..., None], function: Any, fired: list[str]) -> None:
    install("own", function)
    for action in ("flag", "drop"):
        decided = decide([plugin_filter("own", action, 5.0)], ITEM)
        assert [str(hit) for hit in decided.fired] == fired
        assert "Zebrowska" not in repr(decided)
        failed = any(hit.reason_code == FAILED for hit in decided.fired)
        assert (decided.deciding is not None) == (failed or (action == "drop" and bool(fired)))


def _backtracks(item: AnswerItem) -> str | None:
    return "x" if re.match(r"(a+)+$", "a" * 60 + "b") else None


def _sleeps(item: AnswerItem) -> str | None:
    try:
        time.sleep(30)
    except Exception:
        return None
    return None


@pytest.mark.parametrize("slow", [_backtracks, _sleeps])
def test_one_that_takes_too_long_drops_the_item_and_soon_stops_everything(install: Callable[..., None], slow: Any) -> None:
    install("slow", slow)
    judge = plugin_filter("slow", "flag", 0.05)
    for _ in range(2):
        decided = decide([judge], ITEM)
        assert decided.deciding is not None
        assert str(decided.deciding) == "plugin/slow@4.2:timed_out"
    with pytest.raises(FilterBrokenError, match="`slow` took more than"):
        decide([judge], ITEM)


def test_the_clock_works_on_other_threads_too() -> None:
    seen: list[Any] = []

    def run() -> None:
        seen.append(within(5.0, lambda: 3))
        for call in (lambda: time.sleep(30), lambda: 1 / 0):
            try:
                within(0.05, call)
            except BaseException as error:
                seen.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [3, TimedOutError, ZeroDivisionError]


def test_names_are_checked_where_the_policy_is_read(install: Callable[..., None]) -> None:
    install("no_prices", lambda item: None)
    assert parse_settings("plugins: {no_prices: flag}", FilterPolicy, where="x").plugins == {"no_prices": "flag"}
    with pytest.raises(BadInputError, match="did you mean no_prices"):
        parse_settings("plugins: {no_price: flag}", FilterPolicy, where="x")
    with pytest.raises(BadInputError, match="no_prices"):
        parse_settings("plugins: {no_prices: maybe}", FilterPolicy, where="x")


@pytest.mark.parametrize(
    ("made", "more", "words"),
    [
        (ImportError("Zebrowska"), {}, r"does not load \(ImportError\)"),
        (7, {}, "is no function"),
        (lambda item: None, {"dist": None}, "has no version"),
    ],
)
def test_one_that_cannot_be_used_is_refused(install: Callable[..., None], made: Any, more: dict[str, Any], words: str) -> None:
    install("own", made, **more)
    with pytest.raises(BadInputError, match=words) as caught:
        plugin_filter("own", "drop", 5.0)
    assert "Zebrowska" not in str(caught.value)
    install("own", made, **more)
    with pytest.raises(BadInputError, match="several distributions"):
        plugin_filter("own", "drop", 5.0)
    with pytest.raises(BadInputError, match="not installed"):
        plugin_filter("another", "drop", 5.0)


class _Scorer:
    version = "1"

    def score(self, text: str) -> dict[str, float]:
        return {"vcr": 0.9}


class _NoScorer:
    version = ""

    def score(self, text: str) -> dict[str, float]:
        return {}


def test_scorers(install: Callable[..., None]) -> None:
    install("good", _Scorer, SCORERS)
    install("bad", _NoScorer, SCORERS)
    install("none", lambda: object(), SCORERS)
    install("broken", lambda: 1 / 0, SCORERS)
    assert hazard_scorer("good").score("x") == {"vcr": 0.9}
    for name, words in (("bad", "no hazard scorer"), ("none", "no hazard scorer"), ("broken", "ZeroDivisionError")):
        with pytest.raises(BadInputError, match=words):
            hazard_scorer(name)
    policy = parse_settings("answers: {hazards: {action: drop, scorer: good}}", FilterPolicy, where="x")
    assert policy.answers.hazards.on
