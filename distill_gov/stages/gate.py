"""``gate``, ``verify`` and ``promote``: stored evidence in, a verdict out. No model and no weights are needed to decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_file, digest_tree
from distill_gov.records.errors import BadInputError, ChainBrokenError, HashMismatchError, IntegrityError, MissingFileError
from distill_gov.records.layout import HUMAN_RATINGS, SIMULATED_RATINGS, SWEPT
from distill_gov.records.ledger import LedgerEntry
from distill_gov.records.manifest import StageManifest, now, read_manifest
from distill_gov.records.purges import purge_notes
from distill_gov.records.verify import Problem, verify_files
from distill_gov.stages.registration import registered_rules
from distill_gov.stages.settled import RATINGS, attempts, exported_stage, openings
from evals.evidence import CaseResult, Subject, read_cases, read_measurements, read_subjects, write_measurements
from evals.measuring import measure
from gates.decide import decide, decide_again, verify_verdict
from gates.policy import Policy, load_policy
from gates.verdict import Verdict, read_verdict, write_verdict

if TYPE_CHECKING:
    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run
    from gates.registry import Promotion

__all__ = ["gate", "promote", "purged", "verify"]

VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a policy may judge of a run."""

    subjects: Mapping[str, Subject]
    results: Mapping[str, Sequence[CaseResult]]
    """By the subject's name."""
    made: Mapping[tuple[str, str], str]
    """(subject's name, suite) to the time at which its case results were made."""
    planned: Mapping[str, Any]
    datasets: Mapping[str, str]
    model_input: str
    """What the subjects read; empty where it is not recorded."""
    files: Mapping[str, str]
    """Path below the run to digest of every file it comes from, the manifests of the stages included."""


def gate(project: Project, run: Run, policy_path: Path, subject: str, progress: Progress) -> Verdict:
    """Measure, decide and write the verdicts of the student and of every control under a policy; return the asked one's.

    Raises:
        BadInputError: the policy cannot be read, or nobody of that name was measured.
        IntegrityError: the ledger does not hold.
    """
    policy, layout = load_policy(policy_path), run.layout
    evidence = _evidence(run, policy)
    subjects = evidence.subjects
    judged = ["student", *sorted(n for n, s in subjects.items() if s.role == "control")]
    if subject not in judged:
        raise BadInputError(f"no subject `{subject}` was measured", fix=f"One of {', '.join(judged)}.")
    requests = list({r: None for name in judged for r in policy.requests(name)})
    with progress.step("measuring", len(requests)) as step:
        measurements = measure(evidence.results, requests, evidence.planned, made=evidence.made, advance=step.advance)
    place = layout.measurements(policy.name)
    write_measurements(place, measurements)
    ledger = _of_the_ledger(project, run, policy)
    verdicts = {}
    for name in judged:
        verdict = decide(
            policy,
            measurements,
            subject=subjects.get(name),
            references={n: s.digest for n, s in subjects.items()},
            expected_dataset=evidence.datasets,
            attempt=ledger.attempt,
            openings=ledger.openings,
            model_input=evidence.model_input,
            registered=ledger.registered,
            ledger_head=project.ledger.head,
            measurements_digest=digest_file(place),
            evidence=evidence.files,
            at=now(),
        )
        verdict = _settled(project, layout.verdict(policy.name, name), verdict)
        write_verdict(layout.verdict(policy.name, name), verdict)
        verdicts[name] = verdict
    for name in judged:
        _log(project, run, layout.verdict(policy.name, name), verdicts[name])
    _check_chain(project, run)
    return verdicts[subject]


def _manifest_or_none(path: Path) -> StageManifest | None:
    return read_manifest(path) if path.exists() else None


def _manifests(run: Run) -> dict[str, StageManifest]:
    return {p.stem: read_manifest(p) for p in sorted((run.layout.root / "manifests").glob("*.json"))}


