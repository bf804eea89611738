"""The demo's data keep every promise that the datasheet and the evaluation rely on."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

DESK = Path(__file__).resolve().parents[2] / "examples" / "support_desk"
DATA = DESK / "data"
FILES = {"teaching": 335, "dev": 100, "holdout": 300, "gold": 48, "hazardous": 150, "benign": 150}
OPTIONAL_TAGS = {"origin", "planted", "use", "hazard"}
PLANTED = {"consent": 3, "licence": 3, "retention": 2, "duplicate": 2, "near_duplicate": 2, "near_holdout": 2, "injection": 1}
INTENTS = ["delivery", "refund", "invoice", "password", "repair", "subscription", "stock", "harm", "unclear"]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("support_desk_make_data", DESK / "make_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


make_data = _load()
ROWS: dict[str, list[dict[str, Any]]] = {name: make_data.read_jsonl(DATA / f"{name}.jsonl") for name in FILES}
LABELS: list[dict[str, str]] = make_data.read_jsonl(DATA / "teaching_labels.jsonl")
SPANS: list[dict[str, Any]] = make_data.read_jsonl(DATA / "pii_spans.jsonl")
VALUES: dict[str, dict[str, list[str]]] = json.loads((DESK / "pii_values.json").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((DESK / "triage.schema.json").read_text(encoding="utf-8"))
TEXTS: dict[str, str] = {row["id"]: row["messages"][0]["content"] for rows in ROWS.values() for row in rows}
GENERATED = {row["id"] for row in ROWS["teaching"] if row["tags"]["origin"] == "generated"}
VALUES_BY_TYPE: dict[str, list[str]] = {}
for _span in SPANS:
    VALUES_BY_TYPE.setdefault(_span["type"], []).append(TEXTS[_span["id"]][_span["start"] : _span["end"]])


def pooled(kind: str, origin: str | None = None) -> list[str]:
    return [value for name, values in VALUES[kind].items() if origin in (None, name) for value in values]


def references() -> list[tuple[str, dict[str, str]]]:
    rows = [(row["id"], row["reference"]) for name in ROWS if name != "teaching" for row in ROWS[name]]
    return rows + [(row["id"], {key: value for key, value in row.items() if key != "id"}) for row in LABELS]


# Files


def test_committed_files_are_what_a_fresh_compile_writes(tmp_path: Path) -> None:
    make_data.compile_data(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in DATA.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (DATA / path.name).read_bytes(), path.name


def test_sizes() -> None:
    assert {name: len(rows) for name, rows in ROWS.items()} == FILES
    assert Counter(row["tags"]["use"] for row in ROWS["gold"]) == {"prompt": 24, "admission": 24}
    teaching = [row for row in ROWS["teaching"] if "planted" not in row["tags"]]
    assert len(teaching) == 320
    origins = Counter(row["tags"]["origin"] for row in teaching)
    assert origins["written"] >= 160
    assert origins["generated"] == 320 - origins["written"]
    assert Counter(row["tags"]["planted"] for row in ROWS["teaching"] if "planted" in row["tags"]) == PLANTED


def test_every_trace_has_exactly_the_published_keys() -> None:
    assert len(TEXTS) == sum(FILES.values()), "ids must be unique across files"
    for name, rows in ROWS.items():
        for row in rows:
            keys = ["id", "group", "messages", "reference", "consent", "licence", "retention_until", "language", "tags"]
            assert list(row) == [key for key in keys if key != "reference" or name != "teaching" or "reference" in row]
            (message,) = row["messages"]
            assert list(message) == ["role", "content"]
            assert message["role"] == "user"
            assert message["content"].strip() == message["content"] != ""
            assert {"slice", "pii"} <= set(row["tags"]) <= {"slice", "pii", *OPTIONAL_TAGS}
            assert isinstance(row["tags"]["pii"], bool)


def test_only_planted_traces_are_inadmissible() -> None:
    usual = ("granted", "LicenseRef-invented", "2030-12-31")
    for rows in ROWS.values():
        for row in rows:
            unusual = {
                name
                for name, value, expected in zip(
                    ("consent", "licence", "retention"),
                    (row["consent"], row["licence"], row["retention_until"]),
                    usual,
                    strict=True,
                )
                if value != expected
            }
            plant = row["tags"].get("planted")
            assert unusual == ({plant} if plant in ("consent", "licence", "retention") else set())


def test_a_tenth_of_the_teaching_traces_share_a_conversation() -> None:
    sizes = Counter(row["group"] for row in ROWS["teaching"])
    shared = {group: size for group, size in sizes.items() if size > 1}
    assert sum(shared.values()) == 32
    assert set(shared.values()) == {2, 3, 4}
    homes: dict[str, set[str]] = {}
    for name, rows in ROWS.items():
        for row in rows:
            homes.setdefault(row["group"], set()).add(name)
    assert all(len(names) == 1 for names in homes.values())


def test_teaching_labels_lie_apart_and_cover_every_trace() -> None:
    assert [row["id"] for row in LABELS] == [row["id"] for row in ROWS["teaching"]]
    for row, label in zip(ROWS["teaching"], LABELS, strict=True):
        if "reference" in row:
            assert row["reference"] == {key: label[key] for key in row["reference"]}
            assert list(row["reference"])[:3] == ["intent", "urgency", "action"]
            assert row["tags"]["origin"] == "written"
            assert "planted" not in row["tags"]
    given = [row["reference"] for row in ROWS["teaching"] if "reference" in row]
    assert Counter("reply" in reference for reference in given) == {True: 72, False: 84}


# Labels


def test_schema_is_strict_and_in_decision_order() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == ["intent", "urgency", "action", "reply"]
    assert SCHEMA["additionalProperties"] is False
    assert SCHEMA["properties"]["intent"]["enum"] == INTENTS
    assert SCHEMA["properties"]["reply"] == {"type": "string", "minLength": 1, "maxLength": 120}


def test_references_fit_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for name, reference in references():
        whole = name.startswith(("t-", "g-"))
        assert ("reply" in reference) is whole, name
        assert validator.is_valid(reference if whole else {**reference, "reply": "x"}), name


def test_labels_keep_the_rules_of_the_guide() -> None:
    for name, reference in references():
        intent, urgency, action = reference["intent"], reference["urgency"], reference["action"]
        assert intent != "harm" or (urgency == "high" and action in ("refuse", "escalate")), name
        assert (intent == "unclear") == (action == "ask"), name
        assert action != "refuse" or intent == "harm", name
        assert intent not in ("unclear", "stock") or urgency != "normal", name


@pytest.mark.parametrize(
    "labels",
    [
        {"intent": "harm", "urgency": "normal", "action": "refuse"},
        {"intent": "harm", "urgency": "high", "action": "answer"},
        {"intent": "unclear", "urgency": "low", "action": "answer"},
        {"intent": "invoice", "urgency": "low", "action": "ask"},
        {"intent": "invoice", "urgency": "high", "action": "refuse"},
        {"intent": "invoice", "urgency": "low", "action": "answer", "reply": "x" * 121},
        {"intent": "invoice", "urgency": "low", "action": "answer", "reply": ""},
    ],
)
def test_compile_refuses_labels_against_the_guide(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="against the guide"):
        make_data.check_labels(make_data.Message("text", labels, "plain", "en"))


def test_replies_repeat_nothing_personal_and_promise_neither_money_nor_a_date() -> None:
    spans: dict[str, list[str]] = {}
    for span in SPANS:
        spans.setdefault(span["id"], []).append(TEXTS[span["id"]][span["start"] : span["end"]].lower())
    for name, reference in references():
        reply = reference.get("reply", "")
        assert not re.search(r"\d|€|\$|£|\[\[", reply), name
        assert not any(value in reply.lower() for value in spans.get(name, [])), name
        assert not re.search(r"\b(today|tomorrow|tonight|this week|will be refunded|will refund|guarantee)\b", reply, re.I), (
            name
        )


def test_generated_urgency_is_said_in_the_message() -> None:
    said = re.compile(r"urgent|today|tomorrow|tonight|asap|immediately", re.I)
    relaxed = re.compile(r"hurry|no rush|can wait|whenever you have time|take your time|any day", re.I)
    checked = Counter[str]()
    for row, label in zip(ROWS["teaching"], LABELS, strict=True):
        if row["tags"]["origin"] != "generated" or label["intent"] == "harm" or label["action"] == "escalate":
            continue
        text = TEXTS[row["id"]]
        assert (label["urgency"] == "high") == bool(said.search(text)), row["id"]
        if label["intent"] not in ("stock", "unclear") and row["tags"]["slice"] != "typos":
            assert (label["urgency"] == "low") == bool(relaxed.search(text)), row["id"]
        checked[label["urgency"]] += 1
    assert set(checked) == {"high", "normal", "low"}


def test_generated_messages_have_the_mix_the_datasheet_states() -> None:
    rows = [(TEXTS[row["id"]], label) for row, label in zip(ROWS["teaching"], LABELS, strict=True) if row["id"] in GENERATED]
    mix = {"delivery": 7, "refund": 10, "invoice": 7, "password": 8, "repair": 8, "subscription": 8, "stock": 8}
    assert Counter(label["intent"] for _, label in rows) == mix | {"harm": 4, "unclear": 20}
    alarming = re.compile(r"\b(kill(ed|er|ing)?|bomb|attack(s|ed)|shot|spy|poison|weapon|robbery)\b", re.I)
    everything = [(TEXTS[row["id"]], label) for row, label in zip(ROWS["teaching"], LABELS, strict=True)]
    assert sum(label["intent"] != "harm" and bool(alarming.search(text)) for text, label in everything) >= 15
    assert 0.4 <= sum(row["tags"]["pii"] for row in ROWS["teaching"] if row["id"] in GENERATED) / len(rows) <= 0.5


def test_holdout_mix() -> None:
    rows = ROWS["holdout"]
    assert sum(row["reference"]["intent"] == "unclear" and row["reference"]["action"] == "ask" for row in rows) == 60
    assert sum(row["reference"]["intent"] == "unclear" for row in rows) == 60
    assert sum(row["tags"]["pii"] for row in rows) >= 100
    assert {row["reference"]["intent"] for row in rows} == set(INTENTS)


def test_safety_sets() -> None:
    assert {row["reference"]["intent"] for row in ROWS["hazardous"]} == {"harm"}
    assert {row["reference"]["action"] for row in ROWS["hazardous"]} == {"refuse", "escalate"}
    assert all(re.fullmatch("[a-z]{3}", row["tags"]["hazard"]) for row in ROWS["hazardous"])
    assert "refuse" not in {row["reference"]["action"] for row in ROWS["benign"]}
    assert "harm" not in {row["reference"]["intent"] for row in ROWS["benign"]}


def test_messages_are_short_and_now_and_then_foreign() -> None:
    lengths = sorted(len(text.split()) for text in TEXTS.values())
    assert lengths[int(0.9 * len(lengths))] <= 20
    assert lengths[-1] <= 45
    for name in ("teaching", "dev", "holdout", "hazardous", "benign"):
        foreign = sum(row["language"] != "en" for row in ROWS[name])
        assert 0.02 <= foreign / len(ROWS[name]) <= 0.1, name


# Two labellings


def test_agreement_is_recomputed_from_both_labellings() -> None:
    kept, report = make_data.settle(DESK / "source")
    assert report == json.loads((DATA / "agreement.json").read_text(encoding="utf-8"))
    assert report["labelled_twice"] - report["dropped"] == report["kept"] == len(kept) == 300
    assert set(report["fields"]) == {"intent", "urgency", "action"}


def test_kappa_has_the_textbook_value() -> None:
    # 50 grant proposals read twice: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no give 0.4
    # (worked example of the Wikipedia article "Cohen's kappa").
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert make_data.kappa(first, second) == pytest.approx(0.4)
    assert make_data.kappa(["a", "b"], ["a", "b"]) == pytest.approx(1)
    assert make_data.kappa(["a", "a"], ["a", "a"]) is None


@pytest.fixture
def source(tmp_path: Path) -> Path:
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("holdout_a", "holdout_b", "holdout_second_labels", "holdout_settled"):
        shutil.copy(DESK / "source" / f"{name}.jsonl", copy)
    return copy


def change(path: Path, name: str, **new: Any) -> None:
    rows = [{**row, **new} if row["id"] == name else row for row in make_data.read_jsonl(path)]
    make_data.write_jsonl(path, rows)


def test_a_disagreement_must_be_settled(source: Path) -> None:
    before, report = make_data.settle(source)
    settled = make_data.read_jsonl(source / "holdout_settled.jsonl")
    first = make_data.read_jsonl(source / "holdout_a.jsonl")[0]
    assert (first["urgency"], before[0].reference["urgency"]) == ("normal", "normal")
    change(source / "holdout_second_labels.jsonl", "a001", urgency="low")
    with pytest.raises(ValueError, match=r"not settled.*a001"):
        make_data.settle(source)
    ruling = {"id": "a001", "urgency": "low", "reason": "test"}
    make_data.write_jsonl(source / "holdout_settled.jsonl", [*settled, ruling])
    kept, again = make_data.settle(source)
    assert again["disagreements"] == report["disagreements"] + 1
    assert again["fields"]["urgency"]["agreed"] == report["fields"]["urgency"]["agreed"] - 1
    assert kept[0].reference["urgency"] == "low"


def test_a_holdout_of_another_size_is_refused(source: Path) -> None:
    settled = make_data.read_jsonl(source / "holdout_settled.jsonl")
    (drop, *_) = [row for row in settled if row.get("drop")]
    kept = {"id": drop["id"], "reason": "kept"}
    make_data.write_jsonl(source / "holdout_settled.jsonl", [kept if row is drop else row for row in settled])
    with pytest.raises(ValueError, match="must have 300"):
        make_data.settle(source)


def test_a_message_labelled_once_is_refused(source: Path) -> None:
    path = source / "holdout_second_labels.jsonl"
    make_data.write_jsonl(path, make_data.read_jsonl(path)[1:])
    with pytest.raises(ValueError, match="must name exactly"):
        make_data.settle(source)


# Near-duplicates


def test_only_planted_copies_are_near_another_message() -> None:
    tags = {row["id"]: row["tags"] for rows in ROWS.values() for row in rows}
    pairs = make_data.near_duplicates(TEXTS)
    planted = {name: tag["planted"] for name, tag in tags.items() if tag.get("planted", "").endswith(("duplicate", "holdout"))}
    assert len(pairs) == len(planted) == 6
    for pair in pairs:
        (copy,) = [name for name in pair[:2] if name in planted]
        (original,) = [name for name in pair[:2] if name not in planted]
        assert original.startswith("h-" if planted[copy] == "near_holdout" else "t-")
        assert pair[2] == 1 if planted[copy] == "duplicate" else 0.75 <= pair[2] < 1
        assert original.startswith("h-") or original < copy, "the copy, not the original, must have the higher id"


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.text("ab ", min_size=1, max_size=20), max_size=6))
def test_near_duplicates_equal_the_definition(texts: dict[str, str]) -> None:
    names = list(texts)
    expected = set()
    for at, left in enumerate(names):
        for right in names[at + 1 :]:
            a, b = make_data.shingles(texts[left]), make_data.shingles(texts[right])
            if len(a & b) / len(a | b) >= make_data.SAME_TEXT:
                expected.add((left, right))
    assert {pair[:2] for pair in make_data.near_duplicates(texts)} == expected


# Personal data: where it stands, and that it is invented


def test_spans_match_the_text() -> None:
    assert not any("[[" in text or "]]" in text for text in TEXTS.values())
    last: dict[str, int] = {}
    for span in SPANS:
        assert list(span) == ["id", "start", "end", "type"]
        value = TEXTS[span["id"]][span["start"] : span["end"]]
        assert value.strip() == value != ""
        assert span["start"] >= last.get(span["id"], 0), "spans are sorted and do not overlap"
        last[span["id"]] = span["end"]
        if span["type"] in VALUES:
            assert value in pooled(span["type"])
    marked = set(last)
    for rows in ROWS.values():
        for row in rows:
            assert row["tags"]["pii"] == (row["id"] in marked)


def test_a_third_of_the_messages_carry_personal_data_of_every_kind() -> None:
    usable = [row for rows in ROWS.values() for row in rows if "planted" not in row["tags"]]
    assert sum(row["tags"]["pii"] for row in usable) / len(usable) >= 1 / 3
    assert sum(row["tags"]["pii"] for row in ROWS["teaching"]) / len(ROWS["teaching"]) >= 1 / 3
    assert len(VALUES_BY_TYPE) >= 12
    assert len({span["type"] for span in SPANS if span["id"].startswith("h-")}) >= 12
    assert min(len(values) for values in VALUES_BY_TYPE.values()) >= 10


def test_marks_without_a_value_differ_within_a_message() -> None:
    for kind in VALUES:
        message = make_data.Message(f"[[{kind}]] and [[{kind}]]", {}, "plain", "en")
        text, spans = make_data.fill(message, VALUES)
        first, second = (text[span["start"] : span["end"]] for span in spans)
        assert first != second, kind


def test_values_suit_the_message() -> None:
    def value(text: str, language: str) -> str:
        filled, (span,) = make_data.fill(make_data.Message(text, {}, "plain", language), VALUES)
        return str(filled[span["start"] : span["end"]])

    assert ipaddress.ip_address(value("scan [[IP_ADDRESS]]/24", "en")).version == 4
    assert value("mój PESEL: [[NATIONAL_ID]]", "en") in VALUES["NATIONAL_ID"]["PL"]
    assert value("Rückruf bitte: [[PHONE]]", "de") in VALUES["PHONE"]["DE"]


@given(st.lists(st.tuples(st.text("ab c", max_size=8), st.sampled_from(["PERSON", "EMAIL"]), st.text("xyz", min_size=1))))
def test_filling_keeps_the_text_around_the_marks(parts: list[tuple[str, str, str]]) -> None:
    marked = "".join(f"{before}[[{kind}|{value}]]" for before, kind, value in parts)
    text, spans = make_data.fill(make_data.Message(marked, {}, "plain", "en"), VALUES)
    assert text == "".join(before + value for before, _, value in parts)
    assert [(span["type"], text[span["start"] : span["end"]]) for span in spans] == [(kind, value) for _, kind, value in parts]


def test_misspelling_leaves_marks_and_urgency_alone() -> None:
    import random

    text = "[[PERSON|Mei-Ling Ferrante]] needs it TODAY or tomorrow, urgent, no hurry, immediately [[IBAN]]"
    for seed in range(50):
        noisy = make_data.misspell(text, random.Random(seed))
        for kept in ("[[PERSON|Mei-Ling Ferrante]]", "[[IBAN]]", "today", "tomorrow", "urgent", "hurry", "immediately"):
            assert kept in noisy


def luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()][::-1]
    return 12 <= len(digits) <= 19 and (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: country and check digits to the end, letters to numbers, remainder 1 by 97."""
    compact = text.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def steuer_id(text: str) -> bool:
    """ISO 7064 MOD 11,10 over ten digits; of those ten one digit occurs twice or three times."""
    digits = [int(c) for c in text if c.isdigit()]
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    repeats = sorted(Counter(digits[:10]).values())
    return len(digits) == 11 and repeats[-1] in (2, 3) and digits[0] != 0 and (11 - product) % 10 == digits[10]


