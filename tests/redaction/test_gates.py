"""A gate never keeps out a text that a pattern matches."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redaction import Redactor
from redaction.presidio.recognizers import DEFAULT_RECOGNIZERS, _needs, _recognizer
from redaction.recognizers.countries import COUNTRIES
from redaction.recognizers.gates import Gates, Needs, TextFacts
from redaction.recognizers.required import required
from redaction.recognizers.rule import PatternRule, gate_of
from tests.redaction.presidio_research import presidio_research

_RE_FLAGS = 2 | 8 | 16 | 64
_LONG = 1200
"""Longer patterns (lists of domains) take hypothesis seconds for an example; the public texts try them."""


def meets(needs: tuple[Needs, ...], text: str) -> bool:
    facts = TextFacts(text)
    return all(facts.meet(part) for part in needs)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (r"\d{3}-\d{4}", (Needs(digits=7), Needs(words=("-",)))),
        (r"foo(?:bar|baz)?", (Needs(words=("foo", "foobar", "foobaz")),)),
        (r"(?:cat|dog)+s", (Needs(words=("cat", "dog")),)),
        (r"a?b*", ()),
        (r"(?=needed)x\w", (Needs(words=("x",)),)),
        (r"t[eé]l", (Needs(words=("tel",)),)),
        (r"[-–]", ()),  # on a text with the dash, the hyphen must not be asked for
        (r"(?!never)|x", ()),
        (r"ſs", (Needs(words=("s",)),)),
        (r"[[:digit:]]x", ()),
        (r"\p{Lu}[\p{L}'-]xy", (Needs(words=("xy",)),)),
        (r"\\p{2}", (Needs(words=("\\",)),)),
        (r"(?:ab){2,3}", (Needs(words=("ab",)),)),
        (r"[0-4]\d|9", (Needs(digits=1),)),
    ],
)
def test_what_a_pattern_needs(source: str, wanted: tuple[Needs, ...]) -> None:
    assert required(source, regex.IGNORECASE) == wanted


def test_needs_hold_beyond_ascii() -> None:
    kelvin, long_s = "\u212a", "ſ"
    assert regex.search("key", f"{kelvin}ey", regex.IGNORECASE)
    assert regex.search("pass", f"pa{long_s}s", regex.IGNORECASE)
    assert meets((Needs(words=("key",)),), f"{kelvin}ey")
    assert meets((Needs(words=("pass",)),), f"pa{long_s}s")
    assert meets((Needs(digits=2),), "٣٤")
    assert not meets((Needs(words=("@",)),), "é")
    assert not meets((Needs(words=("key",)),), "lock")


@pytest.mark.parametrize("words", [("Key",), ("",), ("é",)])
def test_words_that_would_never_be_found_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="ASCII"):
        Needs(words=words)


def test_gates_open_by_all_their_parts() -> None:
    gates = Gates([(), (Needs(digits=1),), (Needs(digits=1), Needs(words=("@",))), (Needs(like="b.d"),)])
    assert gates.open(TextFacts("a1 bad")) == [True, True, False, True]
    assert gates.open(TextFacts("@")) == [True, False, False, False]


# -- every pattern there is -------------------------------------------------------------------------------------------------


def presidio_patterns() -> list[tuple[str, str, tuple[Needs, ...]]]:
    names = [*DEFAULT_RECOGNIZERS, *(name for country in COUNTRIES.values() for name in country)]
    found = []
    for name in dict.fromkeys(names):
        recognizer = _recognizer(name, None)
        for pattern in getattr(recognizer, "patterns", ()):
            found.append((f"{name}/{pattern.name}", pattern.regex, _needs(pattern.regex)))
    return found


def generated(source: str, flags: int) -> st.SearchStrategy[str] | None:
    """Strings that a pattern matches, among other text; None where hypothesis does not understand the pattern."""
    if len(source) > _LONG:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pattern = re.compile(source, flags & _RE_FLAGS)
            strategy = st.from_regex(pattern)
            strategy.validate()
        except Exception:
            return None
    return st.tuples(st.sampled_from(("", " ", "x", "é ")), strategy, st.sampled_from(("", " ", ".", "ſ"))).map("".join)


def check(name: str, pattern: Any, needs: tuple[Needs, ...]) -> None:
    strategy = generated(pattern.pattern, pattern.flags)
    if strategy is None:
        return

    @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def matched_texts_come_in(text: str) -> None:
        for form in (text, text.upper(), text.swapcase()):
            if pattern.search(form, timeout=5):
                assert meets(needs, form), f"the gate of {name} keeps out a text that matches"

    matched_texts_come_in()


def test_no_gate_of_presidio_keeps_a_match_out() -> None:
    for name, source, needs in presidio_patterns():
        check(name, regex.compile(source, regex.DOTALL | regex.MULTILINE | regex.IGNORECASE), needs)


@pytest.mark.slow
def test_no_gate_of_ours_keeps_a_match_out(redactor: Redactor) -> None:
    for rule in redactor._analyzer.rules:
        for part in ("pattern", "context", "after"):
            pattern = getattr(rule, part, None) if isinstance(rule, PatternRule) else None
            if pattern is not None:
                check(f"{rule.id} ({part})", pattern, required(pattern.pattern, pattern.flags))


def test_no_gate_keeps_out_a_finding_in_public_texts(redactor: Redactor) -> None:
    texts = presidio_research(600)
    gates = {rule.id: gate_of(rule) for rule in redactor._analyzer.rules}
    assert sum(bool(needs) for needs in gates.values()) > len(gates) / 3
    shut = 0
    for text in texts:
        for rule in redactor._analyzer.rules:
            if not meets(gates[rule.id], text):
                shut += 1
                if isinstance(rule, PatternRule):
                    assert not list(rule.find(text, None)), f"the gate of {rule.id} keeps out a text with a hit"
    assert shut > len(texts)
    for name, source, needs in presidio_patterns():
        pattern = regex.compile(source, regex.DOTALL | regex.MULTILINE | regex.IGNORECASE)
        for text in texts:
            if not meets(needs, text):
                assert not pattern.search(text), f"the gate of {name} keeps out a text that matches"


def test_no_providers_key_is_shorter_than_what_the_gate_asks_for() -> None:
    import re._parser as parser  # type: ignore[import-not-found]

    from redaction.recognizers.provider_keys import PROVIDERS
    from redaction.recognizers.secrets import _PROVIDER_NEEDS

    for provider in PROVIDERS:
        assert r"\s" not in provider.pattern, provider.name
        assert "[^" not in provider.pattern, provider.name
        assert parser.parse(provider.pattern, re.VERBOSE).getwidth()[0] >= _PROVIDER_NEEDS.token, provider.name


def test_patterns_of_single_values_are_not_kept_for_ever() -> None:
    from redaction.recognizers import rule

    for number in range(rule._MOST_NEEDS + 10):
        rule.matches(rule.compiled(f"value{number}"), "a text that is longer than thirty characters")
    assert len(rule._NEEDS) <= rule._MOST_NEEDS
