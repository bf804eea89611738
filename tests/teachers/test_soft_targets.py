"""Soft targets in memory, and what shaped them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from distill_gov.records.errors import HashMismatchError, IntegrityError, MalformedFileError
from distill_gov.teachers.soft_targets import Capture, SoftTargets, at_temperature, one_support

CAPTURE = Capture("teacher", "tokenizer", "template", "prompt", "text", 2.0, 32, "grammar")


def one(name: str = "a") -> SoftTargets:
    return SoftTargets.ragged(
        name, "sha256:1", "grammar", 2.0, token_ids=(5, 2), field=("", ""), forced=(False, True), ids=((5, 6), ()),
        logp=((-0.5, -1.0), ()), log_tail=(-3.0, None), log_allowed=(0.0, 0.0),
    )  # fmt: skip


def whole(logits: Any, temperature: float) -> SoftTargets:
    """Every token's probability at two positions, with one between them that is forced."""
    z = np.asarray(logits) / temperature
    logp = (z - np.logaddexp.reduce(z)).tolist()
    ids = list(range(len(logp)))
    return SoftTargets.ragged(
        "a", "i", "full", temperature, token_ids=(0, 1, 0), field=("", "", "intent"), forced=(False, True, False),
        ids=(ids, (), ids[::-1]), logp=(logp, (), logp[::-1]), log_tail=(None,) * 3, log_allowed=(0.0,) * 3,
    )  # fmt: skip


def test_a_position_has_its_own_support() -> None:
    targets = one()
    assert targets.n == 2
    assert [part.tolist() for part in targets.support_at(0)] == [[5, 6], [-0.5, -1.0]]
    assert [part.tolist() for part in targets.support_at(1)] == [[], []]
    assert targets.log_tail.tolist() == [-3.0, -np.inf]


def test_equality_is_by_content() -> None:
    assert one() == one()
    assert hash(one()) == hash(one())
    for changed in (one("b"), replace(one(), logp=np.array([-0.5, -1.1], np.float32)), replace(one(), kind="sampled")):
        assert one() != changed
    assert one() != "a"


def test_supports_can_be_exchanged() -> None:
    other = (np.array([9], np.int32), np.array([0.0], np.float32), -np.inf)
    changed = one().with_support({0: other})
    assert (changed.ids.tolist(), changed.starts.tolist(), changed.log_tail.tolist()) == ([9], [0, 1, 1], [-np.inf] * 2)
    assert one().with_support({0: (*one().support_at(0), -3.0)}) == one()


def test_targets_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        one().temperature = 1.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        one().ids[0] = 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"logp": np.zeros(3, np.float32)}, {"forced": np.zeros(1, np.bool_)}, {"field": ("",)},
        {"starts": np.array([0, 3, 2])}, {"starts": np.array([1, 2, 2])}, {"starts": np.array([0, 1, 1])},
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedFileError, match="`a`"):
        replace(one(), **wrong)


def test_targets_of_two_supports_teach_nobody_together() -> None:
    one_support([])
    one_support([one("a"), one("b")])
    with pytest.raises(IntegrityError, match="full, grammar") as caught:
        one_support([one(), replace(one(), support="full")])
    assert caught.value.exit_code == 4


# -- what shaped them -------------------------------------------------------------------------------------------------------


def test_the_identity_covers_every_part_and_differences_have_names() -> None:
    seen = {CAPTURE.identity}
    for field in fields(Capture):
        value = getattr(CAPTURE, field.name)
        other = replace(CAPTURE, **{field.name: value + ("x" if isinstance(value, str) else 1)})
        assert CAPTURE.differences(other) == [field.name]
        seen.add(other.identity)
    assert len(seen) == 9
    assert CAPTURE.differences(replace(CAPTURE)) == []


def test_a_capture_holds_no_text() -> None:
    parts: dict[str, Any] = {"teacher": "t", "tokenizer": "v", "template": "x", "temperature": 2, "k": 4, "support": "full"}
    capture = Capture.of(prompt="what I asked", text="what it said", **parts)
    assert "asked" not in repr(capture)
    assert "said" not in repr(capture)
    assert capture != Capture.of(prompt="what I asked", text="what it says", **parts)


# -- another temperature ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [0.5, 1.0, 3.0])
def test_another_temperature_is_exact_where_every_token_is_known(other: float) -> None:
    logits = [2.0, 1.0, 0.0, -1.0]
    assert at_temperature(whole(logits, 2.0), 2.0) == whole(logits, 2.0)
    again, wanted = at_temperature(whole(logits, 2.0), other), whole(logits, other)
    np.testing.assert_allclose(again.logp, wanted.logp, atol=1e-6)
    assert replace(again, logp=wanted.logp) == wanted


def test_another_temperature_cannot_be_told_from_a_tail_or_a_sample() -> None:
    for targets in (one(), replace(whole([1.0, 1.0], 2.0), kind="sampled")):
        assert at_temperature(targets, 2.0) == targets
        with pytest.raises(
            HashMismatchError, match=r"`a` were captured at another temperature \(2, asked for is 1\)"
        ) as caught:
            at_temperature(targets, 1.0)
        assert caught.value.exit_code == 4
