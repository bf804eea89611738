"""The reviewer's page in a real browser, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill_gov.stages import review
from evals.ratings.page import filled

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = '</script><img src=x onerror="document.title=1"> @packet@'

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]


def row(name: str, text: str) -> dict[str, Any]:
    found = [{"place": "message 1", "entity": "EMAIL", "rule": "email/address", "times": 2}]
    return {"row": name, "messages": [{"role": "user", "content": text}], "answer": "One moment.", "found": found}


def test_answer_every_row_and_save(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    rows = [row("a" * 16, "write to <EMAIL_1>"), row("b" * 16, HOSTILE)]
    packet = {"run": "r1", "reasons": dict(review.REASONS), "rows": rows, "packet": "sha256:p"}
    path = tmp_path / "page.html"
    path.write_text(filled(Path(review.__file__).with_name("review_page.html"), packet), "utf-8")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page()
        trouble: list[str] = []
        page.on("request", lambda r: trouble.append(r.url) if not r.url.startswith(("file:", "blob:")) else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
        page.goto(path.as_uri())
        assert page.get_by_text(HOSTILE).count() == 1
        assert page.get_by_text("message 1: EMAIL by email/address (2 times)").count() == 2
        page.get_by_label("Accept").nth(0).check()
        page.get_by_role("button", name="Save").click()
        assert page.get_by_text("1 rows have no answer yet.").is_visible()
        page.get_by_label("Reject: The answer is wrong").nth(1).check()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save").click()
        saved = tmp_path / download.value.suggested_filename
        download.value.save_as(saved)
        title = page.title()
        chromium.close()
    assert (trouble, title, saved.name) == ([], "Review the redacted rows", "review.r1.jsonl")
    facts = {"packet": "sha256:p", "rows": [r["row"] for r in rows]}
    assert review._answers(saved, facts) == {"a" * 16: "", "b" * 16: "wrong_answer"}
    assert [json.loads(line)["decision"] for line in saved.read_text("utf-8").splitlines()] == ["accept", "reject"]
