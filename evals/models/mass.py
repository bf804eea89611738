"""A model's mass under its grammar along given answers: from one forward pass, without sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from distill_gov.records.errors import BadInputError, BadSchemaError
from evals.catalogue.structured import GRAMMAR_MASS, GRAMMAR_MASS_PER_TOKEN
from evals.grammar import Grammar, GrammarMass, allowed_log_mass
from evals.models.local import LocalModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["grammar_mass", "mass_scores"]


def grammar_mass(
    model: LocalModel,
    chats: Sequence[Sequence[Mapping[str, str]]],
    answers: Sequence[str | Sequence[int]],
    *,
    batch_size: int = 8,
) -> list[GrammarMass | None]:
    """The mass along each answer.

    Args:
        model: with a schema.
        chats: what was asked, without the model's own prefix.
        answers: to each chat the reference answer as text (in the spacing of ``json.dumps``), or the token ids that the model
            gave under the grammar, the end among them.
        batch_size: how many are looked at together.

    Returns:
        One a chat, in order; None where the answer leaves the grammar or does not end in it: along that nothing is defined.

    Raises:
        BadInputError: the model has no schema, or there are not as many answers as chats.
    """
    grammar, end = model.grammar, int(model.tokenizer.eos_token_id)
    if grammar is None or len(chats) != len(answers):
        raise BadInputError("the mass under a grammar needs a model with a schema, and an answer to every chat")
    found: list[GrammarMass | None] = [None] * len(chats)
    ids = [[*model.encode(answer), end] if isinstance(answer, str) else [int(t) for t in answer] for answer in answers]
    # Answers of like length together, so that little is padded.
    order = sorted((n for n, tokens in enumerate(ids) if tokens and tokens[-1] == end), key=lambda n: len(ids[n]))
    for start in range(0, len(order), batch_size):
        masks = {n: allowed for n in order[start : start + batch_size] if (allowed := _masks(grammar, ids[n])) is not None}
        if not masks:
            continue
        # The last token is predicted and never fed.
        rows = [model.prompt_ids(chats[n]) + ids[n][:-1] for n in masks]
        keep = max(len(ids[n]) for n in masks)
        logits = model.logits(rows, keep, model.shared).float().cpu().numpy()
        for row, (n, allowed) in enumerate(masks.items()):
            log_mass = allowed_log_mass(logits[row, keep - len(ids[n]) :], allowed)
            found[n] = GrammarMass(tuple(float(value) for value in log_mass))
    return found


def _masks(grammar: Grammar, tokens: Sequence[int]) -> list[NDArray[np.bool_]] | None:
    try:
        return grammar.masks(tokens)
    except BadSchemaError:
        return None


def mass_scores(mass: GrammarMass | None) -> dict[str, float]:
    """Scores of a case; an answer that leaves the grammar, or never ends, has the worst."""
    if mass is None:
        return {GRAMMAR_MASS: 0.0, GRAMMAR_MASS_PER_TOKEN: 0.0}
    return {GRAMMAR_MASS: mass.product, GRAMMAR_MASS_PER_TOKEN: mass.per_token}
