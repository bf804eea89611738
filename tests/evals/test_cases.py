import json

import pytest

from distill_gov.records.errors import DuplicateIdError, MalformedFileError, MissingFileError, NothingLeftError, UnknownKeyError
from evals.cases import Case, case_rows, dataset_digest, parse_suite, read_suite, write_suite

CASES = [
    Case(
        id="h-1",
        suite="holdout",
        messages=({"role": "user", "content": "Where is my parcel?"},),
        reference={"intent": "delivery", "action": "answer"},
        cluster="talk-1",
        slices=("plain",),
        expected_action="answer",
        tags=("en",),
    ),
    Case(id="h-2", suite="holdout", messages=({"role": "user", "content": "naïve ☕?"},), carries_pii=True, hazard="ncr"),
]
ROW = {"id": "a", "suite": "s", "messages": [{"role": "user", "content": "x"}]}


def line(**changes):
    return json.dumps({**ROW, **changes}).encode()


def test_round_trip(tmp_path):
    path = tmp_path / "holdout.jsonl"
    write_suite(path, CASES)
    assert read_suite(path) == CASES


def test_a_short_row_is_enough():
    [case] = parse_suite(line() + b"\n\n", where="f")
    assert case == Case("a", "s", ({"role": "user", "content": "x"},))
    assert case.unit == "a"
    assert case.prompt == "x"


def test_prompt_is_all_messages():
    case = Case("a", "s", ({"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}), cluster="k")
    assert case.prompt == "one\ntwo"
    assert case.unit == "k"


def test_digest_knows_content_and_not_order():
    assert dataset_digest(CASES) == dataset_digest(CASES[::-1])
    assert dataset_digest(CASES) != dataset_digest(CASES[:1])
    assert all(json.dumps(row) for row in case_rows(CASES))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"id": ""}, "id"),
        ({"id": 3}, "id"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": ["x"]}, "messages"),
        ({"reference": {"intent": 1}}, "reference"),
        ({"reference": ["intent"]}, "reference"),
        ({"carries_pii": "yes"}, "carries_pii"),
        ({"carries_pii": 1}, "carries_pii"),
        ({"carries_pii": None}, "carries_pii"),
        ({"slices": "plain"}, "slices"),
        ({"slices": [1]}, "slices"),
        ({"hazard": 1}, "hazard"),
    ],
)
def test_wrong_shapes_name_line_and_key(changes, key):
    with pytest.raises(MalformedFileError, match=rf"f:2: key `{key}`"):
        parse_suite(line() + b"\n" + line(**{"id": "b", **changes}), where="f")


def test_missing_keys():
    with pytest.raises(MalformedFileError, match="f:1: key `suite`"):
        parse_suite(b'{"id": "a"}', where="f")


@pytest.mark.parametrize("data", [b"[1]", b'"x"', b"3"])
def test_a_line_must_be_an_object(data):
    with pytest.raises(MalformedFileError, match="f:1"):
        parse_suite(data, where="f")


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(UnknownKeyError, match="`carries_pii`"):
        parse_suite(line(carry_pii=True), where="f")


def test_a_line_that_is_no_json_is_not_shown():
    with pytest.raises(MalformedFileError) as caught:
        parse_suite(b'{"id": "secret-value"', where="f")
    assert "f:1" in str(caught.value)
    assert "secret-value" not in str(caught.value)


def test_ids_are_unique():
    with pytest.raises(DuplicateIdError, match="f:2"):
        parse_suite(line() + b"\n" + line(), where="f")


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_no_cases_is_an_error(data):
    with pytest.raises(NothingLeftError):
        parse_suite(data, where="f")


def test_no_file(tmp_path):
    with pytest.raises(MissingFileError):
        read_suite(tmp_path / "nothing.jsonl")
    with pytest.raises(MissingFileError):
        read_suite(tmp_path)
