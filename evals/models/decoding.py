"""Answers in the making: greedy decoding of a batch, under a grammar (there also by drawing) or freely.

What leaves no choice is fed in one run. Of a free answer nothing is certain, but a model that was taught a format keeps to it:
the format's next run is fed as a guess and stands where the model itself would have written every token of it (speculative
decoding with a draft that costs nothing: Leviathan et al. 2023, arXiv 2211.17192, at temperature 0).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from evals.decisions import AnswerFormat, Encode, LabelTrie
from evals.grammar import GrammarState
from evals.models.batch import Batch
from evals.models.protocol import Answer, LabelDistribution

__all__ = ["Decoding", "Draw", "FormatPath", "FormatTokens", "Writer", "WriterSettings"]

POSITIONS = 256
"""Positions whose logits over the whole vocabulary are held at once."""


class FormatTokens:
    """A format's openings and label tries in tokens, each worked out once."""

    def __init__(self, format: AnswerFormat, encode: Encode) -> None:
        self.format, self._encode = format, encode
        self._openings: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._tries: dict[tuple[str, ...], LabelTrie] = {}

    def opening(self, values: Sequence[str]) -> tuple[int, ...]:
        key = tuple(values)
        if key not in self._openings:
            self._openings[key] = tuple(self._encode(self.format.opening(key)))
        return self._openings[key]

    def trie(self, values: Sequence[str]) -> LabelTrie:
        key = tuple(values)
        if key not in self._tries:
            self._tries[key] = self.format.trie(self._encode, key)
        return self._tries[key]


class FormatPath:
    """Where a canonical answer stands among its decision fields.

    Args:
        onwards: whether the path goes on, behind the decisions, to the opening quote of the property that follows them.
    """

    def __init__(self, tokens: FormatTokens, *, onwards: bool = False) -> None:
        self.tokens, self.onwards = tokens, onwards
        self.values: list[str] = []
        self.walked: list[int] = []
        self._written = 0
        self._literal = list(tokens.opening(()))

    @property
    def deciding(self) -> bool:
        """Whether a decision field is still open."""
        return len(self.values) < len(self.tokens.format.fields)

    @property
    def field(self) -> str:
        return self.tokens.format.fields[len(self.values)].name

    @property
    def trie(self) -> LabelTrie:
        return self.tokens.trie(self.values)

    def branches(self) -> dict[int, tuple[int, ...]]:
        """Tokens that the open field's labels go on with; empty before the field's opening quote."""
        return self.trie.branches(self.walked) if self.deciding and not self._literal else {}

    def certain(self) -> list[int]:
        """Tokens that the format leaves no choice about, to the next branching or the path's end."""
        ahead, run = self._copy(), []
        while (token := ahead._only()) is not None:
            ahead.push(token)
            run.append(token)
        return run

    def _copy(self) -> FormatPath:
        other = FormatPath(self.tokens, onwards=self.onwards)
        other.values, other.walked = list(self.values), list(self.walked)
        other._written, other._literal = self._written, list(self._literal)
        return other

    def _only(self) -> int | None:
        if self._literal:
            return self._literal[0]
        below = self.branches()
        return next(iter(below)) if len(below) == 1 else None

    def push(self, token: int) -> bool:
        """Take one more token; False where it leaves the format."""
        self._written += 1
        if self._literal:
            return self._literal.pop(0) == token
        if not self.deciding or token not in self.branches():
            return False
        self.walked.append(token)
        if tuple(self.walked) in self.trie.paths:
            self._close_label()
        return True

    def _close_label(self) -> None:
        trie = self.trie
        self.values.append(trie.labels[trie.paths.index(tuple(self.walked))])
        self.walked = []
        if self.deciding or (self.onwards and self.tokens.format.rest):
            self._literal = list(self.tokens.opening(self.values)[self._written :])


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """What all answers of a model share."""

    end: int
    """Id of the token that ends an answer."""
    max_tokens: int
    decode: Callable[[list[int]], str] = field(repr=False)
    """From token ids to text."""
    temperature: Mapping[str, float]
    """By decision field."""
    tokens: FormatTokens | None = None
    weigh: bool = False
    """Whether a free answer tells its own log-probability."""


