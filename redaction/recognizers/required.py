"""What a text must have for a regular expression to match it, worked out from the expression.

The idea is that of RE2's prefilters and of Google's code search: follow the expression's tree, and keep of each part the few
strings it can match, or else a set of strings of which one must occur. Here digits are counted as well. Where an expression
is not understood, nothing is required.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from redaction.recognizers.gates import Needs

__all__ = ["required"]

# The parser of the standard library: its tree is stable (Python 3.11 to 3.14), and what goes wrong in here opens the gate.
_parser: Any = import_module("re._parser")
_FLAGS = 2 | 8 | 16 | 64
"""IGNORECASE, MULTILINE, DOTALL, VERBOSE: the same numbers in ``re`` and ``regex``."""
_MOST_STRINGS = 80
_MOST_WORDS = 200
_MOST_OF_A_CLASS = 4
_OTHER_CASES = frozenset("ſKıİ")
"""Letters that are not ASCII and match one that is, where capitals do not matter."""
_FOREIGN = re.compile(r"\[:\^?\w+:\]|\{[eisd]|\(\?\|")
"""What only ``regex`` understands and ``re`` would read as something else: POSIX classes, fuzzy matching, branch reset."""

_Strings = frozenset[str]
_NOTHING: _Strings = frozenset(("",))


@dataclass(frozen=True, slots=True)
class _Part:
    """What is known of a part of an expression.

    Args:
        digits: the least number of digits in whatever it matches.
        exact: all that it can match, in lower case; None if that is too much.
        one_of: sets of strings; of each set one is in whatever it matches.
    """

    digits: int = 0
    exact: _Strings | None = None
    one_of: tuple[_Strings, ...] = ()

    @property
    def best(self) -> _Strings | None:
        sets = [*self.one_of, *([self.exact] if self.exact else [])]
        return max(sets, key=_worth, default=None)


@lru_cache(maxsize=4000)
def required(source: str, flags: int) -> tuple[Needs, ...]:
    """What every text must have that an expression of the ``regex`` package matches somewhere; empty if nothing is known.

    Args:
        source: the expression.
        flags: the flags of the compiled pattern.
    """
    if _FOREIGN.search(source):
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _parser.parse(source, flags & _FLAGS)
        part = _sequence(list(tree))
    except Exception:
        # Not understood: nothing is required, and the pattern is tried on every text.
        return ()
    needs = [Needs(digits=part.digits)] if part.digits else []
    best = part.best
    if best and _worth(best) > (0, 0):
        words = Needs(words=tuple(sorted(s for s in best if s.isascii())))
        # Words with letters are asked of ASCII texts only, and those have none of the others.
        if words.letters or all(s.isascii() for s in best):
            needs.append(words)
    return tuple(needs)


def _worth(strings: _Strings) -> tuple[int, int]:
    """How much a set of strings keeps out: the weakest of them counts, rare characters count more."""
    if not strings or len(strings) > _MOST_WORDS:
        return (0, 0)
    weakest = min(sum(1 if c.isalpha() or c in " .,'-" else 2 for c in s) for s in strings)
    return (weakest, -len(strings)) if weakest else (0, 0)


def _sequence(items: Iterable[tuple[Any, Any]]) -> _Part:
    digits, run, sets, whole = 0, _NOTHING, list[_Strings](), True
    for item in items:
        part = _part(*item)
        digits += part.digits
        sets += part.one_of
        joined = None if part.exact is None else frozenset(a + b for a in run for b in part.exact)
        if joined is not None and len(joined) <= _MOST_STRINGS:
            run = joined
            continue
        sets.append(run)
        whole = False
        run = _NOTHING if part.exact is None else part.exact
    useful = sorted((s for s in (*sets, run) if _worth(s) > (0, 0)), key=_worth, reverse=True)[:2]
    return _Part(digits, run if whole else None, tuple(useful))


def _part(kind: Any, value: Any) -> _Part:
    name = str(kind)
    if name == "LITERAL" and chr(value) not in _OTHER_CASES:
        return _Part(int(chr(value).isdecimal()), frozenset((chr(value).lower(),)))
    if name == "IN":
        return _class(value)
    if name == "BRANCH":
        return _either([_sequence(list(branch)) for branch in value[1]])
    if name == "SUBPATTERN":
        return _sequence(list(value[3]))
    if name == "ATOMIC_GROUP":
        return _sequence(list(value))
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _repeat(value[0], value[1], _sequence(list(value[2])))
    if name in ("AT", "ASSERT", "ASSERT_NOT"):
        return _Part(exact=_NOTHING)
    return _Part()


def _class(items: Sequence[tuple[Any, Any]]) -> _Part:
    if all(str(kind) == "CATEGORY" and str(value) == "CATEGORY_DIGIT" for kind, value in items):
        return _Part(digits=1)
    characters: set[str] = set()
    only_digits = True
    for kind, value in items:
        if str(kind) == "LITERAL":
            characters.add(chr(value).lower())
            only_digits &= chr(value).isdecimal()
        elif str(kind) == "RANGE":
            only_digits &= chr(value[0]).isdecimal() and chr(value[1]).isdecimal() and value[1] - value[0] < 10
            characters |= {chr(code).lower() for code in range(value[0], min(value[1], value[0] + 20) + 1)}
        elif str(kind) == "CATEGORY" and str(value) == "CATEGORY_DIGIT":
            characters |= set("0123456789")
        else:
            return _Part()
    if only_digits:
        return _Part(digits=1)
    if characters & {c.lower() for c in _OTHER_CASES}:
        return _Part()
    return _Part(exact=frozenset(characters) if len(characters) <= _MOST_OF_A_CLASS else None)


def _either(branches: Sequence[_Part]) -> _Part:
    digits = min((b.digits for b in branches), default=0)
    exacts = [b.exact for b in branches]
    exact: _Strings | None = None
    if None not in exacts:
        exact = frozenset().union(*(e for e in exacts if e is not None))
        exact = exact if len(exact) <= _MOST_STRINGS else None
    bests = [b.best for b in branches]
    if any(b is None or _worth(b) == (0, 0) for b in bests):
        return _Part(digits, exact)
    together = frozenset().union(*(b for b in bests if b is not None))
    return _Part(digits, exact, (together,))


def _repeat(least: int, most: Any, part: _Part) -> _Part:
    if least == 0:
        optional = part.exact is not None and most == 1
        return _Part(exact=part.exact | _NOTHING if optional and part.exact is not None else None)
    exact = part.exact if least == most == 1 else None
    sets = part.one_of if exact is not None or part.exact is None else (*part.one_of, part.exact)
    return _Part(part.digits * least, exact, tuple(s for s in sets if _worth(s) > (0, 0)))
