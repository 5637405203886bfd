"""The exported page in a Chromium without a window: bytes until it can be used, and milliseconds a photo."""

from __future__ import annotations

import re
import shutil
import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apps.export.page.serve import HOST, server

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WARM_UP = 3  # photos that are not counted
TIMES = re.compile(r"Read in ([\d.]+) ms, network ([\d.]+) ms")
PATIENCE_MS = 120_000


@contextmanager
def chromium() -> Iterator[Any]:
    """The machine's browser, driven by Playwright.

    Raises:
        FileNotFoundError: there is none.
        ImportError: Playwright is not installed.
    """
    result = next(filter(None, map(shutil.which, BROWSERS)), None)
    if result is None:
        raise FileNotFoundError("--browser needs Chromium: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as err:
        raise ImportError("--browser needs Playwright: pip install playwright") from err
    with sync_playwright() as play:
        item = play.chromium.launch(executable_path=result, args=["--no-sandbox"])
        try:
            yield item
        finally:
            item.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a page's folder behind ``serve``."""
    running = server(folder, 0)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{running.server_address[1]}/"
    finally:
        running.shutdown()
        running.server_close()


def transferred(requests: Sequence[Any]) -> int:
    """Bytes that came over the network, compressed and with headers, of the page and of its workers.

    Source: encodedDataLength of the DevTools protocol's Network events, as Playwright hands them on.
    """
    sizes = [request.sizes() for request in requests]
    return sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)


def page_figures(folder: Path, photos: Sequence[Path]) -> dict[str, Any]:
    """What a visit costs.

    Args:
        folder: written by ``export --to web``.
        photos: that are given to the page one after the other, more than three.

    Returns:
        ``{"chromium", "bytes", "photos", "network_ms", "read_ms", "cpu_ms"}``: the first two times are by
        the clock, median, least, greatest; the last is the mean CPU time of the thread that reads a photo
        and runs the network, 0 where the system does not tell it.
    """
    with served(folder) as address, chromium() as browser:
        page = browser.new_page()
        done: list[Any] = []

        def finished(request: Any) -> None:
            done.append(request)

        page.context.on("requestfinished", finished)
        page.goto(address)
        page.locator("body[data-ready]").wait_for(timeout=PATIENCE_MS)
        usable = list(done)
        return {"chromium": browser.version, "bytes": transferred(usable), **_times(browser, page, photos)}


def worker_seconds(session: Any) -> float:
    """CPU time so far of the page's worker, which no other work on the cores lengthens.

    Source: ``/proc/PID/task/TID/schedstat`` of Linux, for the processes that the DevTools protocol's
        SystemInfo.getProcessInfo names.
    """
    reported = session.send("SystemInfo.getProcessInfo")["processInfo"]
    nanoseconds = 0
    for item in reported:
        for task in Path(f"/proc/{item['id']}/task").glob("*"):
            if (task / "comm").read_text().startswith("DedicatedWorker"):
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def _times(browser: Any, page: Any, photos: Sequence[Path]) -> dict[str, Any]:
    read: list[float] = []
    network: list[float] = []
    session, began = browser.new_browser_cdp_session(), 0.0
    for number, photo in enumerate(photos):
        if number == WARM_UP:
            began = worker_seconds(session)
        page.set_input_files("#files", str(photo))
        page.locator("article[data-state]").nth(number).wait_for(timeout=PATIENCE_MS)
        result = TIMES.search(page.locator("article").first.inner_text())
        if result is None:
            raise ValueError(f"the page could not read {photo}; take it out of --data")
        if number >= WARM_UP:
            read.append(float(result[1]))
            network.append(float(result[2]))
    cpu = (worker_seconds(session) - began) / len(network)
    return {
        "photos": len(network), "cpu_ms": round(1e3 * cpu, 2),
        "network_ms": [statistics.median(network), min(network), max(network)],
        "read_ms": [statistics.median(read), min(read), max(read)],
    }