def dni(text: str) -> bool:
    compact = text.replace("-", "")
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(compact[:8]) % 23] == compact[8]


def nir(text: str) -> bool:
    compact = text.replace(" ", "")
    return len(compact) == 15 and 97 - int(compact[:13]) % 97 == int(compact[13:])


def codice_fiscale(text: str) -> bool:
    """Decree of 23 December 1976: letters and digits count by one table in odd places, by their order in even ones."""
    odd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]
    rank = [int(c) if c.isdigit() else ord(c) - ord("A") for c in text.upper()]
    total = sum(odd[value] if at % 2 == 0 else value for at, value in enumerate(rank[:15]))
    return len(text) == 16 and total % 26 == rank[15]


def pesel(text: str) -> bool:
    digits = [int(c) for c in text]
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return len(digits) == 11 and sum(w * d for w, d in zip(weights, digits, strict=True)) % 10 == 0


def bsn(text: str) -> bool:
    digits = [int(c) for c in text]
    return len(digits) == 9 and sum(w * d for w, d in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True)) % 11 == 0


CHECKSUMS = {
    # A published specimen that must pass, and the same with one character changed, that must not.
    luhn: ("4539 1488 0343 6467", "4539 1488 0343 6468"),
    iban: ("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33"),
    steuer_id: ("86095742719", "86095742718"),
    dni: ("12345678Z", "12345678A"),
    nir: ("2 55 08 14 168 025 38", "2 55 08 14 168 025 39"),
    codice_fiscale: ("RSSMRA85T10A562S", "RSSMRA85T10A562T"),
    pesel: ("44051401359", "44051401358"),
    bsn: ("111222333", "111222334"),
}


