"""Values in every disguise: each is still found, and nothing of it is left."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redaction import Redactor
from redaction.confusables import CONFUSABLES

VALUES = {
    "email": "dana.whitfield@example.org",
    "phone": "+44 7700 900123",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ip": "192.168.17.44",
    "name": "Dana Whitfield",
    "api_key": "sk-QIv6Gv5NoYUqN16qjIYnEHl8jTWNVi5s",
}
FRAMES = {"name": "my name is {}, and it rains"}
LATIN: dict[str, str] = {}
for theirs, latin in CONFUSABLES.items():
    LATIN.setdefault(latin, theirs)


def _sprinkled(marks: str) -> Callable[[str, Random], str]:
    def trick(value: str, random: Random) -> str:
        return "".join(c + (random.choice(marks) if random.random() < 0.4 else "") for c in value[:-1]) + value[-1]

    return trick


def _marked(value: str, random: Random) -> str:
    return "".join(
        c + (random.choice("\u0301\u0336\u0323\u20dd") if c.isalnum() and random.random() < 0.3 else "") for c in value
    )


def _homoglyphs(value: str, random: Random) -> str:
    """Some letters of each word, never all: a word wholly of another script is one."""
    words = re.split(r"(\W+)", value)
    for n, word in enumerate(words):
        places = [i for i, c in enumerate(word) if c in LATIN and not c.isdigit()]
        letters = sum(c.isalpha() for c in word)
        for i in random.sample(places, min(len(places), max(0, letters - 1))):
            if random.random() < 0.6:
                words[n] = words[n][:i] + LATIN[word[i]] + words[n][i + 1 :]
    return "".join(words)


def _shifted(letters: int, small: int, digits: int) -> Callable[[str, Random], str]:
    def trick(value: str, random: Random) -> str:
        bases = {True: letters, False: small}
        return "".join(
            chr(digits + int(c)) if c.isdigit() else chr(bases[c.isupper()] + ord(c.lower()) - ord("a")) if c.isalpha() else c
            for c in value
        )

    return trick


def _entities(value: str, random: Random) -> str:
    named = {"@": "&commat;", ".": "&period;", " ": "&nbsp;", "+": "&plus;"}

    def written(c: str) -> str:
        return random.choice([f"&#{ord(c)};", f"&#x{ord(c):X};", named.get(c, c), f"&amp;#{ord(c)};"])

    return "".join(written(c) if random.random() < 0.5 or c in named else c for c in value)


def _percent(value: str, random: Random) -> str:
    return "".join(f"%{ord(c):02X}" if not c.isalnum() or random.random() < 0.3 else c for c in value)


def _backslashes(value: str, random: Random) -> str:
    return "".join(f"\\u{ord(c):04x}" if not c.isalnum() or random.random() < 0.3 else c for c in value)


def _base64(value: str, random: Random) -> str:
    coded = base64.b64encode(f"it is my name is {value}".encode()).decode()
    return coded if random.random() < 0.5 else base64.b64encode(coded.encode()).decode()


def _hexadecimal(value: str, random: Random) -> str:
    return f"my name is {value}".encode().hex()


def _spaced(value: str, random: Random) -> str:
    return " ".join(value.replace(" ", ""))


def _spelt(value: str, random: Random) -> str:
    at, dot = random.choice([("[at]", "[dot]"), (" (at) ", " (dot) "), (" at ", " dot "), (" @ ", " d o t "), ("{at}", "{.}")])
    local, domain = value.split("@")
    return local + at + domain.replace(".", dot)


def _broken(value: str, random: Random) -> str:
    """Where mail programs break: behind a mark or between groups."""
    places = [m.end() for m in re.finditer(r"[@.]|(?<=\w) ", value)] or [random.randrange(14, len(value) - 4)]
    at = random.choice(places)
    return value[:at].rstrip(" ") + random.choice(["\n", "\r\n", "\n> "]) + value[at:]


def _quoted_printable(value: str, random: Random) -> str:
    at = random.choice([i for i in range(2, len(value) - 1) if value[i - 1].isalnum() and value[i].isalnum()])
    return value[:at] + "=\n" + value[at:]


def _reversed(value: str, random: Random) -> str:
    return f"\u202e{value[::-1]}\u202c"


ALL = list(VALUES)
TRICKS: dict[str, tuple[Callable[[str, Random], str], Sequence[str]]] = {
    "zero-width": (_sprinkled("\u200b\u200c\u200d\u2060\ufeff\u034f\u180e\ufe0f\u3164"), ALL),
    "bidi": (_sprinkled("\u200e\u200f\u202a\u202b\u202c\u2066\u2069\u061c"), ALL),
    "soft hyphen": (_sprinkled("\u00ad"), ALL),
    "tags": (_sprinkled("\U000e0041\U000e007f"), ALL),
    "combining": (_marked, [v for v in ALL if v != "name"]),
    "homoglyphs": (_homoglyphs, ALL),
    "full width": (_shifted(0xFF21, 0xFF41, 0xFF10), ALL),
    "bold": (_shifted(0x1D400, 0x1D41A, 0x1D7CE), ALL),
    "monospace": (_shifted(0x1D670, 0x1D68A, 0x1D7F6), ALL),
    "circled": (_shifted(0x24B6, 0x24D0, 0xFF10), ALL),
    "arabic digits": (
        lambda v, _: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in v),
        ["phone", "card", "iban", "ip"],
    ),
    "entities": (_entities, ALL),
    "percent": (_percent, ALL),
    "backslashes": (_backslashes, ALL),
    "base64": (_base64, ALL),
    "hexadecimal": (_hexadecimal, ALL),
    "spaced out": (_spaced, ["email", "phone", "card", "iban", "ip", "api_key"]),
    "spelt": (_spelt, ["email"]),
    "broken line": (_broken, ALL),
    "quoted-printable": (_quoted_printable, ["email", "card", "iban", "api_key", "phone"]),
    "reversed": (_reversed, ["email", "phone", "card", "iban", "ip", "api_key"]),
}
PAIRS = [(trick, value) for trick, (_, values) in TRICKS.items() for value in values]


def _bare(text: str) -> str:
    """Without what nobody sees."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn", "Me") and c != "\u3164")


