"""``purge`` and ``trace``: content goes, the proof stays, and what was purged is told from what is broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.records.files import read_json, read_parquet
from distill_gov.stages.settled import MEASURED, SEALED, attempts
from distill_gov.teachers.target_store import SoftTargetStore
from evals.evidence import read_cases
from gates.registry import read_affected
from tests.end_to_end.commands import KILLED, Ended, Killer, command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.decoding import decoded
from tests.end_to_end.raters import rate
from tests.end_to_end.tiny_project import PLANTED, files, write_jsonl

WHO = ("--actor", "privacy-officer", "--reason", "erasure asked for, case 7")
EMAIL = PLANTED[1].value


def said(file: str, number: int) -> str:
    """The words of one message that no other message has, and in which redaction finds nothing."""
    text: str = files()[file][number]["messages"][0]["content"]
    return text.split(";")[0]


def holding(root: Path, texts: Sequence[str]) -> list[str]:
    """Files of a project, whatever their kind, that hold one of the texts. Keys are random and hold none."""
    return [p.relative_to(root).as_posix() for p in every_file(root) if any(t in found for found in decoded(p) for t in texts)]


def every_file(root: Path) -> Iterator[Path]:
    spared = (root / ".distill-gov" / "keys", root / "models")
    yield from (p for p in sorted(root.rglob("*")) if p.is_file() and not any(p.is_relative_to(s) for s in spared))


def purge(root: Path, *arguments: str) -> Ended:
    return command(root, "purge", *arguments, *WHO)


def of_value(root: Path, value: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Ended:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(value + "\n"))
    return purge(root, "--subject", "-", *arguments)


def taught(root: Path) -> list[str]:
    return [row["trace"] for row in read_parquet(root / "runs/r1/teaching/examples.parquet", format="examples")]


def test_a_purged_trace_is_in_no_file_and_verify_says_purged(copy: Path) -> None:
    name = taught(copy)[3]
    number = int(name.removeprefix("t-"))
    text = said("teaching", number)
    assert {"data/teaching.jsonl", "runs/r1/teaching/examples.parquet"} <= set(holding(copy, [text]))
    before = read_parquet(copy / "runs/r1/teaching/findings.parquet", format="findings")
    targets = dict(SoftTargetStore(copy / "runs/r1/teaching/soft_targets"))
    done = purge(copy, "--subject", name)
    assert done.code == 0, done.err
    assert holding(copy, [text]) == []
    assert name not in taught(copy)
    after = SoftTargetStore(copy / "runs/r1/teaching/soft_targets")
    assert {example: after[example] for example in after} == {e: t for e, t in targets.items() if e != f"{name}/0"}
    assert sorted(after) == sorted(f"{trace}/0" for trace in taught(copy))
    findings = read_parquet(copy / "runs/r1/teaching/findings.parquet", format="findings")
    assert len(findings) == len(before)
    assert {bool(f["value_hash"]) for f in findings if f["item"] == name} == {False}
    assert all(f["value_hash"] for f in findings if f["item"] != name)
    assert not list((copy / ".distill-gov" / "cache").rglob("*.json")), "the teacher's work was derived from the traces"
    verified = command(copy, "verify", "--json")
    assert (verified.code, verified.json["problems"]) == (0, [])
    assert "teaching/examples.parquet" in verified.json["purged"]
    assert any("The student was made with traces that were purged" in note for note in verified.json["notes"])
    assert command(copy, "promote").code == 0, "what was decided still verifies"
    assert command(copy, "audit").code == 0


def test_what_stays_is_hash_reason_actor_and_date_and_no_value(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = of_value(copy, EMAIL.upper(), monkeypatch)
    assert done.code == 0, done.err
    [record] = [read_json(p, format="purge") for p in (copy / "purges").glob("*.json")]
    assert (record["actor"], record["kind"], len(record["at"])) == ("privacy-officer", "subject", 20)
    # One teaching trace and the dev trace that carry it.
    assert len(record["traces"]) == 2
    assert all(len(t["trace"]) == len(t["content"]) == 64 for t in record["traces"])
    events = [(e.event, e.actor) for e in Project.open(copy).ledger.entries()[-4:]]
    assert events == [(e, "privacy-officer") for e in ("holdout.opened", "purge.begun", "student.affected", "purge.done")]
    [mark] = read_affected(copy / "registry")
    assert (mark["run"], mark["taught"], mark["tuned"]) == ("r1", 1, 1)
    assert mark["subject"] == read_json(copy / "runs/r1/verdicts/gates.json", format="verdict")["subject"]
    texts = [done.out, done.err, *(t for p in every_file(copy) for t in decoded(p))]
    assert not any(EMAIL.casefold() in text.casefold() for text in texts)


def test_a_reason_that_names_somebody_is_stored_redacted(copy: Path) -> None:
    ended = command(copy, "purge", "--subject", "t-001", "--actor", "privacy-officer", "--reason", f"asked by {EMAIL}")
    assert ended.code == 0
    assert not holding(copy, [EMAIL.split("@")[0]]) or EMAIL not in (copy / "ledger.jsonl").read_text("utf-8")
    assert "asked by <EMAIL_1>" in (copy / "ledger.jsonl").read_text("utf-8")


def test_tampering_after_a_purge_is_an_integrity_error(copy: Path, finished: Finished) -> None:
    assert purge(copy, "--subject", taught(copy)[3]).code == 0
    path = copy / "runs/r1/teaching/examples.parquet"
    purged = path.read_bytes()
    # Something else, nothing at all, and what stood there before the purge.
    for content in (purged + b"x", b"", (finished.run / "teaching/examples.parquet").read_bytes()):
        path.write_bytes(content)
        ended = command(copy, "verify")
        assert (ended.code, "changed: teaching/examples.parquet" in ended.out) == (4, True)
    path.write_bytes(purged)
    assert command(copy, "verify").code == 0
    record = next((copy / "purges").glob("*.json"))
    whole = record.read_text("utf-8")
    record.write_text(whole.replace("privacy-officer", "somebody-else"), "utf-8")
    assert command(copy, "verify").code == 4
    record.write_text(whole, "utf-8")
    # A record that the ledger never announced excuses nothing, and is told.
    shutil.copyfile(record, copy / "purges" / "p000000000000.1.json")
    ended = command(copy, "verify")
    assert (ended.code, "added: purges/p000000000000.1.json" in ended.out) == (4, True)


POINTS = (
    "*/data/teaching.jsonl",  # announced, nothing done
    "*/teaching/soft_targets/*",  # the raw row and the example are gone, its soft targets are not
)


@pytest.mark.slow
@pytest.mark.parametrize("at", POINTS)
def test_a_killed_purge_is_told_and_goes_on(copy: Path, kill: Killer, at: str) -> None:
    name = taught(copy)[3]
    text = said("teaching", int(name.removeprefix("t-")))
    assert kill.run(copy, "purge", "--subject", name, *WHO, at=at) == KILLED
    ended = command(copy, "verify")
    assert (ended.code, ended.out.count("unfinished: purges/p")) == (4, 1)
    done = purge(copy, "--subject", name)
    assert done.code == 0, done.err
    assert "it is done now" in done.out
    assert holding(copy, [text]) == []
    verified = command(copy, "verify", "--json")
    assert (verified.code, len(verified.json["notes"])) == (0, 2)
    assert len(Project.open(copy).ledger.find("student.affected")) == 1
    assert "nothing to purge" in purge(copy, "--expired").out


@pytest.mark.slow
def test_a_purge_killed_before_it_was_announced_did_nothing(copy: Path, kill: Killer) -> None:
    assert kill.run(copy, "purge", "--subject", "t-003", *WHO, at="*/purges/*.json") == KILLED
    assert command(copy, "verify").code == 0
    assert purge(copy, "--subject", "t-003").code == 0
    assert command(copy, "verify").code == 0


def test_a_holdout_that_loses_rows_breaks_its_seal_knowingly(copy: Path) -> None:
    name, text = "h-011", said("holdout", 11)
    assert command(copy, "ratings", "export", "--rater", "anna", "--rater", "bert", "--cases", "30").code == 0
    answers = [str(path) for path in rate(copy / "runs/r1", copy.parent / "answers")]
    assert command(copy, "ratings", "import", *answers).code == 0
    assert "runs/r1/ratings/packets" in {p.rsplit("/", 1)[0] for p in holding(copy, [text])}
    before = {r.case: r for r in read_cases(copy / "runs/r1/evidence/cases/holdout.student.parquet")}
    done = purge(copy, "--subject", name)
    assert (done.code, "breaks its seal" in done.out) == (0, True), done.err
    assert holding(copy, [text]) == []
    after = {r.case: r for r in read_cases(copy / "runs/r1/evidence/cases/holdout.student.parquet")}
    assert (before[name].output != "", after[name].output) == (True, "")
    assert after[name].scores == before[name].scores
    assert all(after[case] == before[case] for case in before if case != name)
    verified = command(copy, "verify")
    assert (verified.code, "took cases out of the holdout" in verified.out) == (0, True)
    # The verdict stands on the scores, and is the same again.
    assert command(copy, "gate").code == 0
    assert command(copy, "report").code == 0
    page = (copy / "runs/r1/pages/report.html").read_text("utf-8")
    assert "took cases out of the holdout" in page
    assert "NOT RELIABLE" not in page
    # Nothing more is measured on it before it is sealed anew, and then it is still the same holdout to whoever counts attempts.
    ended = command(copy, "build", "--run", "r2")
    assert (ended.code, "lost cases to a purge" in ended.error) == (2, True)
    ledger = Project.open(copy).ledger
    [first] = ledger.find(MEASURED)
    assert command(copy, "seal").code == 0
    seal = ledger.find(SEALED)[-1].facts["digest"]
    assert seal != first.facts["seal"]
    ledger.append(MEASURED, {"run": "r2", "student": "another", "seal": seal})
    assert attempts(ledger, "another", seal) == 2
    assert command(copy, "verify").code == 0


def test_training_after_a_purge_teaches_what_is_left(copy: Path) -> None:
    for name in ("train", "evaluate"):
        (copy / "runs/r1/manifests" / f"{name}.json").unlink()
    for name in ("student", "evidence", "verdicts", "pages"):
        shutil.rmtree(copy / "runs/r1" / name)
    name = taught(copy)[0]
    assert purge(copy, "--subject", name).code == 0
    assert not Project.open(copy).ledger.find("student.affected"), "it was never taught"
    ended = command(copy, "train", "--json")
    assert (ended.code, ended.json["counts"]["examples"]) == (0, len(taught(copy)))
    assert len(ended.json["facts"]["purged_before"]) == 1


def test_expired_traces_go_and_a_dry_run_takes_nothing(fresh: Path) -> None:
    rows = files()["teaching"]
    for row in rows[:2]:
        row["retention_until"] = "2026-11-21"
    rows[2]["retention_until"] = "2026-11-22"  # the last day on which it may be kept
    write_jsonl(fresh / "data" / "teaching.jsonl", rows)
    before = {p: p.read_bytes() for p in every_file(fresh) if p.name != "ledger.jsonl"}
    dry = purge(fresh, "--expired", "--dry-run", "--json")
    assert (dry.code, dry.json["record"]["traces"], dry.json["dry_run"]) == (0, 2, True)
    assert {p: p.read_bytes() for p in before} == before
    assert not (fresh / "purges").exists()
    assert purge(fresh, "--expired").code == 0
    left = [json.loads(line)["id"] for line in (fresh / "data/teaching.jsonl").read_text("utf-8").splitlines()]
    assert left == [row["id"] for row in rows[2:]]
    assert "nothing to purge" in purge(fresh, "--expired").out


def test_a_subject_by_group_by_hash_and_by_value(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = files()["teaching"]
    rows[4]["group"] = rows[5]["group"] = "c-shared"
    rows.append(
        {**rows[0], "id": "t-950", "group": "c-950", "messages": [{"role": "user", "content": "D . OKAFORSKY @ EXAMPLE . ORG"}]}
    )
    write_jsonl(fresh / "data" / "teaching.jsonl", rows)
    found = purge(fresh, "--subject", "c-shared", "--dry-run", "--json").json["record"]
    assert found["traces"] == 2
    redactor = Project.open(fresh).redactor
    by_hash = purge(fresh, "--subject", redactor.value_hash("EMAIL", EMAIL), "--dry-run", "--json").json["record"]
    by_value = of_value(fresh, EMAIL, monkeypatch, "--dry-run", "--json").json["record"]
    # Letters alone also find what redaction does not take for an address.
    assert (by_hash["traces"], by_value["traces"]) == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--subject", "t-777"), "names no trace"),
        (("--subject", EMAIL), "a shell remembers it"),
        ((), "either --expired or --subject"),
        (("--expired", "--subject", "t-001"), "either --expired or --subject"),
    ],
)
def test_what_cannot_be_purged_is_refused_without_repeating_it(fresh: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = purge(fresh, *arguments)
    assert (ended.code, told in ended.error) == (2, True)
    assert not any(a in ended.out + ended.err for a in arguments if not a.startswith("--"))


def test_a_purge_needs_a_role_and_a_reason(fresh: Path) -> None:
    for actor, reason in (("Saoirse Brennigan", "asked"), ("privacy-officer", " ")):
        ended = command(fresh, "purge", "--expired", "--actor", actor, "--reason", reason)
        assert ended.code == 2
        assert "Brennigan" not in ended.err


def test_files_that_nobody_looks_into_are_named(fresh: Path) -> None:
    (fresh / "data" / "export.csv").write_text("id,text\n1,x\n")
    (fresh / "chats.xlsx").write_bytes(b"x")
    ended = purge(fresh, "--subject", "t-001", "--json")
    assert ended.json["record"]["not_searched"] == ["chats.xlsx", "data/export.csv"]


def test_a_raw_file_that_does_not_parse_stops_the_purge(fresh: Path) -> None:
    with (fresh / "data" / "gold.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("{\n")
    before = (fresh / "data" / "teaching.jsonl").read_bytes()
    ended = purge(fresh, "--subject", "t-001")
    assert (ended.code, "gold.jsonl:13" in ended.error) == (2, True)
    assert (fresh / "data" / "teaching.jsonl").read_bytes() == before


def test_trace_tells_where_one_went(copy: Path) -> None:
    name = taught(copy)[3]
    assert command(copy, "promote").code == 0
    [run] = command(copy, "trace", name, "--json").json["runs"]
    assert (run["outcome"], run["aliases"], run["affected"]) == ("taught", ["production"], False)
    [case] = command(copy, "trace", "h-011", "--json").json["runs"]
    assert set(case["suites"]) == {"holdout", "format"}
    dropped = command(copy, "trace", "t-900").out
    assert "dropped at admission by admission/consent" in dropped
    assert purge(copy, "--subject", name).code == 0
    found = command(copy, "trace", name, "--json").json
    [run], [when] = found["runs"], found["purges"]
    assert (run["outcome"], run["affected"], found["files"]) == ("taught, purged", True, [])
    assert (when["actor"], when["finished"]) == ("privacy-officer", True)
    assert "which production stands for; marked as affected" in command(copy, "trace", name).out


def test_trace_never_repeats_an_id(copy: Path) -> None:
    rows = files()["benign"]
    rows[0]["id"] = EMAIL
    write_jsonl(copy / "data" / "benign.jsonl", rows)
    found, missing = command(copy, "trace", EMAIL), command(copy, "trace", "nobody@example.org")
    assert (found.code, missing.code) == (0, 2)
    assert not any("@example.org" in text for e in (found, missing) for text in (e.out, e.err))
