"""The redactor: text, chats and JSON in; clean copies and findings out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path as FilePath
from typing import Any, TypeVar, overload

from distill_gov.records.digest import digest_bytes, digest_json
from distill_gov.records.errors import BadInputError, DistillGovError
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.ledger import Journal
from redaction.analyzer import Analyzer, Detection
from redaction.documents import JsonValue
from redaction.fields import FieldRules, Part
from redaction.findings import Finding, Redacted, Span
from redaction.limits import RecognizerFailedError
from redaction.operators.sealed import is_sealed, unseal_value
from redaction.operators.stand_ins import DATASET, OPERATORS_VERSION, Operators, StandIns, Value, item_scope
from redaction.policy import RedactionPolicy, load_policy
from redaction.pool import ChunkPool, chunked
from redaction.recognizers.rule import compiled, matches
from redaction.redacted import CHAT, Document, RedactedJson, RedactedMessages
from redaction.searches import Search, part_of, replaced
from redaction.surrogates import canonical, issued_in, issued_spans
from redaction.unicode import DetectionText
from redaction.vault import Vault

__all__ = ["UNREDACTED", "RedactedJson", "RedactedMessages", "Redactor"]

UNREDACTED = "redaction.unredacted"
"""The ledger's event for values brought back."""

_MANY = 256
_MAX_PASSES = 100
NO_LANGUAGES: Mapping[str, str] = {}
_SEEN_RULE, _SEEN_VERSION = "seen_value", "1"


Chat = Sequence[Mapping[str, Any]] | RedactedMessages
"""Messages, redacted before or not."""


