"""Digests: RFC 8785, and a tree in which nothing can move unseen."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from distill_gov.records.digest import canonical_json, digest_bytes, digest_file, digest_json, digest_rows, digest_tree
from distill_gov.records.errors import MalformedFileError, MissingFileError
from tests.records.test_files import VALUES

VECTORS = ("arrays", "french", "structures", "unicode", "values", "weird")


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_vectors(repository: Path, name: str) -> None:
    # github.com/cyberphone/json-canonicalization, testdata (Apache-2.0); not part of this repository.
    folder = repository.parent / "shared" / "data" / "jcs" / "testdata"
    if not folder.is_dir():
        pytest.skip("the vectors of json-canonicalization are not here")
    value = json.loads((folder / "input" / f"{name}.json").read_text("utf-8"))
    assert canonical_json(value) == (folder / "output" / f"{name}.json").read_bytes()


def test_the_example_of_the_standard() -> None:
    # RFC 8785, section 3.2.2 and 3.2.4.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**53,
        -(2**53),
        "\ud800",
        {"\ud800": 1},
        {1: 2},
        {"a": {1, 2}},
        b"x",
        object(),
        _deep(),
    ],
    ids=["nan", "inf", "big", "small", "surrogate", "surrogate key", "number key", "set", "bytes", "object", "deep"],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(MalformedFileError, match="no canonical JSON form"):
        canonical_json(value)


@given(VALUES)
def test_the_order_of_keys_does_not_matter_and_everything_else_does(value: Any) -> None:
    try:
        digest = digest_json({"a": 1, "b": value})
    except MalformedFileError:  # an integer beyond 2**53
        return
    assert digest == digest_json({"b": value, "a": 1})
    assert digest != digest_json({"b": [value], "a": 1})


def test_a_digest_of_bytes_and_of_a_file_agree(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_bytes(b"abc") == digest_file(tmp_path / "f") == expected


@pytest.mark.parametrize("name", ["none", ".", "f/g"])
def test_a_file_that_cannot_be_read_is_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    with pytest.raises(MissingFileError):
        digest_file(tmp_path / name)


def test_rows_are_digested_in_order_and_apart() -> None:
    assert digest_rows([]) == "sha256:" + hashlib.sha256().hexdigest()
    assert len({digest_rows(rows) for rows in ([1, 2], [2, 1], [[1, 2]], [12], [1], [1, 2, None])}) == 6


def _tree(root: Path) -> Path:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "one").write_bytes(b"1")
    (root / "two").write_bytes(b"2")
    return root


CHANGES = {
    "change": lambda r: (r / "two").write_bytes(b"3"),
    "add": lambda r: (r / "a" / "three").write_bytes(b""),
    "remove": lambda r: (r / "two").unlink(),
    "rename": lambda r: (r / "two").rename(r / "too"),
    "move": lambda r: (r / "two").rename(r / "a" / "two"),
    "swap": lambda r: ((r / "two").write_bytes(b"1"), (r / "a" / "b" / "one").write_bytes(b"2")),
    "add hidden": lambda r: (r / ".two").write_bytes(b"2"),
    "add link": lambda r: (r / "link").symlink_to("two"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_tree_notices(tmp_path: Path, change: str) -> None:
    root = _tree(tmp_path / "tree")
    before = digest_tree(root)
    assert before == digest_tree(_tree(tmp_path / "elsewhere"))
    CHANGES[change](root)
    assert digest_tree(root) != before


def test_a_tree_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("none", "file"):
        with pytest.raises(MissingFileError):
            digest_tree(tmp_path / name)


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(MalformedFileError):
        digest_tree(tmp_path)
