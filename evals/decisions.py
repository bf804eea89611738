"""Decision fields of a structured answer: where they stand, their labels, and a label's probability.

An answer under a schema is the canonical JSON text ``{"a": "x", "b": "y", "note": "..."}``. Its leading properties with an
``enum`` of strings are the *decision fields*. A label's probability is the product, along its tokens' trie, of the model's
probability of each token renormalised over the trie's branches at that node; the token that carries the closing quote included.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_gov.records.errors import BadSchemaError
from evals.catalogue import RESERVED_FIELDS

__all__ = ["AnswerFormat", "DecisionField", "LabelTrie", "answer_format"]

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class LabelTrie:
    """The token paths of a field's labels, from the opening quote to the token with the closing quote."""

    labels: tuple[str, ...]
    paths: tuple[tuple[int, ...], ...]

    def branches(self, walked: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """Next token -> indices of the labels below it, for the labels whose path starts with ``walked``."""
        depth, start = len(walked), tuple(walked)
        below: dict[int, list[int]] = {}
        for index, path in enumerate(self.paths):
            if path[:depth] == start and len(path) > depth:
                below.setdefault(path[depth], []).append(index)
        return {token: tuple(indices) for token, indices in below.items()}

    @property
    def forks(self) -> tuple[tuple[int, ...], ...]:
        """The nodes at which more than one token is possible, as the paths to them, shortest first."""
        nodes = {path[:depth] for path in self.paths for depth in range(len(path))}
        return tuple(sorted((n for n in nodes if len(self.branches(n)) > 1), key=lambda n: (len(n), n)))

    @property
    def exact_when_greedy(self) -> bool:
        """Whether greedy decoding sees the probability of every label.

        It goes down one path and looks into no branch that it does not take, so it must share the mass of such a branch among
        the branch's labels. That is exact, whatever path is taken, only where all labels part at one node. The probability of
        the label that is written is exact always.
        """
        return len(self.forks) <= 1


@dataclass(frozen=True, slots=True)
class DecisionField:
    """One decision field and its labels, in the schema's order."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The order of an answer's properties and which of them are decisions.

    Args:
        fields: the decision fields, which come first.
        rest: names of the other properties, in order.
        max_characters: the longest text a string property of ``rest`` may hold, by name (None: no limit).
    """

    fields: tuple[DecisionField, ...]
    rest: tuple[str, ...]
    max_characters: Mapping[str, int | None]

    def opening(self, values: Sequence[str]) -> str:
        """Canonical text up to and including the opening quote of the property after ``values``."""
        names = [f.name for f in self.fields] + list(self.rest)
        done = "".join(f"{_json(n)}: {_json(v)}, " for n, v in zip(names, values, strict=False))
        return "{" + done + f'{_json(names[len(values)])}: "'

    def trie(self, encode: Encode, values: Sequence[str]) -> LabelTrie:
        """Token paths of the labels of the decision field after ``values``.

        Raises:
            BadSchemaError: a label's tokens run into the opening text, so that its probability is not defined.
        """
        current = self.fields[len(values)]
        last = len(values) + 1 == len(self.fields) and not self.rest
        start = encode(self.opening(values))
        paths = []
        for label in current.labels:
            # What follows a label decides how its closing quote is cut into tokens; the next property's opening stands for it.
            whole = encode(_closed(self, [*values, label]) if last else self.opening([*values, label]))
            if whole[: len(start)] != start:
                raise BadSchemaError(f"label of `{current.name}` does not start on a token of its own")
            paths.append(_up_to_quote(whole[len(start) :], label, encode))
        return LabelTrie(current.labels, tuple(paths))

    def text(self, value: Mapping[str, Any]) -> str:
        """Canonical text of an answer: properties in the schema's order, ``json.dumps`` separators, only JSON's own escapes."""
        names = [f.name for f in self.fields] + list(self.rest)
        return _json({n: value[n] for n in names if n in value})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _closed(answer: AnswerFormat, values: Sequence[str]) -> str:
    return _json({f.name: v for f, v in zip(answer.fields, values, strict=True)})


def _up_to_quote(tokens: list[int], label: str, encode: Encode) -> tuple[int, ...]:
    own = encode(_json(label)[1:-1])
    for length in range(1, len(tokens) + 1):
        if tokens[:length] != own[:length]:
            return tuple(tokens[:length])
    raise BadSchemaError("a label's closing quote was not found among its tokens")


def answer_format(schema: Mapping[str, Any]) -> AnswerFormat:
    """Read the answer's format from a JSON Schema of a flat object.

    Raises:
        BadSchemaError: not a flat object, or a decision field stands after a free property or bears a reserved name.
    """
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, Mapping) or not properties:
        raise BadSchemaError("answer schema must be an object with `properties`")
    decisions: list[DecisionField] = []
    rest: list[str] = []
    limits: dict[str, int | None] = {}
    for name, rule in properties.items():
        labels = rule.get("enum") if isinstance(rule, Mapping) else None
        if labels and all(isinstance(label, str) for label in labels):
            if rest:
                raise BadSchemaError(f"decision field `{name}` stands after a free property", fix="Put enum properties first.")
            if name in RESERVED_FIELDS:
                raise BadSchemaError(
                    f"decision field `{name}` bears a name that measurements keep for another probability", fix="Rename it."
                )
            decisions.append(DecisionField(name, tuple(labels)))
        elif isinstance(rule, Mapping) and rule.get("type") == "string":
            rest.append(name)
            limits[name] = rule.get("maxLength")
        else:
            raise BadSchemaError(f"property `{name}` is neither a string nor an enum of strings")
    return AnswerFormat(tuple(decisions), tuple(rest), limits)
