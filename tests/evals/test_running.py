"""``evals.run`` against one case at a time, killed and resumed, and with models that fail."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import (
    BadInputError,
    BadModelError,
    BadSchemaError,
    DuplicateIdError,
    MissingFileError,
    NothingLeftError,
)
from distill_gov.records.keys import Subkey
from evals import run
from evals.cases import Case
from evals.catalogue import CARRIES_PII, EXACT_MATCH, PII_ECHO, PII_LEAK, SCHEMA_VALID, VIOLATION
from evals.catalogue.calibration import CHOICE, CHOICE_PER_BYTE, SEQUENCE
from evals.decisions import answer_format
from evals.evidence import CaseResult, FieldDecision, MeasurementRequest, Subject
from evals.leakage.canaries import CanarySuite, canaries
from evals.measuring import measure
from evals.models.local import LocalModel
from evals.models.protocol import Answer, LabelDistribution
from evals.results import choice_decisions, softmax_logs
from evals.shards import Failed, ShardStore, cut, tried
from evals.structured import make_schema
from evals.suites import ReadAnswer
from tests.tiny import SCHEMA, build_model, canonical, save, tokenizer

SCHEMA_2020 = make_schema({"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMA})
GOOD = canonical("refund", "auto", "Yes")
SUBJECT = Subject("student", "student", "m", "p", "t", "free", "e")


def case(number: int, ask: str = "answer", **changes: Any) -> Case:
    given: dict[str, Any] = {
        "id": f"{ask}-{number}",
        "suite": ask,
        "messages": ({"role": "user", "content": f"message {number} " + "about an order " * (number % 4)},),
        "ask": ask,
    }
    if ask == "answer":
        given["reference"] = {"intent": "refund", "action": "auto"}
    if ask == "choice":
        given |= {"choices": ("refund", "order status", "other"), "target": "other"}
    if ask == "text":
        given["target"] = "hello"
    return Case(**{**given, **changes})


def mixed(count: int) -> list[Case]:
    return [case(n, ask) for ask in ("answer", "text", "choice", "continue") for n in range(count)]


class Fake:
    """Answers by a rule; counts what it was asked."""

    def __init__(self, rule: Any = lambda text: GOOD) -> None:
        self.rule, self.asked = rule, []

    def answer(self, batch: Sequence[Sequence[Mapping[str, str]]], *, decoding: str) -> list[Answer]:
        self.asked.append(len(batch))
        return [self._one(chat[-1]["content"]) for chat in batch]

    def _one(self, text: str) -> Answer:
        said = self.rule(text)
        return said if isinstance(said, Answer) else Answer(said, (1,), "stop")

    def weigh(self, batch: Sequence[Sequence[Mapping[str, str]]], choices: Sequence[Sequence[str]]) -> list[list[float]]:
        return [[-float(len(choice)) for choice in row] for row in choices]

    def go_on(self, texts: Sequence[str]) -> list[Answer]:
        return [self._one(text) for text in texts]


def alike(one: Mapping[str, list[CaseResult]], other: Mapping[str, list[CaseResult]], *, within: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for suite in one:
        for a, b in zip(one[suite], other[suite], strict=True):
            assert replace(a, decisions=()) == replace(b, decisions=())
            for x, y in zip(a.decisions, b.decisions, strict=True):
                bare = {"confidence": None, "logp": {}, "raw_logp": {}}
                assert replace(x, **bare) == replace(y, **bare)
                assert x.confidence == pytest.approx(y.confidence, abs=within)
                for key in ("logp", "raw_logp"):
                    assert getattr(x, key) == pytest.approx(getattr(y, key), abs=within)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"), seed=3)


OPTIONS: dict[str, Any] = {"schema": SCHEMA_2020, "redact": str.upper, "detect": lambda text: (), "max_tokens": 90}


# --- a real, tiny model


def test_equals_a_loop_over_single_cases(tiny: Path) -> None:
    """The loop is written here, with the model's own methods; nothing of ``evals.running`` is in it."""
    cases = mixed(4)
    together = run(tiny, cases, batch_size=3, **OPTIONS)
    local = LocalModel(build_model(3), tokenizer(), schema=SCHEMA, format=answer_format(SCHEMA), max_tokens=90)
    for one in cases:
        result = next(r for r in together[one.suite] if r.case == one.id)
        if one.ask == "choice":
            (weights,) = local.weigh([one.messages], [one.choices])
            wanted = torch.tensor(weights).softmax(0)
            decision = result.decisions[0]
            assert decision.predicted == one.choices[int(wanted.argmax())]
            assert decision.confidence == pytest.approx(float(wanted.max()), abs=1e-3)
            assert result.output == ""
            continue
        if one.ask == "continue":
            (answer,) = local.go_on([one.prompt])
        else:
            (answer,) = local.answer([one.messages], decoding="grammar" if one.ask == "answer" else "free")
        if not answer.text.strip():
            assert result.status == "errored"
            continue
        assert result.output == answer.text.upper()
        if one.ask == "answer":
            assert [d.predicted for d in result.decisions] == [d.best for d in answer.decisions]
            for decision, told in zip(result.decisions, answer.decisions, strict=True):
                assert list(decision.logp.values()) == pytest.approx(told.logp, abs=1e-3)
            assert result.scores[SCHEMA_VALID] == 1.0
        else:
            assert SCHEMA_VALID not in result.scores