class Redactor:
    """Redacts under one policy and one key.

    Redaction is idempotent: detection runs until it finds nothing more, on a form of the text in which stand-ins
    and the values they stand for look the same. So the output holds nothing that a second run would find. Stand-ins are
    known by the spans that a `Redacted` (or `RedactedMessages`, `RedactedJson`) carries; placeholders, keyed hashes and
    encrypted values also by their shape, so that their text alone may be redacted again.
    """

    def __init__(
        self, policy: RedactionPolicy | None = None, keyring: KeyRing | None = None, vault: Vault | None = None
    ) -> None:
        """Make a redactor.

        Args:
            policy: what to look for; without one, every entity of the default.
            keyring: the project's key; without one, a key that lives as long as this object, so that its hashes compare with
                those of no other.
            vault: where values are kept, for a policy that turns it on.

        Raises:
            BadInputError: the policy wants a vault, and there is none.
        """
        self.policy = RedactionPolicy() if policy is None else policy
        if self.policy.vault.enabled and vault is None:
            raise BadInputError("the policy keeps a vault, and none is given", where="vault", fix="Use Redactor.from_policy.")
        self._vault = vault if self.policy.vault.enabled else None
        self._keyring = KeyRing.temporary() if keyring is None else keyring
        self._key = self._keyring.subkey("redaction")
        self._operators = Operators(self.policy, self._keyring)
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
        layout = ProjectLayout(FilePath(path).resolve().parent)
        policy = load_policy(FilePath(path))
        # A vault under a key that is forgotten could never be opened: without the project's key this fails.
        if keyring is None and (policy.vault.enabled or KeyRing.exists(layout.keys)):
            keyring = KeyRing.load(layout.keys)
        return cls(policy, keyring, Vault(layout.vault, keyring) if policy.vault.enabled and keyring else None)

    @property
    def key_id(self) -> str:
        return self._key.key_id

    @property
    def digest(self) -> str:
        """Digest of all that shapes the output: policy, rules, model, libraries, operators and key id."""
        policy = self.policy.model_dump(mode="json", exclude={"review"})  # who looks at the output does not shape it
        detection = self._analyzer.identity()
        return digest_json({"policy": policy, "detection": detection, "operators": OPERATORS_VERSION, "key_id": self.key_id})

    def value_hash(self, entity: str, value: str) -> str:
        """Keyed hash of an entity and the canonical form of a value; comparable only under the same key."""
        return self.canonical_hash(entity, canonical(entity, value))

    def canonical_hash(self, entity: str, folded: str) -> str:
        """As `value_hash`, of a value in its canonical form."""
        return self._key.mac(entity, folded)

    def detect(self, text: str | Redacted) -> list[tuple[str, int, int, float, str]]:
        """(entity, start, end, score, rule) of the values in a text; stand-ins count as masked and are never found.

        Raises:
            RecognizerFailedError, BadInputError
        """
        [found] = self.detect_many([text])
        return found

    def detect_many(
        self, texts: Sequence[str | Redacted], *, strict: bool = False, workers: int = 1
    ) -> list[list[tuple[str, int, int, float, str]]]:
        """As `detect`, of many texts; an error in any of them is raised.

        Args:
            strict: find as much as the residual scan does.
            workers: processes; more than one are started for this call, which takes seconds.
        """
        if workers > 1:
            with ChunkPool(_DetectWorker, {**self._arguments, "strict": strict}, workers) as pool:
                return list(pool.run(chunked(texts, _MANY)))
        search = Search.of([part_of(text) for text in texts], self.policy.max_chars)
        if search.error is not None:
            raise search.error
        seen = [search.seen(i) for i in range(len(search.parts))]
        found = self._analyzer.detect_each(search.parts, seen, strict=strict)
        return [[(d.entity, d.start, d.end, d.score, d.rule) for d in _or_raise(each)] for each in found]

    def redact(self, text: str | Redacted, *, item: str = "", field: str = "") -> Redacted:
        """Redact one text on its own.

        Args:
            text: what was redacted before keeps its findings; the same comes back if there is nothing new to find.
            item: names the conversation. Without it the text is one by itself: the same value in another text gets another
                surrogate, unless the policy's scope is the data set.

        Raises:
            RecognizerFailedError: a recogniser failed or timed out: the text must not be used.
            BadInputError: the text is too long or no valid Unicode.
        """
        [done] = self._redact_groups([(item, [part_of(text, field)])])
        [one] = _or_raise(done)
        return one

    def redact_messages(self, messages: Chat, *, item: str = "", language: str | None = None) -> RedactedMessages:
        """Redact a chat: the same value gets the same stand-in in all of its messages. Roles stay as they are.

        Contents and arguments that are JSON are redacted as `redact_json_text` does.
        """
        [done] = self.redact_chats([(item, messages)], languages={item: language} if language else NO_LANGUAGES)
        return _or_raise(done)

    def redact_chats(
        self, chats: Iterable[tuple[str, Chat]], *, languages: Mapping[str, str] = NO_LANGUAGES
    ) -> Iterator[RedactedMessages | DistillGovError]:
        """For each (item, messages) what `redact_messages` returns or raises, lazily and in order; cheaper than one by one.

        Args:
            languages: by item, the tag (BCP 47) of the language that it came with.
        """
        source = iter(chats)
        while batch := list(islice(source, _MANY)):
            documents = [Document(chat, item, self._fields, CHAT, languages.get(item)) for item, chat in batch]
            for whole in self._redact_documents(documents):
                if isinstance(whole, DistillGovError):
                    yield whole
                else:
                    yield RedactedMessages(whole.value, whole.findings, whole.issued, whole.parts)

    def redact_json(self, value: JsonValue | RedactedJson, *, item: str = "") -> RedactedJson:
        """Redact a JSON value. Strings that are JSON objects or arrays are redacted as `redact_json_text` does.

        Raises:
            MalformedFileError: the value is no JSON.
            NestedTooDeepError, RecognizerFailedError, BadInputError: it must not be used.
        """
        [done] = self._redact_documents([Document(value, item, self._fields)])
        return _or_raise(done)

    def redact_json_text(self, text: str, *, item: str = "") -> RedactedJson:
        """Redact a JSON object or array given as text, such as a tool call's arguments, or a structured answer.

        Returns:
            The clean text as ``value``. Characters change only inside strings in which something was found: numbers, spaces,
            order and doubled keys stay as written. Text that is no JSON is redacted as plain text; its pointer is empty.

        Raises:
            as `redact_json`.
        """
        return self.redact_json(text, item=item)

    def redact_each(
        self, items: Iterable[tuple[str, str | Redacted]], *, workers: int = 1
    ) -> Iterator[tuple[str, Redacted | DistillGovError]]:
        """As `redact_many`, with the error in the place of a text that cannot be redacted: it goes on with the next."""
        chunks = chunked(items, _MANY)
        if workers > 1:
            with ChunkPool(_RedactWorker, self._arguments, workers) as pool:
                yield from pool.run(chunks)
        else:
            for chunk in chunks:
                yield from self._redact_chunk(chunk)

    def _redact_chunk(self, chunk: Sequence[tuple[str, str | Redacted]]) -> Iterator[tuple[str, Redacted | DistillGovError]]:
        groups = self._redact_groups([(item, [part_of(text)]) for item, text in chunk])
        for (item, _), done in zip(chunk, groups, strict=True):
            yield item, done if isinstance(done, DistillGovError) else done[0]

    @overload
    def redact_many(self, items: Iterable[str | Redacted], *, workers: int = 1) -> Iterator[Redacted]: ...
    @overload
    def redact_many(
        self, items: Iterable[tuple[str, str | Redacted]], *, workers: int = 1
    ) -> Iterator[tuple[str, Redacted]]: ...
    def redact_many(self, items: Iterable[Any], *, workers: int = 1) -> Iterator[Any]:
        """Each text on its own, lazily and in order; same results as `redact`. Memory does not grow with their number.

        Args:
            items: texts, which give `Redacted`; or (item, text), which give (item, `Redacted`).
            workers: processes; more than one are started for this call, which takes seconds.

        Raises:
            RecognizerFailedError, BadInputError: as `redact` does, at the text that fails.
            WorkerLostError: a worker was killed.
        """
        bare: deque[bool] = deque()

        def named() -> Iterator[tuple[str, str | Redacted]]:
            for one in items:
                bare.append(not isinstance(one, tuple))
                yield one if isinstance(one, tuple) else ("", one)

        for item, done in self.redact_each(named(), workers=workers):
            redacted = _or_raise(done)
            yield redacted if bare.popleft() else (item, redacted)

    @property
    def _arguments(self) -> dict[str, Any]:
        """What another process makes a redactor like this one from."""
        return {"policy": self.policy, "keyring": self._keyring, "vault": self._vault}

    def unredact(self, text: str | Redacted, *, reason: str, journal: Journal, item: str = "") -> str:
        """Bring the values back that stand-ins stand for. It is logged first; if it cannot be logged, nothing is read.

        Encrypted values need only the key; any other stand-in needs the vault.

        Args:
            text: redacted under this key. Of a plain text only those surrogates are known that the vault has.
            reason: why, in words that hold nothing personal: the journal keeps it for ever.
            journal: the project's ledger.
            item: the conversation that the text is from; without it only what has the data set for its scope is known.

        Raises:
            BadInputError: no reason, or one with personal data in it; a stand-in that is unknown, stands for several values, or
                was made under another key.
            IntegrityError: a token or the vault was changed.
        """
        self._check_reason(reason)
        redacted = _given(text)
        facts = {"reason": reason.strip(), "item": item, "text": digest_bytes(redacted.text.encode("utf-8", "surrogatepass"))}
        journal.append(UNREDACTED, {**facts, "key_id": self.key_id})
        scopes = [*([item_scope(item)] if item else []), DATASET]
        if isinstance(text, str) and self._vault is not None:
            known = frozenset().union(*map(self._vault.stand_ins, scopes))
            redacted = Redacted(text, (), issued_in(text, known))
        spans = issued_spans(redacted)
        if not spans:
            raise BadInputError("nothing in the text is known to stand for a value", fix="Name the item it is from.")
        return replaced(redacted.text, [(s.start, s.end, self._value(redacted.text, s, scopes)) for s in spans])[0]

    def _check_reason(self, reason: str) -> None:
        if not reason.strip():
            raise BadInputError("values are not brought back without a reason", fix="Say why; it is logged.")
        if found := self.detect(reason):
            raise BadInputError(
                f"the reason holds personal data ({found[0][0]})", fix="Say it without: the ledger keeps it for ever."
            )

    def _value(self, text: str, span: Span, scopes: Sequence[str]) -> str:
        token = text[span.start : span.end]
        if is_sealed(token):
            return unseal_value(self._operators.encrypt_key, token)
        values = {v for scope in scopes for v in self._vault.values(scope, token)} if self._vault is not None else set()
        if len(values) != 1:
            what = "stands for several values" if values else "is unknown"
            fix = "Name the item it is from." if self._vault else "Only encrypted values come back without a vault."
            raise BadInputError(f"what stands at characters {span.start} to {span.end} {what}", fix=fix)
        return values.pop()

    def _keep(self, item: str, stand_ins: StandIns, values: Sequence[Value]) -> None:
        """Put what will stand in the text into the vault, before anybody gets the text."""
        if self._vault is None:
            return
        kept = [v for v in values if self.policy.entities[v.entity].operator not in ("encrypt", "drop")]
        for scope in sorted({stand_ins.scope_of(v.entity) for v in kept}):
            if scope != DATASET and not item:
                raise BadInputError("the vault keeps values by conversation, and this text is of none", fix="Give its item.")
            self._vault.keep(scope, [(stand_ins.of(v), v.written) for v in kept if stand_ins.scope_of(v.entity) == scope])

    def is_word(self, token: str) -> bool:
        """Whether a token is an ordinary word, as detection sees it."""
        return self._analyzer.lexicon.is_word(token)

    def _redact_documents(self, documents: Sequence[Document]) -> Iterator[RedactedJson | DistillGovError]:
        """Redact JSON documents; the leaves of one share one numbering. An error stands in the place of its document."""
        done = iter(self._redact_groups([(d.item, d.parts) for d in documents if d.error is None]))
        for document in documents:
            redacted = document.error if document.error is not None else next(done)
            yield redacted if isinstance(redacted, DistillGovError) else document.rebuilt(redacted)

    def _redact_groups(self, groups: Sequence[tuple[str, Sequence[Part]]]) -> list[list[Redacted] | DistillGovError]:
        """Redact groups of texts; the texts of a group share one numbering. An error stands in the place of its group."""
        searches = [Search.of(group, self.policy.max_chars) for _, group in groups]
        self._search(searches)
        return [self._group(item, search) for (item, _), search in zip(groups, searches, strict=True)]

    def _group(self, item: str, search: Search) -> list[Redacted] | DistillGovError:
        if (error := search.error) is not None:
            where = ": ".join(part for part in (item, error.where) if part)
            return type(error)(error.what, where=where, fix=error.fix)
        found = [
            [(d, Value(d.entity, d.value, part.text[d.start : d.end])) for d in sorted(detections, key=lambda d: d.start)]
            for part, detections in zip(search.parts, search.found, strict=True)
        ]
        values = [value for text in found for _, value in text]
        stand_ins = self._operators.conversation(item, [part.text for part in search.parts], search.unseen, values)
        try:
            self._keep(item, stand_ins, values)
        except DistillGovError as refused:
            return refused
        return [
            self._rewritten(part, spans, pairs, stand_ins, item)
            for part, spans, pairs in zip(search.parts, search.issued, found, strict=True)
        ]

    def _search(self, searches: Sequence[Search]) -> None:
        """Detect until a pass finds no more, all searches side by side: a pass is one batch for the language model."""
        for _ in range(_MAX_PASSES):
            waiting = [s for s in searches if s.pending]
            if not waiting:
                return
            places = [(s, i) for s in waiting for i in s.pending]
            new = self._analyzer.detect_each([s.parts[i] for s, i in places], [s.seen(i) for s, i in places])
            results = iter(new)
            for search in waiting:
                self._advance(search, [next(results) for _ in search.pending])
        for search in (s for s in searches if s.pending):
            search.fail(RecognizerFailedError("detection finds more in every pass", fix="Report it with a text that shows it."))

    def _advance(self, search: Search, new: Sequence[list[Detection] | DistillGovError]) -> None:
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

    def _spread(self, new: Sequence[Detection], search: Search) -> set[int]:
        """Take every further place where a value found just now stands, in any text of the group: returns the texts changed."""
        changed, forms = set(), dict[int, DetectionText]()
        for value, entity, score in sorted({(d.value, d.entity, d.score) for d in new}, key=lambda v: (-len(v[0]), v)):
            if len(value) < 3:
                continue
            # An ordinary word that was a name in one place is none in all others.
            flags = 0 if self._analyzer.lexicon.is_word(value) else 2
            pattern = compiled(rf"(?<!\w){_literal(value)}(?!\w)", flags)
            for i, part in enumerate(search.parts):
                if not part.looks_for(entity):
                    continue
                if i not in forms:
                    forms[i] = search.seen(i)
                seen = forms[i]
                spans = [seen.original(*m.span()) for m in matches(pattern, seen.text) if m.start() >= len(part.lead)]
                search.found[i].extend(
                    Detection(entity, s.start, s.end, score, _SEEN_RULE, _SEEN_VERSION, value) for s in spans
                )
                if spans:
                    changed.add(i)
                    del forms[i]
        return changed

    def _rewritten(
        self,
        part: Part,
        before: Sequence[Span],
        found: Sequence[tuple[Detection, Value]],
        stand_ins: StandIns,
        item: str,
    ) -> Redacted:
        places = [(s.start, s.end, part.text[s.start : s.end]) for s in before]
        places += [(d.start, d.end, stand_ins.of(value)) for d, value in found]
        clean, issued = replaced(part.text, sorted(places))
        return Redacted(clean, (*part.findings, *(self._finding(d, item, part) for d, _ in found)), issued)

    def _finding(self, d: Detection, item: str, part: Part) -> Finding:
        return Finding(
            item=item,
            field=part.field,
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


T = TypeVar("T")


def _or_raise(done: T | DistillGovError) -> T:
    if isinstance(done, DistillGovError):
        raise done
    return done


def _given(text: str | Redacted) -> Redacted:
    return text if isinstance(text, Redacted) else Redacted(text, (), ())


class _DetectWorker:
    """A redactor in another process, for `Redactor.detect_many`."""

    def __init__(self, policy: RedactionPolicy, keyring: KeyRing, vault: Vault | None, strict: bool) -> None:
        self._redactor, self._strict = Redactor(policy, keyring, vault), strict

    def work(self, chunk: list[str | Redacted]) -> list[list[tuple[str, int, int, float, str]]]:
        return self._redactor.detect_many(chunk, strict=self._strict)


class _RedactWorker:
    """A redactor in another process, for `Redactor.redact_many`."""

    def __init__(self, policy: RedactionPolicy, keyring: KeyRing, vault: Vault | None) -> None:
        self._redactor = Redactor(policy, keyring, vault)

    def work(self, chunk: list[tuple[str, str | Redacted]]) -> list[tuple[str, Redacted | DistillGovError]]:
        return list(self._redactor._redact_chunk(chunk))


def _literal(value: str) -> str:
    return "".join(
        c if c.isalnum() else f"\\{c}" if c.isascii() and not c.isspace() else r"\s" if c.isspace() else f"[{c}]" for c in value
    )
