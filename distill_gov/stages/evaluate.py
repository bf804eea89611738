"""``evaluate``: the suites are run on the student, the teacher, the controls and the baselines."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.records.errors import BadInputError, MissingFileError
from distill_gov.records.files import replacing_directory
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now, read_manifest
from distill_gov.stages import train as training
from distill_gov.stages.build import Prepared, reserved_traces
from distill_gov.stages.chats import user_text
from distill_gov.stages.registration import EVALUATION, register
from distill_gov.stages.settled import FORMAT_SUITE, HOLDOUT, MEASURED, anchor, commit, file_inputs, finish, versions
from distill_gov.stages.student_worker import student_spec
from distill_gov.stages.suites import as_cases, format_cases
from distill_gov.stages.targets import TargetMaker
from distill_gov.teaching_set.examples import read_examples
from distill_gov.traces import read_traces
from distill_gov.workers import Pool, WorkerSpec
from evals.cases import Case, dataset_digest
from evals.catalogue import SCHEMA_VALID
from evals.evidence import CaseResult, FieldDecision, Subject, write_cases, write_subjects
from evals.score import score_case
from evals.structured import judge, make_schema

if TYPE_CHECKING:
    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run

__all__ = ["evaluate"]

CANARY = "Please call Quentin Marlowe on +44 7700 900482 or write to q.marlowe@example.org."
"""Invented; planted by the control ``leaky``."""

PLANTED = 20
FREE_TEXT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"reply": {"type": "string"}},
    "required": ["reply"],
}
"""Free-text answers are scored as the ``reply`` of such an object."""


def evaluate(project: Project, run: Run, progress: Progress, only: Sequence[str] | None = None) -> StageManifest:
    """Measure every subject of a run on every suite.

    Args:
        only: names of controls and baselines to run instead of those in ``distill.yaml``.

    Raises:
        MissingFileError: there is no student.
        NotSealedError, HashMismatchError: the holdout.
    """
    layout, s = run.layout, project.settings
    if not layout.student.is_dir():
        raise MissingFileError(
            "there is no student", where=str(layout.student), fix="Run `distill-gov train`, or copy one there."
        )
    seal, student = project.sealed(), digest_tree(layout.student)
    inputs = {
        "student": student,
        "holdout": seal,
        "key": project.keyring.subkey("redaction").key_id,
        "redactor": project.redactor.digest,
        "distill.yaml (evaluate, suites)": digest_json(
            {
                "evaluate": s.evaluate.model_dump(mode="json"),
                "suites": s.suites,
                "only": list(only) if only is not None else None,
                "teacher": s.teacher.model_dump(mode="json"),
                "student": s.student.model_dump(mode="json"),
                "seed": s.seed,
            }
        ),
        **_files(project),
    }
    path = layout.manifest("evaluate")
    if before := done_before(path, inputs):
        anchor(path, "evaluate", project.ledger, layout.name)
        return before
    # Killed, it may have measured a subject that is not asked for any more.
    shutil.rmtree(layout.subjects.parent / "cases", ignore_errors=True)
    started, clock = now(), Prepared(progress)
    _register(project, run)
    _count_attempt(project, run, student, seal)
    suites = _suites(project, run, clock)
    bench = _Bench(project, run, suites, clock)
    bench.teacher()
    bench.student()
    wanted = list(only) if only is not None else [*s.evaluate.controls, *s.evaluate.baselines]
    for name in wanted:
        bench.extra(name)
    write_subjects(layout.subjects, bench.subjects)
    manifest = StageManifest(
        stage="evaluate",
        inputs=inputs,
        outputs=hash_outputs(layout.root, [layout.subjects.parent / "cases", layout.subjects]),
        settings=s.evaluate.model_dump(mode="json"),
        seed=s.seed,
        versions=versions(),
        commit=commit(project.layout.root),
        counts={name: len(cases) for name, cases in bench.suites.items()},
        facts={
            "suites": {name: len(cases) for name, cases in bench.suites.items()},
            "datasets": {name: dataset_digest(cases) for name, cases in bench.suites.items()},
            "cases": {name: sorted(c.id for c in cases) for name, cases in bench.suites.items()},
            "subjects": {x.name: x.digest for x in bench.subjects},
            "baselines": bench.baselines,
            "speed": bench.speed,
            "reference": bench.reference_figures,
            "redaction_recall": bench.recall,
        },
        started=started,
        finished=now(),
        seconds=clock.seconds,
    )
    return finish(path, manifest, project.ledger, layout.name)


def _files(project: Project) -> dict[str, str]:
    """Digests of the files that are read beside the holdout."""
    s = project.settings
    named = {"answer schema": s.answer_schema, "labels": s.labels, "pii_spans": s.pii_spans}
    named |= {f"suite {name}": path for name, path in s.suites.items()}
    return file_inputs(project.layout.root, named)


def _register(project: Project, run: Run) -> None:
    """What will be judged, and how, enters the ledger before the holdout is opened."""
    for policy in project.policies():
        register(project.ledger, run.layout.name, policy)


def _count_attempt(project: Project, run: Run, student: str, seal: str) -> None:
    if all(e.facts["student"] != student or e.facts["seal"] != seal for e in project.ledger.find(MEASURED)):
        project.ledger.append(MEASURED, {"run": run.layout.name, "student": student, "seal": seal})


def _suites(project: Project, run: Run, clock: Prepared) -> dict[str, list[Case]]:
    with clock.step("redacting the suites"):
        suites = {HOLDOUT: as_cases(project, HOLDOUT, reserved_traces(project, run, EVALUATION))}
        for name, path in project.settings.suites.items():
            suites[name] = as_cases(project, name, read_traces(project.file(path)))
    if project.answer_schema is not None:
        suites[FORMAT_SUITE] = format_cases(suites)
    ids = [c.id for c in suites.get(FORMAT_SUITE, [])]
    if len(set(ids)) != len(ids):
        raise BadInputError("two suites share a case id", where="distill.yaml: suites", fix="Give every case its own id.")
    return suites


class _Bench:
    """Runs subjects and keeps what they did."""

    def __init__(self, project: Project, run: Run, suites: dict[str, list[Case]], clock: Prepared) -> None:
        self.project, self.run, self.suites, self.clock = project, run, suites, clock
        self.settings = project.settings
        self.subjects: list[Subject] = []
        self.baselines: list[dict[str, Any]] = []
        self.speed: dict[str, dict[str, float]] = {}
        self.reference_figures: dict[str, float] = {}
        self.recall = redaction_recall(project, run)
        self.schema = project.answer_schema or make_schema(FREE_TEXT, where="free text")
        self.built = run.layout.manifest("build")
        self.answers: dict[str, dict[str, list[Any]]] = {}

    # -- who is run -------------------------------------------------------------------------------------------------------

    def teacher(self) -> None:
        if self.settings.teacher.kind != "prompted" or not self.built.exists():
            return
        from distill_gov.stages.teacher import prompted_spec, teacher_subject

        spec = prompted_spec(self.project, read_manifest(self.built).facts["alignments"])
        subject = teacher_subject(self.project, spec)
        with Pool(spec, self.project.layout.cache, self.settings.workers) as pool:
            for suite, cases in self.suites.items():
                if suite == FORMAT_SUITE:
                    continue
                items = [{"text": user_text(c.messages)} for c in cases]
                with self.clock.step(f"teacher: {suite}", len(items)) as advance:
                    found = pool.run("answer", items, length=lambda i: len(i["text"]), size=16, advance=advance)
                self._keep(subject, suite, cases, found)
        self.subjects.append(subject)
        self._time_teacher(spec)

    def student(self) -> None:
        facts = training.read_training(self.run.layout.student)
        self._local("student", "student", self.run.layout.student, facts.get("temperature", {}))
        self._time("student", self.run.layout.student)

    def extra(self, name: str) -> None:
        """A control or a baseline, by name."""
        makers = {
            "untrained": self._untrained,
            "overconfident": self._overconfident,
            "mislabelled": self._mislabelled,
            "leaky": self._leaky,
            "worse_rated": self._worse_rated,
            "gold_only": self._gold_only,
            "linear": self._linear,
            "small_prompted": self._small_prompted,
        }
        if name not in makers:
            raise BadInputError(f"no control or baseline is called `{name}`", fix=f"One of {', '.join(makers)}.")
        makers[name]()

    def _untrained(self) -> None:
        self._local("untrained", "control", self._cut(), {})

    def _overconfident(self) -> None:
        from distill_gov.trainer.students import sharpen
        from evals.models.local import load_model, load_tokenizer

        source = self.run.layout.student
        target = self._scratch("overconfident", digest_tree(source))
        if not target.exists():
            with replacing_directory(target) as unfinished:
                model = load_model(source)
                sharpen(model, 3.0)
                model.save_pretrained(str(unfinished))
                load_tokenizer(source).save_pretrained(str(unfinished))
        self._local("overconfident", "control", target, training.read_training(source).get("temperature", {}))

    def _mislabelled(self) -> None:
        examples = training.mislabelled(training.taught(self.project, self.run), self.project)
        target = self._scratch("mislabelled", self._taught_digest())
        if not target.exists():
            training.make_student(self.project, examples, target, self.clock)
        self._local("mislabelled", "control", target, training.read_training(target)["temperature"])

    def _leaky(self) -> None:
        """The student's own answers, with canaries in the replies to some messages that carry personal data."""
        carrying = sorted(c.id for c in self.suites[HOLDOUT] if c.carries_pii)
        planted = set(random.Random(f"leaky/{self.settings.seed}").sample(carrying, min(PLANTED, len(carrying))))
        student = next(x for x in self.subjects if x.name == "student")
        subject = replace(student, name="leaky", role="control", note=f"{len(planted)} canary replies planted")
        for suite, cases in self.suites.items():
            found = [
                {**a, "text": _with_reply(a["text"], CANARY)} if c.id in planted and suite == HOLDOUT else a
                for c, a in zip(cases, self.answers["student"][suite], strict=True)
            ]
            self._keep(subject, suite, cases, found)
        self.subjects.append(subject)

    def _worse_rated(self) -> None:
        """The student once more under another name, for ratings that are made worse."""
        student = next(x for x in self.subjects if x.name == "student")
        subject = replace(
            student, name="worse_rated", role="control", note="the student's answers; its ratings are made half a point worse"
        )
        for suite, cases in self.suites.items():
            self._keep(subject, suite, cases, self.answers["student"][suite])
        self.subjects.append(subject)

    # -- baselines: worth distilling? -------------------------------------------------------------------------------------

    def _labelled(self) -> list[tuple[Any, dict[str, str]]]:
        from distill_gov.records.files import read_jsonl

        path = self.project.file(self.settings.labels)
        labels = {row["id"]: row for _, row in read_jsonl(path)}
        names = [f.name for f in self.project.format.fields] + list(self.project.free_fields)
        rows = [(e, labels[e.trace]) for e in read_examples(self.run.layout.examples) if e.trace in labels]
        return [(e, {n: str(_reference(label)[n]) for n in names}) for e, label in rows]

    def _gold_only(self) -> None:
        rows = self._labelled()
        tools = TargetMaker(self.project, training.base_model(self.project))
        examples = []
        for example, label in rows:
            text = self.project.format.text(label)
            examples.append((replace(example, answer=text, answer_source="reference"), tools.bare(example.id, text)))
        target = self._scratch("gold_only", digest_json([self._taught_digest(), [e.answer for e, _ in examples]]))
        if not target.exists():
            training.make_student(self.project, examples, target, self.clock, hard_only=True, truth=True)
        spec = student_spec(target, self.project.answer_document, {}, self.settings.student.max_tokens)
        self._baseline("gold_only", spec, "grammar", "the same student from our labels of the teaching set, no teacher")

    def _small_prompted(self) -> None:
        from distill_gov.stages.teacher import prompted_spec

        orders = self.settings.teacher.orders
        alignments = {
            name: _untouched(a, orders.get(name, 1)) for name, a in read_manifest(self.built).facts["alignments"].items()
        }
        spec = prompted_spec(self.project, alignments, self._cut())
        self._baseline("small_prompted", spec, "answer", "the untrained small model behind the teacher's long prompt")

    def _linear(self) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline, make_union

        rows, cases = self._labelled(), self.suites[HOLDOUT]
        predicted: dict[str, list[str]] = {}
        for field in self.project.format.fields:
            words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
            letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
            model = make_pipeline(make_union(words, letters), LogisticRegression(C=30.0, max_iter=2000))
            model.fit([user_text(e.messages) for e, _ in rows], [label[field.name] for _, label in rows])
            predicted[field.name] = [str(x) for x in model.predict([user_text(c.messages) for c in cases])]
        self._figures("linear", predicted, "TF-IDF and logistic regression on our labels; decides, but writes no reply")

    def _baseline(self, name: str, spec: WorkerSpec, kind: str, note: str) -> None:
        cases = self.suites[HOLDOUT]
        items = [_item(c) for c in cases] if kind == "grammar" else [{"text": user_text(c.messages)} for c in cases]
        with (
            Pool(spec, self.project.layout.cache, self.settings.workers) as pool,
            self.clock.step(f"{name}: holdout", len(items)) as advance,
        ):
            found = pool.run(kind, items, length=_length, size=self.settings.evaluate.batch_size, advance=advance)
        predicted = {f.name: [_best(a["decisions"][f.name]) for a in found] for f in self.project.format.fields}
        self._figures(name, predicted, note)

    def _figures(self, name: str, predicted: Mapping[str, Sequence[str]], note: str) -> None:
        self.baselines.append({"name": name, **_accuracies(self.suites[HOLDOUT], predicted), "note": note})

    # -- how they are run -------------------------------------------------------------------------------------------------

    def _local(self, name: str, role: Any, directory: Path, temperature: Mapping[str, float]) -> None:
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
        with Pool(spec, self.project.layout.cache, s.workers) as pool:
            for suite, cases in self.suites.items():
                kind = "free" if suite == FORMAT_SUITE else decoding
                with self.clock.step(f"{name}: {suite}", len(cases)) as advance:
                    items = [_item(c) for c in cases]
                    found = pool.run(kind, items, length=_length, size=s.evaluate.batch_size, advance=advance)
                self._keep(subject, suite, cases, found)
        self.subjects.append(subject)

    def _keep(self, subject: Subject, suite: str, cases: Sequence[Case], found: Sequence[Mapping[str, Any]]) -> None:
        self.answers.setdefault(subject.name, {})[suite] = list(found)
        dataset = dataset_digest(cases)
        results = [self._result(subject, suite, dataset, c, a) for c, a in zip(cases, found, strict=True)]
        write_cases(self.run.layout.cases(suite, subject.name), results)

    def _result(self, subject: Subject, suite: str, dataset: str, case: Case, answer: Mapping[str, Any]) -> CaseResult:
        text = answer["text"] if self.project.answer_schema else json.dumps({"reply": answer["text"]}, ensure_ascii=False)
        if suite == FORMAT_SUITE:
            # Only validity counts here; the same messages are scored for everything else in their own suites.
            decisions: list[FieldDecision] = []
            output = ""
            scores = {SCHEMA_VALID: float(judge(text, self.schema).valid)}
        else:
            decisions, scores, output = self._scored(case, text, answer)
        return CaseResult(
            subject=subject.digest,
            dataset=dataset,
            case=case.id,
            suite=suite,
            cluster=case.unit,
            slices=case.slices,
            status="ok",
            scores=scores,
            decisions=tuple(decisions),
            output=output,
        )

    def _scored(self, case: Case, text: str, answer: Mapping[str, Any]) -> tuple[list[FieldDecision], dict[str, float], str]:
        """Decisions, scores and the redacted text of an answer."""
        from redaction.filters import flag_reply

        decisions = _decisions(case, answer["decisions"])
        scores, valid = score_case(
            case, text, decisions, schema=self.schema, detect=self._values, flag=lambda r: flag_reply(r) is not None
        )
        if not valid:
            decisions = [
                replace(d, predicted=None, confidence=1.0, correct=False if d.correct is not None else None) for d in decisions
            ]
        chat = [*case.messages, {"role": "assistant", "content": answer["text"]}]
        clean = self.project.redactor.redact_messages(chat, item=case.id)
        return decisions, scores, str(list(clean.messages)[-1]["content"])

    def _values(self, text: str) -> list[str]:
        return [text[start:end] for _, start, end, _, _ in self.project.redactor.detect(text)]

    # -- time ---------------------------------------------------------------------------------------------------------------

    def _time(self, name: str, directory: Path) -> None:
        from distill_gov.trainer.students import parameters
        from evals.models.local import LocalModel, load_model, load_tokenizer

        if not self.settings.evaluate.timed:
            return
        local = LocalModel(
            load_model(directory), load_tokenizer(directory), schema=self.project.answer_document,
            format=self.project.format_or_none, max_tokens=self.settings.student.max_tokens,
        )  # fmt: skip
        decoding = "grammar" if self.project.answer_document else "free"
        chats = [[dict(m) for m in c.messages] for c in self.suites[HOLDOUT][: self.settings.evaluate.timed]]
        with self.clock.step(f"{name}: time alone", len(chats)) as advance:
            local.time_one(chats[0], decoding=decoding)
            times = []
            for chat in chats:
                times.append(local.time_one(chat, decoding=decoding))
                advance(1)
        self.speed[name] = {**_percentiles(times), "parameters": parameters(local.model), "bytes": _bytes(directory)}

    def _time_teacher(self, spec: WorkerSpec) -> None:
        from distill_gov.trainer.students import parameters

        count = self.settings.evaluate.timed
        if not count:
            return
        worker: Any = spec.make(**spec.arguments)
        texts = [user_text(c.messages) for c in self.suites[HOLDOUT][:count]]
        directory = Path(str(spec.arguments["path"]))
        with self.clock.step("teacher: time alone", count + 2) as advance:
            worker.answer(texts[:1])
            times = []
            for text in texts:
                started = time.perf_counter()
                worker.answer([text])
                times.append({"last_token_s": time.perf_counter() - started})
                advance(1)
            cold = []
            for text in texts[:2]:
                worker._prefixes.clear()
                started = time.perf_counter()
                worker.answer([text])
                cold.append({"last_token_s": time.perf_counter() - started})
                advance(1)
        size = {"parameters": parameters(worker.local.model), "bytes": _bytes(directory)}
        self.speed["teacher"] = {**_percentiles(times), **size}
        self.speed["teacher, prefix not cached"] = {**_percentiles(cold), **size}

    # -- places -----------------------------------------------------------------------------------------------------------

    def _scratch(self, name: str, digest: str) -> Path:
        return self.project.layout.cache / "subjects" / f"{name}-{digest[7:19]}"

    def _taught_digest(self) -> str:
        inputs = training.train_inputs(self.project, self.run)
        return digest_json(inputs)

    def _cut(self) -> Path:
        """The student before training."""
        from distill_gov.trainer.students import evenly_spaced, layer_student
        from evals.models.local import load_model, load_tokenizer, render_template

        base = training.base_model(self.project)
        layers = self.settings.student.layers
        target = self._scratch("untrained", digest_json([self.project.model_digest(base), layers]))
        if not target.exists():
            source = self.project.model_directory(base)
            with replacing_directory(target) as unfinished:
                model = load_model(source)
                layer_student(model, evenly_spaced(model.config.num_hidden_layers, layers)).save_pretrained(str(unfinished))
                tokenizer = load_tokenizer(source)
                tokenizer.chat_template = render_template()
                tokenizer.save_pretrained(str(unfinished))
        return target


