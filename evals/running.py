"""Run a model on cases: ``run(model, cases, suites=[...])``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.records.errors import (
    BadInputError,
    BadModelError,
    BadSchemaError,
    DuplicateIdError,
    MissingFileError,
    NothingLeftError,
)
from evals.cases import Case, dataset_digest
from evals.decisions import AnswerFormat, answer_format
from evals.evidence import CaseResult, Subject
from evals.leakage import Detect
from evals.results import Said, Scoring
from evals.safety import Flag
from evals.shards import Failed, ShardStore, cut, tried
from evals.structured import Schema
from evals.suites import Suite
from redaction import RecognizerFailedError

if TYPE_CHECKING:
    from evals.models.protocol import Answer, Answerer

__all__ = ["Decoding", "run"]

Decoding = Literal["grammar", "free"]
Progress = Callable[[int, int], None]
"""Called with the cases that are done and all that there are."""

BATCH = 32


def run(
    model: Path | Answerer,
    cases: Iterable[Case],
    *,
    suites: Sequence[Suite] = (),
    schema: Schema | None = None,
    detect: Detect | None = None,
    flag: Flag | None = None,
    redact: Callable[[str], str] | None = None,
    decoding: Decoding | None = None,
    temperature: Mapping[str, float] | None = None,
    max_tokens: int = 96,
    batch_size: int = BATCH,
    subject: Subject | None = None,
    directory: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, list[CaseResult]]:
    """Put cases to a model and score what it says.

    Cases are sorted by length and run in batches; tokens that all of a batch begin with are read once. Where the model raises,
    the batch's cases are run alone; one on which it still raises, or says nothing, is errored: it has the worst scores that
    a case of its kind can have.

    Args:
        model: a Hugging Face directory with a causal language model, or whatever answers (:class:`Answerer`; cases that ask for
            ``choice`` or ``continue`` want a ``Weigher`` or a ``Continuer``).
        cases: of one suite or several, redacted.
        suites: what is scored besides; the cases that they derive are run too.
        schema: of answers; without it they are free texts and nothing is said of their validity.
        detect: finds personal values in a text. Without it no score speaks of personal data.
        flag: whether a reply is harmful. Without it no score speaks of violations.
        redact: from an answer to what may be kept of it. Without it no text is kept.
        decoding: of structured answers; under the grammar by default where there is a schema.
        temperature: by decision field.
        max_tokens: the longest answer of a directory's model.
        subject: who is measured; made of the directory's digest and the settings by default.
        directory: where shards of results are kept, so that a run that was killed goes on. What the model said lies there as it
            was said.

    Returns:
        The results by suite, in the order of the cases.

    Raises:
        NothingLeftError: there is no case.
        DuplicateIdError: two cases of a suite share an id.
        BadModelError: the directory holds no model; the model cannot do what a case asks; or it failed on every case, of which
            nothing could be measured but the failure.
    """
    if batch_size < 1 or max_tokens < 1:
        raise BadInputError("`batch_size` and `max_tokens` must be 1 or more")
    if any(isinstance(t, bool) or not (isinstance(t, int | float) and 0 < t < math.inf) for t in (temperature or {}).values()):
        raise BadInputError("a `temperature` must be a number above 0")
    every = _with_derived(list(cases), suites)
    kind = decoding or ("grammar" if schema is not None else "free")
    if kind not in get_args(Decoding) or (kind == "grammar" and schema is None):
        raise BadInputError("`decoding` must be `free`, or `grammar` with a schema")
    runner = _Runner(model, schema, kind, dict(temperature or {}), max_tokens, subject, directory is not None)
    store = ShardStore(directory, runner.identity) if directory is not None else None
    said = _put(runner, every, batch_size, store, progress)
    if all(isinstance(one, Failed) for one in said):
        causes = sorted({one.cause for one in said if isinstance(one, Failed)})
        raise BadModelError(f"the model failed on every case ({', '.join(causes)})", where=runner.name)
    scoring = Scoring(runner.subject, schema, runner.fields, tuple(suites), detect, flag, redact)
    return _scored(scoring, every, said)


def _with_derived(cases: list[Case], suites: Sequence[Suite]) -> list[Case]:
    if not cases:
        raise NothingLeftError("there is no case to run")
    every = [*cases, *(case for suite in suites for case in suite.derive(cases))]
    if len({(case.suite, case.id) for case in every}) < len(every):
        raise DuplicateIdError("two cases of one suite share an id", fix="Give each case its own id.")
    return every


def _scored(scoring: Scoring, cases: Sequence[Case], said: Sequence[Said | Failed]) -> dict[str, list[CaseResult]]:
    by_suite: dict[str, list[Case]] = {}
    for case in cases:
        by_suite.setdefault(case.suite, []).append(case)
    datasets = {name: dataset_digest(of_suite) for name, of_suite in by_suite.items()}
    results: dict[str, list[CaseResult]] = {name: [] for name in by_suite}
    for case, one in zip(cases, said, strict=True):
        dataset = datasets[case.suite]
        results[case.suite].append(_result(scoring, dataset, case, one))
    return results


def _result(scoring: Scoring, dataset: str, case: Case, said: Said | Failed) -> CaseResult:
    if isinstance(said, Failed):
        return scoring.errored(dataset, case)
    try:
        return scoring.result(dataset, case, said)
    except RecognizerFailedError:
        # An answer that cannot be searched cannot be called clean, and cannot be stored.
        return scoring.errored(dataset, case)


# --- putting cases to the model


def _put(
    runner: _Runner, cases: Sequence[Case], batch_size: int, store: ShardStore | None, progress: Progress
) -> list[Said | Failed]:
    """What the model said on each case."""
    found: list[Said | Failed] = [Failed("NotRun")] * len(cases)
    done, asked = 0, sorted({case.ask for case in cases})
    runner.check(asked)
    for ask in asked:
        of_kind = [i for i, case in enumerate(cases) if case.ask == ask]
        for shard in cut(of_kind, lambda i: sum(map(len, (cases[i].prompt, *cases[i].choices))), batch_size):
            chosen = [of_kind[i] for i in shard]
            for i, row in zip(chosen, _shard(runner, ask, [cases[i] for i in chosen], store), strict=True):
                found[i] = row
            done += len(chosen)
            progress(done, len(cases))
    return found


def _shard(runner: _Runner, ask: str, cases: Sequence[Case], store: ShardStore | None) -> list[Said | Failed]:
    items = [_item(case) for case in cases]
    kept = store.get(ask, items) if store is not None else None
    if kept is None:
        kept = tried(lambda some: runner.rows(ask, some), items)
        if store is not None:
            store.put(ask, items, kept)
    return [row if isinstance(row, Failed) else _said(row, case) for row, case in zip(kept, cases, strict=True)]


def _item(case: Case) -> dict[str, Any]:
    """What of a case reaches the model, and nothing else: a relabelled case is not run again."""
    return {"messages": [dict(m) for m in case.messages], "choices": list(case.choices)}


def _said(row: Mapping[str, Any], case: Case) -> Said | Failed:
    weights = tuple(row.get("weights", ()))
    said = Said(row.get("text", ""), row.get("decisions", {}), row.get("raw", {}), weights, row.get("logp"))
    if case.ask == "choice":
        return said
    # Silence is no answer: scored as one it would be free of every fault that a text can have.
    return said if said.text.strip() else Failed("EmptyAnswer")


@dataclass
class _Runner:
    """The model behind one face, loaded when the first case is put to it."""

    given: Path | Answerer
    schema: Schema | None
    decoding: Decoding
    temperature: Mapping[str, float]
    max_tokens: int
    told: Subject | None
    keeps: bool
    _loaded: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.given, Path) and not self.given.is_dir():
            raise MissingFileError("no such model directory", where=str(self.given))
        if self.keeps and not isinstance(self.given, Path) and self.told is None:
            raise BadInputError(
                "results of a model without a directory can only be kept under a `subject` that says what it is"
            )

    @property
    def name(self) -> str:
        return self.given.name if isinstance(self.given, Path) else type(self.given).__name__

    @cached_property
    def format(self) -> AnswerFormat | None:
        """The schema's format; None where there is none, as of a schema that is not flat and only judges free answers."""
        if self.schema is None:
            return None
        try:
            return answer_format(self.schema.document)
        except BadSchemaError:
            if self.decoding == "free":
                return None
            raise

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.format.fields) if self.format else ()

    @cached_property
    def weights(self) -> str:
        """Digest of the model's directory; of what has none, of its class's name."""
        return digest_tree(self.given) if isinstance(self.given, Path) else digest_json(self.name)

    @cached_property
    def subject(self) -> Subject:
        if self.told is not None:
            return self.told
        measured = isinstance(self.given, Path)
        return Subject(
            name=self.name,
            role="student",
            model=self.weights,
            prompt=digest_json([]),
            template=digest_json("student template/1"),
            decoding=f"{self.decoding}, {self.max_tokens} tokens, temperatures {dict(sorted(self.temperature.items()))}",
            engine=f"transformers {version('transformers')}" if measured else self.name,
            declared=not measured,
        )

    @property
    def identity(self) -> str:
        schema = self.schema.digest if self.schema else None
        how = [self.decoding, sorted(self.temperature.items()), self.max_tokens, schema]
        return digest_json(["evals.run/1", self.weights, self.subject.digest, how])

    @property
    def model(self) -> Any:
        if self._loaded is None:
            self._loaded = self._load() if isinstance(self.given, Path) else self.given
        return self._loaded

    def _load(self) -> Any:
        from evals.models.local import LocalModel, load_model, load_tokenizer

        assert isinstance(self.given, Path)
        document = self.schema.document if self.schema else None
        return LocalModel(
            load_model(self.given),
            load_tokenizer(self.given),
            schema=document if self.decoding == "grammar" else None,
            format=self.format,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            weigh_answers=True,
        )

    def check(self, asked: Sequence[str]) -> None:
        """Refuse, before anything is run, what the model has no way to do."""
        for ask in asked:
            wanted = {"choice": "weigh", "continue": "go_on"}.get(ask, "answer")
            if not isinstance(self.given, Path) and not callable(getattr(self.given, wanted, None)):
                raise BadModelError(f"the model has no `{wanted}`, which cases with `ask: {ask}` need", where=self.name)

    def rows(self, ask: str, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What the model says, as JSON values."""
        chats = [item["messages"] for item in items]
        if ask == "choice":
            weighed = self.model.weigh(chats, [item["choices"] for item in items])
            return [_weights(of_one, item) for of_one, item in zip(weighed, items, strict=True)]
        if ask == "continue":
            return [_row(a) for a in self.model.go_on(["\n".join(m["content"] for m in chat) for chat in chats])]
        decoding = self.decoding if ask == "answer" else "free"
        answers = self.model.answer(chats, decoding=decoding)
        if decoding == "grammar" and isinstance(self.given, Path):
            from evals.models.labels import with_exact_labels

            answers = with_exact_labels(self.model, chats, answers)
        return [_row(a) for a in answers]


def _weights(weights: Sequence[float], item: Mapping[str, Any]) -> dict[str, Any]:
    found = [float(w) for w in weights]
    if len(found) != len(item["choices"]) or not all(math.isfinite(w) and w <= 0 for w in found):
        raise ValueError("not one log-likelihood a choice")
    return {"weights": found}


def _row(answer: Answer) -> dict[str, Any]:
    row: dict[str, Any] = {
        "text": answer.text,
        "decisions": {d.field: dict(zip(d.labels, d.logp, strict=True)) for d in answer.decisions},
        "raw": {d.field: dict(zip(d.labels, d.raw_logp, strict=True)) for d in answer.decisions if d.raw_logp},
        "logp": answer.logp,
    }
    told = [x for kind in ("decisions", "raw") for of_field in row[kind].values() for x in of_field.values()]
    if not isinstance(answer.text, str) or not all(map(math.isfinite, [*told, answer.logp or 0.0])):
        raise ValueError("an answer is no text, or a probability of it is no number")
    return row