def _evidence(run: Run, policy: Policy) -> _Evidence:
    """The evidence of a run, with the kind of ratings that the policy takes and nothing of the other kind."""
    layout, manifests = run.layout, _manifests(run)
    subjects = read_subjects(layout.subjects) if layout.subjects.exists() else {}
    simulated = policy.accepts_simulated and SIMULATED_RATINGS in manifests
    kind, other = (SIMULATED_RATINGS, HUMAN_RATINGS) if simulated else (HUMAN_RATINGS, SIMULATED_RATINGS)
    # A sweep is about dev: no verdict stands on it, whenever it was made.
    apart = (f"{other}-", SWEPT)
    used = {stage: m for stage, m in manifests.items() if stage != other and not stage.startswith(apart)}
    recorded = {name: (digest, m.finished) for m in manifests.values() for name, digest in m.outputs.items()}
    results: dict[str, list[CaseResult]] = {name: [] for name in subjects}
    allowed = run.project.purges().of_run(layout.name)
    made, files = {}, {layout.manifest(stage): digest_file(layout.manifest(stage)) for stage in used}
    for path in sorted((layout.subjects.parent / "cases").glob("*.parquet")):
        digest, finished = _as_recorded(run, path, recorded, allowed)
        suite, subject = path.stem.split(".", 1)
        if suite == other:
            continue
        files[path] = digest
        results.setdefault(subject, []).extend(read_cases(path))
        made[subject, RATINGS if suite == kind else suite] = finished
    missing = [n for n in recorded if n.startswith("evidence/") and not (layout.root / n).exists()]
    if missing:
        raise HashMismatchError("evidence is missing", where=missing[0], fix="Restore it, or evaluate anew.")
    if layout.subjects.exists():
        files[layout.subjects] = digest_file(layout.subjects)
    evaluated, exported = manifests.get("evaluate"), manifests.get(exported_stage(kind))
    planned: dict[str, Any] = dict(evaluated.facts.get("cases", {})) if evaluated else {}
    datasets: dict[str, str] = dict(evaluated.facts.get("datasets", {})) if evaluated else {}
    if exported:
        planned[RATINGS], datasets[RATINGS] = exported.facts["cases"], exported.facts["dataset"]
    named = {path.relative_to(layout.root).as_posix(): digest for path, digest in files.items()}
    model_input = str(evaluated.facts.get("model_input", "")) if evaluated else ""
    return _Evidence(subjects, results, made, planned, datasets, model_input, named)


def _as_recorded(
    run: Run, path: Path, recorded: Mapping[str, tuple[str, str]], allowed: Callable[[str, str], tuple[str, ...]]
) -> tuple[str, str]:
    """Digest of a file of evidence and when it was made. Bytes that are not what a stage recorded, or what a purge left of it,
    are an integrity error."""
    name, digest = path.relative_to(run.layout.root).as_posix(), digest_file(path)
    wanted, finished = recorded.get(name, ("", ""))
    if digest not in allowed(name, wanted):
        raise HashMismatchError("evidence is not what was recorded", where=name, fix="Restore it, or evaluate anew.")
    return digest, finished


@dataclass(frozen=True, slots=True)
class _OfTheLedger:
    """What the ledger says of a run's evaluation."""

    attempt: int
    """The how-manieth student on its holdout the run's one is."""
    openings: int
    """How often that holdout had been opened for an evaluation by then."""
    registered: str
    """The rules that were registered for the run in time."""

    def gave(self, verdict: Verdict) -> bool:
        """Whether a verdict stands on this; one of a release that did not count openings has none."""
        counted = verdict.openings is None or verdict.openings == self.openings
        return counted and (verdict.attempt, verdict.registered) == (self.attempt, self.registered)


def _of_the_ledger(project: Project, run: Run, policy: Policy) -> _OfTheLedger:
    evaluated = _manifest_or_none(run.layout.manifest("evaluate"))
    registered = registered_rules(project.ledger.entries(), run.layout.name, policy.name)
    if evaluated is None:
        return _OfTheLedger(1, 1, registered)
    # The run's own seal: what was sealed since is another run's holdout.
    seal = evaluated.inputs["holdout"]
    attempt = attempts(project.ledger, evaluated.inputs["student"], seal)
    return _OfTheLedger(attempt, openings(project.ledger, run.layout.name, seal), registered)


