"""From the teaching set to the rows that a student is trained on, and the teacher that may run along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import BadInputError, BadSchemaError
from distill_gov.settings import LossSettings, StageSettings, TrainSettings
from distill_gov.stages.carried import clean_answered
from distill_gov.teachers.soft_targets import SoftTargets
from distill_gov.teaching_set.examples import TeachingExample
from distill_gov.traces import read_traces, reference_answer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from distill_gov.project import Project
    from distill_gov.stages.targets import TargetMaker
    from distill_gov.trainer.examples import TrainingExample
    from evals.models.local import LocalModel

__all__ = [
    "OwnAnswers",
    "answer_rows",
    "gold_rows",
    "hard_labels_only",
    "rationale_rows",
    "refuse_unteachable",
    "running_teacher",
]

SOFT = ("soft_decisions", "soft_text")
RUNNING = ("hints", "contrastive")
OWN_BATCH = 16


def answer_rows(
    examples: Sequence[tuple[TeachingExample, SoftTargets]], writer: LocalModel, tools: TargetMaker, *, hard_only: bool
) -> list[TrainingExample]:
    """One row an example. The label of an answer that nobody scored is taken for the truth: there is nothing softer."""
    from distill_gov.trainer.examples import TrainingExample

    rows = []
    for example, targets in examples:
        truth = hard_only or example.answer_source == "reference" or not targets.identity
        prompt = tuple(writer.prompt_ids(list(example.messages)))
        rows.append(TrainingExample(example.id, prompt, targets, tools.mask_indices(targets), truth, of=example.trace))
    return rows


def rationale_rows(examples: Sequence[TeachingExample], writer: LocalModel, tools: TargetMaker) -> list[TrainingExample]:
    """One row a rationale, behind the prompt that asks for it."""
    from distill_gov.trainer.examples import rationale

    end = int(tools.tokenizer.eos_token_id)
    return [rationale(e.id, writer.prompt_ids(list(e.messages)), [*tools.encode(e.answer), end]) for e in examples]


@dataclass(frozen=True, slots=True)
class OwnAnswers:
    """What a student answers freely to the prompts that it is taught."""

    tools: TargetMaker
    rows: Sequence[TrainingExample]
    """What it is taught."""
    max_tokens: int

    def left_grammar(self, model: Any, stage: StageSettings) -> list[TrainingExample]:
        """A row for each answer that left the grammar, up to the token with which it did.

        Likeliest tokens are written, so that the same student gives the same rows.
        """
        prompts = list({e.prompt: e.id for e in self.rows if e.kind == "answer" and not e.gold}.items())
        prompts = prompts[: stage.losses.own_answers]
        found = []
        for start in range(0, len(prompts), OWN_BATCH):
            batch = prompts[start : start + OWN_BATCH]
            answers = self._written(model, [prompt for prompt, _ in batch])
            found += [self._left(id, prompt, said) for (prompt, id), said in zip(batch, answers, strict=True)]
        return [row for row in found if row is not None]

    def _left(self, id: str, prompt: Sequence[int], tokens: Sequence[int]) -> TrainingExample | None:
        from distill_gov.trainer.examples import rejected

        assert self.tools.grammar is not None
        state = self.tools.grammar.start()
        for place, token in enumerate(tokens):
            if not state.accepts(token):
                return rejected(f"{id}/left", prompt, tokens[:place], token)
            if token == self.tools.tokenizer.eos_token_id:
                break
            state.accept(token)
        return None

    def _written(self, model: Any, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        import torch

        width, pad = max(map(len, prompts)), int(self.tools.tokenizer.pad_token_id or 0)
        ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=model.device)
        seen = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
        taught = model.training
        model.train(False)
        with torch.no_grad():
            found = model.generate(
                input_ids=ids, attention_mask=seen, max_new_tokens=self.max_tokens, do_sample=False, pad_token_id=pad,
                eos_token_id=self.tools.tokenizer.eos_token_id,
            )  # fmt: skip
        model.train(taught)
        return [row[width:] for row in found.tolist()]


def gold_rows(project: Project, writer: LocalModel, tools: TargetMaker) -> list[TrainingExample]:
    """The gold set's own answers, redacted as the teacher's prompt shows them; none where no stage is taught them.

    Raises:
        BadInputError: a stage asks for gold and there is none, or one that could not be redacted.
    """
    from distill_gov.trainer.examples import TrainingExample

    s = project.settings
    if not any(stage.examples == "gold" for stage in s.train.stages):
        return []
    where = f"distill.yaml: train.stages ({s.gold or 'no gold set'})"
    traces = sorted((t for t in read_traces(project.file(s.gold)) if t.reference), key=lambda t: t.id) if s.gold else []
    if not traces:
        raise BadInputError("a stage is taught the gold set, which has no reference", where=where, fix="Name one under `gold`.")
    rows = []
    for chat in clean_answered(project.redactor, traces, project.format_or_none, reference_answer):
        if chat.refused or chat.answer is None:
            raise BadInputError("a gold message could not be redacted", where=where, fix="Remove it from the file.")
        id = f"gold/{chat.trace}"
        try:
            targets = tools.bare(id, chat.answer)
        except BadSchemaError:
            fix = "Mend its reference, or leave the stage out."
            raise BadInputError(f"the gold answer `{chat.trace}` does not fit the schema", where=where, fix=fix) from None
        prompt = tuple(writer.prompt_ids(list(chat.messages)))
        rows.append(TrainingExample(id, prompt, targets, tools.mask_indices(targets), truth=True, gold=True))
    return rows


def _objectives(settings: TrainSettings) -> list[tuple[str, LossSettings]]:
    named = [(f"train.stages.{stage.name}", stage.losses) for stage in settings.stages]
    return named or [("train.losses", settings.losses)]


def _asks(losses: LossSettings, name: str) -> bool:
    from distill_gov.trainer.objective import is_zero

    return not is_zero(getattr(losses, name))


def refuse_unteachable(project: Project) -> None:
    """Refuse an objective that needs what a recorded teacher cannot give.

    Raises:
        BadInputError: it names hidden states, a teacher that runs along, or, in so many words, soft targets.
    """
    s = project.settings
    if s.teacher.kind != "recorded":
        return
    for where, losses in _objectives(s.train):
        asked = [name for name in RUNNING if _asks(losses, name)]
        asked += [name for name in SOFT if name in losses.model_fields_set and _asks(losses, name)]
        if s.train.soft == "online":
            asked.append("soft: online")
        if asked:
            raise BadInputError(
                f"a recorded teacher has answers and nothing behind them, and the objective asks for {', '.join(asked)}",
                where=f"distill.yaml: {where}",
                fix="Leave that out, or teach with a prompted teacher.",
            )


def hard_labels_only(settings: TrainSettings) -> TrainSettings:
    """The settings where there is nobody to say more than the answers' own tokens."""
    only = {"soft_decisions": 0.0, "soft_text": 0.0, "hard_decisions": 1.0, "hard_text": 1.0, "hints": 0.0, "contrastive": 0.0}
    stages = [stage.model_copy(update={"losses": stage.losses.model_copy(update=only)}) for stage in settings.stages]
    changed = {"losses": settings.losses.model_copy(update=only), "stages": stages, "soft": "cached"}
    return settings.model_copy(update=changed)


def running_teacher(project: Project, settings: TrainSettings, base: str, loaded: PreTrainedModel) -> Any:
    """The teacher's model where the objective needs it beside the student, else None.

    Args:
        base: the model that the student was made from.
        loaded: its weights, which are the teacher's own where it is the same model.
    """
    from evals.models.local import load_model

    needed = any(_asks(losses, name) for _, losses in _objectives(settings) for name in RUNNING)
    online = settings.soft == "online" and any(_asks(losses, name) for _, losses in _objectives(settings) for name in SOFT)
    if not (needed or online):
        return None
    model = project.settings.teacher.model
    return loaded if model == base else load_model(project.model_directory(model))
