"""Filters and scorers of others, by entry point. What they do wrong drops the item, never lets it through.

A filter is one function of an answer (:class:`redaction.filters.AnswerItem`). It returns nothing, a reason code, or several::

    def no_prices(item: AnswerItem) -> str | None:
        return "names_a_price" if "EUR" in item.reply_text else None

    no_prices.version = "2"        # else the distribution's version is recorded

    [project.entry-points."distill_gov.filters"]
    no_prices = "my_package:no_prices"

A reason code is letters, digits and underscores, and goes into the books: it must say nothing of the text. With a score it
is ``(code, number)``. The rule is recorded as ``plugin/no_prices``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar, runtime_checkable

from distill_gov.records.errors import BadInputError
from redaction.filters.hits import FAILED, Filter, FilterBrokenError, Tag

__all__ = ["FILTERS", "SCORERS", "HazardScorer", "TimedOutError", "hazard_scorer", "installed", "plugin_filter", "within"]

FILTERS = "distill_gov.filters"
SCORERS = "distill_gov.hazard_scorers"
"""Entry point groups."""

_MOST_TIMEOUTS = 3

Result = TypeVar("Result")


@runtime_checkable
class HazardScorer(Protocol):
    """Says how likely a text belongs to each hazard. The entry point names a class or function that makes one."""

    version: str

    def score(self, text: str) -> Mapping[str, float]:
        """Probability by hazard code (:data:`redaction.filters.policy.HAZARDS`); a code left out is 0."""


class TimedOutError(BaseException):
    """A plug-in took too long. No `Exception`, so that the plug-in's own handlers do not swallow it."""


def installed(group: str) -> tuple[str, ...]:
    """Names of the installed entry points of a group."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def hazard_scorer(name: str) -> HazardScorer:
    """Load an installed scorer.

    Raises:
        BadInputError: it is not installed, does not load, or is none.
    """
    made = _load(SCORERS, name)[0]
    try:
        scorer = made()
    except Exception as error:
        # Not chained: what a plug-in says may quote a text.
        raise BadInputError(f"scorer `{name}` cannot be made ({type(error).__name__})", where="redaction.yaml") from None
    if not isinstance(scorer, HazardScorer) or not isinstance(scorer.version, str) or not scorer.version:
        raise BadInputError(
            f"`{name}` is no hazard scorer", where="redaction.yaml", fix="It needs `version` and `score(text)`."
        )
    return scorer


def plugin_filter(name: str, action: Any, seconds: float) -> Filter[Any]:
    """An installed filter under the policy's action.

    Raises:
        BadInputError: it is not installed or does not load.
    """
    function, point = _load(FILTERS, name)
    version = getattr(function, "version", None) or (point.dist.version if point.dist else None)
    if not version:
        raise BadInputError(
            f"filter `{name}` has no version", where="redaction.yaml", fix="Set it as an attribute of the function."
        )
    timeouts = 0

    def tags(item: Any) -> Iterable[Tag]:
        nonlocal timeouts
        try:
            return within(seconds, lambda: tuple(_as_tags(function(item))))
        except TimedOutError:
            timeouts += 1
            if timeouts >= _MOST_TIMEOUTS:
                raise FilterBrokenError(
                    f"filter `{name}` took more than {seconds:g} s for {timeouts} answers",
                    where="redaction.yaml: filters.plugins",
                    fix="Mend it, leave it out, or raise `plugin_seconds`.",
                ) from None
            return (Tag("timed_out", action="drop"),)
        except (Exception, SystemExit):
            return (Tag(FAILED, action="drop"),)

    return Filter(f"plugin/{name}", str(version), tags, action)


def _load(group: str, name: str) -> tuple[Callable[..., Any], EntryPoint]:
    points = [point for point in entry_points(group=group) if point.name == name]
    if len(points) != 1:
        what = "is not installed" if not points else "is installed by several distributions"
        raise BadInputError(f"`{name}` ({group}) {what}", where="redaction.yaml")
    try:
        made = points[0].load()
    except Exception as error:
        raise BadInputError(f"`{name}` ({group}) does not load ({type(error).__name__})", where="redaction.yaml") from None
    if not callable(made):
        raise BadInputError(f"`{name}` ({group}) is no function", where="redaction.yaml")
    return made, points[0]


def _as_tags(result: object) -> Iterator[Tag]:
    """Raises TypeError or ValueError over anything that is not as described: it might be text of the item."""
    if result is None:
        return
    if isinstance(result, str):
        yield Tag(result)
        return
    if not isinstance(result, Iterable):
        raise TypeError("no reason code")
    for one in result:
        yield Tag(*one) if isinstance(one, tuple) and len(one) == 2 else Tag(one)


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Call, and give up after so many seconds.

    On the main thread an alarm interrupts it, a regular expression that backtracks included. Elsewhere, and where an alarm is
    set already, it runs on a thread of its own, which is left behind.

    Raises:
        TimedOutError: it took longer.
    """
    on_main = threading.current_thread() is threading.main_thread()
    if on_main and hasattr(signal, "setitimer") and signal.getitimer(signal.ITIMER_REAL)[0] == 0:
        with _alarm(seconds):
            return call()
    done: list[tuple[Result | None, BaseException | None]] = []

    def run() -> None:
        try:
            done.append((call(), None))
        except BaseException as error:
            done.append((None, error))

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if not done:
        raise TimedOutError
    result, error = done[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimedOutError

    before = signal.signal(signal.SIGALRM, late)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
