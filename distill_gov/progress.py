"""Progress of long work, on stderr. The library takes a :class:`Progress` and never prints by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Timer
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

__all__ = ["LONG", "NoProgress", "Progress", "Step", "on_stderr"]

LONG = 2.0
"""Seconds after which a step is worth showing."""


class Step(Protocol):
    """One step under way."""

    def advance(self, n: int = 1) -> None:
        """Say that ``n`` more of the step's units are done."""


class Progress(Protocol):
    """Where steps are reported. Steps may stand inside one another; names are words of ours, never of a trace."""

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Step]:
        """Open a step of ``total`` units (None: unknown) for the length of a ``with`` block."""


class _Silent:
    def advance(self, n: int = 1) -> None:
        pass


class NoProgress:
    """Says nothing."""

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Step]:
        yield _Silent()


class _Lines:
    """One line when a step turns out to be long and one when it ends: for logs."""

    def __init__(self, console: Console, long: float) -> None:
        self._console, self._long = console, long

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Step]:
        began = monotonic()
        timer = Timer(self._long, self._console.print, [f"{_titled(name, total)} ..."])
        timer.daemon = True
        timer.start()
        try:
            yield _Silent()
        finally:
            timer.cancel()
        _say_done(self._console, name, total, monotonic() - began, self._long)


class _Bar:
    def __init__(self, bars: RichProgress, name: str, total: int | None) -> None:
        self._bars = bars
        # The timer shows the bar; until then it exists unseen.
        self.task = bars.add_task(name, total=total, visible=False)

    def show(self) -> None:
        self._bars.update(self.task, visible=True)

    def advance(self, n: int = 1) -> None:
        self._bars.advance(self.task, n)


class _Bars:
    """A bar for each long step under way and a line for each that is done: for terminals."""

    def __init__(self, console: Console, long: float) -> None:
        self._console, self._long = console, long
        self._bars: RichProgress | None = None

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Step]:
        outermost = self._bars is None
        bars = self._bars or RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        if outermost:
            self._bars = bars
            bars.start()
        bar = _Bar(bars, name, total)
        timer = Timer(self._long, bar.show)
        timer.daemon = True
        timer.start()
        began = monotonic()
        try:
            yield bar
        finally:
            timer.cancel()
            bars.update(bar.task, visible=False)
            if outermost:
                bars.stop()
                self._bars = None
        _say_done(self._console, name, total, monotonic() - began, self._long)


def on_stderr(*, long: float = LONG) -> Progress:
    """Bars where stderr is a terminal, else at most two plain lines a step; nothing for steps under ``long`` seconds."""
    console = Console(file=sys.stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    return _Bars(console, long) if console.is_terminal else _Lines(console, long)


def _titled(name: str, total: int | None) -> str:
    return name if total is None else f"{name}: {total:,}"


def _say_done(console: Console, name: str, total: int | None, seconds: float, long: float) -> None:
    # Not reached when the step ends by an exception: what stopped it is said by whoever catches it.
    if seconds >= long:
        console.print(f"{_titled(name, total)} in {_duration(seconds)}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
