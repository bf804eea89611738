"""verify_files: a run holds what its manifests recorded, or each difference is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distill_gov.records.layout import RunLayout
from distill_gov.records.manifest import StageManifest, hash_outputs, write_manifest
from distill_gov.records.verify import Problem, verify_files


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    layout = RunLayout(tmp_path / "runs" / "r1")
    for name in ("teaching/a", "evidence/cases/b", "evidence/subjects.json", "pages/report.html"):
        (layout.root / name).parent.mkdir(parents=True, exist_ok=True)
        (layout.root / name).write_text(name)
    for stage, folder in (("build", "teaching"), ("evaluate", "evidence")):
        outputs = hash_outputs(layout.root, [layout.root / folder])
        write_manifest(layout.manifest(stage), StageManifest(stage, {}, outputs))
    return layout


def link(root: Path, name: str, target: Path) -> None:
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(target)


DAMAGE: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "nothing": (lambda r: None, []),
    "changed": (lambda r: (r / "teaching/a").write_text("x"), [("changed", "teaching/a")]),
    "emptied": (lambda r: (r / "teaching/a").write_text(""), [("changed", "teaching/a")]),
    "missing": (lambda r: (r / "evidence/cases/b").unlink(), [("missing", "evidence/cases/b")]),
    "renamed": (
        lambda r: (r / "teaching/a").rename(r / "teaching/c"),
        [("missing", "teaching/a"), ("added", "teaching/c")],
    ),
    "added": (lambda r: (r / "teaching/z").write_text("x"), [("added", "teaching/z")]),
    "hidden": (lambda r: (r / ".z").write_text("x"), [("added", ".z")]),
    "link added": (lambda r: link(r, "teaching/z", r / "teaching/a"), [("added", "teaching/z")]),
    "dangling link added": (lambda r: link(r, "teaching/z", r / "none"), [("added", "teaching/z")]),
    "link to a directory": (lambda r: link(r, "teaching/z", r / "evidence"), [("added", "teaching/z")]),
    "link to other content": (lambda r: link(r, "teaching/a", r / "evidence/cases/b"), [("changed", "teaching/a")]),
    "dangling link": (lambda r: link(r, "teaching/a", r / "none"), [("missing", "teaching/a")]),
    "a directory in its place": (
        lambda r: ((r / "teaching/a").unlink(), (r / "teaching/a").mkdir()),
        [("missing", "teaching/a")],
    ),
    "a page changed": (lambda r: (r / "pages/report.html").write_text("x"), []),
    "a page of another policy": (lambda r: (r / "pages/report.gates.bank.html").write_text("x"), []),
    "the model card": (lambda r: (r / "pages/model_card.md").write_text("x"), []),
    "no page": (lambda r: (r / "pages/more.html").write_text("x"), [("added", "pages/more.html")]),
    "no page's name": (lambda r: (r / "pages/report.A.html").write_text("x"), [("added", "pages/report.A.html")]),
    "no policy's name": (lambda r: (r / "pages/report.a..b.html").write_text("x"), [("added", "pages/report.a..b.html")]),
    "below the pages": (
        lambda r: ((r / "pages/more").mkdir(), (r / "pages/more/report.html").write_text("x")),
        [("added", "pages/more/report.html")],
    ),
    "a page elsewhere": (lambda r: link(r, "pages/report.html", r / "none"), [("added", "pages/report.html")]),
    "no manifest": (lambda r: (r / "manifests/notes.txt").write_text("x"), [("added", "manifests/notes.txt")]),
    "below the manifests": (
        lambda r: ((r / "manifests/old").mkdir(), (r / "manifests/old/build.json").write_text("{}")),
        [("added", "manifests/old/build.json")],
    ),
    "manifest cut": (
        lambda r: (r / "manifests/build.json").write_text("{"),
        [("unreadable", "manifests/build.json"), ("added", "teaching/a")],
    ),
    "manifest of another shape": (
        lambda r: (r / "manifests/build.json").write_text(
            '{"format": "distill-gov/manifest/1", "stage": "build", "inputs": {}, "outputs": {"teaching/a": 3}}'
        ),
        [("unreadable", "manifests/build.json"), ("added", "teaching/a")],
    ),
    "manifest removed": (lambda r: (r / "manifests/build.json").unlink(), [("added", "teaching/a")]),
    "manifest a directory": (
        lambda r: (r / "manifests/x.json").mkdir(),
        [("unreadable", "manifests/x.json")],
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_difference_is_named(run: RunLayout, kind: str) -> None:
    damage, expected = DAMAGE[kind]
    damage(run.root)
    assert [(p.kind, p.path) for p in verify_files(run)] == expected


def test_several_problems_are_sorted_by_path(run: RunLayout) -> None:
    (run.root / "z").write_text("")
    (run.root / "teaching" / "a").unlink()
    (run.root / "evidence" / "subjects.json").write_text("")
    assert [p.path for p in verify_files(run)] == ["evidence/subjects.json", "teaching/a", "z"]


def test_files_that_others_list_are_not_added(run: RunLayout) -> None:
    (run.root / "verdicts").mkdir()
    (run.root / "verdicts" / "gates.json").write_text("{}")
    assert verify_files(run) == [Problem("added", "verdicts/gates.json")]
    assert verify_files(run, listed_elsewhere=frozenset({"verdicts/gates.json"})) == []


def test_a_copy_of_the_evidence_alone_can_be_checked(run: RunLayout) -> None:
    (run.root / "teaching" / "a").unlink()
    (run.root / "other").write_text("")
    assert verify_files(run, only="evidence/") == []
    (run.root / "evidence" / "more").write_text("")
    (run.root / "evidence" / "cases" / "b").write_text("")
    assert [(p.kind, p.path) for p in verify_files(run, only="evidence/")] == [
        ("changed", "evidence/cases/b"),
        ("added", "evidence/more"),
    ]


def test_nothing_is_repaired(run: RunLayout) -> None:
    (run.root / "teaching" / "a").write_text("x")
    before = {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file()}
    assert verify_files(run) == verify_files(run)
    assert {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file()} == before
