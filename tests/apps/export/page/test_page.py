"""The page with the network: served on loopback, used in a real Chromium."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from page_support import Visit, served, web_page
from PIL import Image
from support import ROOT, Cli

from apps.export.page.serve import HEADERS


@pytest.fixture
def small(tmp_path: Path) -> Iterator[str]:
    """A folder with a page's names, served; its address."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<p>page</p>")
    (folder / "model.wasm").write_bytes(bytes(100_000))
    (tmp_path / "secret.txt").write_text("no")
    with served(folder) as address:
        yield address


def get(address: str, **headers: str) -> Any:
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10)


def test_the_server_isolates_the_page_and_forbids_it_the_network(small: str) -> None:
    with get(small) as answer:
        assert answer.read() == b"<p>page</p>"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self';" in policy


def test_the_page_itself_forbids_what_the_server_forbids() -> None:
    """For those who put the folder on a server of their own."""
    page = (ROOT / "web" / "page" / "index.html").read_text()
    (told,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert told + "; frame-ancestors 'none'" == HEADERS["Content-Security-Policy"]


def test_the_server_packs_what_packs_well(small: str) -> None:
    with get(small + "model.wasm", **{"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Type"] == "application/wasm"
        assert len(answer.read()) < 1000
    with get(small + "model.wasm") as answer:
        assert len(answer.read()) == 100_000


@pytest.mark.parametrize("path", ["../secret.txt", "%2e%2e/secret.txt", "none.js"])
def test_the_server_gives_nothing_but_the_files_of_the_folder(small: str, path: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        get(small + path)


def test_a_path_with_a_null_byte_is_a_bad_request(small: str) -> None:
    """No file has such a name; opening it ended in a traceback and no answer."""
    with pytest.raises(HTTPError, match="400"):
        get(small + "%00")


def test_a_folder_without_a_page_and_a_taken_port_are_told(cli: Cli, tmp_path: Path, small: str) -> None:
    answer = cli("serve", tmp_path)
    assert answer.code == 1
    assert "holds no page (index.html); make one: python cli.py export RUN --to web" in answer.last_error
    taken = small.rstrip("/").rsplit(":", 1)[1]
    answer = cli("serve", tmp_path / "page", "--port", taken)
    assert answer.code == 1
    assert f"port {taken} of 127.0.0.1 cannot be had" in answer.last_error


@pytest.fixture(scope="module")
def colour_page(cli: Cli, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(web_page(cli, tmp_path_factory.mktemp("web") / "page", colour_run)) as address:
        yield address


def python_answers(cli: Cli, photos: list[Path], *model: object) -> list[dict[str, float]]:
    answer = cli("predict", *photos, *model, "--workers", 0)
    return [{one["name"]: one["probability"] for one in row["predictions"]} for row in answer.lines]


@pytest.mark.slow
def test_the_page_answers_as_python_does_and_says_nothing_to_the_console(
    browser: Any, colour_page: str, cli: Cli, colours: Path, colour_run: Path
) -> None:
    photos = sorted((colours / "val").rglob("*.png"))[::3]
    visit = Visit(browser, colour_page).ready()
    for got, wanted in zip(
        visit.upload(*photos), python_answers(cli, photos, "--checkpoint", colour_run), strict=True
    ):
        assert got == pytest.approx(wanted, abs=1e-2)
    assert visit.said == []
    assert "Nothing leaves this device" in visit.page.inner_text("main")
    assert all(url.startswith((colour_page, "blob:")) for url in visit.asked)
    visit.page.close()


@pytest.mark.slow
def test_a_text_file_gets_a_clear_error_and_the_next_photo_an_answer(
    browser: Any, colour_page: str, colours: Path, tmp_path: Path
) -> None:
    text = tmp_path / "words.jpg"
    text.write_text("no photo")
    visit = Visit(browser, colour_page).ready()
    assert visit.upload(text, next((colours / "val").rglob("*.png")))[0] == {}
    assert "words.jpg: not a photo that this browser can read" in visit.page.inner_text("article .error")
    assert visit.page.inner_text("#status") == "1 answered, 1 could not be read."
    visit.page.close()


@pytest.mark.slow
def test_a_photo_of_100_megapixels_is_answered(
    browser: Any, colour_page: str, cli: Cli, colour_run: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.jpg"
    Image.effect_noise((500, 500), 40).convert("RGB").resize((10_000, 10_000)).save(large)
    visit = Visit(browser, colour_page).ready()
    (got,) = visit.upload(large, timeout_ms=300_000)
    assert got == pytest.approx(python_answers(cli, [large], "--checkpoint", colour_run)[0], abs=1e-2)
    visit.page.close()


@pytest.mark.slow
def test_a_photo_above_pythons_limit_is_refused_in_the_same_words(
    browser: Any, colour_page: str, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.png"
    Image.new("1", (14_000, 14_000)).save(huge)
    visit = Visit(browser, colour_page).ready()
    assert visit.upload(huge, timeout_ms=300_000) == [{}]
    words = "14000 x 14000 pixels, above the limit of 178956970; make a smaller copy"
    assert words in visit.page.inner_text("article .error")
    visit.page.close()


@pytest.mark.slow
def test_where_webassembly_is_blocked_the_page_says_so(colour_page: str, browser: Any) -> None:
    def forbid(route: Any) -> None:
        answer = route.fetch()
        policy = answer.headers["content-security-policy"].replace(" 'wasm-unsafe-eval'", "")
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": policy})

    context = browser.new_context()
    context.route(colour_page, forbid)
    visit = Visit(context, colour_page)
    visit.page.locator("#problem:not([hidden])").wait_for()
    assert "WebAssembly is blocked in this browser" in visit.page.inner_text("#problem")
    assert visit.page.locator("#files").is_disabled()
    context.close()


@pytest.mark.slow
def test_a_browser_without_webassembly_is_told_how_to_go_on(colour_page: str, browser: Any) -> None:
    context = browser.new_context()
    context.add_init_script("delete globalThis.WebAssembly")
    visit = Visit(context, colour_page)
    visit.page.locator("#problem:not([hidden])").wait_for()
    assert "python cli.py predict PHOTO --model model.onnx" in visit.page.inner_text("#problem")
    assert visit.said == []
    context.close()


@pytest.mark.slow
def test_the_page_is_worked_by_the_keyboard_and_fits_a_phone(
    browser: Any, colour_page: str, colours: Path
) -> None:
    visit = Visit(browser, colour_page, viewport={"width": 360, "height": 740}).ready()
    focused = []
    for _ in range(6):
        visit.page.keyboard.press("Tab")
        focused.append(visit.page.locator(":focus").evaluate("e => e.id || e.textContent"))
    assert focused == ["Skip to the answers", "files", "folder", "camera", "How this works", "Model card"]
    visit.upload(next((colours / "val").rglob("*.png")))
    assert visit.page.locator("html").evaluate("e => e.scrollWidth <= e.clientWidth")
    tree = visit.page.locator("body").aria_snapshot()
    for words in ('button "Choose photos"', "status:", 'region "Answers"', "img \"The photo"):
        assert words in tree, tree
    visit.page.close()
