"""Progress on stderr: silent for short steps, plain in a log, never on stdout."""

from __future__ import annotations

import pytest

from distill_gov.progress import NoProgress, on_stderr


def test_a_short_step_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with on_stderr().step("redacting", total=3) as step:
        step.advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_long_step_is_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with on_stderr(long=0.0).step("redacting", total=1200) as step:
        step.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("redacting: 1,200 in ")
    assert len(err.splitlines()) <= 2


def test_a_step_that_breaks_does_not_say_that_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), on_stderr(long=0.0).step("redacting"):
        raise ValueError
    assert " in " not in capsys.readouterr().err


def test_bars_on_a_terminal_leave_a_line_and_no_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    progress = on_stderr(long=0.0)
    with progress.step("outer"), progress.step("inner", total=2) as step:
        step.advance(2)
    with progress.step("after"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    for name in ("inner: 2 in ", "outer in ", "after in "):
        assert name in err


def test_no_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with NoProgress().step("redacting", total=2) as step:
        step.advance()
    assert capsys.readouterr() == ("", "")
