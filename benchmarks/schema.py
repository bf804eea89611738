"""Wrong verdicts on the official JSON Schema suite and instances a second: ours, jsonschema, fastjsonschema.

    python benchmarks/schema.py [--rows N] [--rounds N] [--json]

Verdicts: every test of draft 7 and draft 2020-12 of the official suite (`../shared/data/json-schema-test-suite`, MIT), the
required ones, the optional ones and those of formats, which are asserted there and nowhere else. What the suite's schemas refer
to is handed to each validator from the suite's own `remotes`; a schema that a validator cannot compile, or an instance on which
it raises, makes all its verdicts wrong. `passed wrongly` are those that let an invalid instance through.

Pace, of validators that are compiled already, with formats asserted: the support desk's answers, one in ten of them broken;
the right calls of BFCL under their functions' parameters (`../shared/data/bfcl`, Apache-2.0); every instance of the suite's
required tests of both drafts that all validators can compile. `validated` times values that are parsed; `judged` starts from
the answer's text: ours is `evals.structured.judge`, with the strict parsing and the first error of whatever is not valid, the
others are `json.loads` and yes or no. The best of the rounds counts, in processor time of one core, the validators taking
turns.

fastjsonschema is no dependency of the project: `pip install 'distill-gov[bench]'`. Where it or the data is not there, its part
is left out and said. The exit code is 1 where one verdict of ours is wrong, or ours validates less than 20 times as fast as
jsonschema over the three sets together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema

from evals.structured import compile_validator, judge, make_schema
from evals.tools import read_bfcl

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "support_desk"
SHARED = Path(os.environ.get("DISTILL_GOV_DATA", HERE.parent.parent / "shared" / "data"))
SUITE = SHARED / "json-schema-test-suite"
DRAFTS: Mapping[str, str] = {
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
KINDS = ("required", "optional", "format")
BAR = 20.0

Valid = Callable[[Any], bool]


@dataclass(frozen=True)
class Group:
    """One schema of the official suite and its tests."""

    draft: str
    kind: str
    place: str
    schema: Any
    tests: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Verdicts:
    """How a validator fares on one part of the suite."""

    n: int
    wrong: int
    passed_wrongly: int
    """Invalid instances that it lets through."""
    not_compiled: int
    """Tests whose schema it cannot compile, or on which it raises; among the wrong."""


@dataclass(frozen=True)
class Pace:
    """Instances a second on one set."""

    instances: int
    validated: dict[str, int]
    judged: dict[str, int]


# --- the official suite


def official() -> list[Group]:
    """Every schema of the suite with its tests, in order of file."""
    found = []
    for draft in DRAFTS:
        root = SUITE / "tests" / draft
        for path in sorted(root.rglob("*.json")):
            place = path.relative_to(root).as_posix()
            kind = "format" if place.startswith("optional/format") else place.partition("/")[0]
            kind = kind if kind in KINDS else "required"
            for group in json.loads(path.read_text("utf-8")):
                where = f"{place}: {group['description']}"
                found.append(Group(draft, kind, where, _with_draft(group["schema"], draft), group["tests"]))
    return found


def _with_draft(schema: Any, draft: str) -> Any:
    return {"$schema": DRAFTS[draft], **schema} if isinstance(schema, dict) else schema


@lru_cache
def remotes() -> Mapping[str, Any]:
    """What the suite's schemas refer to, by the address that they use for it."""
    root = SUITE / "remotes"
    return {
        f"http://localhost:1234/{path.relative_to(root).as_posix()}": json.loads(path.read_text("utf-8"))
        for path in sorted(root.rglob("*.json"))
    }


def local(uri: str) -> Any:
    """The document at an address that the suite uses; nothing else, and nothing is fetched."""
    found = remotes().get(uri.partition("#")[0])
    if found is None:
        raise ValueError(f"not among the suite's remotes: {uri}")
    return found


# --- the validators


def ours(schema: Any, draft: str, formats: bool) -> Valid:
    if isinstance(schema, bool):
        return lambda _: schema
    valid: Valid = compile_validator(schema, formats=False, fetch=local).is_valid
    # Known formats are asserted; the suite has one that is unknown on purpose, and has to pass.
    return _asserting(schema) if formats else valid


def _asserting(schema: Any) -> Valid:
    try:
        valid: Valid = compile_validator(schema, formats=True, fetch=local).is_valid
    except ValueError as error:
        if not str(error).startswith("Unknown format"):
            raise
        return ours(schema, "", False)
    return valid


