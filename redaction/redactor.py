"""The redactor: text, chats and JSON in; clean copies and findings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import DistillGovError, MalformedFileError
from distill_gov.records.keys import KeyRing
from redaction.analyzer import Analyzer, Detection, RecognizerFailedError
from redaction.documents import JsonValue, string_leaves, with_leaves
from redaction.findings import Finding, Redacted, Span
from redaction.policy import RedactionPolicy, load_policy
from redaction.recognizers.rule import compiled, matches
from redaction.surrogates import Numbering, canonical, placeholders
from redaction.unicode import DetectionText, detection_text

__all__ = ["RedactedJson", "RedactedMessages", "Redactor"]

_MANY = 256
_MAX_PASSES = 100
_SEEN_RULE, _SEEN_VERSION = "seen_value", "1"


@dataclass(frozen=True, slots=True)
class RedactedJson:
    """A JSON value with its strings redacted; ``issued`` has the placeholder spans of each string, by JSON pointer."""

    value: JsonValue
    findings: tuple[Finding, ...]
    issued: Mapping[str, tuple[Span, ...]]


@dataclass(frozen=True, slots=True)
class RedactedMessages:
    """A chat with its contents redacted; pointers are ``/<index>/content``."""

    messages: list[dict[str, Any]]
    findings: tuple[Finding, ...]
    issued: Mapping[str, tuple[Span, ...]]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.messages, self.findings, self.issued))


class Redactor:
    """Redacts under one policy and one key.

    Redaction is idempotent: detection runs until it finds nothing more, on a form of the text in which placeholders
    and the values they stand for look the same. So the output holds nothing that a second run would find.
    """

    def __init__(self, policy: RedactionPolicy, keyring: KeyRing) -> None:
        self.policy = policy
        self._key = keyring.subkey("redaction")
        self._analyzer = Analyzer(policy)

    @classmethod
    def from_policy(cls, path: Path | str, keyring: KeyRing) -> Redactor:
        """Read `redaction.yaml` and load what it names.

        Raises:
            BadInputError and its kinds: the policy cannot be used.
        """
        return cls(load_policy(Path(path)), keyring)

    @property
    def key_id(self) -> str:
        return self._key.key_id

    @property
    def digest(self) -> str:
        """Digest of all that shapes the output: policy, rules, model, libraries and key id."""
        return digest_json(
            {"policy": self.policy.model_dump(mode="json"), "detection": self._analyzer.identity(), "key_id": self.key_id}
        )

    def value_hash(self, entity: str, value: str) -> str:
        """Keyed hash of an entity and the canonical form of a value; comparable only under the same key."""
        return self._key.mac(entity, canonical(entity, value))

    def detect(self, text: str) -> list[tuple[str, int, int, float, str]]:
        """(entity, start, end, score, rule) of the values in a text; placeholders count as masked and are never found.

        Raises:
            RecognizerFailedError, BadInputError
        """
        [found] = self.detect_many([text])
        return found

    def detect_many(self, texts: Sequence[str]) -> list[list[tuple[str, int, int, float, str]]]:
        """As `detect`, of many texts; an error in any of them is raised."""
        found = self._detect_all(texts, [detection_text(text, placeholders(text)) for text in texts])
        return [[(d.entity, d.start, d.end, d.score, d.rule) for d in each] for each in found]

    def redact(self, text: str, *, item: str = "", field: str = "") -> Redacted:
        """Redact one text on its own.

        Raises:
            RecognizerFailedError: a recogniser failed or timed out: the text must not be used.
            BadInputError: the text is too long or no valid Unicode.
        """
        return self._redact_group({field: text}, item)[field]

    def redact_messages(self, messages: Sequence[Mapping[str, Any]], *, item: str = "") -> RedactedMessages:
        """Redact a chat: the same value gets the same placeholder in all of its messages. Roles stay as they are."""
        if any(not isinstance(m, Mapping) or not isinstance(m.get("role"), str) or "content" not in m for m in messages):
            raise MalformedFileError("a message needs `role` and `content`", where=item)
        roles = {f"/{index}/role" for index in range(len(messages))}
        result = self._redact_document([dict(m) for m in messages], item, roles)
        return RedactedMessages(result.value, result.findings, result.issued)

    def redact_json(self, value: JsonValue, *, item: str = "") -> RedactedJson:
        """Redact the strings of a JSON value: same keys, types and order."""
        return self._redact_document(value, item, set())

    def _redact_document(self, value: JsonValue, item: str, spared: set[str]) -> RedactedJson:
        texts = {pointer: text for pointer, text in string_leaves(value) if pointer not in spared}
        done = self._redact_group(texts, item)
        findings = tuple(finding for redacted in done.values() for finding in redacted.findings)
        issued = {pointer: redacted.issued for pointer, redacted in done.items()}
        return RedactedJson(with_leaves(value, {p: r.text for p, r in done.items()}), findings, issued)

    def redact_many(self, items: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Redacted]]:
        """(item, redacted) for each (item, text), each text on its own, lazily and in order; same results as `redact`.

        Raises:
            RecognizerFailedError, BadInputError: as `redact` does, at the item that fails.
        """
        source = iter(items)
        while batch := list(islice(source, _MANY)):
            texts = [text for _, text in batch]
            try:
                first: list[list[Detection]] | None = self._detect_all(
                    texts, [detection_text(t, placeholders(t)) for t in texts]
                )
            except DistillGovError:
                # One text spoilt the batch: go one by one, so that those before it come out and it is named.
                first = None
            for index, (item, text) in enumerate(batch):
                yield item, self._redact_group({"": text}, item, None if first is None else [first[index]])[""]

    def _detect_all(self, texts: Sequence[str], seen: Sequence[DetectionText]) -> list[list[Detection]]:
        documents = self._analyzer.documents(seen)
        return [self._analyzer.detect(text, form, doc) for text, (form, doc) in zip(texts, documents, strict=True)]

    def _redact_group(
        self, group: Mapping[str, str], item: str, first: list[list[Detection]] | None = None
    ) -> dict[str, Redacted]:
        """Redact texts that share one numbering; ``first`` are the detections of the first pass if they are known."""
        fields, texts = list(group), list(group.values())
        try:
            found = self._found(texts, first)
        except DistillGovError as error:
            where = ": ".join(part for part in (item, error.where) if part)
            raise type(error)(error.what, where=where, fix=error.fix) from None
        numbering = Numbering(texts)
        return {
            field: self._rewritten(text, detections, numbering, item, field)
            for field, text, detections in zip(fields, texts, found, strict=True)
        }

    def _found(self, texts: list[str], first: list[list[Detection]] | None) -> list[list[Detection]]:
        """Detections of each text, in order, found until a pass finds no more."""
        found: list[list[Detection]] = [[] for _ in texts]
        issued = [placeholders(text) for text in texts]
        pending = list(range(len(texts)))
        for _ in range(_MAX_PASSES):
            seen = [_masked(texts[i], issued[i], found[i]) for i in pending]
            new = first if first is not None else self._detect_all([texts[i] for i in pending], seen)
            first = None
            changed = set()
            for i, detections in zip(pending, new, strict=True):
                if detections:
                    found[i].extend(detections)
                    changed.add(i)
            if not changed:
                return [sorted(each, key=lambda d: d.start) for each in found]
            changed |= self._spread([d for detections in new for d in detections], texts, issued, found)
            pending = sorted(changed)
        raise RecognizerFailedError("detection finds more in every pass", fix="Report it with a text that shows it.")

    def _spread(
        self, new: list[Detection], texts: list[str], issued: list[list[Span]], found: list[list[Detection]]
    ) -> set[int]:
        """Take every further place where a value found just now stands, in any text of the group: returns the texts changed."""
        changed = set()
        for value, entity, score in sorted({(d.value, d.entity, d.score) for d in new}, key=lambda v: (-len(v[0]), v)):
            if len(value) < 3:
                continue
            # An ordinary word that was a name in one place is none in all others.
            flags = 0 if self._analyzer.lexicon.is_word(value) else 2
            pattern = compiled(rf"(?<!\w){_literal(value)}(?!\w)", flags)
            for i, text in enumerate(texts):
                seen = _masked(text, issued[i], found[i])
                spans = [seen.original(*m.span()) for m in matches(pattern, seen.text)]
                found[i].extend(Detection(entity, s.start, s.end, score, _SEEN_RULE, _SEEN_VERSION, value) for s in spans)
                if spans:
                    changed.add(i)
        return changed

    def _rewritten(self, text: str, detections: list[Detection], numbering: Numbering, item: str, field: str) -> Redacted:
        parts: list[str] = []
        findings: list[Finding] = []
        position = 0
        for d in detections:
            parts += (text[position : d.start], numbering.placeholder(d.entity, d.value))
            position = d.end
            findings.append(
                Finding(
                    item=item,
                    field=field,
                    start=d.start,
                    end=d.end,
                    entity=d.entity,
                    score=d.score,
                    rule=d.rule,
                    rule_version=d.version,
                    value_hash=self.value_hash(d.entity, d.value),
                    key_id=self.key_id,
                    action=self.policy.entities[d.entity].operator,
                )
            )
        clean = "".join([*parts, text[position:]])
        return Redacted(clean, tuple(findings), tuple(placeholders(clean)))


def _masked(text: str, issued: list[Span], found: list[Detection]) -> DetectionText:
    spans = [*issued, *(Span(d.start, d.end) for d in found)]
    return detection_text(text, sorted(spans, key=lambda s: s.start))


def _literal(value: str) -> str:
    return "".join(
        c if c.isalnum() else f"\\{c}" if c.isascii() and not c.isspace() else r"\s" if c.isspace() else f"[{c}]" for c in value
    )
