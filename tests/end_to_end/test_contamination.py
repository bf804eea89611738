"""A case that was taught: its suite has no value, so that no policy passes it; looked for after redaction and before it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.project import Project
from distill_gov.records.errors import BadInputError, HashMismatchError, MissingFileError
from distill_gov.records.files import read_parquet
from distill_gov.records.keys import KeyRing
from distill_gov.records.manifest import read_manifest, write_manifest
from distill_gov.stages.contamination import Contamination, checked, contaminated_holdout
from distill_gov.stages.suites import as_cases
from distill_gov.traces import Trace, parse_trace
from evals.contamination import FORMAT, ContaminationIndex
from evals.evidence import read_cases
from redaction.filters.ngrams import PURPOSE
from tests.end_to_end.commands import command
from tests.end_to_end.decoding import decoded, holds
from tests.end_to_end.raters import rate
from tests.end_to_end.tiny_project import PLANTED, files, make_project, trace, write_settings

PERSONAL = (
    "my name is Saoirse Brennigan and I wait at 17 Quarrington Lane, Ilkley LS29 4TR, "
    "write to d.okaforsky@example.org or call me on +44 7700 900482 after six"
)
"""Most of it is values: with surrogates in their place two copies have little in common."""


def looked_for(root: Path, *texts: str) -> Contamination:
    """What the check says of cases with these texts."""
    project = Project.open(root)
    traces: list[Trace] = [parse_trace(trace(f"c-{n}", text), where="test") for n, text in enumerate(texts)]
    return checked(project, project.run("r1"), {"holdout": as_cases(project, "holdout", traces)}, {"holdout": traces})


def taught_text(root: Path, number: int) -> str:
    """The raw message of a trace that was taught, with a value in it."""
    name = sorted(row["trace"] for row in read_parquet(root / "runs/r1/teaching/examples.parquet", format="examples"))[number]
    rows = {row["id"]: row for row in files()["teaching"]}
    text: str = rows[name]["messages"][0]["content"]
    assert ";" in text
    return text


def test_an_honest_run_is_checked_at_both_ends_and_finds_nothing(copy: Path) -> None:
    facts = read_manifest(copy / "runs/r1/manifests/evaluate.json").facts["contamination"]
    clean = {"status": "checked", "cases": {}}
    assert facts == {
        "redacted": clean,
        "raw": clean,
        "counts": {"holdout": 0, "hazardous": 0, "benign": 0, "format": 0},
    }
    assert contaminated_holdout(Project.open(copy).run("r1")) == frozenset()


def test_copies_and_light_edits_are_found_and_other_messages_are_not(copy: Path) -> None:
    text = taught_text(copy, 0)
    words = text.split()
    edited = " ".join([*words[:-3], "urgently", *words[-3:]])
    other = "nobody told me that the new terrace heater hums all night long and wakes our dog"
    found = looked_for(copy, text, text.upper().replace(",", " - "), edited, other)
    assert found.redacted.cases == found.raw.cases == {"c-0", "c-1", "c-2"}
    assert found.facts({})["raw"]["status"] == "checked"


def test_the_hashes_of_the_raw_texts_lie_in_the_teaching_set_without_a_word_of_them(copy: Path) -> None:
    path = copy / "runs/r1/teaching/text_hashes.parquet"
    build = read_manifest(copy / "runs/r1/manifests/build.json")
    assert "teaching/text_hashes.parquet" in build.outputs
    rows = read_parquet(path, format=FORMAT)
    assert build.facts["text_hashes"] == {"traces": len(rows) // 2, "hashes": sum(len(row["hashes"]) for row in rows)}
    needles = [needle for value in PLANTED for needle in value.needles]
    assert not [n for n in needles if any(holds(text, n) for text in decoded(path))]


def test_a_build_without_the_hashes_leaves_the_raw_end_unknown(copy: Path) -> None:
    # As a release before this one left it: the manifest lists no such file.
    path = copy / "runs/r1/manifests/build.json"
    manifest = read_manifest(path)
    outputs = {name: digest for name, digest in manifest.outputs.items() if name != "teaching/text_hashes.parquet"}
    write_manifest(path, replace(manifest, outputs=outputs))
    (copy / "runs/r1/teaching/text_hashes.parquet").unlink()
    found = looked_for(copy, taught_text(copy, 0))
    assert (found.redacted.status, found.raw.status, found.cases) == ("checked", "unknown", {"c-0"})


def test_hashes_that_were_taken_away_are_missed(copy: Path) -> None:
    (copy / "runs/r1/teaching/text_hashes.parquet").unlink()
    with pytest.raises(HashMismatchError, match="missing since the build"):
        looked_for(copy, "anything")


def test_without_a_teaching_set_nothing_is_checked(copy: Path) -> None:
    shutil.rmtree(copy / "runs/r1/teaching")
    (copy / "runs/r1/manifests/build.json").unlink()
    found = looked_for(copy, "anything at all")
    assert (found.redacted.status, found.raw.status, found.cases) == ("not checked", "not checked", frozenset())


def test_hashes_under_another_key_are_refused(copy: Path) -> None:
    path = copy / "runs/r1/teaching/text_hashes.parquet"
    with pytest.raises(BadInputError, match="another key"):
        ContaminationIndex.read(path, KeyRing.fresh().subkey(PURPOSE))
    with pytest.raises(MissingFileError):
        ContaminationIndex.read(path.with_name("none.parquet"), KeyRing.fresh().subkey(PURPOSE))


def test_a_purged_trace_leaves_no_hash(copy: Path) -> None:
    name = read_parquet(copy / "runs/r1/teaching/examples.parquet", format="examples")[0]["trace"]
    purged = command(copy, "purge", "--subject", name, "--actor", "privacy-officer", "--reason", "erasure asked for")
    assert purged.code == 0, purged.err
    left = {row["trace"] for row in read_parquet(copy / "runs/r1/teaching/text_hashes.parquet", format=FORMAT)}
    assert left
    assert name not in left
    assert command(copy, "verify").code == 0
    assert looked_for(copy, "anything").raw.status == "checked"


def planted(root: Path, *, redaction: Mapping[str, Any], holdout: str) -> Path:
    """A project whose holdout has one message that is taught as well, and whose build looks for no such thing."""
    teaching, held = files()["teaching"], files()["holdout"]
    teaching[0]["messages"][0]["content"] = PERSONAL
    held[0]["messages"][0]["content"] = holdout
    make_project(root, data={"teaching": teaching, "holdout": held})
    policy = yaml.safe_load((root / "redaction.yaml").read_text("utf-8"))
    policy["filters"]["prompts"]["near_holdout"] = False
    policy["entities"].update(redaction)
    (root / "redaction.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    return root


@pytest.mark.slow
def test_a_copy_that_redaction_hides_blocks_every_gate_on_its_suite(tmp_path: Path) -> None:
    surrogates = {entity: {"operator": "surrogate"} for entity in ("PERSON", "ADDRESS", "EMAIL", "PHONE")}
    root = planted(tmp_path / "project", redaction=surrogates, holdout=PERSONAL)
    assert command(root, "seal").code == 0
    ran = command(root, "run")
    assert ran.code == 3, ran.err
    gated = command(root, "gate", "--json")
    assert (gated.code, gated.json["decision"]) == (3, "BLOCKED")
    assert {(o["gate"], o["code"]) for o in gated.json["outcomes"]} == {
        (name, "contaminated") for name in ("intent_level", "intent_not_inferior", "confidence_gap")
    }
    facts = read_manifest(root / "runs/r1/manifests/evaluate.json").facts["contamination"]
    assert facts["redacted"] == {"status": "checked", "cases": {}}, "after redaction the two have too little in common"
    assert facts["raw"] == {"status": "checked", "cases": {"holdout": ["h-000"], "format": ["h-000"]}}
    assert facts["counts"] == {"holdout": 1, "hazardous": 0, "benign": 0, "format": 1}
    for name in ("holdout.student", "holdout.teacher", "format.student"):
        marked = {r.case for r in read_cases(root / f"runs/r1/evidence/cases/{name}.parquet") if r.scores.get("contaminated")}
        assert marked == {"h-000"}, name
    assert command(root, "promote").code in (2, 3, 4)
    assert not (root / "registry" / "aliases.json").exists()


def test_ratings_of_a_contaminated_case_carry_the_mark(copy: Path) -> None:
    path = copy / "runs/r1/manifests/evaluate.json"
    manifest = read_manifest(path)
    found = {"status": "checked", "cases": {"holdout": ["h-003"]}}
    contamination = {**manifest.facts["contamination"], "raw": found}
    write_manifest(path, replace(manifest, facts={**manifest.facts, "contamination": contamination}))
    assert contaminated_holdout(Project.open(copy).run("r1")) == {"h-003"}
    write_settings(copy, policy="gates.rated.yaml")
    assert command(copy, "ratings", "export", "--rater", "anna", "--rater", "bert").code == 0
    answers = rate(copy / "runs" / "r1", copy.parent / "answers")
    assert command(copy, "ratings", "import", *map(str, answers)).code == 0
    rated = read_cases(copy / "runs/r1/evidence/cases/ratings.student.parquet")
    assert len(rated) == 30
    assert {r.case for r in rated if r.scores.get("contaminated")} == {"h-003"}