def _settled(project: Project, path: Path, verdict: Verdict) -> Verdict:
    """The verdict that was logged before, where nothing but time has passed: judging again then changes nothing."""
    if not path.exists() or all(e.facts["digest"] != digest_file(path) for e in project.ledger.find(VERDICT)):
        return verdict
    before = read_verdict(path)
    return before if replace(verdict, ledger_head=before.ledger_head, at=before.at) == before else verdict


def _log(project: Project, run: Run, path: Path, verdict: Verdict) -> None:
    facts = {
        "run": run.layout.name,
        "file": path.relative_to(run.layout.root).as_posix(),
        "digest": digest_file(path),
        "policy": verdict.policy_digest,
        "decision": verdict.decision,
    }
    last = [e for e in project.ledger.find(VERDICT) if e.facts["run"] == facts["run"] and e.facts["file"] == facts["file"]]
    if not last or dict(last[-1].facts) != facts:
        project.ledger.append(VERDICT, facts)


def _check_chain(project: Project, run: Run) -> None:
    anchored = {(e.facts["stage"], e.facts["manifest"]) for e in _anchors(project, run)}
    for stage in _manifests(run):
        if (stage, digest_file(run.layout.manifest(stage))) not in anchored:
            raise IntegrityError(f"the manifest of `{stage}` is not the one the ledger knows", where=run.layout.name)


def _anchors(project: Project, run: Run) -> list[LedgerEntry]:
    return [e for e in project.ledger.find("stage.done") if e.facts["run"] == run.layout.name]


def verify(project: Project, run: Run, evidence_only: bool, expect: str | None, progress: Progress) -> list[Problem]:
    """Does everything still hold? Files against manifests, manifests and verdicts against the ledger, verdicts decided again.

    Args:
        evidence_only: check what a verdict stands on; weights and teaching set may be absent.
        expect: head of the ledger that was noted elsewhere; it must be in the chain.

    Raises:
        ChainBrokenError: the ledger does not hold, or never had that head.
        IntegrityError: a verdict is not what its evidence gives.
    """
    if not run.layout.root.is_dir():
        raise MissingFileError("no such run", where=run.layout.name)
    entries = project.ledger.entries()
    if expect is not None and expect not in {e.digest for e in entries}:
        raise ChainBrokenError("the ledger never had this head", where=str(project.layout.ledger))
    _check_chain(project, run)
    layout = run.layout
    last: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if entry.event == VERDICT and entry.facts["run"] == layout.name:
            last[str(entry.facts["file"])] = entry.facts
    listed = set(last) | {layout.measurements(Path(f).name.split(".json")[0]).relative_to(layout.root).as_posix() for f in last}
    done = sorted({str(e.facts["stage"]) for e in _anchors(project, run)})
    lost = [layout.manifest(stage) for stage in done if not layout.manifest(stage).exists()]
    problems = [Problem("missing", path.relative_to(layout.root).as_posix()) for path in lost]
    brought, changed = _brought_student(run)
    purges = project.purges()
    problems += [Problem("added", f"purges/{name}") for name in purges.unannounced]
    problems += [Problem("unfinished", f"purges/{name}") for name in purges.unfinished]
    only = "evidence/" if evidence_only else ""
    with progress.step("checking files"):
        problems += verify_files(
            layout, listed_elsewhere=frozenset(listed) | brought, only=only, allowed=purges.of_run(layout.name)
        )
    problems += [] if evidence_only else changed
    with progress.step("deciding again", len(last)) as step:
        for name, facts in sorted(last.items()):
            path = layout.root / name
            if not path.is_file():
                problems.append(Problem("missing", name))
            elif digest_file(path) != facts["digest"]:
                problems.append(Problem("changed", name))
            else:
                problems += _decide_again(project, run, read_verdict(path))
            step.advance()
    return problems


