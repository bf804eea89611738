"""Several teachers' soft targets of one answer, mixed.

Of every teacher only a part of its distribution is stored: some tokens exactly, the mass of all others as one number. A mixture
can be told exactly only where every teacher's mass is known, so its support is what all of them know and everything else is its
tail: the exact mixture on a coarser partition, whose divergences are lower bounds of the whole mixture's (data processing). A
union of the supports would be wrong: what a teacher gives to a token that only another one stored is anything between 0 and its
tail, and to take 0 for it takes mass from exactly the tokens about which the teachers disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import IntegrityError
from distill_gov.teachers.soft_targets import Capture, SoftTargets

__all__ = ["blended", "blended_capture", "blended_identity"]

Known = dict[int, float]
"""Token to mass."""


def blended(targets: Sequence[SoftTargets], weights: Sequence[float]) -> SoftTargets:
    """The mixture of several teachers' distributions along one answer.

    The mixture is of the distributions as they were captured: under the grammar and at their one temperature. A teacher without
    a tail at a position is known on every token there (0 outside its support); so the tokens drawn for ``kind`` ``sampled``,
    which has no tails, are joined: the mean of unbiased estimates is one. A position at which the teachers know no token in
    common has no support and no tail: the mixture's whole mass in one bucket teaches nothing.

    Args:
        weights: one a teacher, not negative, not all 0; they are divided by their sum.

    Raises:
        IntegrityError: the targets are not of one answer, temperature, support and kind, or a decision's labels differ.
    """
    if len(targets) != len(weights) or not targets:
        raise ValueError("one weight for each teacher's targets")
    if not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise ValueError("weights must be finite, not negative, and not all 0")
    _comparable(targets)
    first = targets[0]
    shares = np.array(weights, np.float64) / math.fsum(weights)
    rows = [_mixture([_at(t, j) for t in targets], shares.tolist()) for j in range(first.n)]
    starts = np.zeros(first.n + 1, np.int64)
    starts[1:] = np.cumsum([len(known) for known, _ in rows])
    masses = [mass for known, _ in rows for mass in known.values()]
    with np.errstate(divide="ignore"):
        tails = np.log(np.array([tail for _, tail in rows], np.float64))
    return replace(
        first,
        identity=blended_identity([t.identity for t in targets], weights),
        starts=starts,
        ids=np.array([token for known, _ in rows for token in known], np.int32),
        logp=np.log(np.array(masses, np.float64)).astype(np.float32),
        log_tail=tails.astype(np.float32),
        log_allowed=np.log(shares @ np.exp([t.log_allowed.astype(np.float64) for t in targets])).astype(np.float32),
    )


def blended_capture(captures: Sequence[Capture], weights: Sequence[float]) -> Capture:
    """What the mixture of soft targets with these captures is of: the ``teacher`` is all of them with their weights."""
    parts = [
        [capture.teacher, capture.tokenizer, capture.k, float(weight)]
        for capture, weight in zip(captures, weights, strict=True)
    ]
    return replace(captures[0], teacher=digest_json(["blend/1", parts]), k=min(capture.k for capture in captures))


def blended_identity(identities: Sequence[str], weights: Sequence[float]) -> str:
    """Identity of the mixture of soft targets with these identities."""
    return digest_json(["blend/1", [[name, float(weight)] for name, weight in zip(identities, weights, strict=True)]])


def _comparable(targets: Sequence[SoftTargets]) -> None:
    first = targets[0]
    for other in targets[1:]:
        differing = [
            name
            for name, same in (
                ("example", other.example == first.example),
                ("tokens", np.array_equal(other.token_ids, first.token_ids)),
                ("temperature", other.temperature == first.temperature),
                ("support", other.support == first.support),
                ("kind", other.kind == first.kind),
                ("forced positions", np.array_equal(other.forced, first.forced)),
                ("decision fields", other.field == first.field),
            )
            if not same
        ]
        for j, field in enumerate(first.field) if not differing else ():
            if field and set(other.support_at(j)[0].tolist()) != set(first.support_at(j)[0].tolist()):
                differing = [f"labels of `{field}`"]
        if differing:
            raise IntegrityError(
                f"soft targets of several teachers cannot be mixed: they differ in {differing[0]}",
                where=f"example `{first.example}`",
                fix="Mix teachers of one tokenizer that were captured alike, and build again.",
            )


def _at(targets: SoftTargets, position: int) -> tuple[Known, float]:
    ids, logp = targets.support_at(position)
    mass = np.exp(logp.astype(np.float64)).tolist()
    return dict(zip(ids.tolist(), mass, strict=True)), float(np.exp(np.float64(targets.log_tail[position])))


def _mixture(parts: Sequence[tuple[Known, float]], shares: Sequence[float]) -> tuple[Known, float]:
    """The masses that every teacher knows, in the order in which the teachers name them, and the rest."""
    named = dict.fromkeys(token for known, _ in parts for token in known)
    common = [token for token in named if all(token in known or tail == 0 for known, tail in parts)]
    masses = {
        token: math.fsum(w * known.get(token, 0.0) for w, (known, _) in zip(shares, parts, strict=True)) for token in common
    }
    # What is known to have no mass may as well lie in the tail, where its logarithm need not be written.
    masses = {token: mass for token, mass in masses.items() if mass > 0}
    if not masses:
        return {}, 0.0
    # Summed, not taken from 1: what is left may be far smaller than a float's step at 1.
    outside = [tail + math.fsum(m for token, m in known.items() if token not in masses) for known, tail in parts]
    return masses, math.fsum(w * rest for w, rest in zip(shares, outside, strict=True))