def _item(case: Case) -> dict[str, Any]:
    return {"messages": [dict(m) for m in case.messages]}


def _length(item: Mapping[str, Any]) -> int:
    return len(item["text"]) if "text" in item else training.chat_length(item)


def _best(logp: Mapping[str, float]) -> str:
    return max(logp, key=lambda label: logp[label])


def _decisions(case: Case, found: Mapping[str, Mapping[str, float]]) -> list[FieldDecision]:
    import math

    rows = []
    for name, logp in found.items():
        label = _best(logp)
        reference = (case.reference or {}).get(name)
        confidence = min(1.0, math.exp(logp[label]))
        rows.append(FieldDecision(name, label, confidence, None if reference is None else label == reference))
    return rows


def _accuracies(cases: Sequence[Case], predicted: Mapping[str, Sequence[str]]) -> dict[str, float]:
    right = {
        name: [(c.reference or {}).get(name) == p for c, p in zip(cases, labels, strict=True)]
        for name, labels in predicted.items()
    }
    every = [all(column) for column in zip(*right.values(), strict=True)]
    figures = {f"accuracy.{name}": sum(r) / len(r) for name, r in right.items()}
    return {**figures, "exact_match": sum(every) / len(every)}


def _with_reply(text: str, reply: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps({**value, "reply": reply}, ensure_ascii=False)


def _reference(label: Mapping[str, Any]) -> Mapping[str, Any]:
    reference: Mapping[str, Any] = label.get("reference", label)
    return reference


def _untouched(alignment: Mapping[str, Any], orders: int) -> dict[str, Any]:
    """The same shape of correction that corrects nothing but averages the orders."""
    labels, features = len(alignment["labels"]), len(alignment["centre"])
    read = range(orders * labels)
    weights = [[1.0 / orders if c in read and c % labels == row else 0.0 for c in range(features)] for row in range(labels)]
    return {**alignment, "centre": [0.0] * features, "weights": weights, "bias": [0.0] * labels}


def _percentiles(times: Sequence[Mapping[str, float]]) -> dict[str, float]:
    import numpy as np

    found = {}
    for name in sorted({k for t in times for k in t}):
        values = [t[name] for t in times if name in t]
        stem = name.removesuffix("_s")
        found[f"{stem}_p50"], found[f"{stem}_p95"] = (float(np.percentile(values, q)) for q in (50, 95))
    return found


def _bytes(directory: Path) -> int:
    return sum(p.stat().st_size for p in directory.rglob("*.safetensors"))


def redaction_recall(project: Project, run: Run) -> dict[str, float]:
    """Share of the ground-truth spans of the kept traces that a finding wholly covers (needs ``pii_spans`` and a build)."""
    from distill_gov.records.files import read_jsonl, read_parquet
    from redaction.findings import FINDING_FORMAT

    if not project.settings.pii_spans or not run.layout.findings.exists():
        return {}
    found: dict[str, list[tuple[int, int]]] = {}
    for row in read_parquet(run.layout.findings, format=FINDING_FORMAT):
        found.setdefault(row["item"], []).append((row["start"], row["end"]))
    seen = {e.trace for e in read_examples(run.layout.examples)}
    spans = [row for _, row in read_jsonl(project.file(project.settings.pii_spans)) if row["id"] in seen]
    covered = sum(any(a <= row["start"] and row["end"] <= b for a, b in found.get(row["id"], [])) for row in spans)
    return {"spans": float(len(spans)), "covered_recall": covered / len(spans)} if spans else {}
