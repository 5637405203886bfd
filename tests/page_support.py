"""A real Chromium and pages served to it, for the tests of the page."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, Cli

from apps.export.page.serve import HOST, server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


_AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
AXE = _AXE if _AXE.is_file() else None  # npm ci in web/ brings it


def axe_problems(page: Any) -> list[str]:
    """What axe-core finds on a page that is serious or worse: its rule, what it is about, and where."""
    assert AXE is not None
    page.evaluate(AXE.read_text(encoding="utf-8"))
    results = page.evaluate("axe.run()")
    return [
        f"{entry['id']}: {entry['help']}: {[node['html'][:200] for node in entry['nodes']]}"
        for entry in results["violations"] if entry["impact"] in ("serious", "critical")
    ]


@contextmanager
def chromium() -> Iterator[Any]:
    """The machine's Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@contextmanager
def another(browser: Any, *flags: str) -> Iterator[Any]:
    """A further Chromium, started with flags of its own."""
    one = browser.browser_type.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])
    yield one
    one.close()


class served:
    """A folder behind ``serve``, for as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self.server = server(folder, 0)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://{HOST}:{self.server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def web_page(cli: Cli, out: Path, *what: object) -> Path:
    answer = cli("export", *what, "--to", "web", "--out", out)
    if answer.code and "npm" in answer.err:
        pytest.skip(f"onnxruntime-web cannot be fetched: {answer.err.splitlines()[-1]}")
    assert answer.code == 0, answer.err
    return out


def until(page: Any, expression: str, seconds: float = 60) -> None:
    """Wait for an expression to hold; Playwright's own waiting is forbidden by the page's policy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if page.evaluate(expression):
                return
        except Exception as err:
            if "navigation" not in str(err):
                raise
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression} does not hold after {seconds:g} s")


class Visit:
    """A page that is open, with what it said on the console and asked of the network."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.context.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def ready(self) -> Visit:
        self.page.locator("body[data-ready]").wait_for(timeout=60_000)
        return self

    def kept(self) -> Visit:
        """Once the page is kept on the device."""
        self.page.locator("body[data-kept=true]").wait_for(timeout=60_000, state="attached")
        return self

    def upload(self, *photos: Path, timeout_ms: float = 60_000) -> list[dict[str, float]]:
        """The answers to photos, in their order."""
        before = self.page.locator("article[data-state]").count()
        self.page.set_input_files("#files", [str(photo) for photo in photos])
        self.page.locator("article[data-state]").nth(before + len(photos) - 1).wait_for(timeout=timeout_ms)
        cards = self.page.locator("article").all()[: len(photos)]
        return [
            {
                row.get_attribute("data-name"): float(row.get_attribute("data-probability"))
                for row in card.locator("li[data-probability]").all()
            }
            for card in reversed(cards)
        ]