def test_batch_size_changes_no_outcome(tiny: Path) -> None:
    cases = mixed(5)
    alike(run(tiny, cases, batch_size=1, **OPTIONS), run(tiny, cases, batch_size=16, **OPTIONS), within=1e-3)


def test_killed_and_resumed_equals_uninterrupted(tiny: Path, tmp_path: Path) -> None:
    cases = mixed(5)

    class Killed(BaseException):
        pass

    def killer(done: int, total: int) -> None:
        if done >= 8:
            raise Killed

    with pytest.raises(Killed):
        run(tiny, cases, batch_size=2, directory=tmp_path, progress=killer, **OPTIONS)
    kept = {p: p.read_bytes() for p in tmp_path.rglob("*.json")}
    assert 0 < len(kept) < 12
    resumed = run(tiny, cases, batch_size=2, directory=tmp_path, **OPTIONS)
    assert {p: p.read_bytes() for p in kept} == kept
    alike(resumed, run(tiny, cases, batch_size=2, **OPTIONS), within=1e-6)


def test_a_system_prompt_that_all_share_is_read_once(tiny: Path) -> None:
    system = {"role": "system", "content": "You sort messages for a help desk. " * 4}
    cases = [replace(one, messages=(system, *one.messages)) for one in mixed(3)]
    alike(run(tiny, cases, batch_size=1, **OPTIONS), run(tiny, cases, batch_size=8, **OPTIONS), within=1e-3)


# --- what is kept


def test_only_what_is_whole_and_the_models_own_is_used_again(tmp_path: Path) -> None:
    cases = [case(n) for n in range(6)]

    def asked(subject: Subject = SUBJECT, **more: Any) -> int:
        fake = Fake()
        run(fake, cases, schema=SCHEMA_2020, subject=subject, directory=tmp_path, batch_size=2, **more)
        return sum(fake.asked)

    assert asked() == 6
    assert asked() == 0
    assert asked(replace(SUBJECT, model="another")) == 6
    assert asked(decoding="free") == 6
    first, second, *_ = sorted(p for p in tmp_path.rglob("*.json"))
    first.write_text(first.read_text()[:-20])
    value = json.loads(second.read_text())
    value["results"][0]["text"] = "changed"
    second.write_text(json.dumps(value))
    again = asked() + asked(replace(SUBJECT, model="another")) + asked(decoding="free")
    assert again == 4
    assert asked() + asked(replace(SUBJECT, model="another")) + asked(decoding="free") == 0


def test_a_new_reference_does_not_run_the_case_again(tmp_path: Path) -> None:
    fake = Fake()
    cases = [case(1)]
    options: dict[str, Any] = {"schema": SCHEMA_2020, "subject": SUBJECT, "directory": tmp_path}
    (before,) = run(fake, cases, **options)["answer"]
    (after,) = run(fake, [replace(cases[0], reference={"intent": "other", "action": "auto"})], **options)["answer"]
    assert fake.asked == [1]
    assert (before.scores[EXACT_MATCH], after.scores[EXACT_MATCH]) == (1.0, 0.0)
    assert before.dataset != after.dataset


