"""The bench on which subjects are run: every suite, every case, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.records.manifest import read_manifest
from distill_gov.stages.chats import prompt_text
from distill_gov.stages.scoring import Answered, Scorer
from distill_gov.stages.settled import FORMAT_SUITE, HOLDOUT, versions
from distill_gov.stages.signals import NO_MASS, signals_of
from distill_gov.stages.student_worker import student_spec
from distill_gov.stages.timing import Timings, ToTime, time_side_by_side
from distill_gov.stages.train import chat_length, read_training
from distill_gov.workers import Pool, WorkerSpec
from evals.cases import Case
from evals.catalogue import JUDGE, JUDGE_LABELS, TOKENS
from evals.evidence import CaseResult, Role, Subject, write_cases
from evals.fairness import flips, pair_ids
from evals.fidelity import fidelity, with_agreement
from evals.judges import installed_judge, label_results, read_labelled
from evals.shards import Failed
from evals.speed import Footprint, load_prices, speed, with_rates

if TYPE_CHECKING:
    from distill_gov.project import Project, Run
    from distill_gov.stages.build import Prepared
    from distill_gov.traces import Trace

__all__ = ["Bench"]


class Bench:
    """Runs subjects and keeps what they did.

    Args:
        suites: the redacted cases, by suite.
        traces: the same cases as they came in, by suite; a recorded teacher's answers are in them.
        contaminated: ids of the cases that are in the teaching set.
    """

    def __init__(
        self,
        project: Project,
        run: Run,
        suites: Mapping[str, list[Case]],
        traces: Mapping[str, Sequence[Trace]],
        clock: Prepared,
        contaminated: Collection[str] = frozenset(),
    ) -> None:
        self.project, self.run, self.traces, self.clock = project, run, traces, clock
        self.settings = project.settings
        named = self.settings.evaluate.judge.name
        self.scorer = Scorer(project, contaminated, installed_judge(named) if named else None)
        self.scorer.signals = signals_of(project, run, self.scorer.detections.values)
        self.asked = self.scorer.signals.cases(suites[HOLDOUT])
        """Cases that are asked for one signal alone, by suite."""
        self.suites = {**suites, **self.asked}
        self.pairs = pair_ids([case for cases in self.asked.values() for case in cases if case.pair])
        """Suites of pairs of cases that are asked, to the ids of the pairs."""
        prices = self.settings.evaluate.prices
        self.prices = load_prices(project.file(prices)) if prices else None
        self.masses: dict[str, dict[str, dict[str, float]]] = {}
        """Subject and case of the holdout to the scores of its mass under the grammar."""
        self.subjects: dict[str, Subject] = {}
        self.answers: dict[str, dict[str, Sequence[Answered]]] = {}
        self.results: dict[str, dict[str, list[CaseResult]]] = {}
        self.baselines: list[dict[str, Any]] = []
        self.speed: dict[str, dict[str, Any]] = {}
        self.to_time: dict[str, ToTime] = {}
        """Who is timed, as it is known how to run them."""
        self.tokens: dict[str, int] = {}
        """Tokens of the answers, by the step that made them."""

    # -- who is run -------------------------------------------------------------------------------------------------------

    def teacher(self) -> None:
        """The teacher that taught: run again, or its recorded answers. One that did not teach this run is not measured."""
        if self.settings.teacher.kind == "recorded":
            self._recorded_teacher()
        elif self.run.layout.manifest("build").exists():
            self._prompted_teacher()

    def student(self) -> None:
        directory = self.run.layout.student
        self.local("student", "student", directory, read_training(directory).get("temperature", {}), timed=True)
        self._time()

    def local(self, name: str, role: Role, directory: Path, temperature: Mapping[str, float], *, timed: bool = False) -> None:
        """A model in a Hugging Face directory.

        Args:
            temperature: by decision field.
            timed: whether to time requests too.
        """
        s = self.settings
        schema = self.project.answer_document
        spec = student_spec(directory, schema, temperature, s.student.max_tokens)
        decoding = s.evaluate.decoding if schema is not None else "free"
        subject = Subject(
            name=name,
            role=role,
            model=digest_tree(directory),
            prompt=digest_json([]),
            template=digest_json("student template/1"),
            decoding=f"{decoding}, {s.student.max_tokens} tokens, temperatures {json.dumps(dict(temperature), sort_keys=True)}",
            engine=f"transformers {versions().get('transformers', '')}",
        )
        with self.pool(spec) as pool:
            for suite, cases in self.suites.items():
                asked = cases[0].ask if cases else "answer"
                kind = "free" if suite == FORMAT_SUITE else {"answer": decoding, "text": "free"}.get(asked, asked)
                items = [
                    {"messages": [dict(m) for m in c.messages]} | ({"choices": list(c.choices)} if c.choices else {})
                    for c in cases
                ]
                # The choices of a case are a batch by themselves.
                self._ask(name, suite, pool, kind, items, 1 if kind == "choice" else s.evaluate.batch_size)
            if "grammar_mass" in s.evaluate.signals and schema is not None:
                self._weigh(name, pool)
        if timed:
            self.to_time[name] = ToTime(spec, "student", [c.messages for c in self._chosen(name)], decoding)
        self._keep_all(subject)

    def like_the_student(self, name: str, note: str, answers: Mapping[str, Sequence[Answered]]) -> None:
        """A control that is the student but for some of its answers."""
        subject = replace(self.subjects["student"], name=name, role="control", note=note)
        self.answers[name] = {**self.answers["student"], **answers}
        if "student" in self.masses:
            self.masses[name] = self.masses["student"]
        self._keep_all(subject)

    def _prompted_teacher(self) -> None:
        from distill_gov.stages.teacher import prompted_spec, teacher_answers, teacher_subject

        spec = prompted_spec(self.project, read_manifest(self.run.layout.manifest("build")).facts["alignments"])
        with self.pool(spec) as pool:
            for suite, cases in self.suites.items():
                # A prompted teacher answers under the schema, and that is all it can be asked.
                if suite != FORMAT_SUITE and all(c.ask == "answer" for c in cases):
                    texts = [prompt_text(c.messages) for c in cases]
                    with self.clock.step(f"teacher: {suite}", 2 * len(texts)) as advance:
                        self._note_answers("teacher", suite, teacher_answers(pool, texts, advance, keep_failures=True))
        self.to_time["teacher"] = ToTime(spec, "teacher", [prompt_text(c.messages) for c in self._chosen("teacher")])
        self._keep_all(teacher_subject(self.project, spec))

    def _recorded_teacher(self) -> None:
        from distill_gov.stages.recorded import recorded_answers, recorded_subject

        subject = recorded_subject(self.project, self.traces[HOLDOUT])
        with self.clock.step("teacher: scoring", sum(map(len, self.traces.values()))) as advance:
            for suite, traces in self.traces.items():
                answers = recorded_answers(self.project, traces)
                if answers is not None:
                    self._keep(subject, suite, self.scorer.recorded(subject, self.suites[suite], traces, answers))
                advance(len(traces))

    def judge_labels(self) -> dict[str, list[str]]:
        """What the judge says of the replies that people judged, kept as evidence: its suite to the ids of the replies."""
        labels = self.settings.evaluate.judge.labels
        if not labels:
            return {}
        results = label_results(self.scorer.judge, read_labelled(self.project.file(labels)))
        write_cases(self.run.layout.cases(JUDGE_LABELS, JUDGE), results)
        return {JUDGE_LABELS: [r.case for r in results]}

    # -- how they are run -------------------------------------------------------------------------------------------------

    def pool(self, spec: WorkerSpec) -> Pool:
        return Pool(spec, self.project.layout.cache, self.settings.workers)

    def _ask(self, name: str, suite: str, pool: Pool, kind: str, items: list[dict[str, Any]], size: int) -> None:
        with self.clock.step(f"{name}: {suite}", len(items)) as advance:
            self._note_answers(
                name, suite, pool.run(kind, items, length=chat_length, size=size, advance=advance, keep_failures=True)
            )

    def _weigh(self, name: str, pool: Pool) -> None:
        """The grammar's mass along the answers that were given to the holdout."""
        pairs = zip(self.suites[HOLDOUT], self.answers[name][HOLDOUT], strict=True)
        given = [(c, answer) for c, answer in pairs if not isinstance(answer, Failed)]
        items = [{"messages": [dict(m) for m in c.messages], "tokens": answer["tokens"]} for c, answer in given]
        size = self.settings.evaluate.batch_size
        with self.clock.step(f"{name}: mass under the grammar", len(items)) as advance:
            found = pool.run("mass", items, length=chat_length, size=size, advance=advance)
        self.masses[name] = {c.id: scores for (c, _), scores in zip(given, found, strict=True)}

    def _note_answers(self, name: str, suite: str, found: Sequence[Answered]) -> None:
        self.answers.setdefault(name, {})[suite] = found
        self.tokens[f"{name}: {suite}"] = sum(len(answer["tokens"]) for answer in found if not isinstance(answer, Failed))

    def _chosen(self, name: str) -> list[Case]:
        """The first cases of the holdout that the subject could answer: those that it is timed on."""
        pairs = zip(self.suites[HOLDOUT], self.answers[name][HOLDOUT], strict=True)
        return [c for c, answer in pairs if not isinstance(answer, Failed)][: self.settings.evaluate.timed]

    def _keep_all(self, subject: Subject) -> None:
        said = self.answers[subject.name]
        with self.clock.step(f"{subject.name}: scoring", sum(map(len, said.values()))) as advance:
            for suite, answers in said.items():
                results = self.scorer.measured(subject, suite, self.suites[suite], answers, {})
                if suite == HOLDOUT and subject.name in self.masses:
                    masses = self.masses[subject.name]
                    results = [replace(r, scores={**r.scores, **masses.get(r.case, NO_MASS)}) for r in results]
                taught = self.results.get("teacher", {}).get(suite)
                if taught and subject.name != "teacher":
                    results = with_agreement(results, taught)
                self._keep(subject, suite, results)
                advance(len(answers))
        paired = {suite for suite, cases in self.asked.items() if any(c.pair for c in cases)}
        variants = [r for suite, rows in self.results[subject.name].items() if suite in paired for r in rows]
        flipped = flips(variants)
        for suite in self.pairs:
            self._keep(subject, suite, [pair for pair in flipped if pair.suite == suite])

    def _keep(self, subject: Subject, suite: str, results: list[CaseResult]) -> None:
        self.subjects[subject.name] = subject
        self.results.setdefault(subject.name, {})[suite] = results
        write_cases(self.run.layout.cases(suite, subject.name), results)

    def _time(self) -> None:
        """Time student and teacher in turns, so that the machine is as busy for the one as for the other."""
        subjects = {name: subject for name, subject in self.to_time.items() if subject.requests}
        total = sum(len(s.requests) * (2 if s.kind == "teacher" else 1) for s in subjects.values())
        if not subjects:
            return
        with self.clock.step("time alone", total) as advance:
            found = time_side_by_side(subjects, advance, processes=self.settings.workers > 0)
        for name, timed in found.items():
            rows = self._with_times(name, timed.requests)
            self._keep(self.subjects[name], HOLDOUT, [rows.get(r.case, r) for r in self.results[name][HOLDOUT]])
            self._note_speed(name, rows, timed.footprint)
            if timed.anew:
                self._note_speed(f"{name}, prefix not cached", self._with_times(name, timed.anew), timed.footprint)

    def _with_times(self, name: str, times: Sequence[Timings]) -> dict[str, CaseResult]:
        """The results of the cases that were timed, by case."""
        answers = zip(self.suites[HOLDOUT], self.answers[name][HOLDOUT], strict=True)
        tokens = {case.id: float(len(a["tokens"])) for case, a in answers if not isinstance(a, Failed)}
        of_case = dict(zip((case.id for case in self._chosen(name)), times, strict=True))
        price = self.prices.subjects.get(name) if self.prices else None
        return {
            r.case: replace(r, timings=with_rates({TOKENS: tokens[r.case], **of_case[r.case]}, price))
            for r in self.results[name][HOLDOUT]
            if r.case in of_case
        }

    def _note_speed(self, label: str, rows: Mapping[str, CaseResult], footprint: Footprint) -> None:
        self.speed[label] = speed(list(rows.values()), footprint, self.prices).facts()

    def models(self) -> dict[str, dict[str, list[CaseResult]]]:
        """The results of every model: a control that is the student's answers under another name is none of its own."""
        student = self.subjects["student"].model
        return {n: r for n, r in self.results.items() if n == "student" or self.subjects[n].model != student}

    # -- what came of it --------------------------------------------------------------------------------------------------

    def fidelity(self) -> dict[str, Any]:
        """Student against teacher, by suite that both ran."""
        ours, theirs = (self.results.get(name, {}) for name in ("student", "teacher"))
        asked = [suite for suite in ours if suite in theirs and suite in self.traces]
        return {suite: fidelity(ours[suite], theirs[suite]).facts() for suite in asked}

    def errored(self) -> dict[str, dict[str, dict[str, int]]]:
        """Subject, suite and cause of the cases that errored; empty where none did."""
        return {n: {s: dict(causes) for s, causes in suites.items()} for n, suites in self.scorer.errored.items()}

    def scratch(self, name: str, digest: str) -> Path:
        """Where the weights of a control or baseline are kept."""
        return self.project.layout.cache / "subjects" / f"{name}-{digest[7:19]}"
