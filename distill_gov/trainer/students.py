"""The student before training: cut out of a model, layers and width; a pretrained model; or a random one.

A cut keeps what its weights say is most important and throws the rest away. The scores are products and sums of weight norms:
they need no data and come out the same everywhere. Sources: L. Muralidharan et al. 2024, "Compact Language Models via Pruning
and Knowledge Distillation" (Minitron: which axes to cut, heads by key-value group, one choice of hidden dimensions for all
layers; its scores are those of activations on calibration data, which weight norms stand in for here); M. Xia et al. 2023,
"Sheared LLaMA" (the same axes, with learnt masks).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadModelError
from distill_gov.settings.student import StudentSettings, WidthSettings

__all__ = [
    "WIDTH_CAN_CHANGE",
    "MadeStudent",
    "evenly_spaced",
    "layer_student",
    "make_student_model",
    "parameters",
    "parameters_of_directory",
    "sharpen",
]

WIDTH_CAN_CHANGE = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose layers can be made narrower: RMSNorm without an offset, rotary positions within a head, grouped-query
attention, a gated feed-forward part, and hidden states that no constant derived from their width is multiplied into (Gemma's
embeddings are)."""

_WHERE = "distill.yaml: student"


@dataclass(frozen=True, slots=True)
class MadeStudent:
    """A student and what it was made of."""

    model: PreTrainedModel
    made: Mapping[str, Any]
    """JSON values: ``from``; ``base_layers``, the number the base model has; ``layers``, those that were taken, from 0 and in
    order, empty where none were; ``width``, the sizes that it came to; and, of a narrowed one, ``hidden`` (dimensions kept),
    ``heads`` and ``kv_heads`` (kept, by layer) and ``mlp`` (digest of the channels kept, by layer)."""


def make_student_model(base: PreTrainedModel, settings: StudentSettings, *, seed: int = 0) -> MadeStudent:
    """The student that the settings ask for, ready to be trained, with weights of its own and on the base model's device.

    Args:
        base: the model that ``settings.base`` names; it is not changed.
        seed: of a random student.

    Raises:
        BadModelError: the base model has no such layers, or cannot be cut to such a width.
    """
    depth = int(base.config.num_hidden_layers)
    facts: dict[str, Any] = {"from": settings.made_from, "base_layers": depth, "layers": []}
    if settings.made_from == "pretrained":
        # Not a deep copy: weights that were laid out for decoding cannot be saved.
        student = _empty(copy.deepcopy(base.config), base)
        student.load_state_dict(base.state_dict())
        facts["layers"] = list(range(depth))
    elif settings.made_from == "random":
        student = _random(base, settings, seed)
    else:
        facts["layers"] = _chosen_layers(depth, settings.layers)
        student = layer_student(base, facts["layers"])
        if settings.width is not None:
            student, kept = _narrowed(student, settings.width)
            facts |= kept
    facts["width"] = _width(student.config)
    student = student.to(base.device)  # type: ignore[arg-type]  # the stub of `to` hides the model's own type
    return MadeStudent(student.train(), facts)


# --- depth


def evenly_spaced(layers: int, wanted: int) -> list[int]:
    """Indices of ``wanted`` layers out of ``layers``, the first and the last among them."""
    if not 1 <= wanted <= layers:
        raise BadModelError(f"a student of {wanted} layers cannot be cut from a teacher of {layers}")
    if wanted == 1:
        return [0]
    return [round(i * (layers - 1) / (wanted - 1)) for i in range(wanted)]


def _chosen_layers(depth: int, wanted: int | Sequence[int]) -> list[int]:
    if isinstance(wanted, int):
        return evenly_spaced(depth, wanted)
    beyond = [layer for layer in wanted if layer >= depth]
    if beyond:
        raise BadModelError(
            f"the base model has no layer {beyond[0]}", where=f"{_WHERE}.layers", fix=f"Its layers are 0 to {depth - 1}."
        )
    return list(wanted)


