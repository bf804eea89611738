"""Forms of address, and job titles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.recognizers.gazetteer import Gazetteer, fold, listed_words, sections, words_of
from redaction.recognizers.rule import CASE, TIMEOUT_S, Hit, Rule, compiled, matches

__all__ = ["title_rules"]

_ADDRESS = compiled(
    r"(?<![\w.-]) (?P<value> (?:mr|mrs|ms|mx|dr|prof|messrs|mme|mlle|sr|sra|srta)\. | (?:mr|mrs|ms|mx|dr|prof)(?=[ ]\p{Lu})"
    r" | (?:(?:M[RS]|MRS|DR|PROF)\b"
    r"|(?:Miss|Madam|Sir|Dame|Lord|Lady|Professor|Doctor|Reverend|Rev|Father|Sister|Rabbi|Imam"
    r"|Sheikh"
    r"|Judge|Justice|Senator|Sen|Congressman|Congresswoman|Governor|Gov|Mayor|President|Chancellor|Ambassador|Captain|Capt|Major|Maj"
    r"|Colonel|Col|General|Gen|Lieutenant|Lt|Sergeant|Sgt|Corporal|Cpl|Commander|Cmdr|Admiral|Officer|Detective|Inspector"
    r"|Herrn?|Frau|Monsieur|Madame|Mademoiselle|Señora?|Signora?|Senhora?|Meneer|Mevrouw)\.?)(?=[ ]\p{Lu}[\p{L}.]) ) (?!\w)",
    CASE,
)
_ADDRESS_LOWER = compiled(
    r"(?<![\w.-]) (?: (?:mr|mrs|ms|mx|dr|prof|messrs)\.? (?=[ ]\p{L}{2}) | (?:mr|mrs|ms|dr|prof)\.(?!\w) )"
)
_WORKS_AS = compiled(
    r"\b(?:work(?:s|ed|ing)?(?:[ ]\w+){0,6}[ ]as|(?:employed|hired|job|career)[ ]as|(?:position|role)[ ](?:as|of)"
    r"|promoted[ ]to|(?:job|position|role|occupation|profession|title)(?:[ ]title)?(?:[ ]is|[ ]was)?[ ]?[:=]?)"
    r"[ ]{1,2}(?:an?[ ]|the[ ]|our[ ]|their[ ])?$"
)


class FormsOfAddress:
    """`Mr.`, `Dr`, `Señora` before a name, and the abbreviations with a point anywhere."""

    id = "title/address"
    version = "1"
    entity = "TITLE"

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for match in matches(_ADDRESS, text):
            yield Hit(self.entity, match.start("value"), match.end("value"), 0.6, self.id, self.version)
        for match in matches(_ADDRESS_LOWER, text):
            yield Hit(self.entity, match.start(), match.end(), 0.5, self.id, self.version)


class JobTitles:
    """Words that qualify a job, and the job: `Senior Software Engineer`, `VP of Engineering`.

    In lower case, and as a single word that is no board office, only where somebody works `as` one.
    """

    id = "title/job"
    version = "1"
    entity = "TITLE"

    def __init__(self) -> None:
        self._heads = listed_words("occupations.txt", "heads")
        self._modifiers = listed_words("occupations.txt", "modifiers")
        self._whole = Gazetteer(sections("occupations.txt")["whole"])

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        words = words_of(text)
        for first, after in self._whole.find(text, words):
            if words[first][0][0].isupper() and words[after - 1][0][0].isupper():
                yield self._hit(words[first].start(), self._with_field(text, words, after), 0.9)
        for index, match in enumerate(words):
            if not self._is_head(match[0]):
                continue
            first = self._first(text, words, index)
            start = words[first].start()
            if self._shown(text, words, first, index):
                end = self._with_field(text, words, index + 1)
                several = first < index or end > match.end()
                yield self._hit(start, end, 0.9 if several else 0.6)

    def _hit(self, start: int, end: int, score: float) -> Hit:
        return Hit(self.entity, start, end, score, self.id, self.version)

    def _is_head(self, word: str) -> bool:
        lower = fold(word)
        return lower in self._heads or (lower.endswith("s") and lower[:-1] in self._heads)

    def _first(self, text: str, words: list[Any], index: int) -> int:
        """Index of the first word that qualifies the job at an index."""
        first = index
        while first and text[words[first - 1].end() : words[first].start()] in (" ", "-", "/", " & ", " and "):
            word = fold(words[first - 1][0])
            if word not in self._modifiers and word not in self._heads:
                break
            if words[index][0][0].isupper() and not words[first - 1][0][0].isupper():
                break
            first -= 1
        return first

    def _shown(self, text: str, words: list[Any], first: int, index: int) -> bool:
        before = text[max(0, words[first].start() - 80) : words[first].start()]
        if _WORKS_AS.search(before, timeout=TIMEOUT_S):
            return True
        head = words[index][0]
        if head[0].isupper() and self._with_field(text, words, index + 1) > words[index].end():
            return True
        if head.isupper() and 2 < len(head) < 6 and fold(head) in self._heads:
            return True
        return first < index and all(words[i][0][0].isupper() for i in range(first, index + 1))

    @staticmethod
    def _with_field(text: str, words: list[Any], after: int) -> int:
        """End of a title with `of Engineering` or `for Europe` behind it."""
        end: int = words[after - 1].end()
        if after + 1 < len(words) and words[after][0] in ("of", "for"):
            gap = text[end : words[after].start()] + text[words[after].end() : words[after + 1].start()]
            if gap == "  " and words[after + 1][0][0].isupper():
                end = words[after + 1].end()
        return end


def title_rules() -> tuple[Rule, ...]:
    return (FormsOfAddress(), JobTitles())