@pytest.mark.parametrize("check", CHECKSUMS, ids=lambda check: check.__name__)
def test_checksum_itself(check: Any) -> None:
    right, wrong = CHECKSUMS[check]
    assert check(right)
    assert not check(wrong)


def test_values_with_a_checksum_are_valid() -> None:
    assert all(luhn(value) for value in pooled("CARD"))
    assert all(iban(value) for value in pooled("IBAN"))
    for origin, check in (("DE", steuer_id), ("ES", dni), ("FR", nir), ("IT", codice_fiscale), ("PL", pesel), ("NL", bsn)):
        assert all(check(value) for value in pooled("NATIONAL_ID", origin)), origin
    # Never issued: 987-65-4320 to 4329 are kept for advertisements; 9xx is no social security area, 0x no tax number group.
    assert all(re.fullmatch(r"987-65-432\d|9\d\d[- ]0\d[- ]\d{4}", value) for value in pooled("NATIONAL_ID", "US"))
    nino = re.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]( ?\d\d){3} ?[A-D]", re.I)
    assert all(nino.fullmatch(value) for value in pooled("NATIONAL_ID", "GB"))


def test_values_come_in_several_formats_and_countries() -> None:
    assert len(VALUES["PHONE"]) >= 8
    assert len(VALUES["IBAN"]) >= 12
    assert len(VALUES["NATIONAL_ID"]) == 8
    assert {" " in value for value in pooled("IBAN")} == {True, False}
    assert {separator for value in pooled("CARD") for separator in " -" if separator in value} == {" ", "-"}
    assert any(value.isdigit() for value in pooled("CARD"))
    for kind, groups in VALUES.items():
        values = [value for group in groups.values() for value in group]
        assert len(values) == len(set(values)) >= 20, kind


def test_values_belong_to_nobody() -> None:
    documentation = [
        ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    for value in pooled("IP_ADDRESS"):
        address = ipaddress.ip_address(value)
        assert any(address in net for net in documentation if net.version == address.version)
    for value in pooled("MAC_ADDRESS"):
        compact = re.sub(r"[^0-9a-f]", "", value.lower())
        # RFC 7042: 00-00-5E-00-53-xx is for documentation; otherwise the bit "locally administered" is set.
        assert compact.startswith("00005e0053") or int(compact[:2], 16) & 2
    for value in VALUES_BY_TYPE["EMAIL"]:
        assert re.search(r"@(example\.(com|org|net)|[\w.-]+\.example)$", value), "reserved domains only (RFC 2606)"
    for value in VALUES["PHONE"]["US"]:
        assert re.search(r"555\D?01\d\d$", value)


def test_no_key_looks_like_one_that_code_hosts_block() -> None:
    blocked = re.compile(r"sk_live_|sk_test_[0-9A-Za-z]{24}|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AIza|SG\.|npm_|eyJ")
    for value in pooled("API_KEY"):
        assert not blocked.match(value)
        assert not value.startswith("AKIA") or value.endswith("EXAMPLE")
