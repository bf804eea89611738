"""Tool calls: what is read, what is right, and the first thing that is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import (
    BadInputError,
    BadSchemaError,
    DistillGovError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
)
from evals.cases import Case, parse_suite, write_suite
from evals.catalogue import lookup
from evals.score import counts, errored_scores
from evals.structured import ERRORS
from evals.suites import ReadAnswer
from evals.tools import TOOL_ERRORS, Call, ToolCalls, check_tools, judge_calls, offer_tools, parse_calls, read_bfcl

DATA = Path(os.environ.get("DISTILL_GOV_DATA", Path(__file__).parents[3] / "shared" / "data")) / "bfcl"
needs_bfcl = pytest.mark.skipif(not DATA.is_dir(), reason=f"BFCL's files are not at {DATA}: set DISTILL_GOV_DATA")

WEATHER: dict[str, Any] = {
    "name": "weather.get",
    "description": "Weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1},
            "limit": {"type": "number"},
            "metric": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "area": {"type": "object"},
        },
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME: dict[str, Any] = {"name": "time", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}}
TOOLS = (WEATHER, TIME)
RIGHT: dict[str, Any] = {"weather.get": {"city": ["New York", "NYC"], "days": [3, ""], "limit": ["", 2.0]}}


def as_json(*calls: tuple[str, Mapping[str, Any]]) -> str:
    return json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])


# --- reading


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "f", "arguments": {"a": 1, "b": [true, null, "x"]}}',
        '[{"name": "f", "arguments": {"a": 1, "b": [true, null, "x"]}}]',
        '[{"name": "f", "arguments": "{\\"a\\": 1, \\"b\\": [true, null, \\"x\\"]}"}]',
        json.dumps(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"a": 1, "b": [true, null, "x"]}'},
                    }
                ],
            }
        ),
        '[{"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": [true, null, "x"]}}}]',
        "f(a=1, b=[True, None, 'x'])",
        "[f(a=1, b=(True, None, 'x'))]",
        ' [ f( a = 1,\n b = [True, None, "x"] ) ]\n',
        b"f(a=1, b=[True, None, 'x'])",
    ],
)
def test_one_call_in_every_form(text: str | bytes) -> None:
    found = parse_calls(text)
    assert found.error is None
    assert found.calls == (Call("f", {"a": 1, "b": [True, None, "x"]}),)


def test_several_calls_and_none() -> None:
    assert parse_calls("[a.b.c(x=-1), d(y={'k': -0.5})]").calls == (
        Call("a.b.c", {"x": -1}),
        Call("d", {"y": {"k": -0.5}}),
    )
    for text in ("[]", '{"tool_calls": []}', '{"role": "assistant", "content": "Hello", "tool_calls": null}'):
        assert parse_calls(text).calls == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty"),
        (b"\xff", "not_utf8"),
        ("f(a='" + "x" * (1 << 16) + "')", "too_large"),
        ("I cannot do that.", "fenced_or_prose"),
        ("Note (I can't say)", "fenced_or_prose"),
        ("f(a=1) I hope this helps", "fenced_or_prose"),
        ('```json\n[{"name": "f", "arguments": {}}]\n```', "fenced_or_prose"),
        ('[{"name": "f", "argu', "truncated"),
        ("f(a=1", "truncated"),
        ("f(a='x", "truncated"),
        ("[f(a=1)", "truncated"),
        ("f(", "truncated"),
        ("f(a=1,, b=2)", "syntax"),
        ("f(a=x)", "syntax"),
        ("f(a=1+1)", "syntax"),
        ("f(a=g())", "syntax"),
        ("f(a=__import__('os').system('true'))", "syntax"),
        ("f(a=[x for x in (1, 2)])", "syntax"),
        ("f(a=b'x')", "syntax"),
        ("f(a=1j)", "syntax"),
        ("f(a=...)", "syntax"),
        ("f(a={1: 2})", "syntax"),
        ("f(a={'x': 1, **{}})", "syntax"),
        ("f(a=1, **{})", "syntax"),
        ("f(a=1, a=2)", "duplicate_key"),
        ("f(a={'x': 1, 'x': 2})", "duplicate_key"),
        ('{"name": "f", "name": "g", "arguments": {}}', "duplicate_key"),
        ('{"name": "f", "arguments": "{\\"a\\": 1, \\"a\\": 1}"}', "duplicate_key"),
        ("f(a=1e999)", "non_finite"),
        ("f(a=0x" + "f" * 50_000 + ")", "non_finite"),
        ('{"name": "f", "arguments": {"a": NaN}}', "non_finite"),
        ("f(a=" + "[" * 100 + "]" * 100 + ")", "too_deep"),
        ("f(a=" + "[" * 30_000 + ")", "too_deep"),
        ("f(a=" + "[" * 300 + "]" * 300 + ")", "too_deep"),
        ("f(a='\\ud800')", "not_utf8"),
        ("{}", "not_a_call"),
        ("3", "not_a_call"),
        ('{"reply": "hello"}', "not_a_call"),
        ('{"name": "f", "parameters": {}}', "not_a_call"),
        ('{"name": "f", "arguments": {}, "more": 1}', "not_a_call"),
        ('{"name": 3, "arguments": {}}', "not_a_call"),
        ('{"name": "f", "arguments": []}', "not_a_call"),
        ('{"name": "f", "arguments": "[]"}', "not_a_call"),
        ('{"tool_calls": [3]}', "not_a_call"),
        ("f(a=1)(b=2)", "not_a_call"),
        ("[f(a=1), 3]", "not_a_call"),
    ],
)
def test_what_is_no_call(text: str | bytes, error: str) -> None:
    found = parse_calls(text)
    assert (found.calls, found.error) == (None, error)


def test_the_taxonomy_begins_as_that_of_any_answer() -> None:
    before = ERRORS.index("required")
    assert TOOL_ERRORS[:before] == ERRORS[:before]
    assert len(set(TOOL_ERRORS)) == len(TOOL_ERRORS)


pythonic = st.from_regex(r"\[?f\([a-z=0-9,'\"\[\](){}\\. *:-]*\)?\]?")


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(), st.binary(), pythonic, st.from_regex(r'[\[{]"(name|arguments|tool_calls|function)"[\[\]{}:", a-z0-9]*')
    )
)
def test_reading_and_judging_are_total(text: str | bytes) -> None:
    found = parse_calls(text)
    assert (found.calls is None) != (found.error is None)
    for calls in ((), (RIGHT,)):
        judged = judge_calls(text, TOOLS, calls)
        assert judged.right == (judged.error is None)
        assert judged.error is None or judged.error in TOOL_ERRORS


@pytest.mark.parametrize("piece", ["-", "(", "[", "{", "f(a=", "f(a={'a':", "a.", "not ", "f(a=1)(", "lambda:"])
def test_what_nests_without_end_is_refused(piece: str) -> None:
    assert parse_calls("f(a=" + piece * 9000).calls is None
    assert parse_calls(piece * 9000 + "f(a=1)").calls is None


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "some_name"]), plain, max_size=3))
def test_both_syntaxes_say_the_same(arguments: dict[str, Any]) -> None:
    python = f"m.f({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
    wanted = (Call("m.f", arguments),)
    assert parse_calls(python).calls == wanted
    assert parse_calls(as_json(("m.f", arguments))).calls == wanted


def test_an_answer_is_not_in_the_repr() -> None:
    assert "zebra" not in repr(parse_calls("f(a='zebra')"))


# --- judging


@pytest.mark.parametrize(
    "text",
    [
        as_json(("weather.get", {"city": "New York"})),
        as_json(("weather.get", {"city": "new-york", "days": 3, "limit": 2})),
        as_json(("weather.get", {"city": "N.Y.C", "days": 3.0, "limit": 2.0})),
        as_json(("weather_get", {"city": "NYC"})),
        "weather.get(city='NYC', days=3)",
    ],
)
def test_right_calls(text: str) -> None:
    found = judge_calls(text, TOOLS, [RIGHT])
    assert (found.name_right, found.arguments_valid, found.right, found.error) == (True, True, True, None)


@pytest.mark.parametrize(
    ("text", "error", "argument", "name_right", "valid"),
    [
        ("", "empty", None, False, False),
        ("It is sunny.", "fenced_or_prose", None, False, False),
        ("[]", "no_call", None, False, False),
        (as_json(("nothing", {})), "unknown_tool", None, False, False),
        (as_json(("time", {"zone": "x"})), "wrong_tool", None, False, True),
        (as_json(("weather.get", {"city": "NYC"}), ("weather.get", {"city": "NYC"})), "wrong_count", None, False, True),
        (as_json(("weather.get", {"days": 3})), "missing_argument", "city", True, False),
        (as_json(("weather.get", {"city": "NYC", "zebra": 1})), "unexpected_argument", None, True, False),
        (as_json(("weather.get", {"city": 3})), "argument_type", "city", True, False),
        (as_json(("weather.get", {"city": "NYC", "days": "3"})), "argument_type", "days", True, False),
        (as_json(("weather.get", {"city": "NYC", "days": 3.5})), "argument_type", "days", True, False),
        (as_json(("weather.get", {"city": "NYC", "days": True})), "argument_type", "days", True, False),
        (as_json(("weather.get", {"city": "NYC", "days": 0})), "argument_invalid", "days", True, False),
        (as_json(("weather.get", {"city": "Boston"})), "wrong_value", "city", True, True),
        (as_json(("weather.get", {"city": "NYC", "days": 4})), "wrong_value", "days", True, True),
        (as_json(("weather.get", {"city": "NYC", "metric": True})), "unexpected_argument", None, True, True),
    ],
)
def test_the_first_error_of_a_call(text: str, error: str, argument: str | None, name_right: bool, valid: bool) -> None:
    found = judge_calls(text, TOOLS, [RIGHT])
    assert (found.error, found.argument) == (error, argument)
    assert (found.name_right, found.arguments_valid, found.right) == (name_right, valid, False)


def test_an_argument_that_may_not_be_left_out() -> None:
    wanted = {"weather.get": {"city": ["NYC"], "metric": [True]}}
    assert judge_calls("weather.get(city='NYC')", TOOLS, [wanted]).error == "left_out"
    assert judge_calls("weather.get(city='NYC', metric=True)", TOOLS, [wanted]).right


@pytest.mark.parametrize(
    ("argument", "accepted", "value", "right"),
    [
        ("city", ["April 1, 2024"], "april 1 2024", True),
        ("city", ["it's"], 'it"s', True),
        ("city", ["a+b"], "ab", False),
        ("limit", [2], 2.0, True),
        ("limit", [2.5], 2, False),
        ("metric", [True], True, True),
        ("metric", [False], True, False),
        ("tags", [["New York", "b"]], ["new york", "B"], True),
        ("tags", [["a", "b"]], ["b", "a"], False),
        ("tags", [["a", "b"], ["b", "a"]], ["b", "a"], True),
        ("tags", [["a"]], ["a", "a"], False),
        ("area", [{"w": [20], "h": [12, ""]}], {"w": 20}, True),
        ("area", [{"w": [20], "h": [12]}], {"w": 20}, False),
        ("area", [{"w": [20]}], {"w": 20, "x": 1}, False),
        ("area", [{"w": [[1, 2]]}], {"w": [1, 2]}, True),
        ("area", [{"w": {"k": "V"}}], {"w": {"k": "v"}}, True),
        ("area", [{"w": 1}], {"w": True}, False),
    ],
)
def test_values_as_the_leaderboard_compares_them(argument: str, accepted: list[Any], value: Any, right: bool) -> None:
    wanted = {"weather.get": {"city": ["NYC"], argument: accepted}}
    found = judge_calls(as_json(("weather.get", {"city": "NYC", argument: value})), TOOLS, [wanted])
    assert found.right == right
    assert found.arguments_valid


def test_the_order_of_calls_does_not_matter() -> None:
    """Each of two calls made fits the first right one; only one pairing fits both."""
    wanted = [{"time": {"zone": ["a", "b"]}}, {"time": {"zone": ["a"]}}]
    for made in (("a", "b"), ("b", "a"), ("a", "a")):
        assert judge_calls(as_json(*[("time", {"zone": zone}) for zone in made]), TOOLS, wanted).right
    found = judge_calls(as_json(("time", {"zone": "b"}), ("time", {"zone": "b"})), TOOLS, wanted)
    assert (found.error, found.argument) == ("wrong_value", "zone")
    mixed = [{"time": {"zone": ["a"]}}, RIGHT]
    assert judge_calls("[weather.get(city='NYC'), time(zone='a')]", TOOLS, mixed).right


@pytest.mark.parametrize(
    ("text", "right", "error"),
    [
        ("I cannot do that with these functions.", True, None),
        ("[]", True, None),
        ('{"reply": "No."}', True, None),
        ('{"role": "assistant", "content": "No.", "tool_calls": []}', True, None),
        ("", False, "empty"),
        (" \n", False, "empty"),
        (b"\xff", False, "not_utf8"),
        ("[", False, "truncated"),
        (as_json(("time", {})), False, "call_when_none_fits"),
        ("time(zone='x')", False, "call_when_none_fits"),
        (as_json(("of_my_own", {})), False, "call_when_none_fits"),
        ("Sure: weather.get(city='NYC')", False, "call_when_none_fits"),
        ('```json\n{"name": "weather.get", "arguments": {}}\n```', False, "call_when_none_fits"),
        ('{"name": "weather_get", "parameters": {}}', False, "call_when_none_fits"),
        # A broken call is no silence, of whatever function: BFCL takes it for one.
        ('{"tool_calls": [{"function": {"name": "of_my_own", "arguments": "not json"}}]}', False, "call_when_none_fits"),
        ('```json\n{"name": "of_my_own", "arguments": {}}\n```', False, "call_when_none_fits"),
        ("of_my_own(a=b)", False, "call_when_none_fits"),
        ("What time is it? I cannot say what time it is.", True, None),
    ],
)
def test_no_call_where_none_fits(text: str | bytes, right: bool, error: str | None) -> None:
    found = judge_calls(text, TOOLS, [])
    assert (found.right, found.error) == (right, error)


# --- the suite


def case(**changes: Any) -> Case:
    given_: dict[str, Any] = {
        "id": "a",
        "suite": "tools",
        "messages": ({"role": "user", "content": "?"},),
        "tools": TOOLS,
        "calls": (RIGHT,),
        "ask": "text",
    }
    return Case(**given_ | changes)


def read(text: str) -> ReadAnswer:
    return ReadAnswer(True, {}, text, text)


@pytest.mark.parametrize("changes", [{}, {"calls": ()}, {"calls": None}])
@pytest.mark.parametrize("text", ["", "weather.get(city='NYC')", "No."])
def test_scores_are_those_of_the_catalogue_and_apply_to_the_case_alone(changes: dict[str, Any], text: str) -> None:
    suite, one = ToolCalls(), case(**changes)
    scores, worst = suite.score(one, read(text), "?"), suite.worst(one)
    assert scores.keys() == worst.keys()
    assert set(worst.values()) <= {0.0}
    names = {
        m: lookup(m) for m in ("tool_name_accuracy", "tool_arguments_valid", "tool_call_accuracy", "no_call_when_none_fits")
    }
    for metric in names.values():
        assert (metric.direction, metric.kind, metric.worst) == ("higher", "proportion", 0.0)
        assert counts(metric, one, [suite]) == (metric.score in scores)
    assert {m.score for m in names.values()} >= scores.keys()
    assert errored_scores(one, suites=[suite]).items() >= worst.items()


def test_scores() -> None:
    suite = ToolCalls()
    assert suite.score(case(), read("weather.get(city='NYC')"), "?") == {
        "tool_name": 1.0,
        "tool_arguments_valid": 1.0,
        "tool_call": 1.0,
    }
    assert suite.score(case(), read("weather.get(city='Rome')"), "?")["tool_call"] == 0.0
    assert suite.score(case(calls=()), read("No."), "?") == {"no_call": 1.0}
    assert suite.score(case(calls=()), read(""), "?") == {"no_call": 0.0}


def test_a_model_that_returns_nothing_scores_nowhere() -> None:
    suite = ToolCalls()
    for one in (case(), case(calls=())):
        assert set(suite.score(one, read(""), "?").values()) == {0.0}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"tools": ({"name": "f", "parameters": {"requred": []}},), "calls": ()}, BadSchemaError),
        ({"tools": ({"name": "f", "parameters": {"$ref": "https://example.com/x"}},), "calls": ()}, BadSchemaError),
        ({"tools": ({"parameters": {}},), "calls": ()}, BadInputError),
        ({"tools": (TIME, TIME), "calls": ()}, BadInputError),
        ({"calls": ({"nothing": {}},)}, BadInputError),
        ({"calls": ({"time": {"zone": "a"}},)}, BadInputError),
        ({"calls": ({"time": {"zone": []}},)}, BadInputError),
        ({"calls": ({},)}, BadInputError),
        ({"calls": ({"time": {}, "weather.get": {}},)}, BadInputError),
    ],
)
def test_cases_that_nothing_can_be_judged_by_are_refused_before_a_model_is_asked(
    changes: dict[str, Any], error: type[DistillGovError]
) -> None:
    with pytest.raises(error, match="case a") as caught:
        ToolCalls().derive([case(**changes)])
    assert "\n" not in str(caught.value)


def test_cases_go_through_their_file(tmp_path: Path) -> None:
    cases = [case(), case(id="b", calls=())]
    write_suite(tmp_path / "tools.jsonl", cases)
    again = parse_suite((tmp_path / "tools.jsonl").read_bytes(), where="tools.jsonl")
    assert again == cases
    check_tools(again)


def test_functions_are_shown_to_the_model_before_the_question() -> None:
    one = case()
    shown = offer_tools(one)
    assert [m["role"] for m in shown.messages] == ["system", "user"]
    assert json.loads(shown.messages[0]["content"].splitlines()[1]) == list(TOOLS)
    assert (shown.id, shown.calls, shown.messages[1:]) == (one.id, one.calls, one.messages)
    assert offer_tools(case(tools=(), calls=None)) == case(tools=(), calls=None)


# --- BFCL


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


QUESTION: dict[str, Any] = {
    "id": "q0",
    "question": [[{"role": "user", "content": "Area of a 10 by 5 triangle?"}]],
    "function": [
        {
            "name": "geo.area",
            "description": "Area of a triangle.",
            "parameters": {
                "type": "dict",
                "properties": {
                    "base": {"type": "float", "description": "base"},
                    "points": {"type": "array", "items": {"type": "tuple", "items": {"type": "float"}}},
                    "more": {"type": "dict", "properties": {"dict": {"type": "any", "optional": True}}},
                },
                "required": ["base"],
            },
        }
    ],
}
ANSWER: dict[str, Any] = {"id": "q0", "ground_truth": [{"geo.area": {"base": [10], "points": ["", [[1.0, 2.0]]]}}]}


def test_a_file_of_bfcl(tmp_path: Path) -> None:
    (one,) = read_bfcl(lines(tmp_path / "q.json", QUESTION), lines(tmp_path / "a.json", ANSWER))
    assert (one.id, one.suite, one.ask, one.prompt) == ("q0", "tools", "text", "Area of a 10 by 5 triangle?")
    assert one.calls == (ANSWER["ground_truth"][0],)
    assert one.tools[0]["parameters"] == {
        "type": "object",
        "properties": {
            "base": {"type": "number", "description": "base"},
            "points": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            "more": {"type": "object", "properties": {"dict": {}}},
        },
        "required": ["base"],
        "additionalProperties": False,
    }
    assert judge_calls("[geo.area(base=10, points=[(1, 2)])]", one.tools, one.calls).right
    assert judge_calls("geo.area(base='10')", one.tools, one.calls).error == "argument_type"
    (none,) = read_bfcl(tmp_path / "q.json", suite="irrelevance")
    assert (none.calls, none.suite) == ((), "irrelevance")


@pytest.mark.parametrize(
    ("question", "answer", "error"),
    [
        ({"id": 3}, {}, MalformedFileError),
        ({"question": "text"}, {}, MalformedFileError),
        ({"question": [[], []]}, {}, MalformedFileError),
        ({"question": [[{"role": "user"}]]}, {}, MalformedFileError),
        ({"function": []}, {}, MalformedFileError),
        ({"function": [{"name": "f"}]}, {}, MalformedFileError),
        ({}, {"id": "other"}, BadInputError),
        ({}, {"ground_truth": {}}, MalformedFileError),
        ({}, {"ground_truth": [3]}, MalformedFileError),
        ({}, {"ground_truth": [{"other": {}}]}, BadInputError),
    ],
)
def test_damaged_files_of_bfcl(
    tmp_path: Path, question: dict[str, Any], answer: dict[str, Any], error: type[DistillGovError]
) -> None:
    with pytest.raises(error) as caught:
        read_bfcl(lines(tmp_path / "q.json", QUESTION | question), lines(tmp_path / "a.json", ANSWER | answer))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_files_of_bfcl_that_do_not_go_together(tmp_path: Path) -> None:
    q, a = lines(tmp_path / "q.json", QUESTION), lines(tmp_path / "a.json", ANSWER, ANSWER | {"id": "q1"})
    with pytest.raises(BadInputError, match="possible answers without a question"):
        read_bfcl(q, a)
    with pytest.raises(MalformedFileError, match="came before"):
        read_bfcl(lines(tmp_path / "q.json", QUESTION, QUESTION))
    with pytest.raises(NothingLeftError):
        read_bfcl(lines(tmp_path / "q.json"))
    with pytest.raises(MissingFileError):
        read_bfcl(tmp_path / "none.json")


@settings(max_examples=100)
@given(plain, st.sampled_from(["question", "function", "id"]))
def test_a_damaged_question_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, value: Any, key: str) -> None:
    path = lines(tmp_path_factory.getbasetemp() / "damaged.json", QUESTION | {key: value})
    said = ""
    try:
        read_bfcl(path)
    except DistillGovError as error:
        said = str(error)
    assert "\n" not in said


def filled(accepted: Mapping[str, Any], pick: int) -> dict[str, Any]:
    """Arguments of accepted values; the first, or the last."""
    found = {}
    for name, values in accepted.items():
        value = [v for v in values if v != ""][pick]
        if isinstance(value, dict):
            value = filled(value, pick)
        if isinstance(value, list):
            value = [filled(v, pick) if isinstance(v, dict) else v for v in value]
        found[name] = value
    return found


@needs_bfcl
def test_the_files_of_bfcl() -> None:
    """400 questions with right calls, 240 without; every right call is right in every form, and no longer when spoilt."""
    name = "BFCL_v4_simple_python.json"
    cases = read_bfcl(DATA / name, DATA / "possible_answer" / name)
    none = read_bfcl(DATA / "BFCL_v4_irrelevance.json")
    assert (len(cases), len(none)) == (400, 240)
    unfit = set()
    for one in cases:
        assert one.calls
        ((tool, accepted),) = one.calls[0].items()
        wanted = {argument: values for argument, values in accepted.items() if values != [""]}
        for pick in (0, -1):
            arguments = filled(wanted, pick)
            python = f"[{tool}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})]"
            found = [judge_calls(text, one.tools, one.calls) for text in (as_json((tool, arguments)), python)]
            unfit |= {(one.id, judged.error, judged.argument) for judged in found if not judged.right}
        if not found[0].right:
            continue
        spoilt = as_json((tool, arguments | {"zebra": 1}))
        assert judge_calls(spoilt, one.tools, one.calls).error == "unexpected_argument"
        assert judge_calls(as_json((f"{tool}x", arguments)), one.tools, one.calls).error == "unknown_tool"
    # Accepted values that the function's own parameters forbid: `true` for a text, and a spelling that `enum` does not have.
    assert unfit == {
        ("simple_python_307", "argument_type", "venue"),
        ("simple_python_358", "argument_invalid", "diet"),
    }
    for one in none:
        assert judge_calls("None of the functions fits.", one.tools, ()).right
        call = as_json((one.tools[0]["name"], {}))
        assert judge_calls(call, one.tools, ()).error == "call_when_none_fits"
