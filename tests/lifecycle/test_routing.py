"""Who teaches what: the settings that say so, and the choice of the best."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
import yaml

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.settings import parse_settings
from distill_gov.settings import DistillSettings, TeacherSettings
from distill_gov.stages.routing import best_teachers, value_of
from distill_gov.traces import Trace

TEACHER: Mapping[str, Any] = {
    "kind": "prompted", "model": "m", "licence": "l", "revision": "r", "terms_accepted_by": "", "floor": {"intent": 0.5},
}  # fmt: skip


def read(**changes: Any) -> DistillSettings:
    whole = {"task": "t", "traces": "a", "holdout": "b", "teacher": dict(TEACHER), **changes}
    return parse_settings(yaml.safe_dump(whole), DistillSettings, where="distill.yaml")


def other(**changes: Any) -> dict[str, Any]:
    return {"other": {**TEACHER, **changes}}


TO_OTHER = {"by": "slice", "to": {"x": "other"}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teachers": other()}, "nothing is given to the teacher `other`"),
        ({"teachers": {"teacher": dict(TEACHER)}}, "give it another name"),
        ({"teachers": {"Ada B.": dict(TEACHER)}}, "should match pattern"),
        ({"routing": {"by": "slice", "to": {"x": "othr"}}, "teachers": other()}, "did you mean `other`"),
        ({"routing": {"by": "slice", "to": "best"}}, "chooses among `teachers`, and none is named"),
        ({"routing": {"by": "slice", "to": "worst"}, "teachers": other()}, "routing.to"),
        ({"routing": TO_OTHER, "blend": {"teacher": 1.0, "other": 1.0}, "teachers": other()}, "take one out"),
        ({"blend": {"teacher": 1.0, "nobody": 1.0}}, "`blend` names no teacher that there is"),
        ({"blend": {"other": 1.0}, "teachers": other()}, "at least two"),
        ({"blend": {"teacher": 1.0, "other": 0.0}, "teachers": other()}, "above 0"),
        ({"blend": {"teacher": 1.0, "other": -1.0}, "teachers": other()}, "above 0"),
        (
            {"blend": {"teacher": 1.0, "other": 1.0}, "teachers": other(temperature=1.0)},
            "`teachers.other.temperature` is not the default teacher's",
        ),
        ({"blend": {"teacher": 1.0, "other": 1.0}, "teachers": other(soft_targets=False)}, "the teacher `other` gives none"),
        ({"routing": TO_OTHER, "teachers": other(kind="recorded")}, "must all be `prompted`"),
        ({"teacher": {**TEACHER, "kind": "recorded", "samples": 2}}, "is not asked again"),
    ],
)
def test_teachers_that_cannot_be_meant(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedFileError) as raised:
        read(**changes)
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_teachers_that_can() -> None:
    routed = read(teachers=other(), routing=TO_OTHER)
    assert list(routed.all_teachers) == ["teacher", "other"]
    assert read(teachers=other(), blend={"other": 1.0, "teacher": 2.0}).blend == {"other": 1.0, "teacher": 2.0}
    assert read(teachers=other(), routing={"by": "language", "to": "best"}).routing is not None


def test_settings_that_ask_for_nothing_new_leave_a_former_build_valid() -> None:
    before = {
        "kind", "model", "licence", "revision", "terms_accepted_by", "note", "orders", "floor", "top_k", "temperature",
        "max_tokens",
    }  # fmt: skip
    assert set(TeacherSettings(**TEACHER).shaping()) == before
    assert TeacherSettings(**TEACHER, samples=2).shaping()["samples"] == 2


def test_the_best_is_chosen_for_each_value_on_enough_cases() -> None:
    values = ["a", "a", "b", "b", "c", "a"]
    scores = {"teacher": [1, 0, 1, 0.5, 0, 0], "other": [1, 1, 0.5, 1, 1, 0]}
    choices = {c.value: c for c in best_teachers(scores, values, ["a", "b", "c", "d", "a"], 2)}
    assert {value: (c.teacher, c.why, c.cases) for value, c in choices.items()} == {
        "a": ("other", "best", 3),
        "b": ("teacher", "tie", 2),
        "c": ("teacher", "few_cases", 1),
        "d": ("teacher", "few_cases", 0),
    }
    assert choices["a"].accuracy == pytest.approx({"teacher": 1 / 3, "other": 2 / 3})
    assert choices["c"].accuracy == {}


def test_a_trace_is_routed_by_its_language_or_a_tag() -> None:
    trace = Trace(
        id="t", group="g", messages=({"role": "user", "content": "x"},), consent="granted", licence="l",
        retention_until=date(2030, 1, 1), language="de", tags={"slice": "plain", "urgent": True},
    )  # fmt: skip
    found = [value_of(trace, by) for by in ("language", "slice", "urgent", "missing")]
    assert found == ["de", "plain", "true", "(none)"]
