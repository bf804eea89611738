"""A causal language model from a Hugging Face directory, run in batches that are left-padded and share a prompt prefix."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as hf_logging

from distill_gov.records.errors import BadModelError
from evals.decisions import AnswerFormat
from evals.grammar import Grammar
from evals.models.attention import NAME, SharedPrefix, encode_prefix
from evals.models.batch import Batch, lay_out, plain_head
from evals.models.decoding import Decoding, Draw, FormatTokens, FreeWriter, GrammarWriter, Writer, WriterSettings
from evals.models.likelihood import log_likelihoods, sharing_prefix
from evals.models.protocol import Answer

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
        weigh_answers: whether free answers tell their own log-probability.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prefix: Sequence[Mapping[str, str]] = ()
    schema: Mapping[str, Any] | None = None
    format: AnswerFormat | None = None
    temperature: Mapping[str, float] = field(default_factory=dict)
    max_tokens: int = 96
    weigh_answers: bool = False
    _shared: SharedPrefix | None = field(default=None, repr=False)
    _grammar: Grammar | None = field(default=None, repr=False)
    _head: torch.nn.Linear | None = field(default=None, repr=False)
    _tokens: FormatTokens | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.model.set_attn_implementation(NAME)
        lay_out(self.model)
        self._head = plain_head(self.model)
        self._tokens = FormatTokens(self.format, self.encode) if self.format is not None else None
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

    def decode(self, tokens: Sequence[int]) -> str:
        # A tokenizer's own "clean up" would take spaces before punctuation out of the answer.
        return str(self.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))

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
        return self._start([self.prompt_ids(m) for m in batch], decoding == "grammar", self._shared).run()

    def go_on(self, texts: Sequence[str]) -> list[Answer]:
        """Go on with texts as they stand: no template, no prefix, nothing constrained."""
        opening = [cast(int, self.tokenizer.bos_token_id)]
        return self._start([self.encode(text) or opening for text in texts], False, None).run()

    def weigh(self, batch: Sequence[Sequence[Mapping[str, str]]], choices: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-likelihood of each choice as the answer to its chat, without the token that ends an answer.

        Raises:
            BadModelError: a choice has no token.
        """
        options = [[self.encode(choice) for choice in of_one] for of_one in choices]
        if not all(tokens for of_one in options for tokens in of_one):
            raise BadModelError("a choice without any token cannot be weighed")
        before = list(self._shared.tokens) if self._shared else []
        contexts = [before + self.prompt_ids(messages) for messages in batch]
        return log_likelihoods(self.batch, list(zip(contexts, options, strict=True)))

    def _start(self, prompts: Sequence[list[int]], constrained: bool, shared: SharedPrefix | None) -> Decoding:
        if shared is None:
            with torch.inference_mode():
                shared, prompts = sharing_prefix(self.model, prompts)
        writers = [self._writer(constrained) for _ in prompts]
        pending = [ids + w.take_forced() for ids, w in zip(prompts, writers, strict=True)]
        return Decoding(self.batch(shared), writers, pending)

    def _writer(self, constrained: bool, opening: Sequence[int] = (), draw: Draw | None = None) -> Writer:
        settings = WriterSettings(
            end=cast(int, self.tokenizer.eos_token_id),
            max_tokens=self.max_tokens,
            decode=self.decode,
            temperature=self.temperature,
            tokens=self._tokens,
            weigh=self.weigh_answers,
        )
        if constrained and self._grammar is not None:
            return GrammarWriter(settings, self._grammar.start(), opening, draw)
        return FreeWriter(settings)

    def batch(self, shared: SharedPrefix | None) -> Batch:
        """An empty batch behind a prefix."""
        return Batch(self.model, shared, self.tokenizer.pad_token_id or 0, self._head)

    def complete(
        self,
        batch: Batch,
        pending: list[list[int]],
        openings: Sequence[Sequence[int]],
        draws: Sequence[Draw | None] | None = None,
    ) -> list[Answer]:
        """Finish answers whose first tokens (``openings``) are settled, under the grammar.

        The openings move the grammar on but are not fed: what ``batch`` holds, and then ``pending``, stands in their place,
        in a form of its own.

        Args:
            draws: how each answer is drawn; greedily decoded where that is None.
        """
        how = draws if draws is not None else [None] * len(openings)
        writers = [self._writer(True, opening, draw) for opening, draw in zip(openings, how, strict=True)]
        return Decoding(batch, writers, pending).run()

    def time_one(self, messages: Sequence[Mapping[str, str]], *, decoding: str, cached_prefix: bool = True) -> dict[str, float]:
        """Seconds to the first and to the last token of one request alone.

        ``cached_prefix=False`` encodes the shared prefix anew, as a server without a prompt cache would.
        """
        started = time.perf_counter()
        shared = self._shared
        if shared is not None and not cached_prefix:
            shared = encode_prefix(self.model, list(shared.tokens))
        decoding_now = self._start([self.prompt_ids(messages)], decoding == "grammar", shared)
        with torch.inference_mode():
            decoding_now.step()
            first = time.perf_counter() - started
            while decoding_now.active:
                decoding_now.step()
        return {"first_token_s": first, "last_token_s": time.perf_counter() - started}
