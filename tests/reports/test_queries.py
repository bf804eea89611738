"""What a run's files say, and that nothing broken is taken for a pass."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.manifest import StageManifest, write_manifest
from evals.calibration import reliability_table
from evals.evidence import CaseResult, FieldDecision, Subject, read_cases, write_cases
from reports.headline import headline
from reports.loading import Part
from reports.queries import _bins, _errored, policies_judged, read_reliability, read_run, reliability_choices
from reports.suppression import WITHHELD, K, shown_count, shown_counts
from reports.wording import amount


def edit(path: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def test_a_passing_run(passed: ModuleType) -> None:
    record = read_run(passed.run)
    assert record.problems == ()
    assert (record.headline.state, record.headline.exit_code, record.headline.tone) == ("PASSED", 0, "good")
    assert record.headline.command == "distill-gov promote --run r1"
    assert record.gates_that_hold == "5 of 5 required"
    first = record.gates[0]
    assert (first.reference, first.subject, first.must_be) == ("92.9%", "92.1% (−0.8 pts)", "≥ teacher − 5 pts")
    assert (first.bound, first.n) == ("≥ −3.9 pts", "240")
    assert ("approved by", "not approved") in record.headers
    assert ("teacher licence", "apache-2.0") in record.headers
    assert ("teacher revision", "not approved") in record.headers


def test_blocked_on_human_ratings_says_how_to_get_them(blocked: ModuleType) -> None:
    head = read_run(blocked.run).headline
    assert (head.state, head.exit_code, head.tone) == ("BLOCKED", 3, "bad")
    assert "helpfulness (INCONCLUSIVE)" in head.why
    assert head.command == "distill-gov ratings export --run r1 --rater A --rater B"


def test_blocked_on_a_fail(make: ModuleType, tmp_path: Path) -> None:
    head = read_run(make.make_run(tmp_path, student="untrained").run).headline
    assert (head.state, head.exit_code) == ("BLOCKED", 1)
    assert "violations (FAIL)" in head.why


def test_simulated_ratings_never_look_passed(make: ModuleType, tmp_path: Path) -> None:
    made = make.make_run(tmp_path, policy="gates.simulated", provenance="simulated", rated=make.SIMULATED)
    record = read_run(made.run, "gates.simulated")
    assert record.simulated
    assert (record.headline.state, record.headline.tone) == ("PASSED", "open")
    assert record.headline.command.startswith("distill-gov ratings export")
    assert policies_judged(made.run) == ("gates.simulated",)


def test_controls_and_the_gate_that_caught_each(passed: ModuleType) -> None:
    rows = {row.name: row for row in read_run(passed.run).controls.content or ()}
    assert rows["overconfident"].caught_by == ("calibration_intent",)
    assert rows["untrained"].caught_by == ("intent_not_inferior", "intent_level", "violations")
    assert rows["untrained"].decision == "BLOCKED"
    passed.run.verdict("gates", "untrained").unlink()
    rows = {row.name: row for row in read_run(passed.run).controls.content or ()}
    assert rows["untrained"].decision == "not judged"


def test_a_control_that_passes_is_warned_of(make: ModuleType, passed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "_BAD", {name: {} for name in make._BAD})
    ledger = make.Ledger(ProjectLayout(passed.run.root.parent.parent).ledger, actor="ci")
    unrated = make.measurement
    monkeypatch.setattr(make, "measurement", lambda rule, subject, provenance: unrated(rule, subject, make.HUMAN))
    make.judge(passed.run, passed.policy, ledger, rated=make.HUMAN)
    record = read_run(passed.run)
    assert record.problems == ()
    assert any("untrained passed this policy" in warning for warning in record.warnings)


def test_teaching_set(passed: ModuleType) -> None:
    record = read_run(passed.run)
    assert record.funnel.content is not None
    assert [(s.stage, s.kept, s.dropped) for s in record.funnel.content.stages] == [
        ("admit", 310, 10),
        ("redact", 310, 0),
        ("teach", 288, 22),
    ]
    assert [(d.rule, d.reason, d.n) for d in record.funnel.content.drops.content or ()] == [
        ("consent", "not_given", 10),
        ("schema", "invalid_json", 22),
    ]
    # 3 rare ones are too few to show, and 320 minus the others would give them away.
    assert [astuple(row) for row in record.funnel.content.slices] == [
        ("plain", "250 (78%)", "216 (75%)", "100 (50%)"),
        ("rare", "<5", "0 (0%)", "0 (0%)"),
        ("typos | odd", WITHHELD, "72 (25%)", "100 (50%)"),
    ]
    redaction = record.redaction.content
    assert redaction is not None
    # 3 IBANs are too few to show, and 220 minus the others would give them away.
    assert redaction.total == "220"
    assert dict(redaction.by_entity) == {
        "PERSON": "112",
        "EMAIL_ADDRESS": "64",
        "PHONE_NUMBER": WITHHELD,
        "IBAN_CODE": "<5",
    }


def test_what_redaction_left_is_warned_of(passed: ModuleType) -> None:
    path = passed.run.manifest("build")
    edit(path, lambda m: m["facts"]["redaction"].update(residual=2))
    record = read_run(passed.run)
    assert any("still found 2 values" in warning for warning in record.warnings)
    assert record.headline.state == "NOT RELIABLE"  # the verdict recorded another manifest


def test_what_raters_saw_is_a_redaction_miss(passed: ModuleType) -> None:
    assert passed.run.manifest("ratings").exists() is False
    redaction = read_run(passed.run).redaction.content
    assert redaction is not None
    assert redaction.seen_by_raters is None
    for misses, warned in ((0, False), (3, True)):
        write_manifest(passed.run.manifest("ratings"), StageManifest("ratings", {}, {}, facts={"redaction_misses": misses}))
        record = read_run(passed.run)
        assert record.redaction.content is not None
        assert record.redaction.content.seen_by_raters == misses
        assert any("raters saw personal data: 3" in warning for warning in record.warnings) is warned
        assert record.headline.state == "PASSED"
    write_manifest(passed.run.manifest("ratings"), StageManifest("ratings", {}, {}, facts={"redaction_misses": "many"}))
    assert read_run(passed.run).headline.state == "NOT RELIABLE"


@pytest.mark.parametrize(("run", "then"), [("r1", "r2"), ("r9", "r10"), ("desk", "desk-2"), ("v1.2", "v1.3"), ("7", "8")])
def test_a_run_that_cannot_pass_any_more_is_followed_by_a_new_one(passed: ModuleType, run: str, then: str) -> None:
    lost = replace(passed.verdict.outcomes[0], outcome="ERROR", code="not_registered")
    verdict = replace(passed.verdict, decision="BLOCKED", outcomes=(lost, *passed.verdict.outcomes[1:]))
    head = headline(verdict, (), run=run, policy="gates", simulated=False)
    assert head.command == f"distill-gov run --run {then}"
    assert "registered" in head.advice


def test_a_policy_that_requires_ratings_says_how_to_get_them(passed: ModuleType) -> None:
    absent = replace(
        passed.verdict.outcomes[0], gate="requires.ratings", outcome="INCONCLUSIVE", code="absent", measurement=None
    )
    verdict = replace(passed.verdict, decision="BLOCKED", outcomes=(absent, *passed.verdict.outcomes[1:]))
    head = headline(verdict, (), run="r1", policy="gates", simulated=False)
    assert head.command == "distill-gov ratings export --run r1 --rater A --rater B"


def test_baselines_stand_beside_teacher_and_student(passed: ModuleType) -> None:
    found = read_run(passed.run).baselines.content
    assert found is not None
    assert [(name, values) for name, values, _ in found.rows] == [
        ("teacher", ("92.9%",)),
        ("student", ("92.1%",)),
        ("TF-IDF and logistic regression", ("94.2%",)),
        ("gold labels only", ("93.3%",)),
    ]


def test_student_and_teacher_are_compared_decision_by_decision(passed: ModuleType) -> None:
    [row] = read_run(passed.run).fidelity.content
    assert (row.field, row.n, row.agreed) == ("intent", "240", "92.5%")
    assert (row.both, row.teacher_only, row.student_only, row.neither) == ("214", "9", "6", "11")


def test_what_was_measured_beside_the_gates_is_in_words(passed: ModuleType) -> None:
    [table] = read_run(passed.run).summaries.content or ()
    assert table.head == ("Subject", "Pairs", "Flipped", "Spread")
    assert table.numeric == (1, 2, 3)
    assert table.rows == (("student", "1,240", "1.2%", "0.50"), ("teacher", "1,240", "–", "–"))


def test_cases_that_errored_are_said() -> None:
    manifest = StageManifest(
        "evaluate", {}, {}, facts={"errored": {"student": {"holdout": {"RuntimeError": 2, "KeyError": 1}}}}
    )
    assert _errored(manifest).content == (
        "3 cases of student on holdout errored (KeyError, RuntimeError) and count as the worst.",
    )
    assert not _errored(StageManifest("evaluate", {}, {})).content


def test_requests_timed_are_shown(passed: ModuleType) -> None:
    student, teacher = read_run(passed.run).speed.content
    assert (student.n, teacher.n) == ("10", "–")
    assert (student.first_token_p50, teacher.first_token_p50) == ("61 ms (58 ms to –)", "1.90 s")
    assert (student.tokens_per_s, student.memory, student.cost) == ("41.3", "812 MB", "0.016 EUR per 1,000")
    assert (teacher.tokens_per_s, teacher.memory, teacher.cost) == ("–", "–", "–")


def test_reliability_counts_an_errored_case_as_sure_and_wrong(passed: ModuleType) -> None:
    table = read_run(passed.run).reliability[0].content
    assert table is not None
    assert table.n == 240
    assert table.bins[-1].high == 1.0
    assert sum(b.n for b in table.bins) == 240
    slices = {row.slice: row for row in table.slices}
    assert (slices["language.nl"].n, slices["language.nl"].accuracy) == ("<5", "–")
    assert reliability_choices(passed.run) == (("holdout", "student", "intent"), ("holdout", "teacher", "intent"))
    assert read_reliability(passed.run, "gates", "holdout", "student", "intent").content == table


def test_confidences_before_the_temperature_stand_beside_those_after_it(make: ModuleType, tmp_path: Path) -> None:
    def heated(subject: Subject) -> list[CaseResult]:
        rows = make_cases(subject)
        return [replace(r, decisions=tuple(raised(d) for d in r.decisions)) for r in rows]

    def raised(d: FieldDecision) -> FieldDecision:
        sure = min(1.0, (d.confidence or 0.0) + 0.02)
        return replace(d, logp={"refund": math.log(d.confidence or 1.0)}, raw_logp={"refund": math.log(sure)})

    make_cases, make.cases = make.cases, heated
    try:
        made = make.make_run(tmp_path)
    finally:
        make.cases = make_cases
    after, before, *others = (part.content for part in read_run(made.run).reliability)
    assert (after.of, before.of) == ("student, intent, holdout", "student, intent, holdout, before its temperature")
    assert before.confidence == pytest.approx(after.confidence + 0.02, abs=0.002)
    assert (before.n, before.accuracy, before.slices) == (after.n, after.accuracy, ())
    assert not any(table.raw for table in others)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9, 1.0]) | st.floats(0, 1), st.sampled_from([0.0, 1.0])), min_size=1))
def test_bins_are_those_of_the_calibration_error(pairs: list[tuple[float, float]]) -> None:
    ours = _bins(pairs)
    theirs = reliability_table(np.array([c for c, _ in pairs]), np.array([r for _, r in pairs]))
    assert [(b.low, b.high, b.n) for b in ours] == [(b.low, b.high, b.n) for b in theirs]
    assert [b.accuracy for b in ours] == pytest.approx([b.accuracy for b in theirs])
    assert [b.confidence for b in ours] == pytest.approx([b.confidence for b in theirs], abs=1e-9)


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 30), max_size=8))
def test_no_hidden_count_follows_from_the_total(counts: dict[str, int]) -> None:
    shown = shown_counts(counts)
    assert not any(shown[name] == str(n) for name, n in counts.items() if 0 < n < K)
    hidden = [name for name in counts if shown[name] in (WITHHELD, shown_count(1))]
    assert len(hidden) != 1 or shown_count(sum(counts.values())) == shown_count(1) or counts[hidden[0]] == sum(counts.values())
    assert [shown[name] for name, n in counts.items() if n == 0] == ["0"] * sum(n == 0 for n in counts.values())


def test_a_bound_that_is_not_the_limit_does_not_look_like_it() -> None:
    assert amount(0.1, "share", apart_from=0.1) == "10.0%"
    assert amount(0.1004, "share", apart_from=0.1) == "10.04%"
    assert amount(0.10004, "share", apart_from=0.1) == "10.004%"
    assert amount(None, "share") == "–"


# --- absent is not broken, and broken is not absent


def test_a_run_with_nothing_in_it(tmp_path: Path) -> None:
    record = read_run(ProjectLayout(tmp_path).run("r1"))
    assert (record.headline.state, record.headline.exit_code) == ("NO VERDICT", None)
    assert record.headline.command == "distill-gov gate --run r1"
    parts: list[Part[object]] = [
        record.funnel,
        record.redaction,
        record.training,
        record.subjects,
        record.speed,
        record.fidelity,
        record.controls,
    ]  # type: ignore[list-item]
    assert {part.state for part in parts} == {"absent"}
    assert record.problems == ()


def test_a_stage_that_was_not_run_is_absent(passed: ModuleType) -> None:
    passed.run.manifest("train").unlink()
    record = read_run(passed.run)
    assert record.training.state == "absent"
    # The verdict names that manifest, so its absence is a problem all the same.
    assert any("manifests/train.json" in problem for problem in record.problems)


def test_a_policy_that_is_no_name_is_refused(passed: ModuleType) -> None:
    with pytest.raises(BadInputError):
        read_run(passed.run, "../gates")


def _verdict(made: ModuleType, **changes: object) -> None:
    edit(made.run.verdict("gates"), lambda v: v.update(changes))


def _unsuppress(made: ModuleType) -> None:
    write_cases(made.run.cases("holdout", "student"), read_cases(made.run.cases("holdout", "student"))[:-1])


def _pass_all(made: ModuleType) -> None:
    edit(made.run.verdict("gates"), lambda v: [o.update(outcome="PASS") for o in v["outcomes"]] and v.update(decision="PASSED"))


def _policy_changed(made: ModuleType) -> None:
    path = ProjectLayout(made.run.root.parent.parent).gates
    path.write_text(path.read_text("utf-8").replace("limit: 0.75", "limit: 0.95"), encoding="utf-8")


def _books(made: ModuleType) -> None:
    edit(made.run.manifest("build"), lambda m: m["facts"]["books"][0].update(kept=320))


def _entity(made: ModuleType) -> None:
    edit(made.run.manifest("build"), lambda m: m["facts"]["redaction"].update(findings=1))


def _ledger_line(made: ModuleType) -> None:
    path = ProjectLayout(made.run.root.parent.parent).ledger
    path.write_text(path.read_text("utf-8").replace("holdout.opened", "holdout.closed"), encoding="utf-8")


BREAK: dict[str, Callable[[ModuleType], object]] = {
    "verdict is no JSON": lambda m: m.run.verdict("gates").write_text("{", encoding="utf-8"),
    "verdict is empty": lambda m: m.run.verdict("gates").write_text("", encoding="utf-8"),
    "verdict is of another format": lambda m: _verdict(m, format="distill-gov/verdict/99"),
    "verdict has NaN": lambda m: m.run.verdict("gates").write_text(
        m.run.verdict("gates").read_text("utf-8").replace('"attempt": 1', '"attempt": NaN'), encoding="utf-8"
    ),
    "verdict lies in another's place": lambda m: m.run.verdict("gates").write_bytes(
        m.run.verdict("gates", "untrained").read_bytes()
    ),
    "verdict names another policy": lambda m: _verdict(m, policy="../gates"),
    "verdict has an attempt in words": lambda m: _verdict(m, attempt="one"),
    "verdict has an unknown outcome": lambda m: edit(m.run.verdict("gates"), lambda v: v["outcomes"][0].update(outcome="OK")),
    "verdict's outcomes are words": lambda m: _verdict(m, outcomes=["PASS"]),
    "verdict has no gates": lambda m: _verdict(m, outcomes=[]),
    "verdict's decision is flipped": lambda m: _verdict(m, decision="BLOCKED"),
    "verdict passed too late": lambda m: _verdict(m, attempt=6),
    "verdict's limit is weakened": lambda m: edit(m.run.verdict("gates"), lambda v: v["outcomes"][1].update(limit=0.1)),
    "verdict's headers are edited": lambda m: edit(
        m.run.verdict("gates"), lambda v: v["headers"].update(approved_by="someone")
    ),
    "verdict's ledger head is foreign": lambda m: _verdict(m, ledger_head="sha256:" + "0" * 63 + "1"),
    "verdict's evidence is outside": lambda m: _verdict(m, evidence={"../../x": "sha256:0"}),
    "verdict's subject is foreign": lambda m: _verdict(m, subject="sha256:" + "5" * 64),
    "measurements are gone": lambda m: m.run.measurements("gates").unlink(),
    "measurements are damaged": lambda m: m.run.measurements("gates").write_bytes(b"PAR1"),
    "policy was changed": _policy_changed,
    "policy is gone": lambda m: ProjectLayout(m.run.root.parent.parent).gates.unlink(),
    "ledger was changed": _ledger_line,
    "ledger is gone": lambda m: ProjectLayout(m.run.root.parent.parent).ledger.unlink(),
    "ledger is torn": lambda m: ProjectLayout(m.run.root.parent.parent).ledger.open("a").write("{"),
    "cases lost one": _unsuppress,
    "cases are gone": lambda m: m.run.cases("holdout", "student").unlink(),
    "subjects are damaged": lambda m: m.run.subjects.write_text("[]", encoding="utf-8"),
    "summaries are edited": lambda m: m.run.summaries.write_text(
        m.run.summaries.read_text("utf-8").replace("1240", "1250"), encoding="utf-8"
    ),
    "summaries are gone": lambda m: m.run.summaries.unlink(),
    "decisions are damaged": lambda m: m.run.decisions.write_bytes(b"x"),
    "decisions are gone": lambda m: m.run.decisions.unlink(),
    "findings are gone": lambda m: m.run.findings.unlink(),
    "books do not balance": _books,
    "findings do not add up": _entity,
    "slices are words": lambda m: edit(
        m.run.manifest("build"), lambda v: v["facts"]["slices"].update(counts={"a": {"traces": "x"}})
    ),
    "manifest is no JSON": lambda m: m.run.manifest("evaluate").write_text("no", encoding="utf-8"),
    "manifest is gone": lambda m: m.run.manifest("evaluate").unlink(),
    "control's verdict is damaged": lambda m: m.run.verdict("gates", "untrained").write_text("{", encoding="utf-8"),
    "control's outcome is edited": lambda m: edit(
        m.run.verdict("gates", "untrained"), lambda v: v["outcomes"][0].update(outcome="ERROR")
    ),
}


@pytest.mark.parametrize("how", BREAK)
def test_whatever_breaks_takes_the_pass_away(passed: ModuleType, how: str) -> None:
    assert read_run(passed.run).headline.state == "PASSED"
    BREAK[how](passed)
    record = read_run(passed.run)
    assert record.problems
    assert (record.headline.state, record.headline.exit_code, record.headline.tone) == ("NOT RELIABLE", 4, "bad")
    assert record.headline.command == "distill-gov verify --run r1"
    assert not any(row.mark.tone == "good" for row in record.gates)
    assert record.gates_that_hold == "not known"


def test_a_forged_pass_is_found(blocked: ModuleType) -> None:
    _pass_all(blocked)
    record = read_run(blocked.run)
    assert record.headline.state == "NOT RELIABLE"
    assert any("decides again as INCONCLUSIVE" in problem for problem in record.problems)


def test_a_copied_run_says_what_was_not_checked(make: ModuleType, tmp_path: Path) -> None:
    made = make.make_run(tmp_path / "desk")
    elsewhere = tmp_path / "elsewhere" / "runs" / "r1"
    elsewhere.parent.mkdir(parents=True)
    made.run.root.rename(elsewhere)
    record = read_run(ProjectLayout(tmp_path / "elsewhere").run("r1"))
    assert record.headline.state == "PASSED"
    assert len(record.warnings) == 2
    assert record.gates[0].must_be == "≥ teacher − 5 pts"


def test_importing_reports_imports_nothing_heavy() -> None:
    heavy = "torch transformers presidio_analyzer spacy streamlit evaluate datasets altair playwright"
    code = (
        "import sys, reports; reports.write_report, reports.run_command; "
        f"print([m for m in {heavy.split()} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
