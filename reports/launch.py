"""How the app is started, and which run it is to show."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_gov.records.layout import ProjectLayout, RunLayout

__all__ = ["APP", "Chosen", "chosen", "run_command"]

APP = Path(__file__).with_name("app.py")

_FLAGS = (
    # Nothing is sent anywhere, and nothing is served beyond this machine.
    "--browser.gatherUsageStats=false",
    "--server.address=localhost",
    # A traceback shows paths and values.
    "--client.showErrorDetails=none",
    "--client.toolbarMode=minimal",
    # Without it the first start asks for an e-mail address on the terminal.
    "--server.headless=true",
    "--server.fileWatcherType=none",
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the app was asked to show."""

    run: RunLayout
    policy: str


def run_command(project: Path, run: str, *, policy: str = "gates", port: int | None = None) -> list[str]:
    """The arguments that start the app on a run, for ``subprocess``.

    Args:
        project: the project's directory.
        run: the run's name.
        policy: name of the policy whose verdict is shown first.
        port: where to listen; None takes streamlit's own choice.
    """
    listen = [] if port is None else [f"--server.port={port}"]
    asked = ["--project", str(project), "--run", run, "--policy", policy]
    return [sys.executable, "-m", "streamlit", "run", str(APP), *_FLAGS, *listen, "--", *asked]


def chosen(arguments: Sequence[str]) -> Chosen:
    """Read the app's own arguments.

    Raises:
        SystemExit: an argument is missing.
        BadInputError: not a run's name.
    """
    parser = argparse.ArgumentParser(prog="reports/app.py", description="Shows one run.")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--policy", default="gates")
    given = parser.parse_args(list(arguments))
    return Chosen(ProjectLayout(given.project).run(given.run), given.policy)
