"""Settings files: every complaint names file, line and key, and never a value."""

from __future__ import annotations

import contextlib
from datetime import date
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from distill_gov.records.errors import DistillGovError, MalformedFileError, MissingFileError, UnknownKeyError
from distill_gov.records.settings import Settings, load_settings, parse_settings


class Level(Settings):
    at_least: float
    side: Literal["lower", "upper"] = "lower"


class Rule(Settings):
    id: str
    levels: list[Level] = Field(default_factory=list)
    rationale: str | None = None


class Policy(Settings):
    owner: str
    rules: list[Rule] = Field(default_factory=list)
    either: Level | Rule | None = None
    table: dict[str, int] = Field(default_factory=dict)
    today: date | None = Field(default=None, strict=False)


SECRET = "Okaforsky"
"""Stands for a value that must not be repeated."""

NESTED = """\
owner: us
rules:
  - id: one
  - id: two
    levels:
      - at_least: 0.5
      - side: lower
        at_least: {value}
        {extra}
"""


def refused(text: str) -> DistillGovError:
    with pytest.raises(DistillGovError) as caught:
        parse_settings(text, Policy, where="gates.yaml")
    return caught.value


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(NESTED.format(value="0.75", extra="") + "today: 2026-11-22\ntable: {a: 1}\n", "utf-8")
    policy = load_settings(path, Policy)
    assert policy.rules[1].levels[1].at_least == 0.75
    assert policy.today == date(2026, 11, 22)
    assert policy.table == {"a": 1}


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_that_exists() -> None:
    error = refused("owner: us\nrules:\n  - id: one\n    rational: because\n")
    assert type(error) is UnknownKeyError
    assert str(error) == "gates.yaml:4: unknown key `rules.0.rational`. Did you mean `rationale`?"


def test_an_unknown_key_like_no_other_is_to_be_removed() -> None:
    assert refused("owner: us\nzzz: 1\n").fix == "Remove it."


def test_a_misspelt_required_key_is_called_misspelt_not_missing() -> None:
    error = refused("rules: []\nowne: us\n")
    assert str(error) == "gates.yaml:2: unknown key `owne`. Did you mean `owner`?"


def test_lines_are_right_inside_nested_lists() -> None:
    wrong_type = refused(NESTED.format(value=SECRET, extra=""))
    assert wrong_type.where == "gates.yaml:8"
    assert "`rules.1.levels.1.at_least`" in wrong_type.what
    unknown = refused(NESTED.format(value="1", extra="sid: upper"))
    assert (unknown.where, unknown.fix) == ("gates.yaml:9", "Did you mean `side`?")


def test_the_tag_of_a_union_does_not_confuse_the_line() -> None:
    assert refused("owner: us\neither:\n  at_least: high\n").where.startswith("gates.yaml:")


def test_a_missing_key_is_named() -> None:
    error = refused("rules: []\n")
    assert type(error) is MalformedFileError
    assert error.what == "key `owner` is missing"
    assert refused("owner: us\nrules:\n  - rationale: x\n").where == "gates.yaml:3"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("owner: us\nrules: []\nowner: them\n", "gates.yaml:3"),
        ("owner: us\nrules:\n  - id: a\n    id: b\n", "gates.yaml:4"),
        ("owner: us\ntable:\n  a: 1\n  'a': 2\n", "gates.yaml:4"),
    ],
)
def test_a_key_that_appears_twice_is_refused_where_it_is_repeated(text: str, where: str) -> None:
    error = refused(text)
    assert (type(error), error.where) == (MalformedFileError, where)
    assert "twice" in error.what


@pytest.mark.parametrize(
    "text",
    [
        f"owner: [{SECRET}]\n",
        f"owner: us\nrules: {SECRET}\n",
        f"owner: us\nrules:\n  - id: a\n    levels: [{{at_least: {SECRET}}}]\n",
        f"owner: us\nrules:\n  - id: a\n    levels: [{{at_least: 1.0, side: {SECRET}}}]\n",
        f"owner: us\ntable: {{a: {SECRET}}}\n",
        f"owner: us\ntoday: {SECRET}\n",
        f"owner: *{SECRET}\n",
        f"owner: !{SECRET} x\n",
        f"owner: !!int {SECRET}\n",
        f"owner: !!timestamp {SECRET}\n",
        f'owner: "{SECRET}\n',
        f"owner: us\n  {SECRET}: [\n",
        f"{SECRET}",
        f"- {SECRET}\n",
        f"%YAML {SECRET}\n---\nowner: us\n",
    ],
)
def test_a_value_is_never_repeated(text: str) -> None:
    error = refused(text)
    assert SECRET not in str(error)
    assert str(error).startswith("gates.yaml")


@pytest.mark.parametrize(
    "value", ["2026-02-30", "0b_", "0x_", "!!int ''", "!!bool maybe", "!!float x", "2026-01-01T00:00:00+99:00"]
)
def test_what_looks_like_a_date_or_a_number_and_is_none_has_its_line(value: str) -> None:
    error = refused(f"owner: us\ntoday: {value}\n")
    assert (type(error), error.where) == (MalformedFileError, "gates.yaml:2")


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "'0.5'", "yes"])
def test_numbers_are_finite_and_are_no_words(value: str) -> None:
    assert refused(f"owner: us\neither: {{at_least: {value}}}\n").where.startswith("gates.yaml:2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "[]",
        "owner: us\n---\nowner: us\n",
        "? [a, b]\n: 1\n",
        "? {a: b}\n: 1\n",
        "owner: us\n1: x\n",
        "\x00",
        "a: &a [*a]",
    ],
)
def test_what_is_no_mapping_of_words_is_refused(text: str) -> None:
    assert isinstance(refused(text), MalformedFileError | UnknownKeyError)


def test_nesting_beyond_measure_is_refused() -> None:
    assert refused("owner: " + "[" * 1500).what == "nested too deep"


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such settings file"):
        load_settings(tmp_path / "distill.yaml", Policy)
    with pytest.raises(MissingFileError):
        load_settings(tmp_path, Policy)
    (tmp_path / "file").write_text("x")
    with pytest.raises(MissingFileError):
        load_settings(tmp_path / "file" / "distill.yaml", Policy)
    (tmp_path / "latin.yaml").write_bytes("owner: Zoë\n".encode("latin-1"))
    with pytest.raises(MalformedFileError, match="UTF-8"):
        load_settings(tmp_path / "latin.yaml", Policy)


_PIECES = st.sampled_from(
    [
        "owner",
        "rules",
        "id",
        ": ",
        "- ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "!!",
        "!x ",
        "'",
        '"',
        "\\ud800",
        "? ",
        "1",
        "|",
        "\t",
        "é",
        "\u2028",
        "<<",
    ]
)


@given(st.one_of(st.text(), st.lists(_PIECES, max_size=25).map("".join)))
def test_any_text_gives_settings_or_one_line(text: str) -> None:
    message = ""
    try:
        parse_settings(text, Policy, where="f")
    except DistillGovError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
    message.encode("utf-8")


@given(st.binary())
def test_any_bytes_give_settings_or_one_of_our_errors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with contextlib.suppress(MalformedFileError, UnknownKeyError):
        load_settings(path, Policy)