class Writer:
    """One answer in the making."""

    def __init__(self, settings: WriterSettings) -> None:
        self.settings = settings
        self.tokens: list[int] = []
        self.distributions: list[LabelDistribution] = []
        self.finished = False
        self.finish: Literal["stop", "length"] = "length"

    def take_forced(self) -> list[int]:
        """Tokens that leave no choice now. They are settled, and fed together with the token before them."""
        return []

    def guess(self) -> list[int]:
        """Tokens that may well be next. They are fed, and taken back where the model goes on otherwise."""
        return []

    def choices(self) -> list[int]:
        """The only tokens that come next, where they are few: :meth:`decide` is called; else empty, and :meth:`settle` is."""
        return []

    def decide(self, logits: torch.Tensor) -> list[int]:
        """Take one of :meth:`choices` from their logits, and return what to feed: it and the run it forces."""
        raise NotImplementedError

    def settle(self, best: int, logits: torch.Tensor) -> list[int]:
        """Take the next token, and return what to feed.

        Args:
            best: the likeliest token of the whole vocabulary.
            logits: shape (vocabulary,).
        """
        raise NotImplementedError

    def answer(self) -> Answer:
        shown = [t for t in self.tokens if t != self.settings.end]
        return Answer(self.settings.decode(shown), tuple(self.tokens), self.finish, tuple(self.distributions))

    def _end_at(self, token: int) -> bool:
        """Whether the answer ends with the token just written."""
        if token == self.settings.end:
            self.finished, self.finish = True, "stop"
        elif len(self.tokens) >= self.settings.max_tokens:
            self.finished = True
        return self.finished


class FreeWriter(Writer):
    """An answer that nothing constrains."""

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings)
        known = settings.tokens
        self.path = FormatPath(known, onwards=True) if known is not None and known.format.fields else None
        self.logp = 0.0

    def guess(self) -> list[int]:
        # Of a run that would go past the end, what is past it would be for nothing.
        return self.path.certain()[: self.settings.max_tokens - len(self.tokens) - 1] if self.path else []

    def settle(self, best: int, logits: torch.Tensor) -> list[int]:
        self.tokens.append(best)
        if self.settings.weigh:
            self.logp += float(logits[best] - logits.logsumexp(0))
        self._end_at(best)
        if self.path and not self.path.push(best):
            self.path = None
        return [best]

    def answer(self) -> Answer:
        return replace(super().answer(), logp=self.logp if self.settings.weigh else None)


@dataclass(frozen=True, slots=True)
class Draw:
    """How an answer is drawn, not decoded greedily."""

    temperature: float
    seed: str
    """Of this one answer: what it is does not depend on which others are drawn beside it."""


class GrammarWriter(Writer):
    """An answer under a grammar; its decision fields, where the format has some, are chosen along their labels' tries.

    Args:
        opening: tokens that are settled already; the decisions are then among them.
        draw: how tokens are drawn from what the grammar allows; the likeliest is taken without. Decisions are never drawn.
    """

    def __init__(
        self, settings: WriterSettings, state: GrammarState, opening: Sequence[int] = (), draw: Draw | None = None
    ) -> None:
        super().__init__(settings)
        self.draw = draw
        self._random = random.Random(draw.seed) if draw is not None else None
        self.state = state
        known = settings.tokens
        self.path = FormatPath(known) if known is not None and known.format.fields and not opening else None
        self.logp: list[float] = []
        self.raw_logp: list[float] = []
        for token in opening:
            self._accept(token)

    @property
    def deciding(self) -> bool:
        return self.path is not None and self.path.deciding

    def take_forced(self) -> list[int]:
        run = self.path.certain() if self.path is not None and self.path.deciding else []
        for token in run:
            self._walk(token)
        if not self.deciding:
            ahead = self.state.forced()
            run += ahead
            for token in ahead:
                self._accept(token)
        if run and run[-1] == self.settings.end:
            self.finished, self.finish = True, "stop"
        return run

    def choices(self) -> list[int]:
        return list(self.path.branches()) if self.path is not None and self.path.deciding else []

    def decide(self, logits: torch.Tensor) -> list[int]:
        path = self.path
        assert path is not None
        branches = path.branches()
        if not self.logp:
            self.logp, self.raw_logp = [0.0] * len(path.trie.labels), [0.0] * len(path.trie.labels)
        best = int(logits.argmax())
        heat = self.settings.temperature.get(path.field, 1.0)
        raw = torch.log_softmax(logits, 0).tolist()
        hot = raw if heat == 1.0 else torch.log_softmax(logits / heat, 0).tolist()
        for sums, logp in ((self.logp, hot), (self.raw_logp, raw)):
            for position, below in enumerate(branches.values()):
                # Labels below a branch not taken share its mass evenly: greedy decoding never looks further into it.
                share = logp[position] - math.log(len(below)) * (position != best)
                for label in below:
                    sums[label] += share
        return self._onwards(list(branches)[best])

    def settle(self, best: int, logits: torch.Tensor) -> list[int]:
        if self.draw is not None:
            return self._onwards(self._drawn(logits, self.draw.temperature))
        # What is likeliest of all and allowed is likeliest of what is allowed; a mask is made only where it is not.
        if best == self.settings.end or not self.state.accepts(best):
            mask = torch.from_numpy(self.state.mask()).to(logits.device)
            best = int(logits.masked_fill(~mask, float("-inf")).argmax())
        return self._onwards(best)

    def _drawn(self, logits: torch.Tensor, temperature: float) -> int:
        assert self._random is not None
        allowed = torch.from_numpy(self.state.mask()).nonzero().squeeze(1)
        sums = torch.softmax(logits.cpu().double()[allowed] / temperature, 0).cumsum(0)
        # The first token whose cumulated mass is above the draw; one without mass is never it.
        place = torch.searchsorted(sums, self._random.random() * sums[-1], right=True)
        return int(allowed[min(int(place), len(allowed) - 1)])

    def _onwards(self, token: int) -> list[int]:
        self._walk(token)
        return [token] if self._end_at(token) else [token, *self.take_forced()]

    def _walk(self, token: int) -> None:
        """Write a token, and keep the distribution of the decision field that it closes."""
        self._accept(token)
        path = self.path
        if path is None or not path.deciding:
            return
        name, labels, before = path.field, path.trie.labels, len(path.values)
        path.push(token)
        if len(path.values) > before:
            # A field with one label is never weighed: that label has all of the mass.
            logp, raw = self.logp or [0.0], self.raw_logp or [0.0]
            self.distributions.append(LabelDistribution(name, labels, tuple(logp), tuple(raw)))
            self.logp, self.raw_logp = [], []

    def _accept(self, token: int) -> None:
        self.tokens.append(token)
        if token != self.settings.end:
            self.state.accept(token)


