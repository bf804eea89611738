"""Both forms of the report in a real browser: the verdict is on the first screen, without scrolling."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reports.launch import run_command
from reports.static import write_report

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREENS = ({"width": 1280, "height": 800}, {"width": 390, "height": 844})

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


def assert_on_first_screen(page: Any, words: str, screen: dict[str, int]) -> None:
    found = page.get_by_text(words, exact=False).first
    found.wait_for(timeout=30_000)
    box = found.bounding_box()
    assert box is not None
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= screen["height"]
    assert box["x"] + box["width"] <= screen["width"]
    assert page.evaluate("window.scrollY") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS, ids=["desktop", "phone"])
def test_static_report(blocked: ModuleType, browser: Any, screen: dict[str, int], scheme: str) -> None:
    asked: list[str] = []
    page = browser.new_page(viewport=screen, color_scheme=scheme)
    page.on("request", lambda request: asked.append(request.url))
    address = write_report(blocked.run).as_uri()
    page.goto(address)
    for words in ("BLOCKED", "exit code 3", "helpfulness (INCONCLUSIVE)", "distill-gov ratings export --run r1"):
        assert_on_first_screen(page, words, screen)
    assert page.evaluate("document.documentElement.scrollWidth") <= screen["width"]
    assert asked == [address]
    page.close()


@pytest.fixture
def served(blocked: ModuleType) -> Iterator[str]:
    """The app, served on this machine only, on a run that is blocked."""
    pytest.importorskip("streamlit", reason="the report extra is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = run_command(blocked.run.root.parent.parent, "r1", port=port)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://localhost:{port}/_stcore/health", server)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        assert server.poll() is None, "the app ended at once"
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.25)
    pytest.fail("the app did not answer")


def _assert_charts_are_drawn(browser: Any, served: str) -> None:
    for address in ("gates", "reliability"):
        page = browser.new_page(viewport=SCREENS[0])
        page.goto(f"{served}/{address}")
        picture = page.get_by_test_id("stImage").locator("img").first
        picture.wait_for(timeout=30_000)
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        page.close()


@pytest.mark.slow
def test_app(served: str, browser: Any) -> None:
    _assert_charts_are_drawn(browser, served)
    for screen in SCREENS:
        page = browser.new_page(viewport=screen)
        page.goto(served)
        for words in ("BLOCKED", "exit code 3", "distill-gov ratings export --run r1"):
            assert_on_first_screen(page, words, screen)
        page.close()