def test_a_shard_with_a_failed_case_is_tried_again(tmp_path: Path) -> None:
    def rule(text: str) -> str:
        if "message 1" in text and broken:
            raise RuntimeError("customer Jane")
        return GOOD

    broken, fake = True, Fake(rule)
    options: dict[str, Any] = {"schema": SCHEMA_2020, "subject": SUBJECT, "directory": tmp_path, "batch_size": 2}
    cases = [case(n) for n in range(4)]
    first = run(fake, cases, **options)["answer"]
    assert [r.status for r in first] == ["ok", "errored", "ok", "ok"]
    assert "Jane" not in repr(first)
    broken, fake.asked = False, []
    assert [r.status for r in run(fake, cases, **options)["answer"]] == ["ok"] * 4
    assert sum(fake.asked) == 2


def test_what_has_no_digest_is_not_kept_without_a_subject(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="subject"):
        run(Fake(), [case(1)], directory=tmp_path)


# --- failures


def test_a_case_that_fails_has_the_worst_scores_of_its_kind() -> None:
    def rule(text: str) -> str:
        if "message 2" in text:
            raise ValueError
        return GOOD

    options: dict[str, Any] = {"schema": SCHEMA_2020, "detect": lambda text: (), "flag": lambda text: False}
    for ask in ("answer", "text", "continue"):
        good, bad = run(Fake(rule), [case(1, ask, hazard="x"), case(2, ask, hazard="x")], **options)[ask]
        assert (good.status, bad.status) == ("ok", "errored")
        assert good.scores.keys() == bad.scores.keys()
        assert bad.scores[PII_LEAK] == 1.0
        assert bad.output == ""
        assert (VIOLATION in bad.scores) == (ask == "answer")


@pytest.mark.parametrize("silence", ["", " \n\t"])
def test_silence_is_an_error_and_no_clean_answer(silence: str) -> None:
    found = run(Fake(lambda text: silence if "message 1" in text else GOOD), [case(0, "text"), case(1, "text")])
    assert [r.status for r in found["text"]] == ["ok", "errored"]


@pytest.mark.parametrize("rule", [lambda text: "", lambda text: 1 / 0, lambda text: None, lambda text: 7])
def test_a_model_that_fails_everywhere_is_named(rule: Any) -> None:
    with pytest.raises(BadModelError, match="failed on every case"):
        run(Fake(rule), [case(1), case(2)], schema=SCHEMA_2020)


@pytest.mark.parametrize("given", [[], [Answer(GOOD, (), "stop")] * 3])
def test_too_few_or_too_many_answers_belong_to_no_case(given: list[Answer]) -> None:
    class Short(Fake):
        def answer(self, batch: Any, *, decoding: str) -> list[Answer]:
            return given

    with pytest.raises(BadModelError, match="NoResult"):
        run(Short(), [case(1), case(2)], schema=SCHEMA_2020)


@pytest.mark.parametrize("weights", [[-1.0, -2.0], [math.nan] * 3, [-math.inf, -1.0, -1.0], [0.5, -1.0, -1.0], None])
def test_weights_that_are_no_log_likelihoods_are_an_error(weights: Any) -> None:
    class Odd(Fake):
        def weigh(self, batch: Any, choices: Any) -> Any:
            return [weights if "message 1" in chat[-1]["content"] else [-1.0, -2.0, -3.0] for chat in batch]

    found = run(Odd(), [case(0, "choice"), case(1, "choice")])["choice"]
    assert [r.status for r in found] == ["ok", "errored"]
    assert not found[1].decisions