class Decoding:
    """Answers that are decoded together, a step at a time. A row leaves the batch when its answer is finished.

    Args:
        pending: what is to be fed first, a row an answer.
    """

    def __init__(self, batch: Batch, writers: Sequence[Writer], pending: Sequence[list[int]]) -> None:
        self.batch, self.writers, self.pending = batch, writers, list(pending)
        self.active = list(range(len(writers)))

    def run(self) -> list[Answer]:
        with torch.inference_mode():
            while self.active:
                self.step()
        return [w.answer() for w in self.writers]

    def step(self) -> None:
        """Feed every row what is settled or guessed, and take what comes next."""
        guesses = {i: self.writers[i].guess() for i in self.active}
        fed = [self.pending[i] + guesses[i] for i in self.active]
        states = self.batch.states(fed, keep=1 + max(map(len, guesses.values())))
        weighed = {row: tokens for row, i in enumerate(self.active) if (tokens := self.writers[i].choices())}
        self._decide(states[:, -1], weighed)
        self._settle(states, {row: guesses[i] for row, i in enumerate(self.active) if row not in weighed})
        still = [row for row, i in enumerate(self.active) if not self.writers[i].finished]
        if len(still) < len(self.active):
            self.batch.keep_rows(still)
            self.active = [self.active[row] for row in still]

    def _decide(self, states: torch.Tensor, weighed: dict[int, list[int]]) -> None:
        """Rows that can only go on with a few tokens: the head is asked for these tokens and no others."""
        if not weighed:
            return
        together = sorted({token for tokens in weighed.values() for token in tokens})
        place = {token: column for column, token in enumerate(together)}
        logits = self.batch.logits(states[list(weighed)], together).float()
        for of_row, (row, tokens) in zip(logits, weighed.items(), strict=True):
            i = self.active[row]
            self.pending[i] = self.writers[i].decide(of_row[[place[token] for token in tokens]])

    def _settle(self, states: torch.Tensor, guesses: dict[int, list[int]]) -> None:
        """Rows that may go on with any token: at the last position, and at every one where a guess stands to be judged."""
        spots = [(row, back) for row, guess in guesses.items() for back in range(len(guess), -1, -1)]
        going = dict.fromkeys(guesses, True)
        for start in range(0, len(spots), POSITIONS):
            some = spots[start : start + POSITIONS]
            rows, backs = [row for row, _ in some], [-1 - back for _, back in some]
            logits = self.batch.logits(states[rows, backs]).float()
            for (row, back), best, of_spot in zip(some, logits.argmax(-1).tolist(), logits, strict=True):
                if going[row]:
                    going[row] = self._judge(row, back, guesses[row], best, of_spot)

    def _judge(self, row: int, back: int, guess: list[int], best: int, logits: torch.Tensor) -> bool:
        """Take one row's next token; whether the guess behind it still stands. ``back`` guessed tokens stand after it."""
        writer = self.writers[self.active[row]]
        feed = writer.settle(best, logits)
        if back and not writer.finished and best == guess[-back]:
            return True
        self.batch.forget(row, back)
        self.pending[self.active[row]] = feed
        return False
