"""The wheel holds what is needed and nothing else, and the pinned versions fit what is asked for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from distill_gov.scaffold import scaffold

PARTS = {"pydantic-core": "pydantic"}
"""Distributions that another pins to its own release, so that asking for that one is asking for both."""

PACKAGES = ("distill_gov", "redaction", "evals", "gates", "reports")


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(repository)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, object]:
    """The ``[project]`` table."""
    table: dict[str, object] = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    return table


def requirements(project: dict[str, object]) -> list[Requirement]:
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    listed = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]  # type: ignore[misc]
    return [one for line in listed if (one := Requirement(line)).name != project["name"]]


def test_wheel_holds_every_module(wheel: list[str], repository: Path) -> None:
    for name in PACKAGES:
        modules = {path.relative_to(repository).as_posix() for path in (repository / name).rglob("*.py")}
        assert modules, name
        assert modules <= set(wheel)


def test_wheel_holds_the_files_that_modules_read(wheel: list[str], repository: Path) -> None:
    for name in PACKAGES:
        for path in (repository / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.relative_to(repository).as_posix() in wheel
    assert "evals/ratings/page.html" in wheel
    assert any(name.startswith("reports/app_pages/") for name in wheel)


def test_wheel_holds_the_example(wheel: list[str]) -> None:
    example = "distill_gov/examples/support_desk/"
    for name in ("redaction.yaml", "gates.yaml", "triage.schema.json", "data/teaching.jsonl", "data/holdout.jsonl"):
        assert example + name in wheel


def test_wheel_holds_nothing_else(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {*PACKAGES, *(top for top in tops if top.startswith("distill_gov-") and top.endswith(".dist-info"))}
    assert not [name for name in wheel if "__pycache__" in name or name.endswith((".pyc", ".parquet", ".safetensors", ".key"))]
    assert len(wheel) == len(set(wheel))


def test_wheel_holds_the_licence_and_the_command(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)


def test_every_package_that_is_imported_is_asked_for(project: dict[str, object], repository: Path) -> None:
    asked = {canonicalize_name(one.name) for one in requirements(project)}
    origin = packages_distributions()
    for name in PACKAGES:
        for path in (repository / name).rglob("*.py"):
            for top in _imported(path) - set(PACKAGES) - set(sys.stdlib_module_names):
                owners = {PARTS.get(name, name) for name in map(canonicalize_name, origin.get(top, [top]))}
                assert owners & asked, f"{path.relative_to(repository)} imports {top}"


def _imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text()))
    found: set[str] = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_plain_install_is_light(project: dict[str, object]) -> None:
    plain = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}  # type: ignore[attr-defined]
    assert not plain & {"torch", "transformers", "spacy", "presidio-analyzer", "streamlit", "datasets", "evaluate"}


@pytest.mark.slow
def test_gate_verify_and_report_work_on_a_plain_install(project: dict[str, object], tmp_path: Path) -> None:
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    optional = {canonicalize_name(Requirement(line).name) for name in ("redact", "train", "report") for line in extras[name]}
    modules = {top for top, owners in packages_distributions().items() if optional & set(map(canonicalize_name, owners))}
    assert {"torch", "spacy", "presidio_analyzer", "streamlit"} <= modules
    script = tmp_path / "plain.py"
    script.write_text(_PLAIN.format(modules=sorted(modules)))
    scaffold(tmp_path / "desk")
    for arguments, code in ((["gate"], 3), (["verify"], 0), (["verify", "--evidence-only"], 0), (["report"], 0)):
        command = [sys.executable, str(script), *arguments, "-C", str(tmp_path / "desk")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, (arguments, done.stderr)


_PLAIN = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Absent())
from distill_gov.cli import run_arguments
raise SystemExit(run_arguments(sys.argv[1:]))
"""


def pins(repository: Path) -> dict[str, Requirement]:
    """Distribution to its line in ``constraints.txt``."""
    lines = (repository / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(one.name): one for line in lines if line[:1] != "#" for one in [Requirement(line)]}


def test_constraints_pin_everything_that_is_asked_for(project: dict[str, object], repository: Path) -> None:
    pinned = pins(repository)
    assert "distill-gov" not in pinned
    assert str(pinned["torch"].specifier).count("+") == 0
    for one in requirements(project):
        (pin,) = pinned[canonicalize_name(one.name)].specifier
        assert pin.operator == "=="
        assert one.specifier.contains(Version(pin.version)), one


def needed(name: str, extras: frozenset[str], found: set[tuple[str, frozenset[str]]]) -> None:
    """Add to ``found`` what an installed distribution asks for, and what that asks for in turn."""
    if (name, extras) in found:
        return
    found.add((name, extras))
    with suppress(PackageNotFoundError):
        for one in map(Requirement, requires(name) or []):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                needed(canonicalize_name(one.name), frozenset(one.extras), found)


def test_constraints_are_the_versions_that_these_tests_run_with(repository: Path) -> None:
    pinned = {name: next(iter(one.specifier)).version for name, one in pins(repository).items()}
    found: set[tuple[str, frozenset[str]]] = set()
    needed("distill-gov", frozenset({"all", "dev"}), found)
    names = {name for name, _ in found} - {"distill-gov"}
    assert len(names) > 50
    assert sorted(names - pinned.keys()) == [], "not in constraints.txt"
    here = {canonicalize_name(d.metadata["Name"]): d.version.partition("+")[0] for d in distributions()}
    other = {name: (version, here[name]) for name, version in pinned.items() if here.get(name, version) != version}
    assert other == {}, "pinned and installed differ; CONTRIBUTING says how to write the pins again"
    if absent := sorted(pinned.keys() - here.keys()):
        pytest.skip(f"pinned, but not installed here, so nobody looked: {', '.join(absent)}")


def test_every_dependency_says_what_for_and_its_licence(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    lines = [line for line in text.partition("dependencies = [")[2].splitlines() if line.startswith('  "')]
    assert len(lines) > 40
    assert [line for line in lines if not re.search(r'",\s+# \S.*\([A-Z][^()]*\)', line)] == []
