"""Filters of the teacher's redacted answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import BadInputError
from distill_gov.records.keys import Subkey
from redaction.filters import injection, language
from redaction.filters.harm import HARM_RULE, HARM_VERSION, flag_reply
from redaction.filters.hazards import hazard_codes
from redaction.filters.hits import Filter, Tag
from redaction.filters.invisible import invisible
from redaction.filters.plugins import plugin_filter
from redaction.filters.policy import LengthRule, Rule
from redaction.filters.prompts import hazard_filters
from redaction.filters.protected import ProtectedIndex
from redaction.filters.refusals import REFUSAL_VERSION, boilerplate, refusal, refuses
from redaction.filters.repetition import gopher_repetition, loops
from redaction.filters.wording import forbidden, length, voice
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
    trace: str = ""
    """The prompt's trace."""
    sample: int = 0
    """Which of the teacher's answers to it."""
    refused: bool = False
    """The answer's own decision is to refuse, whatever its words."""
    hazardous: bool = False
    """The prompt is known to be hazardous: by its tag, its reference, or a filter."""

    @property
    def refuses(self) -> bool:
        """By its decision or its words."""
        return self.refused or refuses(self.reply_text)


_SECRET = frozenset({"API_KEY", "PASSWORD", "SECRET_URL"})
_WORD = re.compile(r"\w")

Tags = Callable[[AnswerItem], Iterable[Tag]]


def answer_filters(
    policy: RedactionPolicy,
    redactor: Redactor,
    known: KnownValues | None = None,
    *,
    registered: Sequence[Filter[AnswerItem]] = (),
    key: Subkey | None = None,
    root: Path = Path(),
) -> tuple[Filter[AnswerItem], ...]:
    """The answer filters of a policy, in the order in which they decide: cheap ones first, plug-ins last.

    Args:
        known: values found in prompts, which must not come back in an answer.
        registered: filters that stand before the policy's, such as the answers' schema.
        key: what the index of protected texts was made with; needed where the policy names one.
        root: what the index's path is relative to.

    Raises:
        BadInputError and its kinds: a filter cannot be made.
    """
    wanted = policy.filters.answers
    found: list[Filter[AnswerItem]] = list(registered)

    def add(rule: str, version: str, on: Rule, tags: Tags, together: Any = None) -> None:
        if on.action != "off":
            found.append(Filter(rule, version, tags, on.action, together))

    def reply(rule: str, version: str, on: Any, make: Callable[[Any], Callable[[str], Iterable[Tag]]]) -> None:
        """A filter of what people read, which is made only where it is on."""
        if on.on:
            tags = make(on)
            add(rule, version, on, lambda item: tags(item.reply_text))

    add("answer/empty", "1", wanted.empty, _empty)
    add("answer/truncated", "1", wanted.truncated, lambda i: (Tag("truncated"),) if i.finish == "length" else ())
    reply("answer/role", "1", wanted.role, lambda _: injection.turn_markers)
    if wanted.max_reply_chars is not None:
        reply("answer/too_long", "1", LengthRule(max_chars=wanted.max_reply_chars), length)
    reply("answer/length", "1", wanted.length, length)
    reply("answer/language", language.VERSION, wanted.language, language.language)
    reply("answer/repetition", "1", wanted.repetition, lambda _: loops)
    reply("answer/gopher_repetition", "1", wanted.gopher, lambda on: lambda text: gopher_repetition(text, on.profile))
    reply("answer/boilerplate", "1", wanted.boilerplate, lambda _: boilerplate)
    add("answer/refusal", REFUSAL_VERSION, wanted.refusal, _refusal)
    if wanted.forbidden_phrases:
        reply("answer/forbidden", "1", Rule(), lambda _: forbidden(wanted.forbidden_phrases))
    reply("answer/voice", "1", wanted.voice, voice)
    reply("answer/injection", injection.VERSION, wanted.injection, lambda _: injection.injection())
    add("answer/invisible", "1", wanted.invisible, lambda i: invisible(i.answer_text))
    add(HARM_RULE, HARM_VERSION, wanted.harm, _harm)
    found += hazard_filters("answer/hazard", wanted.hazards, lambda i: i.reply_text)
    add("answer/echo", "1", wanted.echo, _echo)
    add("answer/secrets", "1", wanted.secrets, *_secrets(redactor))
    add("answer/residual", "1", wanted.residual, *_residual(redactor, known))
    if wanted.protected_index.on:
        if key is None:
            raise BadInputError("an index of protected texts needs the project's key", where="redaction.yaml: protected_index")
        overlap = ProtectedIndex.read(root / wanted.protected_index.path, key).tags(wanted.protected_index.min_shared)
        add("answer/protected", "1", wanted.protected_index, lambda i: overlap(i.answer_text))
    found += [plugin_filter(n, action, policy.filters.plugin_seconds) for n, action in sorted(policy.filters.plugins.items())]
    return tuple(found)


def _empty(item: AnswerItem) -> Iterator[Tag]:
    if not _WORD.search(item.answer_text) or not _WORD.search(item.reply_text):
        yield Tag("empty")


def _refusal(item: AnswerItem) -> Iterator[Tag]:
    refused = item.refuses
    return refusal(refused, refused and (item.hazardous or bool(hazard_codes(item.prompt))))


def _harm(item: AnswerItem) -> Iterator[Tag]:
    if hit := flag_reply(item.reply_text):
        yield Tag(hit.reason_code)


def _echo(item: AnswerItem) -> Iterator[Tag]:
    """A stand-in of the prompt; or any at all, where nothing but the prompt can have shown the teacher one."""
    written = _stand_ins_of(item.reply_text, item)
    repeated = written & _stand_ins_of(item.prompt, item)
    if repeated or (written and not item.recorded):
        yield Tag("echo", len(repeated or written))


def _stand_ins_of(text: str, item: AnswerItem) -> set[str]:
    return {text[span.start : span.end] for span in issued_in(text, item.stand_ins)}


def _answer(item: AnswerItem) -> Redacted:
    return Redacted(item.answer_text, (), issued_in(item.answer_text, item.stand_ins))


def _secrets(redactor: Redactor) -> tuple[Tags, Any]:
    def tags(item: AnswerItem, found: Sequence[tuple[Any, ...]]) -> list[Tag]:
        new = _stand_ins_of(item.answer_text, item) - _stand_ins_of(item.prompt, item)
        # `<API_KEY_1>`, `<API_KEY:3f2a...>` or `<API_KEY:enc:...>`
        count = sum(re.split(r"_[0-9]|:", shown[1:])[0] in _SECRET for shown in new) + sum(one[0] in _SECRET for one in found)
        return [Tag("secret", count)] if count else []

    def together(items: Sequence[AnswerItem]) -> list[list[Tag]]:
        return [tags(i, f) for i, f in zip(items, redactor.detect_many([_answer(i) for i in items]), strict=True)]

    return lambda item: tags(item, redactor.detect(_answer(item))), together


def _residual(redactor: Redactor, known: KnownValues | None) -> tuple[Tags, Any]:
    from redaction.residual import residual_many

    def together(items: Sequence[AnswerItem]) -> list[list[Tag]]:
        found = residual_many([_answer(i) for i in items], redactor, known)
        return [[Tag("residual", len(hits))] if hits else [] for hits in found]

    return lambda item: together([item])[0], together
