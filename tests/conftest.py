"""What holds for every test: one thread, no network for models, the same examples each time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported anywhere, and inherited by every command that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["DISTILL_GOV_ACTOR"] = "tests"
for name in ("DISTILL_GOV_KEYS", "DISTILL_GOV_DEBUG"):
    os.environ.pop(name, None)

# Other work may share the cores, so no deadline; the same commit gives the same result, so no new examples at every run.
settings.register_profile("suite", deadline=None, derandomize=True)
# Of `make test-fast`: a fifth of the examples where a test does not say how many; `make test` and CI take all.
settings.register_profile("quick", parent=settings.get_profile("suite"), max_examples=20)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("chromium"):
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason="Debian's chromium is not installed (apt-get install chromium)"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).parents[1]
