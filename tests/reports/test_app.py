"""The app's pages, run by Streamlit's own test harness."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reports.launch import APP, chosen, run_command
from reports.wording import SIMULATED

pytest.importorskip("streamlit", reason="the report extra is not installed")

PAGES = sorted(
    f"app_pages/{path.name}" for path in (APP.parent / "app_pages").glob("*.py") if path.stem not in ("__init__", "opening")
)


def open_app(made: Any, monkeypatch: pytest.MonkeyPatch, page: str, policy: str = "gates") -> Any:
    from streamlit.testing.v1 import AppTest

    project = made.run.root.parent.parent
    monkeypatch.setattr(sys, "argv", [str(APP), "--project", str(project), "--run", "r1", "--policy", policy])
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    if page != "app_pages/verdict.py":
        app = app.switch_page(page).run()
    return app


def words(app: Any) -> str:
    """Everything a page shows, in order."""
    shown = []
    for element in app.main:
        value = getattr(element, "value", None)
        shown.append(value.to_csv() if hasattr(value, "to_csv") else str(value))
        shown.append(str(getattr(element, "label", "")))
        shown.append(str(getattr(getattr(element, "proto", None), "body", "")))
    return "\n".join(shown)


def test_there_are_seven_pages() -> None:
    names = [Path(page).stem for page in PAGES]
    assert names == ["family", "gates", "ledger", "measured", "reliability", "teaching_set", "verdict"]


EXPECTED = {
    "verdict": (
        "distill-gov ratings export --run r1",
        "opened the holdout: 1 of",
        "helpfulness (INCONCLUSIVE)",
        "not approved",
        "overconfident",
        "TF-IDF",
    ),
    "gates": ("intent_not_inferior", "≥ teacher − 5 pts", "✓ pass", "? inconclusive"),
    "teaching_set": ("admit", "216 (75%)", "invalid_json", "withheld", "<5", "accuracy.intent", "49.5M parameters"),
    "reliability": ("0.52 to", "language.nl", "<5"),
    "measured": ("Does who asks change the answer?", "1,240", "1.2%"),
    "family": ("not done",),
    "ledger": ("holdout.sealed", "holdout.opened", "sha256:"),
}


@pytest.mark.parametrize("page", PAGES)
def test_each_page_shows_the_decision_and_then_what_it_is_for(
    blocked: ModuleType, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    app = open_app(blocked, monkeypatch, page)
    assert not app.exception
    assert app.main[0].type == "error"
    assert "BLOCKED" in app.error[0].value
    assert "exit code 3" in app.error[0].value
    assert not app.success
    found = words(app)
    for part in EXPECTED[Path(page).stem]:
        assert part in found, part
    assert SIMULATED not in found
    assert "canary of an answer" not in found


@pytest.mark.parametrize("page", PAGES)
def test_each_page_names_simulated_ratings(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    made = make.make_run(tmp_path, policy="gates.simulated", provenance="simulated", rated=make.SIMULATED)
    app = open_app(made, monkeypatch, page, "gates.simulated")
    assert not app.exception
    assert SIMULATED in app.warning[0].value
    assert not app.success


@pytest.mark.parametrize("page", PAGES)
def test_no_page_looks_good_when_the_verdict_is_damaged(passed: ModuleType, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    passed.run.verdict("gates").write_text("{", encoding="utf-8")
    app = open_app(passed, monkeypatch, page)
    assert not app.exception
    assert "NOT RELIABLE" in app.error[0].value
    assert not app.success
    assert any("not valid JSON" in element.value for element in app.text)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_run_is_shown_as_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: ModuleType, page: str
) -> None:
    made = make.MadeRun(make.ProjectLayout(tmp_path).run("r1"), None, None)
    app = open_app(made, monkeypatch, page)
    assert not app.exception
    assert "NO VERDICT" in app.warning[0].value
    assert not app.success
    assert any("not done" in element.value for element in app.info)


def test_a_passing_run_is_the_only_one_that_looks_good(passed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_app(passed, monkeypatch, "app_pages/verdict.py")
    assert "✓ PASSED" in app.success[0].value


def test_without_arguments_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from streamlit.testing.v1 import AppTest

    monkeypatch.setattr(sys, "argv", [str(APP)])
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    assert not app.exception
    assert "--project DIR --run NAME" in app.error[0].value


def test_the_command_sends_nothing_and_shows_no_traceback(tmp_path: Path) -> None:
    command = run_command(tmp_path, "r1", policy="gates.bank", port=8502)
    flags, own = command[: command.index("--")], command[command.index("--") + 1 :]
    for flag in (
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
        "--server.address=localhost",
        "--server.port=8502",
    ):
        assert flag in flags
    assert chosen(own).run.root == tmp_path / "runs" / "r1"
    assert chosen(own).policy == "gates.bank"
