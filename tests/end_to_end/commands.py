"""Running commands as a user would: in this process, or in a forked one that is killed at a given point."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_gov.cli import run_arguments

KILLED = -9
TRAINING_STEP = "training step"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that says what went wrong; anything else that was printed is a mistake of the command line."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def command(root: Path | None, *arguments: str) -> Ended:
    """Run one command in this process, on a project or, without one, as it is."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_arguments([*arguments, *(["-C", str(root)] if root else [])])
    return Ended(code, out.getvalue(), err.getvalue())


class Killer:
    """A process that has everything imported and forks one child a command; a child can be killed as a file takes its place."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def run(self, root: Path, *arguments: str, at: str = "", nth: int = 1) -> int:
        """Run a command; with ``at``, kill it (SIGKILL) just before the nth file whose path matches is renamed into place, or
        before the nth step of the optimiser where it is :data:`TRAINING_STEP`.

        Returns:
            The exit code, or :data:`KILLED`.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        where = {"at": "", "step": nth} if at == TRAINING_STEP else {"at": at, "step": 0}
        order = {"arguments": [*arguments, "-C", str(root)], **where, "nth": nth, "log": str(root.parent / "killed.log")}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def killer(project: Path) -> Iterator[Killer]:
    """A killer that has loaded what commands on projects with this one's redaction policy need."""
    here = Path(__file__).with_name("forking.py")
    with subprocess.Popen(
        [sys.executable, str(here), str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Killer(process)
        finally:
            process.kill()
