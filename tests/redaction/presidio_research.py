"""The public texts of presidio-research, where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("DISTILL_GOV_DATA", Path(__file__).parents[3] / "shared" / "data")) / "presidio_research"


def presidio_research(count: int) -> list[str]:
    """The first so many different texts of its `synth_dataset_v2.json`; the test is skipped where it is absent."""
    path = _DATA / "synth_dataset_v2.json"
    if not path.exists():
        pytest.skip(f"no {path}: set DISTILL_GOV_DATA to the folder with presidio_research")
    return list(dict.fromkeys(row["full_text"] for row in json.loads(path.read_text("utf-8"))))[:count]
