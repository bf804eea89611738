"""Whether two tokenizers mean the same by their ids: soft targets of the one are targets for a model of the other only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill_gov.records.errors import BadModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["check_same_vocabulary", "token_bytes"]


def token_bytes(tokenizer: PreTrainedTokenizerFast) -> list[bytes]:
    """The bytes that each id stands for, by id; what pads a model's vocabulary beyond the tokenizer's is no id."""
    import llguidance.hf

    wrapped = llguidance.hf.from_tokenizer(tokenizer, slices=[])
    return [wrapped.decode_bytes([number]) for number in range(len(tokenizer))]


def check_same_vocabulary(teacher: PreTrainedTokenizerFast, student: PreTrainedTokenizerFast, *, where: str) -> None:
    """Compare what two tokenizers' ids stand for, and where an answer ends.

    Models may pad their vocabularies differently (151,936 and 152,064 rows for one tokenizer): only ids that the tokenizers
    have are compared. How a text is cut into ids may differ; the teacher's cut is taught.

    Raises:
        BadModelError: names the first id that differs.
    """
    fix = "Use a model of the teacher's tokenizer, or a teacher of another kind (`kind: recorded`)."
    if teacher.eos_token_id != student.eos_token_id:
        raise BadModelError(
            f"the student's tokenizer ends an answer with id {student.eos_token_id}, the teacher's with {teacher.eos_token_id}",
            where=where,
            fix=fix,
        )
    if teacher.backend_tokenizer.to_str() == student.backend_tokenizer.to_str():
        return
    ours, theirs = token_bytes(student), token_bytes(teacher)
    for number in range(max(len(ours), len(theirs))):
        own = ours[number] if number < len(ours) else None
        other = theirs[number] if number < len(theirs) else None
        if own != other:
            raise BadModelError(
                f"the student's tokenizer is not the teacher's: id {number} is {_shown(own)} in it, and {_shown(other)} there",
                where=where,
                fix=fix,
            )


def _shown(token: bytes | None) -> str:
    return "absent" if token is None else ascii(token)
