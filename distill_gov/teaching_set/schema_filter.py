"""The answers' schema as a filter: `evals.structured` says whether an answer is valid, and its first error is the reason."""

from __future__ import annotations

from collections.abc import Container, Iterator

from evals.structured import Schema, judge
from redaction.filters import AnswerItem, Filter, Tag

__all__ = ["schema_filter"]


def schema_filter(schema: Schema, beside: Container[str] = ()) -> Filter[AnswerItem]:
    """Drops answers that are no strict JSON, or invalid. No policy turns it off: such an answer cannot be taught.

    Args:
        beside: ids of items that are no answers.
    """

    def tags(item: AnswerItem) -> Iterator[Tag]:
        if item.id in beside:
            return
        judged = judge(item.answer_text, schema)
        if not judged.valid:
            yield Tag(str(judged.error))

    return Filter("answer/schema", "1", tags)
