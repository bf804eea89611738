"""How a command's result is printed, and the options that every verb has."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from distill_gov.exits import print_json

__all__ = ["HERE", "AsJson", "Directory", "RunName", "print_shown", "show"]

Directory = Annotated[Path, typer.Option("-C", "--directory", metavar="DIR", help="The project's directory.")]
RunName = Annotated[str, typer.Option("--run", metavar="NAME", help="Name of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the object that the file holds, and the exit code as `exit`.")]

HERE = Path()


def show(as_json: bool, value: Mapping[str, Any], text: str, code: int = 0) -> int:
    """Print a result, as the object or in words, and return the exit code."""
    if as_json:
        print_json(value, code)
    else:
        print_shown(text)
    return code


def print_shown(shown: RenderableType) -> None:
    """Print text or a table on stdout."""
    out = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=isinstance(shown, str))
    if not out.is_terminal:
        out.width = 160  # a log wraps by itself
    out.print(shown)
