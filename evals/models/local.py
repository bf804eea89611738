"""A causal language model from a Hugging Face directory, run in batches that are left-padded and share a prompt prefix."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as hf_logging

from distill_gov.records.errors import BadModelError
from evals.decisions import AnswerFormat
from evals.grammar import Grammar
from evals.models.attention import NAME, SharedPrefix, encode_prefix
from evals.models.protocol import Answer, LabelDistribution

__all__ = ["Batch", "LocalModel", "load_model", "load_tokenizer", "render_template"]


def render_template() -> str:
    """The chat template that students ship: no default system prompt, and every prompt ends in a special token.

    An assistant turn is only the answer between the two special tokens, so that its ids never depend on what stands before.
    """
    return (
        "{% for message in messages %}{{ bos_token }}"
        "{% if message['role'] != 'assistant' %}{{ message['role'] + '\n' }}{% endif %}"
        "{{ message['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token }}{% endif %}"
    )


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a model directory.

    Raises:
        BadModelError: no fast tokenizer with a bos and an eos token lies there.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise BadModelError("holds no tokenizer that can be loaded", where=str(path)) from error
    if not getattr(tokenizer, "is_fast", False) or tokenizer.eos_token_id is None or tokenizer.bos_token_id is None:
        raise BadModelError("tokenizer must be a fast one with a bos and an eos token", where=str(path))
    return cast(PreTrainedTokenizerFast, tokenizer)


def load_model(path: Path) -> PreTrainedModel:
    """Load a causal language model in float32 on the CPU, or in the checkpoint's type on an accelerator.

    Raises:
        BadModelError: the directory holds no such model.
    """
    if not (path / "config.json").is_file():
        raise BadModelError(
            "holds no model (config.json is missing)", where=str(path), fix="Give a Hugging Face model directory."
        )
    # Loading takes under two seconds, and its bar would stand in every log.
    hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(path), dtype=torch.float32 if device.type == "cpu" else "auto", local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadModelError(f"holds no model that can be loaded ({type(error).__name__})", where=str(path)) from error
    # The stub of `to` hides the model's own type behind a decorator.
    return cast(PreTrainedModel, model.to(device).eval())  # type: ignore[arg-type]


@dataclass
class LocalModel:
    """A model with its tokenizer, chat template and, optionally, a grammar for its answers.

    Args:
        model, tokenizer: as loaded.
        prefix: messages that stand before every chat (system prompt and examples); encoded once.
        schema: JSON Schema of the answers, or None for free text.
        temperature: by decision field, the temperature fitted on ``dev``; it changes confidences, never the label chosen.
        max_tokens: the longest answer, in tokens.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prefix: Sequence[Mapping[str, str]] = ()
    schema: Mapping[str, Any] | None = None
    format: AnswerFormat | None = None
    temperature: Mapping[str, float] = field(default_factory=dict)
    max_tokens: int = 96
    _shared: SharedPrefix | None = field(default=None, repr=False)
    _grammar: Grammar | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.model.set_attn_implementation(NAME)
        if self.schema is not None:
            self._grammar = Grammar.compile(self.schema, self.tokenizer, int(self.model.config.vocab_size))
        if self.prefix:
            self._shared = encode_prefix(self.model, self.encode(self.chat_text(self.prefix, answer=False)))

    @property
    def grammar(self) -> Grammar | None:
        return self._grammar

    @property
    def shared(self) -> SharedPrefix | None:
        return self._shared

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def chat_text(self, messages: Sequence[Mapping[str, str]], *, answer: bool = True) -> str:
        """Text of a chat under the template; ``answer``: with the opening of the answer."""
        return str(
            self.tokenizer.apply_chat_template(
                [dict(m) for m in messages], tokenize=False, add_generation_prompt=answer, chat_template=render_template()
            )
        )

    def prompt_ids(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a chat up to the answer. The last one is a special token (asserted)."""
        ids = self.encode(self.chat_text(messages))
        if ids[-1] not in self.tokenizer.all_special_ids:
            raise BadModelError("the prompt does not end in a special token")
        return ids

    # -- forward passes ---------------------------------------------------------------------------------------------------

    def logits(self, prompts: Sequence[Sequence[int]], keep: int, shared: SharedPrefix | None = None) -> torch.Tensor:
        """Logits at the last ``keep`` positions of each left-padded row, shape (rows, keep, vocabulary)."""
        batch = self.batch(shared)
        with torch.inference_mode():
            return batch.feed([list(p) for p in prompts], keep=keep)

    def answer(self, batch: Sequence[Sequence[Mapping[str, str]]], *, decoding: str) -> list[Answer]:
        """Answer chats. ``decoding``: ``grammar`` (under the schema) or ``free``."""
        writers = [_Writer(self, decoding == "grammar" and self._grammar is not None) for _ in batch]
        pending = [self.prompt_ids(m) + w.take_forced() for m, w in zip(batch, writers, strict=True)]
        self._decode(pending, writers, self.batch(self._shared))
        return [w.answer() for w in writers]

    def batch(self, shared: SharedPrefix | None) -> Batch:
        """An empty batch behind a prefix."""
        return Batch(self.model, shared, self.tokenizer.pad_token_id or 0)

    def complete(self, batch: Batch, pending: list[list[int]], openings: Sequence[Sequence[int]]) -> list[Answer]:
        """Finish answers whose first tokens (``openings``) are settled, under the grammar.

        The openings move the grammar on but are not fed: what ``batch`` holds, and then ``pending``, stands in their place,
        in a form of its own.
        """
        writers = [_Writer(self, True, opening) for opening in openings]
        self._decode(pending, writers, batch)
        return [w.answer() for w in writers]

    def _decode(self, pending: list[list[int]], writers: Sequence[_Writer], batch: Batch) -> None:
        active = list(range(len(writers)))
        with torch.inference_mode():
            while active:
                logits = batch.feed([pending[i] for i in active], keep=1)[:, -1].float()
                still = []
                for row, i in enumerate(active):
                    pending[i] = writers[i].choose(logits[row])
                    if not writers[i].finished:
                        still.append(row)
                if len(still) < len(active):
                    batch.keep_rows(still)
                    active = [active[row] for row in still]

    def time_one(self, messages: Sequence[Mapping[str, str]], *, decoding: str, cached_prefix: bool = True) -> dict[str, float]:
        """Seconds to the first and to the last token of one request alone.

        ``cached_prefix=False`` encodes the shared prefix anew, as a server without a prompt cache would.
        """
        started = time.perf_counter()
        shared = self._shared
        if shared is not None and not cached_prefix:
            shared = encode_prefix(self.model, list(shared.tokens))
        writer = _Writer(self, decoding == "grammar" and self._grammar is not None)
        batch = self.batch(shared)
        pending = self.prompt_ids(messages) + writer.take_forced()
        first = 0.0
        with torch.inference_mode():
            while not writer.finished:
                pending = writer.choose(batch.feed([pending], keep=1)[0, -1].float())
                first = first or time.perf_counter() - started
        return {"first_token_s": first, "last_token_s": time.perf_counter() - started}


class Batch:
    """Rows that are decoded together: their cache, their padding, their positions."""

    def __init__(self, model: PreTrainedModel, shared: SharedPrefix | None, pad: int) -> None:
        self.model, self.shared, self.pad = model, shared, pad
        self.offset = len(shared.tokens) if shared else 0
        self.cache = DynamicCache()
        self.mask: torch.Tensor | None = None

    def feed(self, rows: Sequence[Sequence[int]], *, keep: int) -> torch.Tensor:
        """Add tokens to each row (ragged, left-padded) and return logits of the last ``keep`` positions."""
        logits: torch.Tensor = self._run(rows, keep).logits
        return logits

    def feed_and_look(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Add tokens and return, of the last position, the logits (rows, vocabulary) and the hidden state that the output
        head sees (rows, width)."""
        out = self._run(rows, 1, output_hidden_states=True)
        return out.logits[:, -1], out.hidden_states[-1][:, -1]

    def _run(self, rows: Sequence[Sequence[int]], keep: int, **asked: Any) -> Any:
        width = max(len(r) for r in rows)
        ids = torch.tensor([[self.pad] * (width - len(r)) + list(r) for r in rows])
        real = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
        before = torch.zeros(len(rows), 1, dtype=torch.long) if self.mask is None else self.mask.sum(1, keepdim=True)
        self.mask = real if self.mask is None else torch.cat([self.mask, real], 1)
        positions = (self.offset + before + real.cumsum(1) - 1).clamp_min(0)
        device = self.model.device
        extra = {"shared_prefix": self.shared} if self.shared else {}
        return self.model(
            input_ids=ids.to(device),
            attention_mask=self.mask.to(device),
            position_ids=positions.to(device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
            **extra,
            **asked,
        )

    def keep_rows(self, rows: Sequence[int]) -> None:
        if rows and self.mask is not None:
            index = torch.tensor(rows)
            self.cache.batch_select_indices(index.to(self.model.device))
            self.mask = self.mask[index]


class _Writer:
    """One answer in the making: what is forced, what is allowed, what was chosen."""

    def __init__(self, owner: LocalModel, constrained: bool, opening: Sequence[int] = ()) -> None:
        self.owner = owner
        self.tokens: list[int] = []
        self.values: list[str] = []
        self.walked: list[int] = []
        self.distributions: list[LabelDistribution] = []
        self.finished = False
        self.finish: Any = "length"
        self.state = owner.grammar.start() if constrained and owner.grammar else None
        self.logp: list[float] = []
        self.raw_logp: list[float] = []
        self.deciding = constrained and owner.format is not None and not opening and bool(owner.format.fields)
        for token in opening:
            self._accept(token)

    def take_forced(self) -> list[int]:
        """Tokens that leave no choice now; they are fed together with the token before them."""
        run: list[int] = []
        if self.state is not None:
            run = self._next_literal() if self.deciding else self.state.forced()
        for token in run:
            self._accept(token)
        return run

    def _next_literal(self) -> list[int]:
        answer = self.owner.format
        assert answer is not None
        if self.walked or len(self.values) >= len(answer.fields):
            return []
        wanted = self.owner.encode(answer.opening(self.values))
        return wanted[len(self.tokens) :]

    def choose(self, logits: torch.Tensor) -> list[int]:
        """Take the next token from its logits (vocabulary,) and return what to feed: it and the run it forces."""
        token = self._decide(logits) if self.deciding else self._next(logits)
        self._accept(token)
        if token == self.owner.tokenizer.eos_token_id:
            self.finished, self.finish = True, "stop"
            return [token]
        if len(self.tokens) >= self.owner.max_tokens:
            self.finished = True
            return [token]
        run = self._rest_of_label() if self.deciding else []
        return [token, *run, *self._forced_now()]

    def _forced_now(self) -> list[int]:
        run = self.take_forced()
        if run and run[-1] == self.owner.tokenizer.eos_token_id:
            self.finished, self.finish = True, "stop"
        return run

    def _next(self, logits: torch.Tensor) -> int:
        if self.state is not None:
            logits = logits.masked_fill(~torch.from_numpy(self.state.mask()).to(logits.device), float("-inf"))
        return int(logits.argmax())

    def _decide(self, logits: torch.Tensor) -> int:
        answer = self.owner.format
        assert answer is not None
        trie = answer.trie(self.owner.encode, self.values)
        branches = trie.branches(self.walked)
        current = answer.fields[len(self.values)]
        heat = self.owner.temperature.get(current.name, 1.0)
        tokens = list(branches)
        if not self.walked:
            self.logp, self.raw_logp = [0.0] * len(trie.labels), [0.0] * len(trie.labels)
        best = int(logits[tokens].argmax())
        for sums, temperature in ((self.logp, heat), (self.raw_logp, 1.0)):
            logp = torch.log_softmax(logits[tokens] / temperature, 0).tolist()
            for position, token in enumerate(tokens):
                # Labels below a branch not taken share its mass evenly: greedy decoding never looks further into it.
                share = logp[position] - math.log(len(branches[token])) * (position != best)
                for label in branches[token]:
                    sums[label] += share
        self.walked.append(tokens[best])
        return tokens[best]

    def _rest_of_label(self) -> list[int]:
        answer = self.owner.format
        assert answer is not None
        trie = answer.trie(self.owner.encode, self.values)
        run: list[int] = []
        branches = trie.branches(self.walked)
        while len(branches) == 1:
            (token,) = branches
            self._accept(token)
            self.walked.append(token)
            run.append(token)
            branches = trie.branches(self.walked)
        if not branches:
            chosen = trie.paths.index(tuple(self.walked))
            name = answer.fields[len(self.values)].name
            self.distributions.append(LabelDistribution(name, trie.labels, tuple(self.logp), tuple(self.raw_logp)))
            self.values.append(trie.labels[chosen])
            self.walked = []
            self.deciding = len(self.values) < len(answer.fields)
        return run

    def _accept(self, token: int) -> None:
        self.tokens.append(token)
        if self.state is not None and token != self.owner.tokenizer.eos_token_id:
            self.state.accept(token)

    def answer(self) -> Answer:
        end = self.owner.tokenizer.eos_token_id
        shown = [t for t in self.tokens if t != end]
        # A tokenizer's own "clean up" would take spaces before punctuation out of the answer.
        text = str(self.owner.tokenizer.decode(shown, clean_up_tokenization_spaces=False))
        return Answer(text, tuple(self.tokens), self.finish, tuple(self.distributions))