def by_jsonschema(schema: Any, draft: str, formats: bool) -> Valid:
    of_draft = jsonschema.Draft7Validator if draft == "draft7" else jsonschema.Draft202012Validator
    specification = referencing.jsonschema.specification_with(DRAFTS[draft])
    registry: Any = referencing.Registry().with_resources(
        (uri, referencing.Resource.from_contents(document, default_specification=specification))
        for uri, document in remotes().items()
    )
    cls = jsonschema.validators.validator_for(schema, default=of_draft) if isinstance(schema, dict) else of_draft
    valid: Valid = cls(schema, registry=registry, format_checker=cls.FORMAT_CHECKER if formats else None).is_valid
    return valid


def by_fastjsonschema(schema: Any, draft: str, formats: bool) -> Valid:
    import fastjsonschema

    if isinstance(schema, bool):
        return lambda _: schema
    check = fastjsonschema.compile(schema, handlers={"http": local, "https": local}, use_formats=formats, use_default=False)

    def valid(value: Any) -> bool:
        try:
            check(value)
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    return valid


def validators() -> dict[str, Callable[[Any, str, bool], Valid]]:
    """Those that are installed."""
    found: dict[str, Callable[[Any, str, bool], Valid]] = {"ours": ours, "jsonschema": by_jsonschema}
    try:
        version("fastjsonschema")
    except ModuleNotFoundError:
        return found
    return found | {"fastjsonschema": by_fastjsonschema}


# --- verdicts


def verdicts(groups: Sequence[Group], compile_one: Callable[[Any, str, bool], Valid]) -> dict[str, Verdicts]:
    """How a validator fares, by draft and kind."""
    counts: dict[str, Counter[str]] = {}
    for group in groups:
        count = counts.setdefault(f"{group.draft} {group.kind}", Counter())
        for right, said in _said(group, compile_one):
            count["n"] += 1
            count["wrong"] += said != right
            count["passed_wrongly"] += said is True and not right
            count["not_compiled"] += said is None
    names = ("n", "wrong", "passed_wrongly", "not_compiled")
    return {part: Verdicts(**{name: count[name] for name in names}) for part, count in counts.items()}


def _said(group: Group, compile_one: Callable[[Any, str, bool], Valid]) -> Iterator[tuple[bool, bool | None]]:
    """(right, said) of every test; None where the validator says nothing."""
    try:
        valid = compile_one(group.schema, group.draft, group.kind == "format")
    except Exception:  # whatever it is, it is no verdict
        for test in group.tests:
            yield test["valid"], None
        return
    for test in group.tests:
        try:
            yield test["valid"], valid(test["data"])
        except Exception:
            yield test["valid"], None


# --- pace

Instances = Sequence[tuple[Any, str, Sequence[Any]]]
"""Schema, draft, its instances."""