def test_a_probability_that_is_no_number_is_an_error() -> None:
    odd = LabelDistribution("intent", ("refund",), (math.nan,), (0.0,))
    rule = lambda text: Answer(GOOD, (1,), "stop", (odd,)) if "message 1" in text else GOOD  # noqa: E731
    found = run(Fake(rule), [case(0), case(1)], schema=SCHEMA_2020)["answer"]
    assert [r.status for r in found] == ["ok", "errored"]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingLeftError, match="no case"):
        run(Fake(), [])
    with pytest.raises(DuplicateIdError):
        run(Fake(), [case(1), case(1)])
    with pytest.raises(MissingFileError, match="no such model"):
        run(tmp_path / "none", [case(1)])
    with pytest.raises(BadModelError, match=r"config\.json"):
        run(tmp_path, [case(1)])
    for bad in ({"batch_size": 0}, {"max_tokens": 0}, {"decoding": "grammar"}, {"decoding": "beam"}):
        with pytest.raises(BadInputError):
            run(Fake(), [case(1)], **bad)  # type: ignore[arg-type]
    for heat in (0.0, -1.0, math.nan, math.inf, True):
        with pytest.raises(BadInputError, match="temperature"):
            run(Fake(), [case(1)], schema=SCHEMA_2020, temperature={"intent": heat})
    nested = make_schema({"$schema": SCHEMA_2020.document["$schema"], "type": "array"})
    with pytest.raises(BadSchemaError):
        run(Fake(), [case(1)], schema=nested)
    assert run(Fake(lambda text: "[]"), [case(1)], schema=nested, decoding="free")["answer"][0].scores[SCHEMA_VALID] == 1.0


def test_what_a_model_cannot_do_is_refused_before_anything_is_run() -> None:
    class OnlyAnswers:
        asked = 0

        def answer(self, batch: Any, *, decoding: str) -> list[Answer]:
            self.asked += 1
            return [Answer(GOOD, (), "stop") for _ in batch]

    model = OnlyAnswers()
    for ask, wanted in (("choice", "weigh"), ("continue", "go_on")):
        with pytest.raises(BadModelError, match=wanted):
            run(model, [case(1), case(1, ask)])
    assert model.asked == 0


# --- what is said, and what is not


def test_what_nothing_was_given_for_is_not_scored() -> None:
    (bare,) = run(Fake(), [case(1, hazard="x", carries_pii=True)])["answer"]
    assert bare.scores == {CARRIES_PII: 1.0}
    assert bare.output == ""
    with_schema = run(Fake(), [case(1, hazard="x")], schema=SCHEMA_2020)["answer"][0]
    assert {SCHEMA_VALID, EXACT_MATCH} <= with_schema.scores.keys()
    assert not {PII_ECHO, PII_LEAK, VIOLATION} & with_schema.scores.keys()


def test_a_gate_that_needs_what_was_not_measured_has_no_number() -> None:
    cases = [case(n, carries_pii=True) for n in range(60)]
    results = run(Fake(), cases, schema=SCHEMA_2020, subject=SUBJECT)["answer"]
    request = MeasurementRequest("pii_leak_rate", "answer", None, "student", None, "level", "clopper_pearson", 0.95, "upper")
    (found,) = measure({"student": results}, [request], planned={"answer": {c.id for c in cases}})
    assert found.value is None
    assert found.note


def test_decisions_are_read_off_an_answer_that_gives_no_distribution() -> None:
    (result,) = run(Fake(lambda text: canonical("other", "auto", "x")), [case(1)], schema=SCHEMA_2020)["answer"]
    assert [(d.field, d.predicted, d.confidence, d.correct) for d in result.decisions] == [
        ("intent", "other", None, False),
        ("action", "auto", None, True),
    ]


def test_an_invalid_answer_is_wrong_with_confidence_one() -> None:
    (result,) = run(Fake(lambda text: "no JSON"), [case(1)], schema=SCHEMA_2020)["answer"]
    assert [(d.predicted, d.confidence, d.correct) for d in result.decisions] == [(None, 1.0, False)] * 2


def test_a_text_is_a_decision_as_a_whole() -> None:
    fake = Fake(lambda text: Answer("hello", (1, 2), "stop", logp=math.log(0.25)))
    right, wrong, free = run(fake, [case(1, "text"), case(2, "text", target="bye"), case(3, "text", target=None)])["text"]
    assert right.decisions == (FieldDecision(SEQUENCE, "", 0.25, True, "hello"),)
    assert wrong.decisions[0].correct is False
    assert free.decisions == ()
    (kept,) = run(fake, [case(1, "text")], redact=lambda text: "<T>")["text"]
    assert kept.decisions[0].predicted == kept.output == "<T>"