def layer_student(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """A student with the teacher's embeddings, final norm and the given layers, in order; of any architecture.

    Raises:
        BadModelError: the model's layers are not one list of modules, or not alike.
    """
    stack, depth = _layers_of(teacher), int(teacher.config.num_hidden_layers)
    config = copy.deepcopy(teacher.config)
    for name in _BY_LAYER:
        said = getattr(config, name, None)
        if isinstance(said, list) and len(said) == depth:
            setattr(config, name, [said[i] for i in layers])
    config.num_hidden_layers = len(layers)
    student = _empty(config, teacher)
    source, taken = teacher.state_dict(), {}
    try:
        for name in student.state_dict():
            if name.startswith(f"{stack}."):
                number, _, rest = name.removeprefix(f"{stack}.").partition(".")
                taken[name] = source[f"{stack}.{layers[int(number)]}.{rest}"]
            else:
                taken[name] = source[name]
        student.load_state_dict(taken)
    except (KeyError, RuntimeError) as error:
        raise _no_layers(teacher, "they are not alike") from error
    return student


_BY_LAYER = ("layer_types", "mlp_layer_types", "no_rope_layers", "attention_layers")
"""What configurations say layer by layer (the kind of its attention, its window); it goes with the layer."""


def _layers_of(model: PreTrainedModel) -> str:
    """Where the list of layers lies in a model: ``model.layers``, ``transformer.h``, ``gpt_neox.layers``."""
    depth = model.config.num_hidden_layers
    found = [name for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    # Lists within a layer (experts) may be as long; the layers' own is the outermost.
    outermost: str | None = min(found, key=lambda name: name.count("."), default=None)
    if outermost is None:
        raise _no_layers(model, "they are not one list of modules")
    return outermost


def _no_layers(model: PreTrainedModel, why: str) -> BadModelError:
    return BadModelError(
        f"no layers can be taken from a model of type `{model.config.model_type}`: {why}",
        where=_WHERE,
        fix="Use `from: pretrained`, or another base.",
    )


def _empty(config: PreTrainedConfig, like: PreTrainedModel) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, dtype=next(like.parameters()).dtype
    )
    return model


# --- width


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Of one layer."""

    hidden: int
    heads: int
    kv_heads: int
    mlp: int
    head_dim: int

    @property
    def group(self) -> int:
        """Query heads of one key-value head."""
        return self.heads // self.kv_heads


def _sizes(config: PreTrainedConfig) -> _Sizes:
    heads, hidden = int(config.num_attention_heads), int(config.hidden_size)
    head_dim = getattr(config, "head_dim", None) or hidden // heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    return _Sizes(hidden, heads, int(kv_heads), int(config.intermediate_size), int(head_dim))


def _width(config: PreTrainedConfig) -> dict[str, int]:
    """A model's sizes, as far as its configuration has them by these names."""
    named = {"hidden": "hidden_size", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads"}
    named |= {"mlp": "intermediate_size", "head_dim": "head_dim"}
    found = {key: getattr(config, name, None) for key, name in named.items()}
    return {key: int(value) for key, value in found.items() if value is not None}


def _resized(config: PreTrainedConfig, sizes: _Sizes) -> PreTrainedConfig:
    changed = copy.deepcopy(config)
    changed.hidden_size, changed.intermediate_size = sizes.hidden, sizes.mlp
    changed.num_attention_heads, changed.num_key_value_heads = sizes.heads, sizes.kv_heads
    # Spelled out: else it would follow from the two that changed, and rotary positions with it.
    changed.head_dim = sizes.head_dim
    return changed


def _require_changeable(config: PreTrainedConfig) -> None:
    if config.model_type not in WIDTH_CAN_CHANGE:
        raise BadModelError(
            f"the width of a model of type `{config.model_type}` cannot be changed",
            where=f"{_WHERE}.width",
            fix=f"It can of {', '.join(WIDTH_CAN_CHANGE)}; of this one, drop layers.",
        )


def _narrowed(model: PreTrainedModel, width: WidthSettings) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model of the same depth with the most important heads, channels and hidden dimensions of each layer."""
    _require_changeable(model.config)
    own = _sizes(model.config)
    wanted = _wanted(own, width)
    source, stack = model.state_dict(), _layers_of(model)
    layers = [f"{stack}.{number}." for number in range(model.config.num_hidden_layers)]
    hidden = _top(_hidden_scores(source, layers), wanted.hidden)
    groups = [_kept_heads(source, layer, own, wanted) for layer in layers]
    channels = [_top(_channel_scores(source, layer), wanted.mlp) for layer in layers]
    student = _empty(_resized(model.config, wanted), model)
    taken = {}
    for name in student.state_dict():
        number = int(name.removeprefix(f"{stack}.").partition(".")[0]) if name.startswith(f"{stack}.") else 0
        kv_heads, heads = groups[number]
        kept = {
            "hidden": hidden,
            "q": _rows_of(heads, own.head_dim),
            "kv": _rows_of(kv_heads, own.head_dim),
            "mlp": channels[number],
        }
        value = source[name]
        for axis, what in enumerate(_axes(name, value)):
            if what:
                value = value.index_select(axis, torch.tensor(kept[what], device=value.device))
        taken[name] = value
    student.load_state_dict(taken)
    return student, {
        "hidden": hidden,
        "heads": [heads for _, heads in groups],
        "kv_heads": [kv_heads for kv_heads, _ in groups],
        "mlp": digest_json(channels),
    }


def _wanted(own: _Sizes, width: WidthSettings) -> _Sizes:
    hidden, mlp = width.hidden or own.hidden, width.mlp or own.mlp
    heads = width.heads or (width.kv_heads * own.group if width.kv_heads else own.heads)
    kv_heads = width.kv_heads or _kv_heads(own, heads)
    wanted = _Sizes(hidden, heads, kv_heads, mlp, own.head_dim)
    for name in ("hidden", "heads", "kv_heads", "mlp"):
        if getattr(wanted, name) > getattr(own, name):
            raise BadModelError(
                f"a student of {name} {getattr(wanted, name)} cannot be cut from a base model of {getattr(own, name)}",
                where=f"{_WHERE}.width.{name}",
                fix="Give at most the base model's own.",
            )
    if wanted.heads % wanted.kv_heads or wanted.group > own.group:
        raise BadModelError(
            f"{wanted.heads} heads on {wanted.kv_heads} key-value heads cannot be cut from groups of {own.group}",
            where=f"{_WHERE}.width.heads",
            fix=f"Give a multiple of `kv_heads`, at most {own.group} times it.",
        )
    return wanted


def _kv_heads(own: _Sizes, heads: int) -> int:
    if heads % own.group:
        raise BadModelError(
            f"{heads} heads are not whole groups of {own.group}, as the base model's key-value heads have",
            where=f"{_WHERE}.width.heads",
            fix="Give a multiple of that, or say how many with `kv_heads`.",
        )
    return heads // own.group


_HIDDEN_TO = {"q_proj": "q", "k_proj": "kv", "v_proj": "kv", "gate_proj": "mlp", "up_proj": "mlp"}
_TO_HIDDEN = {"o_proj": "q", "down_proj": "mlp"}
_OF_HIDDEN = ("input_layernorm", "post_attention_layernorm", "norm")
_OF_A_HEAD = ("q_norm", "k_norm")


def _axes(name: str, value: Tensor) -> tuple[str, ...]:
    """What each axis of a weight counts: ``hidden``, ``q`` and ``kv`` (heads by dimensions), ``mlp``; empty: it stays whole."""
    part = name.split(".")[-2]
    if part in ("embed_tokens", "lm_head"):
        return ("", "hidden") if value.ndim == 2 else ("",)
    if part in _HIDDEN_TO:
        return (_HIDDEN_TO[part], "hidden")[: value.ndim]
    if part in _TO_HIDDEN:
        return ("hidden", _TO_HIDDEN[part])[: value.ndim]
    if part in _OF_HIDDEN:
        return ("hidden",)
    if part in _OF_A_HEAD:
        return ("",)
    raise BadModelError(f"the width of a model with weights `{part}` cannot be changed", where=f"{_WHERE}.width")


def _top(scores: Tensor, count: int) -> list[int]:
    """Places of the highest scores, in ascending order; of equal ones the first."""
    order = torch.argsort(scores, descending=True, stable=True)
    return sorted(int(i) for i in order[:count])


def _norms(weight: Tensor, dim: int) -> Tensor:
    found: Tensor = weight.detach().double().norm(dim=dim)
    return found


def _channel_scores(source: Mapping[str, Tensor], layer: str) -> Tensor:
    """Of a feed-forward channel: the product of the norms of what goes in, twice, and of what comes out."""
    into = _norms(source[f"{layer}mlp.gate_proj.weight"], 1) * _norms(source[f"{layer}mlp.up_proj.weight"], 1)
    return into * _norms(source[f"{layer}mlp.down_proj.weight"], 0)


def _head_norms(weight: Tensor, head_dim: int, *, out: bool = False) -> Tensor:
    """Frobenius norm of each head's part of a projection."""
    by_head = (weight.T if out else weight).detach().double()
    found: Tensor = by_head.reshape(-1, head_dim * by_head.shape[1]).norm(dim=1)
    return found


def _kept_heads(source: Mapping[str, Tensor], layer: str, own: _Sizes, wanted: _Sizes) -> tuple[list[int], list[int]]:
    """Key-value heads and query heads kept in a layer.

    A query head's score is the product of the norms of its part of the query and the output projection; a key-value head's the
    sum over the query heads that it serves, times the norms of its keys and its values.
    """
    part = f"{layer}self_attn."
    query = _head_norms(source[f"{part}q_proj.weight"], own.head_dim)
    query = query * _head_norms(source[f"{part}o_proj.weight"], own.head_dim, out=True)
    keys = _head_norms(source[f"{part}k_proj.weight"], own.head_dim)
    values = _head_norms(source[f"{part}v_proj.weight"], own.head_dim)
    served = query.reshape(own.kv_heads, own.group)
    kv_heads = _top(served.sum(1) * keys * values, wanted.kv_heads)
    heads = [kv * own.group + place for kv in kv_heads for place in _top(served[kv], wanted.group)]
    return kv_heads, heads


def _hidden_scores(source: Mapping[str, Tensor], layers: Sequence[str]) -> Tensor:
    """Of a hidden dimension: how much of each matrix that writes to it (embeddings, outputs of attention and feed-forward
    parts) does, every matrix counting alike."""
    embeddings = next(value for name, value in source.items() if name.endswith("embed_tokens.weight"))
    writers = [embeddings.T]
    writers += [source[f"{layer}{part}.weight"] for layer in layers for part in ("self_attn.o_proj", "mlp.down_proj")]
    squares = torch.stack([_norms(weight, 1).square() for weight in writers])
    # A matrix of nothing but zeros writes nothing.
    return (squares / squares.sum(1, keepdim=True).clamp_min(1e-300)).sum(0)


def _rows_of(heads: Sequence[int], head_dim: int) -> list[int]:
    return [head * head_dim + i for head in heads for i in range(head_dim)]


# --- random


def _random(base: PreTrainedModel, settings: StudentSettings, seed: int) -> PreTrainedModel:
    """A model of the base's kind and vocabulary, its weights as the architecture begins; torch's own state stays."""
    _require_changeable(base.config)
    width, layers = settings.width, settings.layers
    assert width is not None
    assert isinstance(layers, int)
    hidden, heads, mlp = width.hidden or 0, width.heads or 0, width.mlp or 0
    if hidden % heads or (hidden // heads) % 2:
        raise BadModelError(
            f"hidden {hidden} is not {heads} heads of one even size",
            where=f"{_WHERE}.width",
            fix="Give a `hidden` that is a multiple of twice `heads`.",
        )
    config = _resized(base.config, _Sizes(hidden, heads, width.kv_heads or heads, mlp, hidden // heads))
    # What the base says of its own layers is not said of these.
    kinds = list(getattr(base.config, "layer_types", None) or [])
    if kinds:
        config.layer_types = [kinds[i % len(kinds)] for i in range(layers)]
    config.num_hidden_layers = layers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _empty(config, base)


# --- what is asked of any student


_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def sharpen(student: PreTrainedModel, factor: float) -> None:
    """Multiply the final norm's weight: logits grow by ``factor``, so answers stay and confidence does not.

    Raises:
        BadModelError: the model has no final norm under a known name.
    """
    body = student.base_model
    norm = next((part for name in _FINAL_NORMS if isinstance(part := getattr(body, name, None), nn.Module)), None)
    if norm is None:
        raise BadModelError(
            f"a model of type `{student.config.model_type}` has no final norm that could be sharpened",
            fix="Leave the control `overconfident` out.",
        )
    with torch.no_grad():
        for weight in norm.parameters():
            weight.mul_(factor)


def parameters(model: PreTrainedModel) -> int:
    return sum(p.numel() for p in model.parameters())


def parameters_of_directory(path: Path) -> int:
    """Parameters of a model in a Hugging Face directory, told from its configuration alone.

    Raises:
        BadModelError: there is none.
    """
    try:
        config = AutoConfig.from_pretrained(str(path), local_files_only=True)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError) as error:
        raise BadModelError("holds no model that can be loaded", where=str(path)) from error
    return parameters(model)