def desk_answers(count: int) -> Instances:
    """So many answers of the support desk, one in ten of them broken in one of four ways."""
    schema = json.loads((EXAMPLE / "triage.schema.json").read_text("utf-8"))
    names = tuple(schema["properties"])
    labels = [json.loads(line) for line in (EXAMPLE / "data" / "teaching_labels.jsonl").read_text("utf-8").splitlines()]
    right = [{name: row[name] for name in names} for row in labels]
    broken: list[dict[str, Any]] = [{"intent": "zebra"}, {"reply": ""}, {"more": 1}, {"urgency": None}]
    rows = [right[n % len(right)] | (broken[n // 10 % 4] if n % 10 == 0 else {}) for n in range(count)]
    return [(schema, "draft2020-12", rows)]


def bfcl_arguments() -> Instances:
    """The first accepted arguments of every right call, under the parameters of its function."""
    folder, name = SHARED / "bfcl", "BFCL_v4_simple_python.json"
    found = []
    for case in read_bfcl(folder / name, folder / "possible_answer" / name):
        (accepted,) = (case.calls or ({},))[0].values()
        arguments = {key: values[0] for key, values in accepted.items() if values[0] != ""}
        found.append(({"$schema": DRAFTS["draft2020-12"], **case.tools[0]["parameters"]}, "draft2020-12", [arguments]))
    return found


def suite_instances(groups: Sequence[Group], names: Sequence[str]) -> Instances:
    """The instances of the required tests on which every validator has something to say, and that ours loads."""
    found = []
    for group in groups:
        if group.kind != "required" or not isinstance(group.schema, dict):
            continue
        if all(None not in [s for _, s in _said(group, validators()[name])] for name in names) and _loads(group.schema):
            found.append((group.schema, group.draft, [test["data"] for test in group.tests]))
    return found


def _loads(schema: Any) -> bool:
    from distill_gov.records.errors import BadSchemaError

    try:
        make_schema(schema)
    except BadSchemaError:
        return False
    return True


def pace(instances: Instances, names: Sequence[str], *, rounds: int, repeat: int = 1) -> Pace:
    """Instances a second, by validator."""
    total = repeat * sum(len(rows) for _, _, rows in instances)
    parsed, texts = {}, {}
    for name in names:
        compiled = [(validators()[name](schema, draft, True), schema, rows) for schema, draft, rows in instances]
        parsed[name] = [(valid, rows) for valid, _, rows in compiled]
        texts[name] = [(_reader(name, valid, schema), [json.dumps(r) for r in rows]) for valid, schema, rows in compiled]
    return Pace(total, *(_best(work, total, rounds, repeat) for work in (parsed, texts)))


def _reader(name: str, valid: Valid, schema: Any) -> Valid:
    if name == "ours":
        made = make_schema(schema)
        return lambda text: judge(text, made).valid
    return lambda text: valid(json.loads(text))


def _best(work: Mapping[str, Sequence[tuple[Valid, Sequence[Any]]]], total: int, rounds: int, repeat: int) -> dict[str, int]:
    fastest = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, jobs in work.items():
            started = time.process_time()  # others may share the cores
            for _ in range(repeat):
                for valid, rows in jobs:
                    for row in rows:
                        valid(row)
            fastest[name] = min(fastest[name], time.process_time() - started)
    return {name: round(total / seconds) for name, seconds in fastest.items()}


def paces(groups: Sequence[Group], names: Sequence[str], rows: int, rounds: int) -> dict[str, Pace]:
    """Every set that is there."""
    found = {"support desk's answers": pace(desk_answers(rows), names, rounds=rounds)}
    if (SHARED / "bfcl").is_dir():
        found["BFCL arguments"] = pace(bfcl_arguments(), names, rounds=rounds, repeat=max(1, rows // 400))
    if groups:
        found["official suite's instances"] = pace(
            suite_instances(groups, names), names, rounds=rounds, repeat=max(1, rows // 2000)
        )
    return found


def ratio(found: Mapping[str, Mapping[str, Any]], how: str) -> float:
    """How many times as fast as jsonschema ours is: the geometric mean over the sets."""
    product = 1.0
    for one in found.values():
        product *= one[how]["ours"] / one[how]["jsonschema"]
    return float(product ** (1 / len(found)))


def measure(rows: int, rounds: int) -> dict[str, Any]:
    names = list(validators())
    groups = official() if (SUITE / "tests").is_dir() else []
    skipped = [] if groups else [f"the official suite is not at {SUITE}; set DISTILL_GOV_DATA"]
    skipped += [] if (SHARED / "bfcl").is_dir() else [f"BFCL is not at {SHARED}"]
    skipped += [] if "fastjsonschema" in names else ["fastjsonschema is not installed: pip install 'distill-gov[bench]'"]
    pacing = {name: asdict(one) for name, one in paces(groups, names, rows, rounds).items()}
    judged = {
        name: {part: asdict(v) for part, v in verdicts(groups, compile_one).items()}
        for name, compile_one in validators().items()
    }
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": {
            name: version(name) for name in ("jsonschema-rs", "jsonschema", *(n for n in names if n == "fastjsonschema"))
        },
        "verdicts": judged,
        "pace": pacing,
        "ratio": {how: round(ratio(pacing, how), 1) for how in ("validated", "judged")},
        "wrong": sum(v["wrong"] for v in judged["ours"].values()) if groups else None,
        "skipped": skipped,
    }


def show(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [f"{found['machine']}, {found['date']}", versions, ""]
    lines.append(
        f"{'verdicts':24s} {'n':>6s}" + "".join(f" {name + ': wrong':>22s} {'passed':>7s}" for name in found["verdicts"])
    )
    for part in found["verdicts"]["ours"]:
        row = [found["verdicts"][name][part] for name in found["verdicts"]]
        lines.append(f"{part:24s} {row[0]['n']:6,}" + "".join(f" {v['wrong']:22,} {v['passed_wrongly']:7,}" for v in row))
    for how in ("validated", "judged"):
        names = list(next(iter(found["pace"].values()))[how])
        lines += ["", f"{how + ', a second':28s}" + "".join(f" {name:>15s}" for name in names) + f" {'ours/jsonschema':>16s}"]
        for name, one in found["pace"].items():
            times = one[how]["ours"] / one[how]["jsonschema"]
            lines.append(f"{name:28s}" + "".join(f" {one[how][n]:15,}" for n in names) + f" {times:16.1f}")
        lines.append(f"{'geometric mean':28s}" + " " * 16 * len(names) + f" {found['ratio'][how]:16.1f}")
    return "\n".join([*lines, *(["", *found["skipped"]] if found["skipped"] else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Wrong verdicts and instances a second, side by side.")
    parser.add_argument("--rows", type=int, default=5000, help="instances of each set, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(arguments)
    if asked.rows < 1 or asked.rounds < 1:
        parser.error("--rows and --rounds must be 1 or more")
    found = measure(asked.rows, asked.rounds)
    print(json.dumps(found, indent=2) if asked.json else show(found))
    return 0 if found["wrong"] == 0 and found["ratio"]["validated"] >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
