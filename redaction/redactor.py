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
from distill_gov.records.layout import ProjectLayout
from redaction.analyzer import Analyzer, Detection, RecognizerFailedError
from redaction.documents import JsonValue, string_leaves, with_leaves
from redaction.findings import Finding, Redacted, Span
from redaction.policy import RedactionPolicy, load_policy
from redaction.pool import ChunkPool, chunked
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

    def __init__(self, policy: RedactionPolicy | None = None, keyring: KeyRing | None = None) -> None:
        """Make a redactor.

        Args:
            policy: what to look for; without one, every entity of the default.
            keyring: the project's key; without one, a key that lives as long as this object, so that its hashes compare with
                those of no other.
        """
        self.policy = RedactionPolicy() if policy is None else policy
        self._keyring = KeyRing.temporary() if keyring is None else keyring
        self._key = self._keyring.subkey("redaction")
        self._analyzer = Analyzer(self.policy)

    @classmethod
    def from_policy(cls, path: Path | str, keyring: KeyRing | None = None) -> Redactor:
        """Read `redaction.yaml` and load what it names.

        Args:
            keyring: without one, the key of the project that the file lies in; where there is none, as for the constructor.

        Raises:
            BadInputError and its kinds: the policy or the key cannot be used.
        """
        keys = ProjectLayout(Path(path).resolve().parent).keys
        if keyring is None and KeyRing.exists(keys):
            keyring = KeyRing.load(keys)
        return cls(load_policy(Path(path)), keyring)

    @property
    def key_id(self) -> str:
        return self._key.key_id

    @property
    def digest(self) -> str:
        """Digest of all that shapes the output: policy, rules, model, libraries and key id."""
        policy = self.policy.model_dump(mode="json", exclude={"review"})  # who looks at the output does not shape it
        return digest_json({"policy": policy, "detection": self._analyzer.identity(), "key_id": self.key_id})

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

    def detect_many(self, texts: Sequence[str], *, workers: int = 1) -> list[list[tuple[str, int, int, float, str]]]:
        """As `detect`, of many texts; an error in any of them is raised.

        Args:
            workers: processes; more than one are started for this call, which takes seconds.
        """
        if workers > 1:
            with ChunkPool(_DetectWorker, self._arguments, workers) as pool:
                return list(pool.run(chunked(texts, _MANY)))
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
        [done] = self.redact_chats([(item, messages)])
        if isinstance(done, DistillGovError):
            raise done
        return done

    def redact_chats(
        self, chats: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]
    ) -> Iterator[RedactedMessages | DistillGovError]:
        """For each (item, messages) what `redact_messages` returns or raises, lazily and in order; cheaper than one by one.

        Raises:
            MalformedFileError: what should be a message is none.
        """
        source = iter(chats)
        while batch := list(islice(source, _MANY)):
            values = [_message_dicts(messages, item) for item, messages in batch]
            groups = [(item, _texts_of(value, _roles(value))) for (item, _), value in zip(batch, values, strict=True)]
            for value, done in zip(values, self._redact_groups(groups), strict=True):
                if isinstance(done, DistillGovError):
                    yield done
                else:
                    whole = _document(value, done)
                    yield RedactedMessages(whole.value, whole.findings, whole.issued)

    def redact_json(self, value: JsonValue, *, item: str = "") -> RedactedJson:
        """Redact the strings of a JSON value: same keys, types and order."""
        return _document(value, self._redact_group(_texts_of(value, set()), item))

    def redact_many(self, items: Iterable[tuple[str, str]], *, workers: int = 1) -> Iterator[tuple[str, Redacted]]:
        """(item, redacted) for each (item, text), each text on its own, lazily and in order; same results as `redact`.

        Args:
            workers: processes; more than one are started for this call, which takes seconds.

        Raises:
            RecognizerFailedError, BadInputError: as `redact` does, at the item that fails.
            WorkerLostError: a worker was killed.
        """
        for item, done in self._redact_chunks(chunked(items, _MANY), workers):
            if isinstance(done, DistillGovError):
                raise done
            yield item, done

    def _redact_chunks(
        self, chunks: Iterable[list[tuple[str, str]]], workers: int
    ) -> Iterator[tuple[str, Redacted | DistillGovError]]:
        if workers > 1:
            with ChunkPool(_RedactWorker, self._arguments, workers) as pool:
                yield from pool.run(chunks)
        else:
            for chunk in chunks:
                yield from self._redact_chunk(chunk)

    def _redact_chunk(self, chunk: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Redacted | DistillGovError]]:
        groups = self._redact_groups([(item, {"": text}) for item, text in chunk])
        for (item, _), done in zip(chunk, groups, strict=True):
            yield item, done if isinstance(done, DistillGovError) else done[""]

    @property
    def _arguments(self) -> dict[str, Any]:
        """What another process makes a redactor like this one from."""
        return {"policy": self.policy, "keyring": self._keyring}

    def _detect_all(self, texts: Sequence[str], seen: Sequence[DetectionText]) -> list[list[Detection]]:
        return self._analyzer.detect_all(texts, seen)

    def _detect_each(self, texts: Sequence[str], seen: Sequence[DetectionText]) -> list[list[Detection] | DistillGovError]:
        """As `_detect_all`, with the error in the place of a text that has one."""
        try:
            return [*self._detect_all(texts, seen)]
        except DistillGovError as error:
            if len(texts) == 1:
                return [error]
            # One text spoilt the batch: go one by one, so that only it is lost.
            return [self._detect_each([text], [form])[0] for text, form in zip(texts, seen, strict=True)]

    def _redact_group(self, group: Mapping[str, str], item: str) -> dict[str, Redacted]:
        [done] = self._redact_groups([(item, group)])
        if isinstance(done, DistillGovError):
            raise done
        return done

    def _redact_groups(self, groups: Sequence[tuple[str, Mapping[str, str]]]) -> list[dict[str, Redacted] | DistillGovError]:
        """Redact groups of texts; the texts of a group share one numbering. An error stands in the place of its group."""
        searches = [_Search.of(group.values()) for _, group in groups]
        self._search(searches)
        return [self._group(item, group, search) for (item, group), search in zip(groups, searches, strict=True)]

    def _group(self, item: str, group: Mapping[str, str], search: _Search) -> dict[str, Redacted] | DistillGovError:
        if (error := search.error) is not None:
            where = ": ".join(part for part in (item, error.where) if part)
            return type(error)(error.what, where=where, fix=error.fix)
        numbering = Numbering(search.texts)
        return {
            field: self._rewritten(text, sorted(detections, key=lambda d: d.start), numbering, item, field)
            for field, text, detections in zip(group, search.texts, search.found, strict=True)
        }

    def _search(self, searches: Sequence[_Search]) -> None:
        """Detect until a pass finds no more, all searches side by side: a pass is one batch for the language model."""
        for _ in range(_MAX_PASSES):
            waiting = [s for s in searches if s.pending]
            if not waiting:
                return
            places = [(s, i) for s in waiting for i in s.pending]
            new = self._detect_each([s.texts[i] for s, i in places], [s.seen(i) for s, i in places])
            results = iter(new)
            for search in waiting:
                self._advance(search, [next(results) for _ in search.pending])
        for search in (s for s in searches if s.pending):
            search.fail(RecognizerFailedError("detection finds more in every pass", fix="Report it with a text that shows it."))

    def _advance(self, search: _Search, new: Sequence[list[Detection] | DistillGovError]) -> None:
        """Take what a pass found in the pending texts, and say which texts have to be looked at again."""
        changed, taken = set[int](), list[Detection]()
        for i, detections in zip(search.pending, new, strict=True):
            if isinstance(detections, DistillGovError):
                search.fail(detections)
                return
            if detections:
                search.found[i].extend(detections)
                taken += detections
                changed.add(i)
        search.pending = sorted(changed | self._spread(taken, search))

    def _spread(self, new: Sequence[Detection], search: _Search) -> set[int]:
        """Take every further place where a value found just now stands, in any text of the group: returns the texts changed."""
        changed = set()
        for value, entity, score in sorted({(d.value, d.entity, d.score) for d in new}, key=lambda v: (-len(v[0]), v)):
            if len(value) < 3:
                continue
            # An ordinary word that was a name in one place is none in all others.
            flags = 0 if self._analyzer.lexicon.is_word(value) else 2
            pattern = compiled(rf"(?<!\w){_literal(value)}(?!\w)", flags)
            for i in range(len(search.texts)):
                seen = search.seen(i)
                spans = [seen.original(*m.span()) for m in matches(pattern, seen.text)]
                search.found[i].extend(
                    Detection(entity, s.start, s.end, score, _SEEN_RULE, _SEEN_VERSION, value) for s in spans
                )
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


