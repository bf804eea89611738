"""The rooms and the direction of their imports."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("distill_gov", "redaction", "evals", "gates", "reports")
HEAVY = ("torch", "transformers", "presidio_analyzer", "spacy", "streamlit", "altair", "evaluate", "datasets", "playwright")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def loaded_by(statement: str) -> set[str]:
    """Modules that a fresh interpreter holds after a statement."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_contracts_hold(repository: Path) -> None:
    done = lint_imports(repository)
    assert done.returncode == 0, done.stdout
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("evals/score.py", "from gates import verdict", "the rooms stand in this order"),
        ("distill_gov/records/files.py", "from redaction import findings", "the rooms stand in this order"),
        ("gates/verdict.py", "from evals.models import protocol", "gates see evidence"),
        ("gates/decide.py", "from evals import measure", "gates see evidence"),
        ("gates/decide.py", "from evals import intervals", "gates see evidence"),
        ("gates/plan.py", "from evals.cases import Case", "gates see evidence"),
        ("gates/policy.py", "from redaction import policy", "gates see evidence"),
        ("gates/registry.py", "from redaction.findings import Finding", "gates see evidence"),
        ("reports/queries.py", "from evals.score import score_case", "reports see evidence and findings"),
        ("reports/static.py", "from evals.holdout import open_holdout", "reports see evidence and findings"),
        ("reports/app_pages/gates.py", "from evals import intervals", "reports see evidence and findings"),
        ("reports/loading.py", "from redaction.redactor import Redactor", "reports see evidence and findings"),
        ("redaction/findings.py", "from distill_gov import importers", "the lower rooms do not know the lifecycle"),
        ("distill_gov/records/files.py", "from distill_gov import traces", "the lower rooms do not know the lifecycle"),
    ],
)
def test_each_contract_notices_a_wrong_import(repository: Path, tmp_path: Path, file: str, line: str, contract: str) -> None:
    for name in PACKAGES:
        shutil.copytree(repository / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as stream:
        stream.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout
    assert re.search(rf"{contract}.* BROKEN", done.stdout), done.stdout


@pytest.mark.parametrize("module", ["redaction", "evals", "gates", "reports", "distill_gov.cli"])
def test_importing_a_room_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_the_check_for_heavy_modules_notices_one() -> None:
    assert "spacy" in loaded_by("import spacy")


def test_gates_never_load_a_model() -> None:
    loaded = loaded_by("import gates; [getattr(gates, name) for name in gates.__all__]")
    assert "evals.evidence" in loaded
    assert not {name for name in loaded if name.startswith("evals.models")}
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("module", ["redaction", "evals", "gates", "reports"])
def test_every_name_that_a_room_exports_is_there(module: str) -> None:
    package = __import__(module)
    for name in getattr(package, "__all__", ()):
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018


def test_no_file_is_a_drawer_for_odds_and_ends(repository: Path) -> None:
    odd = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
    named = {part for name in PACKAGES for path in (repository / name).rglob("*.py") for part in path.with_suffix("").parts}
    assert not named & odd
