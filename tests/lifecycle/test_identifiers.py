"""What goes with a trace into books and evidence beside its text: ids that say nothing about a person, and few tags."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from distill_gov.importers import import_traces
from distill_gov.records.errors import MalformedFileError
from distill_gov.records.keys import KeyRing
from distill_gov.stages.identifiers import presentable
from distill_gov.traces import Trace, located_traces, write_traces
from redaction import RedactionPolicy, Redactor

EXAMPLE = Path(__file__).parents[2] / "examples" / "support_desk"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor.from_policy(EXAMPLE / "redaction.yaml", KeyRing(bytes(range(32))))


def trace(name: str = "t-1", **more: object) -> Trace:
    plain = Trace(
        id=name,
        group="c-1",
        messages=({"role": "user", "content": "where is it?"},),
        consent="granted",
        licence="own",
        retention_until=date(2030, 1, 1),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        "d.okaforsky@example.org",
        "Saoirse Brennigan",
        "+44 7700 900482",
        "5500-0000-0000-0004",
        "LH-48213-K",
        "44051401359",
        "user=kgrantley_north",
        "sk_test_51H8xQ2eZvKYlo2C",
        "t-5500000000000004",
    ],
)
@pytest.mark.parametrize("key", ["id", "group"])
def test_an_id_that_names_somebody_is_refused_with_file_and_line(
    redactor: Redactor, tmp_path: Path, key: str, value: str
) -> None:
    path = tmp_path / "traces.jsonl"
    write_traces(path, [trace("t-0"), trace(**{"name": "t-2", key: value} if key == "group" else {"name": value})])
    with pytest.raises(MalformedFileError, match=rf"traces\.jsonl:2: key `{key}` holds personal data") as caught:
        presentable(redactor, located_traces(path))
    assert value not in str(caught.value)
    assert "say nothing about a person" in caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_language_that_is_a_name_is_refused(redactor: Redactor) -> None:
    policy = redactor.policy.model_copy(update={"deny": {"PERSON": ["Anna-Brown"]}})
    strict = Redactor(policy, KeyRing(bytes(range(32))))
    with pytest.raises(MalformedFileError, match="`language`"):
        presentable(strict, [("here", trace(language="Anna-Brown"))])


def test_ids_that_say_nothing_are_admitted(redactor: Redactor) -> None:
    rng = random.Random(4)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(200)]
    ids += [f"{rng.getrandbits(128):032x}" for _ in range(200)]
    ids += ["782d466a-1cc3-4e62-82bb-096887451624", "eaae9dc2ea16391937bea46d7caa2381"]  # a phone's and a key's digits
    ids += ["chatcmpl-" + "".join(rng.choices(letters, k=24)) for _ in range(200)]
    ids += [f"{stem}{n}" for stem in ("conv_", "chat-", "TCK00", "") for n in range(1000, 1100)]
    traces = [("x", trace(name, group=name, language="pt-BR")) for name in ids]
    assert [t.id for t in presentable(redactor, traces)] == ids


def test_ids_that_an_import_makes_say_nothing(redactor: Redactor, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "message {n}"}}\n' for n in range(400)))
    made = import_traces([path], defaults={"consent": "granted", "licence": "own", "retention_until": "2030-01-01"}).traces
    assert len(presentable(redactor, [("x", t) for t in made])) == 400
    assert not any(c.isdigit() for t in made for c in t.id)


@pytest.mark.parametrize("name", ["teaching", "dev", "gold", "holdout", "hazardous", "benign"])
def test_every_file_of_the_example_may_travel_with_its_tags(redactor: Redactor, name: str) -> None:
    located = located_traces(EXAMPLE / "data" / f"{name}.jsonl")
    assert presentable(redactor, located) == [t for _, t in located]


def test_only_the_policys_tags_travel_and_their_texts_are_redacted(redactor: Redactor) -> None:
    tags = {"slice": "from d.okaforsky@example.org", "origin": "written", "pii": True, "agent": "Saoirse Brennigan"}
    [kept] = presentable(redactor, [("here", trace(tags=tags))])
    assert kept.tags == {"slice": "from <EMAIL_1>", "origin": "written", "pii": True}


def test_the_tags_that_travel_by_default_are_those_that_the_stages_read() -> None:
    assert {"asserted", "hazard", "origin", "pii", "slice"} <= set(
        RedactionPolicy.model_fields["tags"].get_default(call_default_factory=True)
    )