class _DetectWorker:
    """A redactor in another process, for `Redactor.detect_many`."""

    def __init__(self, policy: RedactionPolicy, keyring: KeyRing) -> None:
        self._redactor = Redactor(policy, keyring)

    def work(self, chunk: list[str]) -> list[list[tuple[str, int, int, float, str]]]:
        return self._redactor.detect_many(chunk)


class _RedactWorker:
    """A redactor in another process, for `Redactor.redact_many`."""

    def __init__(self, policy: RedactionPolicy, keyring: KeyRing) -> None:
        self._redactor = Redactor(policy, keyring)

    def work(self, chunk: list[tuple[str, str]]) -> list[tuple[str, Redacted | DistillGovError]]:
        return list(self._redactor._redact_chunk(chunk))


@dataclass(slots=True)
class _Search:
    """Texts that share one numbering, and what was found in them so far."""

    texts: list[str]
    issued: list[list[Span]]
    """Placeholders that each text came with."""
    found: list[list[Detection]]
    pending: list[int]
    """Texts in which there may be more."""
    error: DistillGovError | None = None

    @classmethod
    def of(cls, texts: Iterable[str]) -> _Search:
        given = list(texts)
        return cls(given, [placeholders(text) for text in given], [[] for _ in given], list(range(len(given))))

    def seen(self, i: int) -> DetectionText:
        """A text with all that is known of it masked."""
        spans = [*self.issued[i], *(Span(d.start, d.end) for d in self.found[i])]
        return detection_text(self.texts[i], sorted(spans, key=lambda s: s.start))

    def fail(self, error: DistillGovError) -> None:
        self.error, self.pending = error, []


def _message_dicts(messages: Sequence[Mapping[str, Any]], item: str) -> list[dict[str, Any]]:
    if any(not isinstance(m, Mapping) or not isinstance(m.get("role"), str) or "content" not in m for m in messages):
        raise MalformedFileError("a message needs `role` and `content`", where=item)
    return [dict(m) for m in messages]


def _roles(messages: Sequence[Mapping[str, Any]]) -> set[str]:
    return {f"/{index}/role" for index in range(len(messages))}


def _texts_of(value: JsonValue, spared: set[str]) -> dict[str, str]:
    """Strings of a JSON value by pointer, but for the spared ones."""
    return {pointer: text for pointer, text in string_leaves(value) if pointer not in spared}


def _document(value: JsonValue, done: Mapping[str, Redacted]) -> RedactedJson:
    findings = tuple(finding for redacted in done.values() for finding in redacted.findings)
    issued = {pointer: redacted.issued for pointer, redacted in done.items()}
    return RedactedJson(with_leaves(value, {p: r.text for p, r in done.items()}), findings, issued)


def _literal(value: str) -> str:
    return "".join(
        c if c.isalnum() else f"\\{c}" if c.isascii() and not c.isspace() else r"\s" if c.isspace() else f"[{c}]" for c in value
    )
