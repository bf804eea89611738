"""Cutting a student out of a teacher."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, MistralConfig, PreTrainedModel, Qwen2Config, Qwen3Config

from distill_gov.records.errors import BadModelError, MalformedFileError, UnknownKeyError
from distill_gov.records.settings import parse_settings
from distill_gov.settings.student import StudentSettings
from distill_gov.trainer.students import (
    evenly_spaced,
    layer_student,
    make_student_model,
    parameters,
    parameters_of_directory,
    sharpen,
)
from distill_gov.trainer.vocabulary import check_same_vocabulary, token_bytes
from evals.models.batch import lay_out
from tests.tiny import WORDS, build_model, build_tokenizer, tokenizer

IDS = torch.tensor([[5, 6, 7, 8, 9, 5, 7]])
SMALL: dict[str, Any] = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL |= {"tie_word_embeddings": False}
LLAMA_LIKE: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
LLAMA_LIKE |= SMALL
CONFIGS: dict[str, Any] = {
    "qwen2": Qwen2Config(num_key_value_heads=2, layer_types=None, initializer_range=0.3, **LLAMA_LIKE),
    "qwen3": Qwen3Config(num_key_value_heads=2, head_dim=12, initializer_range=0.3, **LLAMA_LIKE),
    "mistral": MistralConfig(num_key_value_heads=2, initializer_range=0.3, **LLAMA_LIKE),
    "gpt2": GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=64, initializer_range=0.3, **SMALL),
}
"""Beside Llama: a bias on queries, keys and values; norms within a head of its own size; a sliding window; another prefix."""


def model_of(kind: str, seed: int = 0) -> PreTrainedModel:
    if kind in ("tied", "untied"):
        return build_model(seed, layers=3, tied=kind == "tied")
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(CONFIGS[kind])  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for weight in model.parameters():
            # A new model's biases and norms say nothing: all the same.
            weight.add_(0.1 * torch.randn_like(weight))
    model.eval()  # type: ignore[no-untyped-call]
    return model


def settings_of(text: str) -> StudentSettings:
    return parse_settings(text, StudentSettings, where="distill.yaml")


def logits(model: PreTrainedModel) -> torch.Tensor:
    training = model.training
    model.eval()  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=IDS).logits
    model.train(training)
    return found


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


# --- what the settings ask for

FULL = "{hidden: 32, heads: 4, kv_heads: 2, mlp: 48}"


@pytest.mark.parametrize("kind", ["tied", "untied", "qwen2", "qwen3", "mistral"])
@pytest.mark.parametrize("width", ["", f"\nwidth: {FULL}"], ids=["layers", "width"])
def test_all_of_it_is_the_teacher_to_the_last_bit(kind: str, width: str) -> None:
    teacher = model_of(kind)
    student = make_student_model(teacher, settings_of(f"layers: 3{width}"))
    assert torch.equal(logits(student.model), logits(teacher))
    assert student.made["layers"] == [0, 1, 2]
    assert student.made["width"].items() >= {"hidden": 32, "heads": 4, "kv_heads": 2, "mlp": 48}.items()


def test_layers_of_another_prefix_are_taken_too() -> None:
    teacher = model_of("gpt2")
    assert torch.equal(logits(make_student_model(teacher, settings_of("layers: 3")).model), logits(teacher))
    student = make_student_model(teacher, settings_of("layers: [0, 2]")).model
    second, third = (
        student.state_dict()["transformer.h.1.mlp.c_fc.weight"],
        teacher.state_dict()["transformer.h.2.mlp.c_fc.weight"],
    )
    assert torch.equal(second, third)
    assert student.config.n_layer == 2


@pytest.mark.parametrize("kind", ["tied", "untied", "qwen2", "qwen3", "mistral"])
def test_a_narrower_student_runs_learns_and_is_saved(kind: str, tmp_path: Path) -> None:
    teacher = model_of(kind)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = make_student_model(teacher, settings_of("layers: [0, 2]\nwidth: {hidden: 20, heads: 2, mlp: 30}"))
    assert parameters(student.model) < parameters(teacher)
    config = student.model.config
    assert (config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.intermediate_size) == (
        20,
        2,
        1,
        30,
    )
    assert student.made["width"]["head_dim"] == config.head_dim == (12 if kind == "qwen3" else 8)
    assert len(student.made["hidden"]) == 20
    assert [len(heads) for heads in student.made["heads"]] == [2, 2]
    for heads, kv_heads in zip(student.made["heads"], student.made["kv_heads"], strict=True):
        assert {head // 2 for head in heads} == set(kv_heads), "a query head stays with the key-value head that serves it"
    student.model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in student.model.parameters())
    student.model.save_pretrained(str(tmp_path))
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(again), logits(student.model))
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_what_carries_nothing_goes_first() -> None:
    """Heads, channels and dimensions whose weights are zero can be cut without changing a logit."""
    teacher = model_of("qwen2")
    weights = teacher.state_dict()
    dead_heads, dead_channels = slice(0, 16), slice(10, 30)  # the first key-value head's two query heads
    with torch.no_grad():
        for layer in range(3):
            at = f"model.layers.{layer}."
            weights[f"{at}self_attn.o_proj.weight"][:, dead_heads] = 0
            weights[f"{at}mlp.down_proj.weight"][:, dead_channels] = 0
    student = make_student_model(teacher, settings_of("layers: 3\nwidth: {heads: 2, mlp: 28}"))
    torch.testing.assert_close(logits(student.model), logits(teacher), atol=1e-5, rtol=1e-5)
    assert student.made["kv_heads"] == [[1]] * 3
    assert student.made["heads"] == [[2, 3]] * 3
    with torch.no_grad():
        for name, value in weights.items():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                value[3:9] = 0
        weights["model.embed_tokens.weight"][:, 3:9] = 0
    kept = make_student_model(teacher, settings_of("layers: 3\nwidth: {hidden: 26}")).made["hidden"]
    assert kept == [i for i in range(32) if not 3 <= i < 9]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("gpt2", "layers: 3\nwidth: {hidden: 16}", "type `gpt2` cannot be changed"),
        ("gpt2", "from: random\nlayers: 2\nwidth: {hidden: 16, heads: 2, mlp: 8}", "type `gpt2` cannot be changed"),
        ("tied", "layers: 4", "student of 4 layers cannot be cut"),
        ("tied", "layers: [0, 3]", "no layer 3"),
        ("tied", "layers: 3\nwidth: {hidden: 33}", "hidden 33 cannot be cut from a base model of 32"),
        ("tied", "layers: 3\nwidth: {heads: 6}", "heads 6 cannot be cut"),
        ("tied", "layers: 3\nwidth: {heads: 3}", "3 heads are not whole groups of 2"),
        ("tied", "layers: 3\nwidth: {heads: 4, kv_heads: 1}", "4 heads on 1 key-value heads cannot be cut from groups of 2"),
        ("tied", "from: random\nlayers: 2\nwidth: {hidden: 20, heads: 3, mlp: 8}", "hidden 20 is not 3 heads"),
    ],
)
def test_what_the_base_model_cannot_give(kind: str, text: str, said: str) -> None:
    with pytest.raises(BadModelError, match=said) as caught:
        make_student_model(model_of(kind), settings_of(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layers: []", "at least one"),
        ("layers: [2, 1]", "ascending"),
        ("layers: [1, 1]", "each once"),
        ("layers: 0", "greater than or equal to 1"),
        ("from: pretrained", "needs a `base`"),
        ("from: pretrained\nbase: models/x\nlayers: 3", "leave `layers` and `width` out"),
        ("from: random\nlayers: 2", "needs `width`"),
        ("from: random\nlayers: 2\nwidth: {hidden: 8, heads: 2}", "needs `width`"),
        ("from: random\nlayers: [0]\nwidth: {hidden: 8, heads: 2, mlp: 4}", "give their number"),
        ("from: somewhere", "`from`"),
        ("width: {}", "names no size"),
        ("width: {heads: 3, kv_heads: 2}", "multiple of `kv_heads`"),
    ],
)
def test_settings_that_make_no_sense(text: str, said: str) -> None:
    with pytest.raises(MalformedFileError, match=said):
        settings_of(text)


def test_a_misspelt_key_is_named_as_the_file_has_it() -> None:
    with pytest.raises(UnknownKeyError, match="Did you mean `from`"):
        settings_of("form: random")


def test_a_pretrained_model_is_taken_as_it_is_and_owns_its_weights(tmp_path: Path) -> None:
    base = model_of("gpt2")
    lay_out(base)
    student = make_student_model(base, settings_of("from: pretrained\nbase: models/gpt2"))
    assert torch.equal(logits(student.model), logits(base))
    with torch.no_grad():
        next(student.model.parameters()).add_(1.0)
    assert not torch.equal(logits(student.model), logits(base))
    assert student.made["layers"] == [0, 1, 2]
    assert student.made["from"] == "pretrained"
    student.model.save_pretrained(str(tmp_path))
    assert student.model.training, "laying it out for decoding would keep it from being saved"


def test_a_random_student_has_the_sizes_asked_for_and_depends_on_its_seed_alone() -> None:
    base = model_of("qwen2")
    settings = settings_of("from: random\nlayers: 5\nwidth: {hidden: 24, heads: 6, kv_heads: 3, mlp: 20}")
    before = torch.random.get_rng_state()
    first, again, other = (make_student_model(base, settings, seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(logits(first), logits(again))
    assert not torch.equal(logits(first), logits(other))
    config = first.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_key_value_heads, config.head_dim) == (5, 24, 3, 4)
    assert config.vocab_size == base.config.vocab_size
    made = make_student_model(base, settings).made
    assert (made["layers"], made["base_layers"]) == ([], 3)


def test_sharpening_another_architecture() -> None:
    model = model_of("gpt2")
    before = logits(model)
    sharpen(model, 3.0)
    torch.testing.assert_close(logits(model), before * 3, atol=1e-4, rtol=1e-4)


# --- the vocabulary


def test_the_same_ids_for_the_same_bytes_are_one_vocabulary() -> None:
    assert token_bytes(tokenizer())[:3] == [b"<|pad|>", b"<|start|>", b"<|end|>"]
    assert b" refund" in token_bytes(tokenizer())
    check_same_vocabulary(tokenizer(), build_tokenizer(), where="here")


def test_the_first_id_that_differs_is_named() -> None:
    words = [*WORDS[:-1], "Massage"]
    other = build_tokenizer(tuple(words))
    assert len(other) == len(tokenizer()), "same size, and still another vocabulary"
    ours, theirs = token_bytes(other), token_bytes(tokenizer())
    first = next(i for i in range(len(ours)) if ours[i] != theirs[i])
    with pytest.raises(BadModelError, match=f"id {first} is ") as caught:
        check_same_vocabulary(tokenizer(), other, where="distill.yaml: student.base")
    assert ascii(ours[first]) in str(caught.value)
    assert ascii(theirs[first]) in str(caught.value)
    more = build_tokenizer()
    more.add_tokens(["zebra"])
    with pytest.raises(BadModelError, match=f"id {len(tokenizer())} is b'zebra' in it, and absent there"):
        check_same_vocabulary(tokenizer(), more, where="here")


def test_another_end_is_another_vocabulary() -> None:
    other = build_tokenizer()
    other.eos_token = "<|pad|>"  # a token of text
    with pytest.raises(BadModelError, match="ends an answer with id 0, the teacher's with 2"):
        check_same_vocabulary(tokenizer(), other, where="here")


def test_parameters_are_told_without_the_weights(tmp_path: Path) -> None:
    model = model_of("tied")
    model.config.save_pretrained(str(tmp_path))
    assert parameters_of_directory(tmp_path) == parameters(model)
    with pytest.raises(BadModelError):
        parameters_of_directory(tmp_path / "none")