def purged(project: Project, run: Run) -> tuple[list[str], list[str]]:
    """Files of a run that lost content lawfully, as paths below it, and what a reader must know of purges, in words."""
    name, entries = run.layout.name, project.ledger.entries()
    below = f"runs/{name}/"
    touched = project.purges().touching(below)
    files = sorted({file.path.removeprefix(below) for _, file in touched})
    evaluated = _manifest_or_none(run.layout.manifest("evaluate"))
    holdout = evaluated.inputs.get("holdout", "") if evaluated else ""
    return files, purge_notes(project.purges(), entries, name, holdout)


def _brought_student(run: Run) -> tuple[frozenset[str], list[Problem]]:
    """Files of a student that was trained elsewhere, which no stage lists, and whether they are those that were measured."""
    layout = run.layout
    evaluated = _manifest_or_none(layout.manifest("evaluate"))
    if evaluated is None or layout.manifest("train").exists():
        return frozenset(), []
    name = layout.student.relative_to(layout.root).as_posix()
    if not layout.student.is_dir():
        return frozenset(), [Problem("missing", name)]
    files = frozenset(p.relative_to(layout.root).as_posix() for p in layout.student.rglob("*") if p.is_file())
    return files, ([] if digest_tree(layout.student) == evaluated.inputs.get("student") else [Problem("changed", name)])


def _decide_again(project: Project, run: Run, verdict: Verdict) -> list[Problem]:
    place = run.layout.measurements(verdict.policy)
    name = place.relative_to(run.layout.root).as_posix()
    if not place.exists():
        return [Problem("missing", name)]
    if digest_file(place) != verdict.measurements:
        return [Problem("changed", name)]
    policy = load_policy(project.policy_path(verdict.policy))
    if policy.digest != verdict.policy_digest:
        return [Problem("changed", f"{verdict.policy}.yaml")]
    if not _of_the_ledger(project, run, policy).gave(verdict):
        raise IntegrityError(
            f"attempt, openings or registered rules of verdict `{verdict.policy}` are not what the ledger gives"
        )
    verify_verdict(verdict, policy, read_measurements(place))
    return []


def promote(project: Project, run: Run, policy_path: Path, alias: str, progress: Progress) -> Promotion | None:
    """Let an alias stand for the run's student, on a PASSED verdict of the project's policy for exactly these weights.

    Raises:
        NotPromotableError, IntegrityError, MissingFileError
    """
    from gates import registry

    layout = run.layout
    own = load_policy(project.policy_path())
    named = load_policy(policy_path)
    if named.digest != own.digest:
        raise registry.NotPromotableError(
            f"`{named.name}` is not the policy that distill.yaml names",
            where=str(policy_path),
            fix=f"Promote under `{own.name}`.",
        )
    path = layout.verdict(own.name)
    if not path.exists():
        raise MissingFileError("there is no verdict", where=str(path), fix="Run `distill-gov gate` first.")
    problems = verify(project, run, False, None, progress)
    if problems:
        raise IntegrityError(f"the run does not verify: {problems[0].kind} {problems[0].path}", fix="Run `distill-gov verify`.")
    verdict = read_verdict(path)
    today = decide_again(verdict, own, read_measurements(layout.measurements(own.name)), at=now())
    if (verdict.decision, today.decision) == ("PASSED", "BLOCKED"):
        stale = ", ".join(outcome.gate for outcome in today.outcomes if outcome.blocks)
        raise registry.NotPromotableError(f"the evidence is too old by now for {stale}", fix="Evaluate anew (--run NEW_NAME).")
    student = read_subjects(layout.subjects)["student"]
    if digest_tree(layout.student) != student.model:
        raise IntegrityError("the weights are not those that were measured", where=str(layout.student))
    return registry.promote(verdict, own.name, student.digest, alias, project.layout.registry, project.ledger)
