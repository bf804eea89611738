"""Cutting a student out of a teacher."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadModelError
from distill_gov.trainer.students import evenly_spaced, layer_student, parameters, sharpen
from tests.tiny import build_model


@given(st.integers(1, 60), st.data())
def test_layers_are_spread_from_the_first_to_the_last(layers: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, layers))
    found = evenly_spaced(layers, wanted)
    assert len(found) == wanted
    assert found == sorted(set(found))
    assert found[0] == 0
    assert wanted == 1 or found[-1] == layers - 1
    gaps = [b - a for a, b in pairwise(found)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("wanted", [0, -1, 5])
def test_more_layers_than_there_are(wanted: int) -> None:
    with pytest.raises(BadModelError, match="cannot be cut"):
        evenly_spaced(4, wanted)


@pytest.mark.parametrize("tied", [True, False])
def test_the_student_has_the_teachers_layers(tied: bool) -> None:
    teacher = build_model(1, layers=4, tied=tied)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    student = layer_student(teacher, [0, 2, 3])
    assert student.config.num_hidden_layers == 3
    assert teacher.config.num_hidden_layers == 4
    for name, value in student.state_dict().items():
        parts = name.split(".")
        if "layers" in parts:
            parts[2] = str([0, 2, 3][int(parts[2])])
        assert torch.equal(value, before[".".join(parts)])
    assert parameters(student) < parameters(teacher)
    with torch.no_grad():
        next(student.parameters()).add_(1.0)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items()), "the student must own its weights"


def test_all_layers_give_the_teacher_itself() -> None:
    teacher = build_model(2, layers=3)
    student = layer_student(teacher, evenly_spaced(3, 3)).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        torch.testing.assert_close(student(input_ids=ids).logits, teacher(input_ids=ids).logits)


def test_sharpening_scales_the_logits() -> None:
    model = build_model(3)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        sharpen(model, 3.0)
        after = model(input_ids=ids).logits
    torch.testing.assert_close(after, before * 3, atol=1e-4, rtol=1e-4)
    assert torch.equal(after.argmax(-1), before.argmax(-1))
    assert (after.softmax(-1).amax(-1) > before.softmax(-1).amax(-1)).all()
