"""How a command ends: one line of error or the command that comes next, one exit code, and no way from an exception to 0."""

from __future__ import annotations

import json
import os
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from distill_gov.records.errors import BadInputError, DistillGovError

__all__ = ["INTERRUPTED", "OWN_EXCEPTION", "at_project", "failed", "print_json", "run_app", "say"]

OWN_EXCEPTION = 5
INTERRUPTED = 130

# Typer carries click under a private name in some versions; this is its UsageError wherever it lies.
_USAGE_ERROR: type[Any] = typer.BadParameter.__bases__[0]


def run_app(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run an app whose commands return their exit codes."""
    try:
        code = app(list(arguments), prog_name="distill-gov", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt  # typer has made a return value of it
        sys.stdout.flush()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        code = failed(error)
        if "--json" in arguments:
            told = {"what": error.what, "where": error.where, "fix": error.fix} if isinstance(error, DistillGovError) else {}
            print_json({"error": type(error).__name__, **told}, code)
    return code if isinstance(code, int) else OWN_EXCEPTION


def failed(error: BaseException) -> int:
    """Say in one line what went wrong, and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        say("interrupted; the same command continues")
        return INTERRUPTED
    if os.environ.get("DISTILL_GOV_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, _USAGE_ERROR):
        error.show()
        return BadInputError.exit_code
    if isinstance(error, DistillGovError):
        say(f"error: {error}")
        return error.exit_code
    # Its message may hold somebody's text, so only its type is told.
    say(f"error: {type(error).__name__} inside distill-gov; no verdict. {_hint(error)}")
    return OWN_EXCEPTION


def _hint(error: BaseException) -> str:
    module = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
    if module.replace(".", "").isidentifier():
        return f"Module {module} is missing: pip install 'distill-gov[all]'"
    return "DISTILL_GOV_DEBUG=1 shows where"


def print_json(value: Mapping[str, Any], code: int) -> None:
    """The object on stdout, with the exit code as ``exit``."""
    sys.stdout.write(json.dumps({**value, "exit": code}, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def at_project(root: Path) -> str:
    """The option that a command for this project needs to be typed where the user stands; empty in the project itself."""
    here = os.path.relpath(root)
    return "" if here == "." else f" -C {shlex.quote(here)}"


def say(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr)
