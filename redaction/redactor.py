"""The redactor: text, chats and JSON in; clean copies and findings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path as FilePath
from typing import Any

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import DistillGovError, MalformedFileError
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import ProjectLayout
from redaction.analyzer import Analyzer, Detection
from redaction.documents import JsonLeaf, JsonValue, NestedTooDeepError, Path, mapped, pointer
from redaction.fields import FieldRules, Part
from redaction.findings import Finding, Redacted, Span
from redaction.limits import RecognizerFailedError, refusal
from redaction.policy import RedactionPolicy, load_policy
from redaction.recognizers.rule import compiled, matches
from redaction.surrogates import Numbering, canonical, placeholders
from redaction.unicode import DetectionText, detection_text

__all__ = ["RedactedJson", "RedactedMessages", "Redactor"]

_MANY = 256
_MAX_PASSES = 100
_CHAT: Path = ("messages",)
NO_LANGUAGES: Mapping[str, str] = {}
_SEEN_RULE, _SEEN_VERSION = "seen_value", "1"


@dataclass(frozen=True, slots=True)
class RedactedJson:
    """A JSON value, redacted: same types, order and, but for personal ones, keys.

    A key or a number that is somebody's becomes a placeholder too, a number thereby a string; its finding's action is ``drop``,
    since the document is not what it was.
    """

    value: JsonValue
    findings: tuple[Finding, ...]
    issued: Mapping[str, tuple[Span, ...]]
    """Placeholder spans of each string, by JSON pointer."""
    parts: tuple[Redacted, ...] = ()
    """Each string, number and key that was looked at, by itself; findings say where it stands."""


@dataclass(frozen=True, slots=True)
class RedactedMessages:
    """A chat, redacted; pointers begin with the index of the message: ``/0/content``."""

    messages: list[dict[str, Any]]
    findings: tuple[Finding, ...]
    issued: Mapping[str, tuple[Span, ...]]
    parts: tuple[Redacted, ...] = ()
    """As for `RedactedJson`."""

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
        self._key = (KeyRing.temporary() if keyring is None else keyring).subkey("redaction")
        self._analyzer = Analyzer(self.policy)
        self._fields = FieldRules(self.policy)

    @classmethod
    def from_policy(cls, path: FilePath | str, keyring: KeyRing | None = None) -> Redactor:
        """Read `redaction.yaml` and load what it names.

        Args:
            keyring: without one, the key of the project that the file lies in; where there is none, as for the constructor.

        Raises:
            BadInputError and its kinds: the policy or the key cannot be used.
        """
        keys = ProjectLayout(FilePath(path).resolve().parent).keys
        if keyring is None and KeyRing.exists(keys):
            keyring = KeyRing.load(keys)
        return cls(load_policy(FilePath(path)), keyring)

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
        for text in texts:
            if (refused := refusal(text, self.policy.max_chars)) is not None:
                raise refused
        found = self._detect_all([Part(text) for text in texts], [detection_text(text, placeholders(text)) for text in texts])
        return [[(d.entity, d.start, d.end, d.score, d.rule) for d in each] for each in found]

    def redact(self, text: str, *, item: str = "", field: str = "") -> Redacted:
        """Redact one text on its own.

        Raises:
            RecognizerFailedError: a recogniser failed or timed out: the text must not be used.
            BadInputError: the text is too long or no valid Unicode.
        """
        [done] = self._redact_group([Part(text, field)], item)
        return done

    def redact_messages(
        self, messages: Sequence[Mapping[str, Any]], *, item: str = "", language: str | None = None
    ) -> RedactedMessages:
        """Redact a chat: the same value gets the same placeholder in all of its messages. Roles stay as they are.

        Contents and arguments that are JSON are redacted as `redact_json_text` does.
        """
        [done] = self.redact_chats([(item, messages)], languages={item: language} if language else NO_LANGUAGES)
        if isinstance(done, DistillGovError):
            raise done
        return done

    def redact_chats(
        self, chats: Iterable[tuple[str, Sequence[Mapping[str, Any]]]], *, languages: Mapping[str, str] = NO_LANGUAGES
    ) -> Iterator[RedactedMessages | DistillGovError]:
        """For each (item, messages) what `redact_messages` returns or raises, lazily and in order; cheaper than one by one.

        Args:
            languages: by item, the tag (BCP 47) of the language that it came with.
        """
        source = iter(chats)
        while batch := list(islice(source, _MANY)):
            documents = [_Document(messages, item, self._fields, _CHAT, languages.get(item)) for item, messages in batch]
            for whole in self._redact_documents(documents):
                if isinstance(whole, DistillGovError):
                    yield whole
                else:
                    yield RedactedMessages(whole.value, whole.findings, whole.issued, whole.parts)

    def redact_json(self, value: JsonValue, *, item: str = "") -> RedactedJson:
        """Redact a JSON value. Strings that are JSON objects or arrays are redacted as `redact_json_text` does.

        Raises:
            MalformedFileError: the value is no JSON.
            NestedTooDeepError, RecognizerFailedError, BadInputError: it must not be used.
        """
        [done] = self._redact_documents([_Document(value, item, self._fields)])
        if isinstance(done, DistillGovError):
            raise done
        return done

    def redact_json_text(self, text: str, *, item: str = "") -> RedactedJson:
        """Redact a JSON object or array given as text, such as a tool call's arguments, or a structured answer.

        Returns:
            The clean text as ``value``. Characters change only inside strings in which something was found: numbers, spaces,
            order and doubled keys stay as written. Text that is no JSON is redacted as plain text; its pointer is empty.

        Raises:
            as `redact_json`.
        """
        return self.redact_json(text, item=item)

    def redact_each(self, items: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Redacted | DistillGovError]]:
        """As `redact_many`, with the error in the place of a text that cannot be redacted: it goes on with the next."""
        source = iter(items)
        while batch := list(islice(source, _MANY)):
            done = self._redact_groups([(item, [Part(text)]) for item, text in batch])
            for (item, _), one in zip(batch, done, strict=True):
                yield item, one if isinstance(one, DistillGovError) else one[0]

    def redact_many(self, items: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Redacted]]:
        """(item, redacted) for each (item, text), each text on its own, lazily and in order; same results as `redact`.

        Raises:
            RecognizerFailedError, BadInputError: as `redact` does, at the item that fails.
        """
        for item, done in self.redact_each(items):
            if isinstance(done, DistillGovError):
                raise done
            yield item, done

    def _detect_all(self, parts: Sequence[Part], seen: Sequence[DetectionText]) -> list[list[Detection]]:
        documents = self._analyzer.documents(seen, parts)
        return [self._analyzer.detect(part, form, doc) for part, form, doc in zip(parts, seen, documents, strict=True)]

    def _detect_each(self, parts: Sequence[Part], seen: Sequence[DetectionText]) -> list[list[Detection] | DistillGovError]:
        """As `_detect_all`, with the error in the place of a text that has one."""
        out: list[list[Detection] | DistillGovError] = []
        try:
            for part, form, doc in zip(parts, seen, self._analyzer.documents(seen, parts), strict=True):
                out.append(self._tried(part, form, doc))
            return out
        except DistillGovError as error:
            if len(parts) == 1:
                return [error]
            # One text spoilt the batch: go on one by one, so that only it is lost.
            rest = zip(parts[len(out) :], seen[len(out) :], strict=True)
            return [*out, *(self._detect_each([part], [form])[0] for part, form in rest)]

    def _tried(self, part: Part, form: DetectionText, doc: Any) -> list[Detection] | DistillGovError:
        try:
            return self._analyzer.detect(part, form, doc)
        except DistillGovError as error:
            return error

    def _redact_documents(self, documents: Sequence[_Document]) -> Iterator[RedactedJson | DistillGovError]:
        """Redact JSON documents; the leaves of one share one numbering. An error stands in the place of its document."""
        done = iter(self._redact_groups([(d.item, d.parts) for d in documents if d.error is None]))
        for document in documents:
            redacted = document.error if document.error is not None else next(done)
            yield redacted if isinstance(redacted, DistillGovError) else document.rebuilt(redacted)

    def _redact_group(self, group: Sequence[Part], item: str) -> list[Redacted]:
        [done] = self._redact_groups([(item, group)])
        if isinstance(done, DistillGovError):
            raise done
        return done

    def _redact_groups(self, groups: Sequence[tuple[str, Sequence[Part]]]) -> list[list[Redacted] | DistillGovError]:
        """Redact groups of texts; the texts of a group share one numbering. An error stands in the place of its group."""
        searches = [_Search.of(group, self.policy.max_chars) for _, group in groups]
        self._search(searches)
        return [self._group(item, search) for (item, _), search in zip(groups, searches, strict=True)]

    def _group(self, item: str, search: _Search) -> list[Redacted] | DistillGovError:
        if (error := search.error) is not None:
            where = ": ".join(part for part in (item, error.where) if part)
            return type(error)(error.what, where=where, fix=error.fix)
        numbering = Numbering(part.text for part in search.parts)
        return [
            self._rewritten(part, sorted(detections, key=lambda d: d.start), numbering, item)
            for part, detections in zip(search.parts, search.found, strict=True)
        ]

    def _search(self, searches: Sequence[_Search]) -> None:
        """Detect until a pass finds no more, all searches side by side: a pass is one batch for the language model."""
        for _ in range(_MAX_PASSES):
            waiting = [s for s in searches if s.pending]
            if not waiting:
                return
            places = [(s, i) for s in waiting for i in s.pending]
            new = self._detect_each([s.parts[i] for s, i in places], [s.seen(i) for s, i in places])
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
            for i, part in enumerate(search.parts):
                if not part.looks_for(entity):
                    continue
                seen = search.seen(i)
                spans = [seen.original(*m.span()) for m in matches(pattern, seen.text) if m.start() >= len(part.lead)]
                search.found[i].extend(
                    Detection(entity, s.start, s.end, score, _SEEN_RULE, _SEEN_VERSION, value) for s in spans
                )
                if spans:
                    changed.add(i)
        return changed

    def _rewritten(self, part: Part, detections: list[Detection], numbering: Numbering, item: str) -> Redacted:
        text, field = part.text, part.field
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
                    action=self.policy.entities[d.entity].operator if part.kind == "string" else "drop",
                )
            )
        clean = "".join([*parts, text[position:]])
        return Redacted(clean, tuple(findings), tuple(placeholders(clean)))


@dataclass(slots=True)
class _Search:
    """Texts that share one numbering, and what was found in them so far."""

    parts: Sequence[Part]
    issued: list[list[Span]]
    """Placeholders that each text came with."""
    found: list[list[Detection]]
    pending: list[int]
    """Texts in which there may be more."""
    error: DistillGovError | None = None

    @classmethod
    def of(cls, parts: Sequence[Part], max_chars: int) -> _Search:
        refused = next((error for part in parts if (error := refusal(part.text, max_chars)) is not None), None)
        if refused is not None:
            return cls(parts, [], [], [], refused)
        return cls(parts, [placeholders(part.text) for part in parts], [[] for _ in parts], list(range(len(parts))))

    def seen(self, i: int) -> DetectionText:
        """A text with all that is known of it masked."""
        spans = [*self.issued[i], *(Span(d.start, d.end) for d in self.found[i])]
        return detection_text(self.parts[i].text, sorted(spans, key=lambda s: s.start), self.parts[i].lead)

    def fail(self, error: DistillGovError) -> None:
        self.error, self.pending = error, []


def _message_dicts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if any(not isinstance(m, Mapping) or not isinstance(m.get("role"), str) or "content" not in m for m in messages):
        raise MalformedFileError("a message needs `role` and `content`")
    return [dict(m) for m in messages]


class _Document:
    """A JSON value on its way: the parts of it that are looked at, and the value with what came of them."""

    def __init__(self, value: JsonValue, item: str, rules: FieldRules, root: Path = (), language: str | None = None) -> None:
        self.item = item
        self.parts: list[Part] = []
        self.error: DistillGovError | None = None
        self._value, self._rules, self._root, self._language = value, rules, root, language
        self._looked: list[bool] = []
        try:
            if root == _CHAT:
                self._value = _message_dicts(value)
            mapped(self._value, self._look)
        except (MalformedFileError, RecursionError) as error:
            what, kind = (
                (error.what, type(error))
                if isinstance(error, MalformedFileError)
                else ("JSON nested too deep", NestedTooDeepError)
            )
            self.error = kind(what, where=item)

    def _look(self, leaf: JsonLeaf) -> str:
        part = self._rules.part(leaf, root=self._root, language=self._language)
        self._looked.append(part is not None)
        if part is not None:
            self.parts.append(part)
        return leaf.text

    def rebuilt(self, done: Sequence[Redacted]) -> RedactedJson:
        keys = {part.path: one.text for part, one in zip(self.parts, done, strict=True) if part.kind == "key" and one.findings}
        fields = [_told(part, keys) for part in self.parts]
        parts = [_at(one, field) for one, field in zip(done, fields, strict=True)]
        looked, clean = iter(self._looked), iter(done)

        def put(leaf: JsonLeaf) -> str:
            if next(looked):
                return next(clean).text
            return "" if leaf.kind == "string" and self._rules.drops(leaf.path, self._root) else leaf.text

        return RedactedJson(
            mapped(self._value, put),
            tuple(finding for one in parts for finding in one.findings),
            {field: one.issued for field, part, one in zip(fields, self.parts, parts, strict=True) if part.kind == "string"},
            tuple(parts),
        )


def _told(part: Part, keys: Mapping[Path, str]) -> str:
    """The pointer of a part, with placeholders for the personal keys in it."""
    if not keys:
        return part.field
    return pointer(tuple(keys.get(part.path[: depth + 1], name) for depth, name in enumerate(part.path)))


def _at(one: Redacted, field: str) -> Redacted:
    return replace(one, findings=tuple(f if f.field == field else replace(f, field=field) for f in one.findings))


def _literal(value: str) -> str:
    return "".join(
        c if c.isalnum() else f"\\{c}" if c.isascii() and not c.isspace() else r"\s" if c.isspace() else f"[{c}]" for c in value
    )
