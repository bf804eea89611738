"""The official JSON Schema suite and the JSON parsing suite: the same verdicts, and what differs differs on purpose."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from distill_gov.records.errors import BadSchemaError
from evals.structured import judge, make_schema, parse_answer
from tests.benchmarks import load_benchmark

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DISTILL_GOV_DATA", ROOT.parent / "shared" / "data"))
PARSING, SUITE = DATA / "json-parsing-suite" / "test_parsing", DATA / "json-schema-test-suite" / "tests"

needs_parsing = pytest.mark.skipif(
    not PARSING.is_dir(), reason=f"the JSON parsing suite is not at {PARSING}: set DISTILL_GOV_DATA"
)
needs_schemas = pytest.mark.skipif(
    not SUITE.is_dir(), reason=f"the official JSON Schema suite is not at {SUITE}: set DISTILL_GOV_DATA"
)


@needs_parsing
def test_the_parsing_suite() -> None:
    found: dict[str, Counter[bool]] = {kind: Counter() for kind in "yni"}
    refused = set()
    for path in sorted(PARSING.glob("*.json")):
        judged = parse_answer(path.read_bytes())
        found[path.name[0]][judged.valid] += 1
        if path.name[0] == "y" and not judged.valid:
            refused.add((path.name, judged.error))
    assert found["n"] == {False: 188}
    assert refused == {
        ("y_object_duplicated_key.json", "duplicate_key"),
        ("y_object_duplicated_key_and_value.json", "duplicate_key"),
    }
    assert found["y"].total() == 95
    assert found["i"].total() == 35


@pytest.fixture(scope="module")
def schema_benchmark() -> ModuleType:
    return load_benchmark(ROOT, "schema")


@needs_schemas
def test_the_verdicts_are_those_of_the_official_suite(schema_benchmark: ModuleType) -> None:
    """Every test of both drafts, with the options by which answers are judged and the suite's own remotes at hand."""
    found = schema_benchmark.verdicts(schema_benchmark.official(), schema_benchmark.ours)
    assert {part: (v.n, v.wrong) for part, v in found.items()} == {
        "draft7 required": (927, 0),
        "draft7 optional": (118, 0),
        "draft7 format": (676, 0),
        "draft2020-12 required": (1299, 0),
        "draft2020-12 optional": (158, 0),
        "draft2020-12 format": (768, 0),
    }


@needs_schemas
def test_a_schema_of_the_suite_is_judged_rightly_or_refused_for_a_reason(schema_benchmark: ModuleType) -> None:
    """Through the front door: nothing is fetched, formats are always asserted, and what does nothing is refused."""
    wrong, refused = [], Counter()
    for group in schema_benchmark.official():
        if not isinstance(group.schema, dict) or group.place.startswith("format.json"):
            continue  # the last say that formats are annotations, which they are not here
        try:
            made = make_schema(group.schema)
        except BadSchemaError as error:
            refused[error.what.partition(" (")[0]] += 1
            continue
        wrong += [
            (group.draft, group.place, test["description"])
            for test in group.tests
            if judge(json.dumps(test["data"]), made).valid != test["valid"]
        ]
    assert wrong == []
    assert refused == {
        "a `$ref` leads out of the schema, and nothing is ever fetched": 33,
        "`dependencies` does nothing under draft 2020-12": 7,
        "a schema that cannot be digested": 6,
        "`$schema` names no draft that is known here": 4,
        "not a usable JSON Schema": 2,  # a format that nobody knows
        "`maxItems` beside `$ref` does nothing under draft 7": 1,
    }
