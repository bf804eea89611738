"""Compile the demo's data: ``python make_data.py`` reads ``source/`` and writes ``data/``, always the same bytes.

The messages in ``source/*.jsonl`` carry their personal data in marks, ``[[TYPE|value]]`` or ``[[TYPE]]``. A mark without a
value gets one from ``pii_values.json``, picked by a hash of the message. What remains of the text is the message; where the
marks stood is the ground truth in ``pii_spans.jsonl`` (offsets count Unicode code points, end exclusive).

Standard library only, so that anybody can check the committed files without installing anything.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SEED = "support-desk-1"
MARK = re.compile(r"\[\[([A-Z_]+)(?:\|([^\]]+))?\]\]")
FIELDS = ("intent", "urgency", "action")
SAME_TEXT = 0.5
"""Jaccard similarity of word 3-shingles from which two messages count as near-duplicates."""
HOLDOUT_SIZE = 300
GENERATED = {"delivery": 7, "refund": 10, "invoice": 7, "password": 8, "repair": 8, "subscription": 8, "stock": 8}
GENERATED |= {"harm": 4, "unclear": 20}
GENERATED_WITH_PII = 40
JOURNEY = ("stock", "delivery", "invoice", "password", "repair", "subscription", "refund")
"""The order in which one customer's concerns follow one another in a conversation."""
CONVERSATIONS = (2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4)
TONES = ("plain",) * 6 + ("typos",) * 3 + ("angry", "two_questions", "long")
QUESTIONS = (
    "how ",
    "is ",
    "does ",
    "can ",
    "would ",
    "which ",
    "when ",
    "what ",
    "do ",
    "who ",
    "where ",
    "will ",
    "on which ",
)
CHAT = {"please": "pls", "you": "u", "your": "ur", "are": "r", "because": "cos", "thanks": "thx", "what": "wat"}
PLAIN: tuple[str, ...] = ("hurr", "urgen", "today", "tomorrow", "tonight", "immediate")
# The first letters of the words that name a topic: typing errors elsewhere leave no doubt what a message is about.
PLAIN += ("parcel", "packag", "courier", "deliver", "track", "refund", "money", "return", "invoic", "charg", "paymen", "vouch")
PLAIN += ("passwor", "login", "locked", "accoun", "hacke", "broke", "error", "crash", "leak", "smoke", "shock", "subscri")
PLAIN += ("member", "cancel", "stock", "price", "availab", "colour", "steal", "stole", "poison", "drugs", "malwar", "weapon")
COUNTRIES = {"de": "DE", "es": "ES", "fr": "FR", "it": "IT", "nl": "NL", "pl": "PL"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was written: marks still in the text."""

    text: str
    reference: Mapping[str, str]
    slice: str
    language: str
    group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    consent: str = "granted"
    licence: str = "LicenseRef-invented"
    retention_until: str = "2030-12-31"


# Reading and writing


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="\n")


def read_messages(path: Path) -> list[Message]:
    """The written messages of one source file."""
    return [as_message(row) for row in read_jsonl(path)]


def as_message(row: Mapping[str, str], **more: Any) -> Message:
    reference = {name: row[name] for name in (*FIELDS, "reply") if name in row}
    tags = {"hazard": row["hazard"]} if "hazard" in row else {}
    return Message(row["text"], reference, row.get("slice", "plain"), row.get("language", "en"), **{"tags": tags, **more})


# Marks


def number(*parts: str) -> int:
    """A whole number that depends on nothing but the seed and ``parts``."""
    return int.from_bytes(hashlib.sha256("\x1f".join((SEED, *parts)).encode("utf-8")).digest()[:8], "big")


def pool(values: Mapping[str, Mapping[str, list[str]]], kind: str, text: str, language: str) -> list[str]:
    """The values that suit a message: its country's where it is not English, IPv4 before ``/24`` and in most others."""
    by_origin = values[kind]
    if kind == "IP_ADDRESS":
        return by_origin["v4" if "]]/" in text or number("ip", text) % 6 else "v6"]
    country = "PL" if "PESEL" in text else COUNTRIES.get(language, "")
    if country in by_origin:
        return by_origin[country]
    return [value for origin in sorted(by_origin) for value in by_origin[origin]]


def fill(message: Message, values: Mapping[str, Mapping[str, list[str]]]) -> tuple[str, list[dict[str, Any]]]:
    """The plain text of a message, and start, end and type of each mark in it."""
    text, spans, read = "", [], 0
    drawn: Counter[str] = Counter()
    for mark in MARK.finditer(message.text):
        kind, value = mark.group(1), mark.group(2)
        text += message.text[read : mark.start()]
        if value is None:
            choices = pool(values, kind, message.text, message.language)
            value = choices[(number(kind, message.text) + drawn[kind]) % len(choices)]
            drawn[kind] += 1
        spans.append({"start": len(text), "end": len(text) + len(value), "type": kind})
        text += value
        read = mark.end()
    return text + message.text[read:], spans


# Near-duplicates


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The word 3-shingles of a text; a text of fewer words is one shingle."""
    words = re.findall(r"\w+", text.lower()) or [text]
    return frozenset(tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2)))


def near_duplicates(texts: Mapping[str, str], threshold: float = SAME_TEXT) -> list[tuple[str, str, float]]:
    """Pairs of ids whose texts share at least ``threshold`` of their shingles (Jaccard), with that share."""
    holders: dict[tuple[str, ...], list[str]] = {}
    sets = {name: shingles(text) for name, text in texts.items()}
    pairs = []
    for name, own in sets.items():
        shared = Counter(other for shingle in own for other in holders.get(shingle, ()))
        for other, common in shared.items():
            share = common / (len(own) + len(sets[other]) - common)
            if share >= threshold:
                pairs.append((other, name, share))
        for shingle in own:
            holders.setdefault(shingle, []).append(name)
    return pairs


# The generator


@dataclass(frozen=True, slots=True)
class Job:
    """What one generated message is to be: its intent, whether it carries personal data, the conversation it belongs to."""

    intent: str
    pii: bool
    conversation: int | None
    product: str | None
    person: str


@dataclass(frozen=True, slots=True)
class Situation:
    text: str
    reply: str
    products: str
    urgency: str | None
    action: str

    def suits(self, product: str | None) -> bool:
        if product is None or self.products in ("+", "-"):
            return True
        return product != "headphones" if self.products == "*" else product == self.products


def situations(phrases: Mapping[str, Any], intent: str) -> list[Situation]:
    rows = []
    for text, reply, products, *fixed in phrases["situations"][intent]:
        urgency, action = fixed or (None, {"harm": "refuse", "unclear": "ask"}.get(intent, "answer"))
        rows.append(Situation(text, reply, products, "high" if intent == "harm" else urgency, action))
    return rows


def plan(phrases: Mapping[str, Any], rng: random.Random, foreign: Counter[str]) -> list[Job]:
    """One job per generated message: conversations first, then single messages; personal data in a fixed number of them."""
    left = Counter(GENERATED) - foreign
    size = sum(left.values())
    flags = [True] * (GENERATED_WITH_PII - sum(foreign.values()) // 2) + [False] * size
    flags = flags[:size]
    rng.shuffle(flags)
    people, products = list(phrases["people"]), list(phrases["products"])
    others = itertools.cycle(people[len(CONVERSATIONS) :])
    jobs = []
    for conversation, length in enumerate(CONVERSATIONS):
        steps = sorted(rng.sample(range(len(JOURNEY)), length))
        product, person = products[conversation % len(products)], people[conversation]
        jobs += [Job(JOURNEY[step], flags.pop(), conversation, product, person) for step in steps]
        left.subtract(JOURNEY[step] for step in steps)
    for intent in sorted(left):
        jobs += [Job(intent, flags.pop(), None, None, next(others)) for _ in range(left[intent])]
    return jobs


def persona(phrases: Mapping[str, Any], person: str, rng: random.Random) -> dict[str, str]:
    """Values for the slots in lines about the customer. The same person has the same e-mail address everywhere."""
    plain = unicodedata.normalize("NFKD", person.lower()).encode("ascii", "ignore").decode("ascii")
    at = phrases["people"].index(person)
    mailbox = re.sub(r"[^a-z]+", ".", plain)
    domain = ("example.com", "example.org", "example.net", "postkasten.example")[number("mail", person) % 4]
    letter = rng.choice("BCDFGHKLMNPRSTWX")
    orders = (f"LH-{rng.randrange(10000, 99999)}-{letter}", f"{rng.randrange(1000, 9999)}-{rng.randrange(1000, 9999)}")
    return {
        "name": person,
        "email": f"{mailbox}@{domain}",
        "order": rng.choice((*orders, f"#{letter}{rng.randrange(10000, 99999)}")),
        "address": phrases["addresses"][at % len(phrases["addresses"])],
        "birth": phrases["births"][at % len(phrases["births"])],
        "user": phrases["users"][at % len(phrases["users"])],
        "password": rng.choice(phrases["passwords"]),
    }


def misspell(text: str, rng: random.Random) -> str:
    """Lower case, no apostrophes, chat spellings, and two inner letters swapped in about one long word in five.

    Marks, the words that decide urgency and the words that name the topic stay readable.
    """

    def word(match: re.Match[str]) -> str:
        old = match.group(0)
        if old in CHAT:
            return CHAT[old]
        if len(old) < 5 or old.startswith(PLAIN) or rng.random() > 0.22:
            return old
        at = rng.randrange(1, len(old) - 2)
        return old[:at] + old[at + 1] + old[at] + old[at + 2 :]

    pieces = re.split(r"(\[\[.*?\]\])", text)
    noisy = [re.sub(r"\b[a-z]+\b", word, piece.lower().replace("'", "")) for piece in pieces[::2]]
    pieces[::2] = noisy
    return "".join(pieces)


def compose(job: Job, situation: Situation, phrases: Mapping[str, Any], rng: random.Random) -> Message:
    """Put one message together: opening, the situation, an aside, a line with personal data, how urgent it is, the question."""
    intent = job.intent
    product = job.product or rng.choice([name for name in phrases["products"] if situation.suits(name)])
    slots = {name: rng.choice(options) for name, options in phrases["slots"].items()}
    slots |= {"p": rng.choice(phrases["products"][product]), "s": product, "n2": str(rng.randrange(2, 10))}
    slots["colour2"] = rng.choice([colour for colour in phrases["slots"]["colour"] if colour != slots["colour"]])
    slots |= persona(phrases, job.person, rng)
    core = situation.text.format(**slots)
    grave = situation.action == "escalate"
    tones = ("plain", "plain", "plain", "typos") if grave or intent in ("harm", "unclear", "stock") else TONES
    tone = "pasted_log" if core.startswith("log:") else "angry" if grave and intent != "harm" else rng.choice(tones)

    urgency, mood = situation.urgency, ""
    if urgency is None:
        urgency = rng.choices(("normal", "low", "high"), (68, 15, 17))[0]
        if intent in ("stock", "unclear"):
            urgency = rng.choices(("low", "high"), (9, 1))[0]
        elif tone == "angry" and urgency == "low":
            urgency = "normal"
        banks = {"stock": {"low": "low_stock", "high": "high_stock"}, "unclear": {"high": "high"}}
        bank = banks.get(intent, {"low": "low", "high": "high"}).get(urgency)
        mood = rng.choice(phrases[bank]) if bank else ""

    asked = core.startswith(QUESTIONS)
    asks = rng.sample([ask for ask in phrases["asks"][intent] if "?" in ask], 1) if tone == "two_questions" else []
    if not asked and not asks and not grave and not mood:
        asks = rng.sample(phrases["asks"][intent], 1)
    asides = rng.sample(phrases["asides"][intent], 2) if tone == "long" else []
    pii = rng.sample(phrases["pii"][intent], 1) if job.pii and "[[" not in core else []
    if pii and grave and intent == "harm":
        pii = ["[[PERSON|{name}]]"]
    opening = rng.choice(phrases["angry" if tone == "angry" else "openings"])
    if intent == "harm" or core.startswith(("good ", "hi ")):
        opening = ""
    body = (
        core
        if core.endswith(("?", ".", "!"))
        else core + ("?" if asked else rng.choice((".", ".", "!" if tone == "angry" else "")))
    )
    if not opening or opening.endswith((".", "!", "?")):
        body = body if rng.random() < 0.3 else body[:1].upper() + body[1:]
    last = pii if pii and pii[0].startswith(("-", "[[PERSON", "[[EMAIL", "Regards")) else []
    parts = [opening, body, *asides, *([] if last else pii), mood, *asks, *last]
    parts = [part for part in parts if part]
    # Where a part has no full stop a comma keeps it apart from the next one.
    parts = [part if part[-1] in ".,:!?" or part == opening else part + "," for part in parts[:-1]] + parts[-1:]
    for at in range(1, len(parts)):
        if parts[at - 1].endswith(",") and parts[at][1].islower():
            parts[at] = parts[at][0].lower() + parts[at][1:]
    text = " ".join(parts).format(**slots)
    text = re.sub(r"\b([Aa]) (?=(?:espresso|over-ear|R6|ugly)\b)", r"\1n ", text)
    if tone == "typos":
        text = misspell(text, rng)
    reference = {"intent": intent, "urgency": urgency, "action": situation.action, "reply": situation.reply.format(**slots)}
    group = None if job.conversation is None else f"c-talk-{job.conversation + 1:02d}"
    return Message(text, reference, tone, "en", group, {"origin": "generated"})


def generate(phrases: Mapping[str, Any], taken: Sequence[str]) -> list[Message]:
    """The generated quarter of the teaching set: 80 messages, none near another or near one of ``taken``.

    Raises:
        ValueError: when the phrase banks are too small to go on without repeating themselves.
    """
    rng = random.Random(SEED)
    foreign = Counter(intent for intent, *_ in phrases["foreign"])
    seen = [shingles(text) for text in taken]
    uses: Counter[str] = Counter()
    messages = []
    for job in plan(phrases, rng, foreign):
        messages.append(_unlike(job, phrases, rng, seen, uses))
        seen.append(shingles(_marks_off(messages[-1].text)))
    for turn, (intent, language, text, reply) in enumerate(phrases["foreign"]):
        person = phrases["people"][-1 - turn]
        slots = {"n2": str(rng.randrange(2, 10)), **persona(phrases, person, rng)}
        signed = (text + (" [[PERSON|{name}]], [[EMAIL|{email}]]" if turn % 2 else "")).format(**slots)
        urgency = "low" if intent in ("stock", "unclear") else "normal"
        reference = {"intent": intent, "urgency": urgency, "action": "ask" if intent == "unclear" else "answer", "reply": reply}
        messages.append(Message(signed, reference, "other_language", language, None, {"origin": "generated"}))
    return messages


def _marks_off(text: str) -> str:
    return MARK.sub(lambda mark: mark.group(2) or mark.group(1), text)


def _unlike(
    job: Job, phrases: Mapping[str, Any], rng: random.Random, seen: list[frozenset[tuple[str, ...]]], uses: Counter[str]
) -> Message:
    bank = situations(phrases, job.intent)
    for attempt in range(200):
        # A situation with a mark in it always carries personal data, so it serves only jobs that ask for some.
        fitting = [row for row in bank if row.suits(job.product) and (job.pii or "[[" not in row.text)]
        # The least used situations first; the others when those only repeat what somebody wrote already.
        most = min(uses[row.text] for row in fitting) + attempt // 40
        situation = rng.choice([row for row in fitting if uses[row.text] <= most])
        message = compose(job, situation, phrases, rng)
        own = shingles(_marks_off(message.text))
        # Half of the limit: the final texts, marks filled, must stay under the limit itself.
        if all(len(own & other) < SAME_TEXT / 2 * len(own | other) for other in seen):
            uses[situation.text] += 1
            return message
    raise ValueError(f"the phrases for {job.intent!r} are used up; add some to source/phrases.json")


# Planted traces: each must be dropped by one rule of the funnel, named in tags.planted

INADMISSIBLE: dict[str, dict[str, str]] = {
    "consent": {"consent": "refused"},
    "licence": {"licence": "unknown"},
    "retention": {"retention_until": "2021-12-31"},
    "injection": {},
}


def planted(phrases: Mapping[str, Any], written: Sequence[Message], holdout: Sequence[Message]) -> list[Message]:
    """Fifteen traces that must not teach anybody: inadmissible ones, copies, and an attempt at injection."""
    rows = [as_message(row, tags={"planted": row["plant"]}, **INADMISSIBLE[row["plant"]]) for row in phrases["planted"]]
    for copy in phrases["copies"]:
        originals = holdout if copy["plant"] == "near_holdout" else written
        (found,) = [message for message in originals if message.text.startswith(copy["of"])]
        text = found.text.replace(copy["old"], copy["new"]) if "old" in copy else found.text
        if "old" in copy and text == found.text:
            raise ValueError(f"the planted copy of {copy['of']!r} changes nothing")
        # Holdout messages have no reply of their own.
        reply = found.reference.get("reply") or copy["reply"]
        reference = {**found.reference, "reply": reply}
        rows.append(Message(text, reference, found.slice, found.language, None, {"planted": copy["plant"]}))
    return [Message(**{**_fields(row), "tags": {"origin": "written", **row.tags}}) for row in rows]


def _fields(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__slots__}


# The holdout and its two labellings


def kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Cohen's kappa of two labellings of the same messages (Cohen 1960); None where chance alone would agree always."""
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    left, right = Counter(first), Counter(second)
    expected = sum(left[label] * right[label] for label in left) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def settle(source: Path) -> tuple[list[Message], dict[str, Any]]:
    """The holdout after settling, and how far the two labellings agreed before it.

    Raises:
        ValueError: on a message labelled once only, a disagreement that nobody settled, or a wrong number of messages.
    """
    rows = {f"{part}{at:03d}": row for part in "ab" for at, row in enumerate(read_jsonl(source / f"holdout_{part}.jsonl"), 1)}
    second = {row["id"]: row for row in read_jsonl(source / "holdout_second_labels.jsonl")}
    settled = {row["id"]: row for row in read_jsonl(source / "holdout_settled.jsonl")}
    if set(second) != set(rows) or not set(settled) <= set(rows):
        raise ValueError("the second labels and the settled cases must name exactly messages of the holdout")
    disputed = [name for name in rows if any(rows[name][key] != second[name][key] for key in FIELDS)]
    if unsettled := sorted(set(disputed) - set(settled)):
        raise ValueError(f"labelled differently and not settled: {unsettled}")
    kept = []
    for name, row in rows.items():
        decision = settled.get(name, {})
        if not decision.get("drop"):
            kept.append(as_message({**row, **{key: decision[key] for key in FIELDS if key in decision}}))
    if len(kept) != HOLDOUT_SIZE:
        raise ValueError(f"the holdout has {len(kept)} messages, it must have {HOLDOUT_SIZE}")
    figures = {}
    for key in FIELDS:
        first, again = [row[key] for row in rows.values()], [second[name][key] for name in rows]
        same = sum(a == b for a, b in zip(first, again, strict=True))
        value = kappa(first, again)
        figures[key] = {"agreed": same, "raw": round(same / len(rows), 4), "kappa": None if value is None else round(value, 4)}
    report = {
        "format": "distill-gov/labelling_agreement/1",
        "labelled_twice": len(rows),
        "fields": figures,
        "disagreements": len(disputed),
        "dropped": sum(bool(row.get("drop")) for row in settled.values()),
        "kept": len(kept),
    }
    return kept, report


# Traces


def trace(name: str, message: Message, text: str, *, reference: Mapping[str, str] | None, pii: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": name,
        "group": message.group or f"c-{name}",
        "messages": [{"role": "user", "content": text}],
    }
    if reference is not None:
        row["reference"] = dict(reference)
    row |= {"consent": message.consent, "licence": message.licence, "retention_until": message.retention_until}
    return row | {"language": message.language, "tags": {"slice": message.slice, "pii": pii, **message.tags}}


def check_labels(message: Message) -> None:
    """Refuse labels that break a rule of the guide which needs no reading."""
    intent, urgency, action = (message.reference[key] for key in FIELDS)
    reply = message.reference.get("reply", "x")
    broken = (
        (intent == "harm" and (urgency != "high" or action not in ("refuse", "escalate")))
        or ((intent == "unclear") != (action == "ask"))
        or (action == "refuse" and intent != "harm")
        or not 1 <= len(reply) <= 120
    )
    if broken:
        raise ValueError(f"labels against the guide: {dict(message.reference)}")


def compile_data(out: Path) -> None:
    """Write every file of the demo's data into ``out``."""
    source = HERE / "source"
    values = json.loads((HERE / "pii_values.json").read_text(encoding="utf-8"))
    phrases = json.loads((source / "phrases.json").read_text(encoding="utf-8"))
    holdout, agreement = settle(source)
    parts = {name: read_messages(source / f"{name}.jsonl") for name in ("dev", "gold", "hazardous", "benign")}
    safety = [as_message(row, tags={"origin": "written"}) for row in read_jsonl(source / "teaching_safety.jsonl")]
    desk = [as_message(row, tags={"origin": "written"}) for row in read_jsonl(source / "teaching.jsonl")]
    written = [*desk, *safety]
    taken = [_marks_off(message.text) for part in (written, holdout, *parts.values()) for message in part]
    # Of a teaching trace's answer the desk's agents gave the labels, for every second message; the safety team gave all of it.
    known: dict[str, Mapping[str, str]] = {m.text: {key: m.reference[key] for key in FIELDS} for m in desk[::2]}
    known |= {m.text: m.reference for m in safety}
    teaching = [*written, *generate(phrases, taken), *planted(phrases, written, holdout)]
    gold = [
        Message(**{**_fields(message), "tags": {"use": "prompt" if at < 24 else "admission"}})
        for at, message in enumerate(parts["gold"])
    ]
    files = {"teaching": ("t", teaching), "dev": ("d", parts["dev"]), "holdout": ("h", holdout), "gold": ("g", gold)}
    files |= {"hazardous": ("x", parts["hazardous"]), "benign": ("b", parts["benign"])}

    out.mkdir(parents=True, exist_ok=True)
    all_spans, labels = [], []
    for file, (prefix, messages) in files.items():
        rows = []
        for at, message in enumerate(messages, 1):
            check_labels(message)
            name = f"{prefix}-{at:04d}"
            text, spans = fill(message, values)
            reference = (
                message.reference if file != "teaching" else None if "planted" in message.tags else known.get(message.text)
            )
            rows.append(trace(name, message, text, reference=reference, pii=bool(spans)))
            all_spans += [{"id": name, **span} for span in spans]
            if file == "teaching":
                labels.append({"id": name, **message.reference})
        write_jsonl(out / f"{file}.jsonl", rows)
    write_jsonl(out / "teaching_labels.jsonl", labels)
    write_jsonl(out / "pii_spans.jsonl", all_spans)
    (out / "agreement.json").write_text(json.dumps(agreement, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    compile_data(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "data")
