"""A tiny project as it is before its first run, and after it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.commands import Ended, Killer, command, killer
from tests.end_to_end.tiny_project import make_project


@dataclass(frozen=True, slots=True)
class Finished:
    """A project with one finished run ``r1``; tests that change it take a copy."""

    root: Path
    ended: Ended
    """How ``run`` ended."""
    log: str
    """Every log record of that run, of whatever level."""

    @property
    def run(self) -> Path:
        return self.root / "runs" / "r1"


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed project without a run. Not to be changed."""
    root = make_project(tmp_path_factory.mktemp("sealed") / "project")
    assert command(root, "seal").code == 0
    return root


@pytest.fixture(scope="session")
def finished(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A project with a finished run. Not to be changed."""
    root = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(sealed, root)
    records, level = _Records(), logging.root.level
    logging.root.addHandler(records)
    logging.root.setLevel(logging.DEBUG)
    try:
        ended = command(root, "run")
    finally:
        logging.root.removeHandler(records)
        logging.root.setLevel(level)
    assert ended.code == 0, ended.err
    return Finished(root, ended, "\n".join(records.lines))


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    """The finished project, to be changed."""
    root = tmp_path / "project"
    shutil.copytree(finished.root, root)
    return root


@pytest.fixture
def fresh(sealed: Path, tmp_path: Path) -> Path:
    """The sealed project without a run, to be changed."""
    root = tmp_path / "project"
    shutil.copytree(sealed, root)
    return root


@pytest.fixture(scope="session")
def kill(sealed: Path) -> Iterator[Killer]:
    with killer(sealed) as process:
        yield process