def _disguised(trick: str, kind: str, seed: int) -> tuple[str, str]:
    frame = FRAMES.get(kind, "please note {} for later")
    return frame, frame.format(TRICKS[trick][0](VALUES[kind], Random(seed)))


def test_every_trick_at_once(redactor: Redactor) -> None:
    """One batch for all: the model runs once."""
    texts = [_disguised(trick, kind, seed) for trick, kind in PAIRS for seed in (1, 2)]
    names = [f"{trick}: {kind}" for trick, kind in PAIRS for _ in (1, 2)]
    left = []
    for name, (frame, text), (_, done) in zip(names, texts, redactor.redact_many(("", text) for _, text in texts), strict=True):
        before, after = frame.split("{}")
        if not re.fullmatch(rf"{re.escape(before)}(?:<[A-Z_]+_\d+>\s*)+{re.escape(after)}", _bare(done.text)):
            left.append((name, text, done.text))
    assert left == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PAIRS), st.integers(0, 10_000))
def test_any_trick_on_any_value(redactor: Redactor, pair: tuple[str, str], seed: int) -> None:
    frame, text = _disguised(*pair, seed)
    done = redactor.redact(text)
    before, after = frame.split("{}")
    assert re.fullmatch(rf"{re.escape(before)}(?:<[A-Z_]+_\d+>\s*)+{re.escape(after)}", _bare(done.text)), (text, done.text)
    again = redactor.redact(done.text)
    assert (again.text, again.findings) == (done.text, ())


def test_what_is_hidden_counts_as_what_it_says(redactor: Redactor) -> None:
    coded = base64.b64encode(b"dana.whitfield@example.org").decode()
    done = redactor.redact(f"mail dana.whitfield@example.org, that is {coded} or d\u0430na.whitfield&#64;example.org")
    assert done.text == "mail <EMAIL_1>, that is <EMAIL_1> or <EMAIL_1>"
    assert {f.rule for f in done.findings} >= {"encoded/base64"}
    assert len({f.value_hash for f in done.findings}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Анна пишет: сор и рост, всё хорошо",
        "Η Αθήνα είναι ωραία, το χωριό και η θάλασσα",
        "Լավ օր ձեզ",
        "a b c d e f g are letters, & so on: R&D; 100% 5%20off",
        "U2FsdGVkX1 is short, internationalization_of_things is long",
        "we meet (at) noon, at ten dot",
        "Total:\n1234\n5678\n9012\n",
        "the 🏳️‍🌈 flag, 1️⃣ 2️⃣ and a ﬁne café",
    ],
)
def test_plain_writing_stays(redactor: Redactor, text: str) -> None:
    assert redactor.redact(text).text == text
