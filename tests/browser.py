"""Pages in a real browser: fixtures that the tests of all pages share.

A module that imports `page` has a fixture `server` with the attribute `url`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from installing import install

AXE = Path(__file__).parent / "axe"
PATIENCE = 180_000
"""Milliseconds, for a machine that does much else."""
PICTURES = os.environ.get("MLKIT_TEST_PICTURES")
"""A folder for pictures of every page, for somebody to look at."""


@pytest.fixture(scope="module")
def axe(request) -> str:
    """The source of axe-core, installed once into pytest's cache."""
    if (npm := shutil.which("npm")) is None:
        pytest.skip("needs the program npm")
    folder = request.config.cache.mkdir("axe-core")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(AXE / name, folder)
    install([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, "node_modules")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.fixture(scope="module")
def chromium():
    if (program := shutil.which("chromium")) is None:
        pytest.skip("needs the program chromium")
    playwright_api = pytest.importorskip("playwright.sync_api")
    playwright_api.expect.set_options(timeout=PATIENCE)
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"], timeout=PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, server):
    """A page that may neither complain nor ask another host."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    made = context.new_page()
    made.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    made.on("console", lambda each: complaints.append(each.text) if each.type == "error" else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("dialog", lambda dialog: complaints.append(dialog.message))
    made.on("request", lambda request: complaints.append(request.url)
            if not request.url.startswith((server.url, "data:")) else None)  # fmt: skip
    yield made
    context.close()
    # A browser reports an answer of 4xx by itself: such answers are what some tests are about.
    assert [each for each in complaints if "status of 4" not in each] == []


def look(page, axe: str, name: str) -> None:
    """Find no violation of accessibility, light and dark, on a phone and on a desk."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(axe)
            found = page.evaluate("axe.run()")["violations"]
            shown = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
            assert shown == [], f"{name}, {scheme}, {width}: {shown}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if PICTURES:
                picture = Path(PICTURES) / f"{name}-{scheme}-{width}.png"
                page.screenshot(path=picture, full_page=True)
