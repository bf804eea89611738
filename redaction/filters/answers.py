"""Filters of the teacher's redacted answers: empty, truncated, too long, loops, boilerplate, secrets, echo, residual, harm."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redaction.filters.harm import flag_reply
from redaction.filters.hits import Filter
from redaction.findings import Redacted
from redaction.policy import RedactionPolicy
from redaction.surrogates import issued_in

if TYPE_CHECKING:
    from redaction.redactor import Redactor
    from redaction.residual import KnownValues

__all__ = ["AnswerItem", "answer_filters"]


@dataclass(frozen=True, slots=True)
class AnswerItem:
    """A redacted answer of the teacher to a redacted prompt."""

    id: str
    prompt: str
    answer_text: str
    """The whole answer, as the student is to learn it."""
    reply_text: str
    """The part a customer reads; for answers without one, the same as ``answer_text``."""
    finish: str
    """How the generation ended: ``stop``, or ``length`` when it ran into the limit."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The parsed answer, where it is JSON."""
    recorded: bool = False
    """Somebody wrote the reply before there was redaction, which put its placeholders in; a teacher repeats what it read."""
    stand_ins: frozenset[str] = frozenset()
    """What redaction put in the place of values, in the prompt and in a recorded reply."""


_BOILERPLATE = re.compile(
    r"\b(?:as|i(?:'|\u2019)?\s?a?m(?:\s+just)?)\s+an?\s+(?:ai|artificial\s+intelligence"
    r"|(?:large\s+)?language\s+model|chat\s?bot|virtual\s+assistant|automated\s+system)\b"
    r"|\bmy\s+(?:training\s+data|knowledge\s+cut-?\s?off)\b|\bi\s+(?:do\s+not|don(?:'"
    r"|\u2019)t)\s+have\s+(?:personal\s+)?(?:feelings|opinions|access\s+to\s+real-?time)\b"
    r"|\btrained\s+by\s+(?:openai|anthropic|google|meta)\b",
    re.IGNORECASE,
)
_SECRET = frozenset({"API_KEY", "PASSWORD", "SECRET_URL"})
_WORD = re.compile(r"\w+")


def _repetition(text: str) -> str | None:
    """Loops of a degenerate generation, after the repetition rules of Gopher (Rae et al. 2021), fit for short answers.

    A run of the same word four times, a two- to four-word phrase three times in a row, or one phrase of three words that
    makes up half of a text of at least twelve words.
    """
    words = [w.casefold() for w in _WORD.findall(text)]
    if re.search(r"(\S)\1{14,}", text):
        return "character_run"
    for size, times in ((1, 4), (2, 3), (3, 3), (4, 3)):
        for start in range(len(words) - size * times + 1):
            phrase = words[start : start + size]
            if all(words[start + k * size : start + (k + 1) * size] == phrase for k in range(1, times)):
                return "loop"
    if len(words) >= 12:
        grams = Counter(tuple(words[i : i + 3]) for i in range(len(words) - 2))
        _, count = grams.most_common(1)[0]
        if count > 2 and count * 3 >= len(words) / 2:
            return "repeated_phrase"
    return None


def _too_long(limit: int) -> Callable[[AnswerItem], str | None]:
    return lambda item: "too_long" if len(item.reply_text) > limit else None


def _forbidden(phrases: Collection[str]) -> Callable[[AnswerItem], str | None]:
    patterns = [re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, p.split())) + r"(?!\w)", re.IGNORECASE) for p in phrases]
    return lambda item: "forbidden_phrase" if any(p.search(item.reply_text) for p in patterns) else None


def _echo(item: AnswerItem) -> str | None:
    """A stand-in of the prompt; or any at all, where nothing but the prompt can have shown the teacher one."""
    written = _stand_ins_of(item.reply_text, item)
    return "echo" if written & _stand_ins_of(item.prompt, item) or (written and not item.recorded) else None


def _stand_ins_of(text: str, item: AnswerItem) -> set[str]:
    return {text[span.start : span.end] for span in issued_in(text, item.stand_ins)}


def _answer(item: AnswerItem) -> Redacted:
    return Redacted(item.answer_text, (), issued_in(item.answer_text, item.stand_ins))


def _secrets(redactor: Redactor) -> Callable[[AnswerItem], str | None]:
    def reason(item: AnswerItem) -> str | None:
        for shown in _stand_ins_of(item.answer_text, item) - _stand_ins_of(item.prompt, item):
            # `<API_KEY_1>`, or `<API_KEY:3f2a...>`
            if re.split(r"[:_][0-9a-f]|:enc:", shown[1:])[0] in _SECRET:
                return "secret"
        return "secret" if any(found[0] in _SECRET for found in redactor.detect(_answer(item))) else None

    return reason


def _residual(redactor: Redactor, known: KnownValues | None) -> Callable[[AnswerItem], str | None]:
    from redaction.residual import residual

    def reason(item: AnswerItem) -> str | None:
        return "residual" if residual(_answer(item), redactor, known) else None

    return reason


def answer_filters(
    policy: RedactionPolicy, redactor: Redactor, known: KnownValues | None = None
) -> tuple[Filter[AnswerItem], ...]:
    """The answer filters of a policy, cheap ones first, in the order in which they decide.

    Args:
        known: values found in prompts, which must not come back in an answer.
    """
    wanted = policy.filters.answers
    named: list[tuple[bool, str, Callable[[AnswerItem], str | None]]] = [
        (
            wanted.empty,
            "answer/empty",
            lambda i: None if _WORD.search(i.answer_text) and _WORD.search(i.reply_text) else "empty",
        ),
        (wanted.truncated, "answer/truncated", lambda i: "truncated" if i.finish == "length" else None),
        (wanted.max_reply_chars is not None, "answer/too_long", _too_long(wanted.max_reply_chars or 0)),
        (wanted.repetition, "answer/repetition", lambda i: _repetition(i.reply_text)),
        (wanted.boilerplate, "answer/boilerplate", lambda i: "boilerplate" if _BOILERPLATE.search(i.reply_text) else None),
        (bool(wanted.forbidden_phrases), "answer/forbidden", _forbidden(wanted.forbidden_phrases)),
        (wanted.harm, "answer/harm", lambda i: hit.reason_code if (hit := flag_reply(i.reply_text)) else None),
        (wanted.echo, "answer/echo", _echo),
        (wanted.secrets, "answer/secrets", _secrets(redactor)),
        (wanted.residual, "answer/residual", _residual(redactor, known)),
    ]
    return tuple(Filter(rule, "1", reason) for on, rule, reason in named if on)