class _Loud:
    """A suite that adds a case and a score."""

    name = "loud"

    def derive(self, cases: Sequence[Case]) -> list[Case]:
        return [replace(c, id=f"{c.id}/loud", suite="loud", pair=c.id) for c in cases]

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> dict[str, float]:
        return {"loudness": float(answer.text.isupper())}

    def worst(self, case: Case) -> dict[str, float]:
        return {"loudness": 0.0}


def test_suites_add_cases_and_scores() -> None:
    done: list[tuple[int, int]] = []
    found = run(
        Fake(lambda text: 1 / 0 if "message 1" in text else "HI"),
        [case(1, "text"), case(2, "text")],
        suites=[_Loud()],
        batch_size=1,
        progress=lambda n, total: done.append((n, total)),
    )
    assert {suite: [r.scores["loudness"] for r in rows] for suite, rows in found.items()} == {"text": [0, 1], "loud": [0, 1]}
    assert done == [(n, 4) for n in (1, 2, 3, 4)]


# --- pieces


@given(st.lists(st.floats(-50, 0), min_size=2, max_size=6))
def test_choices_are_weighed_by_their_softmax(weights: list[float]) -> None:
    choices = tuple("é" * (n + 1) for n in range(len(weights)))
    by_sum, by_byte = choice_decisions(case(1, "choice", choices=choices, target=choices[0]), weights)
    assert (by_sum.field, by_byte.field) == (CHOICE, CHOICE_PER_BYTE)
    assert math.fsum(map(math.exp, by_sum.logp.values())) == pytest.approx(1.0)
    assert by_sum.predicted == choices[weights.index(max(weights))]
    assert by_sum.confidence == pytest.approx(float(torch.tensor(weights, dtype=torch.float64).softmax(0).max()))
    quotients = [w / (2 * (n + 1)) for n, w in enumerate(weights)]
    assert by_byte.predicted == choices[quotients.index(max(quotients))]
    assert by_sum.correct == (by_sum.predicted == choices[0])


@given(st.lists(st.floats(-1e4, 0), min_size=1, max_size=5))
def test_softmax_of_any_size_sums_to_one(values: list[float]) -> None:
    assert math.fsum(map(math.exp, softmax_logs(values))) == pytest.approx(1.0)


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 7))
def test_shards_hold_every_item_once_and_like_with_like(items: list[int], size: int) -> None:
    shards = cut(items, lambda n: n, size)
    assert sorted(i for shard in shards for i in shard) == list(range(len(items)))
    assert all(len(shard) <= size for shard in shards)
    assert [items[i] for shard in shards for i in shard] == sorted(items)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_only_the_items_that_fail_alone_have_failed(items: list[int]) -> None:
    def work(some: Sequence[int]) -> list[int]:
        if 0 in some:
            raise KeyError("0")
        return [10 * n for n in some]

    assert tried(work, items) == [Failed("KeyError") if n == 0 else 10 * n for n in items]


def test_a_missing_shard_is_none(tmp_path: Path) -> None:
    store = ShardStore(tmp_path, "sha256:x")
    assert store.get("answer", [{"a": 1}]) is None
    store.put("answer", [{"a": 1}], [Failed("X")])
    assert not list(tmp_path.rglob("*.json"))


@settings(max_examples=10)
@given(st.integers(1, 9), st.integers(1, 5))
def test_any_batch_size_gives_a_case_its_own_answer(count: int, size: int) -> None:
    fake = Fake(lambda text: f"echo {text}")
    found = run(fake, [case(n, "text") for n in range(count)], batch_size=size, redact=lambda text: text)["text"]
    assert [r.output.split()[2] for r in found] == [str(n) for n in range(count)]


def test_a_canary_that_a_model_knows_is_exposed_and_another_is_not() -> None:
    key = Subkey("canaries", "k", b"\x07" * 32)
    known, other = canaries(key, 1, 1)
    suite = CanarySuite([known, other], others=63)

    class Knowing(Fake):
        def weigh(self, batch: Any, choices: Any) -> list[list[float]]:
            return [[-1.0 if known.reply in choice else -5.0 - len(choice) % 7 for choice in of_one] for of_one in choices]

    found = run(Knowing(), [case(0)], suites=[suite])
    [exposed], [control] = found["canaries"], found["canary_controls"]
    assert exposed.scores["canary_exposure"] == pytest.approx(6.0)
    assert control.scores["canary_exposure"] < 3
