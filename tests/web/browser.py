"""Debian's Chromium on the pages: nothing may be complained about on its console."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SOFTWARE_GL = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}


@contextmanager
def running_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SOFTWARE_GL))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Reader:
    """A person in front of the pages."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def visit(self, place: str) -> None:
        """Go to an address of the pages and wait until it is drawn."""
        self.page.goto(f"{self.base}/{place}")
        self.page.wait_for_selector("main[aria-busy=false] h1")

    def until(self, expression: str, timeout_s: float = 60.0) -> None:
        """Wait for an expression; Playwright's own waiting evaluates strings in the page, which our CSP forbids."""
        deadline = time.monotonic() + timeout_s
        while not self.page.evaluate(expression):
            if time.monotonic() > deadline:
                raise AssertionError(f"never became true: {expression}; complaints: {self.complaints}")
            self.page.wait_for_timeout(50)

    def violations(self) -> list[str]:
        """What axe finds against WCAG 2.2 AA, one line each."""
        found = Axe().run(self.page, options=WCAG).response["violations"]
        return [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found]
