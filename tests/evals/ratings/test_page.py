"""The rater's page in a real browser, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.ratings import RatingItem

from .conftest import Desk, make_items
from .test_export import HOSTILE

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]

PHONE = {"width": 360, "height": 640}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    there = browser.new_context(viewport=PHONE, accept_downloads=True)
    yield there
    there.close()


def _open(context: Any, path: Path) -> tuple[Any, list[str]]:
    page = context.new_page()
    trouble: list[str] = []
    page.on("request", lambda r: trouble.append(r.url) if not r.url.startswith(("file:", "blob:")) else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
    page.goto(path.as_uri())
    return page, trouble


def _save(page: Any, button: str, target: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    path = target / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_rate_everything_and_import(desk: Desk, context: Any) -> None:
    exported = desk.export(make_items(3))
    (ann, bob) = exported.raters.values()
    page, trouble = _open(context, ann.page)
    items = desk.packets[ann.alias].items
    # By keyboard, then by touch; the two other choices once each.
    for number, item in enumerate(items):
        assert page.locator("#place").inner_text() == f"Answer {number + 1} of 6"
        assert page.locator("#message").inner_text() == item.message
        assert page.locator("#answer").inner_text() == item.answer
        if number == 0:
            page.keyboard.press("c")
        elif number == 1:
            page.get_by_label("This contains personal data").check()
        elif number % 2:
            page.keyboard.press(str(number))
        else:
            page.get_by_label("4 – Helpful").check()
        page.keyboard.press("n")
    assert page.get_by_role("status").first.inner_text() == "6 of 6 rated"
    saved = _save(page, "Save my answers", desk.root)
    assert saved.name == f"answers.{ann.alias}.json"
    values = [answer["value"] for answer in json.loads(saved.read_text())["answers"]]
    assert values == ["cannot_judge", "personal_data", 4, 3, 4, 5]
    found = desk.take([saved, desk.fill_table(bob.alias, lambda item: "2")])
    stats = next(s for s in found.raters if s.alias == ann.alias)
    assert (stats.rated, stats.cannot_judge, stats.personal_data, stats.missing) == (4, 1, 1, 0)
    unit = {row.item: (row.case, row.subject) for row in desk.table.rows}
    assert found.quarantined == (unit[items[1].item],)
    assert trouble == []


def test_open_answers_are_warned_of(desk: Desk, context: Any) -> None:
    exported = desk.export(make_items(3))
    files = next(iter(exported.raters.values()))
    page, trouble = _open(context, files.page)
    page.keyboard.press("3")
    page.get_by_role("button", name="Save my answers").click()
    warning = page.locator("#warning")
    assert warning.is_visible()
    assert "5 of 6 answers have no rating yet." in warning.inner_text()
    page.get_by_role("button", name="Show me the first one").click()
    assert page.locator("#place").inner_text() == "Answer 2 of 6"
    assert not warning.is_visible()
    page.get_by_role("button", name="Save my answers").click()
    saved = _save(page, "Save all the same", desk.root)
    assert [answer["value"] for answer in json.loads(saved.read_text())["answers"]] == [3]
    assert trouble == []


def test_ratings_survive_closing_and_other_packets_stay_apart(desk: Desk, context: Any) -> None:
    exported = desk.export(make_items(3))
    ann, bob = exported.raters.values()
    page, _ = _open(context, ann.page)
    page.keyboard.press("5")
    page.keyboard.press("n")
    page.keyboard.press("2")
    page.close()
    page, trouble = _open(context, ann.page)
    assert page.locator("#state").inner_text() == "2 of 6 rated"
    assert page.locator("#place").inner_text() == "Answer 2 of 6"
    assert page.get_by_label("2 – Slightly").is_checked()
    other, _ = _open(context, bob.page)
    assert other.locator("#state").inner_text() == "0 of 6 rated"
    assert trouble == []


def test_damaged_storage_is_ignored(desk: Desk, context: Any) -> None:
    exported = desk.export(make_items(3))
    files = next(iter(exported.raters.values()))
    packet = desk.packets[files.alias]
    kept = {"given": {packet.items[0].item: {"value": 99, "at": "x"}, "iunknown": {"value": 1, "at": "x"}}, "here": 77}
    page, _ = _open(context, files.page)
    page.evaluate("([k, v]) => localStorage.setItem(k, v)", [f"distill-gov-ratings:{packet.digest}", json.dumps(kept)])
    page.reload()
    assert page.locator("#state").inner_text() == "0 of 6 rated"
    page.evaluate("([k, v]) => localStorage.setItem(k, v)", [f"distill-gov-ratings:{packet.digest}", "{"])
    page.reload()
    assert page.locator("#state").inner_text() == "0 of 6 rated"
    assert page.locator("#notice").is_visible()


def test_hostile_text_runs_nothing(desk: Desk, context: Any) -> None:
    exported = desk.export(
        [RatingItem("c1", HOSTILE, {"student": HOSTILE + "<img src=x onerror=alert(2)>", "teacher": HOSTILE})]
    )
    page, trouble = _open(context, next(iter(exported.raters.values())).page)
    page.on("dialog", lambda dialog: trouble.append("dialog"))
    assert "</script><script>alert(1)</script>" in page.locator("#message").inner_text()
    page.keyboard.press("n")
    assert "alert(1)" in page.locator("#answer").inner_text()
    assert page.locator("img").count() == 0
    assert trouble == []


def test_a_phone_a_keyboard_and_a_screen_reader_can_use_it(desk: Desk, context: Any) -> None:
    long = RatingItem("c1", "x" * 400, {"student": "A\nB", "teacher": "word " * 300})
    exported = desk.export([long])
    page, trouble = _open(context, next(iter(exported.raters.values())).page)
    # Nothing is wider than the screen, whatever the text.
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    group = page.get_by_role("group", name="How helpful is this answer")
    assert group.get_by_role("radio").count() == 7
    names = group.locator("label").all_inner_texts()
    assert all(name.strip() for name in names)
    assert names[-2:] == ["Cannot judge", "This contains personal data"]
    small = page.evaluate(
        "[...document.querySelectorAll('button, label.choice')].filter(e => e.offsetParent && e.offsetHeight < 44).length"
    )
    assert small == 0
    assert page.get_by_role("progressbar", name="Progress").count() == 1
    # Tab reaches the choices, arrows move among them, and the focus is where the eye is after Next.
    page.get_by_label("1 – Not helpful").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("2 – Slightly").is_checked()
    page.get_by_role("button", name="Next", exact=True).click()
    assert page.evaluate("document.activeElement.id") == "place"
    # Single keys can be turned off.
    page.locator("summary").click()
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("5")
    assert page.locator("#state").inner_text() == "1 of 2 rated"
    dark = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    assert dark == ["rgb(27, 31, 36)", "rgb(243, 245, 248)"]
    assert trouble == []
