"""The page on a device, in a real Chromium: kept for use offline, camera, folders, answers as files."""

from __future__ import annotations

import csv
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_support import AXE, Visit, another, axe_problems, served, until, web_page
from support import Cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(cli: Cli, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return web_page(cli, tmp_path_factory.mktemp("web") / "page", colour_run)


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture
def photo(colours: Path) -> Path:
    return next((colours / "val").rglob("*.png"))


def test_the_page_is_kept_and_answers_when_the_server_is_gone(
    browser: Any, folder: Path, photo: Path
) -> None:
    with served(folder) as address:
        visit = Visit(browser, address).ready().kept()
        wanted = visit.upload(photo)
        assert "works without a network" in (visit.page.locator("#kept").text_content() or "")
    visit.page.reload()
    visit.ready()
    assert visit.upload(photo) == wanted
    assert visit.page.evaluate("crossOriginIsolated")
    card = visit.page.get_by_role("link", name="Model card").get_attribute("href")
    text = visit.page.evaluate("async (name) => (await fetch(name)).text()", card)
    assert text == (folder / "model-card.md").read_text()
    assert visit.said == []
    visit.page.close()


def test_a_newer_page_takes_the_place_of_the_kept_one(
    browser: Any, folder: Path, tmp_path: Path
) -> None:
    """Without a word where nobody has begun."""
    copy = tmp_path / "page"
    shutil.copytree(folder, copy)
    with served(copy) as address:
        visit = Visit(browser, address).ready().kept()
        style, worker = copy / "style.css", copy / "sw.js"
        style.write_text(style.read_text() + "h1 { color: rgb(1, 2, 3); }\n")
        worker.write_text(worker.read_text().replace('"version": "', '"version": "1'))
        visit.page.reload()
        colour = "getComputedStyle(document.querySelector('h1')).color"
        until(visit.page, f"{colour} === 'rgb(1, 2, 3)'")
        assert visit.page.evaluate(colour) == "rgb(1, 2, 3)"
        assert visit.said == []
        visit.page.close()


def test_a_page_without_isolation_is_isolated_once_it_is_kept(browser: Any, folder: Path) -> None:
    """By servers that send no such headers: threads from the second visit on."""
    class Plain(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Plain, directory=str(folder)))
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    visit = Visit(browser, f"http://127.0.0.1:{made.server_address[1]}/").ready().kept()
    assert visit.page.evaluate("crossOriginIsolated") is False
    assert visit.page.locator("body").get_attribute("data-threads") == "1"
    visit.page.reload()
    visit.ready()
    assert visit.page.evaluate("crossOriginIsolated") is True
    visit.page.close()
    made.shutdown()
    made.server_close()


def test_the_browser_finds_the_page_fit_for_installing(browser: Any, page: str) -> None:
    visit = Visit(browser, page).ready().kept()
    session = visit.page.context.new_cdp_session(visit.page)
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] in (
        [], [{"errorId": "in-incognito", "errorArguments": []}]
    )
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == [] and json.loads(manifest["data"])["display"] == "standalone"
    visit.page.close()


def test_the_camera_gives_photos_that_are_answered(browser: Any, page: str) -> None:
    with another(browser, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as one:
        visit = Visit(one, page).ready()
        visit.page.get_by_role("button", name="Use the camera").click()
        until(visit.page, "document.getElementById('video').videoWidth > 0")
        visit.page.get_by_role("button", name="Take a photo").click()
        visit.page.locator("article[data-state=done]").wait_for()
        assert visit.page.inner_text("article h2").startswith("camera-")
        track = "document.getElementById('video').srcObject.getTracks()[0]"
        assert visit.page.evaluate(f"(window.track = {track}).readyState") == "live"
        visit.page.get_by_role("button", name="Close the camera").click()
        assert visit.page.evaluate("window.track.readyState") == "ended"
        assert visit.said == []
        visit.page.close()


def test_a_camera_that_is_not_allowed_is_explained(browser: Any, page: str) -> None:
    with another(browser, "--use-fake-device-for-media-stream", "--deny-permission-prompts") as one:
        visit = Visit(one, page).ready()
        visit.page.get_by_role("button", name="Use the camera").click()
        visit.page.locator("#problem:not([hidden])").wait_for()
        assert "The camera was not allowed" in visit.page.inner_text("#problem")
        visit.page.close()


def test_a_folder_is_answered_with_all_photos_in_it_and_nothing_else(
    browser: Any, page: str, photo: Path, tmp_path: Path
) -> None:
    for name in ("one.png", "deep/two.png", "deep/er/three.png"):
        (tmp_path / "album" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / "album" / name)
    (tmp_path / "album" / "notes.txt").write_text("no photo")
    visit = Visit(browser, page).ready()
    visit.page.set_input_files("#folder", tmp_path / "album")
    visit.page.locator("article[data-state]").nth(2).wait_for()
    until(visit.page, "document.getElementById('status').textContent === '3 answered.'")
    names = sorted(visit.page.locator("article h2").all_inner_texts())
    assert names == ["album/deep/er/three.png", "album/deep/two.png", "album/one.png"]
    visit.page.close()


DROP = """
async (address) => {
  const { dropped } = await import(address + "intake.js");
  const file = (name, fullPath) => (
    { isFile: true, name, fullPath, file: (take) => take(new File(["x"], name)) }
  );
  const folder = (name, parts) => ({ isDirectory: true, name, createReader: () => {
    const some = [parts.slice(0, 1), parts.slice(1), []];
    return { readEntries: (take) => take(some.shift()) };
  } });
  const entries = [file("a.jpg", "/a.jpg"), folder("album", [
    file("b.jpg", "/album/b.jpg"), file("words.txt", "/album/words.txt"),
    folder("deep", [file("c.webp", "/album/deep/c.webp")]),
  ])];
  const items = entries.map((entry) => ({ kind: "file", webkitGetAsEntry: () => entry }));
  return (await dropped({ items, files: [] })).map(({ name }) => name);
}
"""


def test_a_folder_that_is_dropped_is_walked_through(browser: Any, page: str) -> None:
    """A reader gives entries in parts, and must be asked until it gives none."""
    visit = Visit(browser, page).ready()
    assert visit.page.evaluate(DROP, page) == ["a.jpg", "album/b.jpg", "album/deep/c.webp"]
    visit.page.close()


def test_answers_are_saved_as_predict_writes_them(
    browser: Any, page: str, folder: Path, photo: Path, cli: Cli, tmp_path: Path
) -> None:
    bad = tmp_path / 'no "photo", really.jpg'
    bad.write_text("no photo")
    (wanted,) = cli("predict", photo, "--model", folder / "model.onnx").lines
    visit = Visit(browser, page).ready()
    visit.upload(photo, bad)
    with visit.page.expect_download() as lines:
        visit.page.get_by_role("button", name="as JSON").click()
    with visit.page.expect_download() as table:
        visit.page.get_by_role("button", name="as CSV").click()
    got, failed = map(json.loads, lines.value.path().read_text().splitlines())
    assert got.keys() == wanted.keys() and got["unknown"] == wanted["unknown"] and got["path"] == photo.name
    for one, other in zip(got["predictions"], wanted["predictions"], strict=True):
        assert one["name"] == other["name"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-3)
    assert failed == {"path": bad.name, "error": "not a photo that this browser can read"}
    rows = list(csv.DictReader(table.value.path().open(newline="")))
    assert [row["name"] for row in rows] == [*(one["name"] for one in wanted["predictions"]), ""]
    assert (rows[-1]["path"], rows[-1]["error"]) == (bad.name, failed["error"])
    visit.page.get_by_role("button", name="Clear").click()
    assert visit.page.locator("article").count() == 0
    visit.page.close()


def test_two_models_in_one_page_both_answer(
    browser: Any, cli: Cli, folder: Path, colours: Path, photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    made = cli(
        "finetune", "dogs", "--data", colours, "--resolution", 48, "--epochs", 1, "--batch-size", 8,
        "--workers", 0, "--seed", 1, "--out", other,
    )
    assert made.code == 0, made.err
    both = tmp_path / "page"
    shutil.copytree(folder, both)
    made = cli("export", other, "--to", "web", "--out", both, "--add")
    assert made.code == 0, made.err
    assert json.loads((both / "models.json").read_text()) == {"models": ["model", "model-2"]}
    assert json.loads(made.out)["card"] == str(both / "model-2-card.md")
    again = cli("export", other, "--to", "web", "--out", both, "--add")
    assert again.code == 1 and "has this model already" in again.last_error
    files = both / "model.onnx", both / "model-2.onnx"
    wanted = [cli("predict", photo, "--model", file).lines[0] for file in files]
    with served(both) as address:
        visit = Visit(browser, address).ready()
        visit.upload(photo)
        assert visit.page.locator("article h3").all_inner_texts() == ["dogs", "dogs-2"]
        for part, line in zip(visit.page.locator("article ol").all(), wanted, strict=True):
            for row, one in zip(part.locator("li").all(), line["predictions"], strict=True):
                assert row.get_attribute("data-name") == one["name"]
                shown = float(row.get_attribute("data-probability") or 2)
                assert shown == pytest.approx(one["probability"], abs=1e-3)
        visit.page.close()


def test_add_wants_a_page(cli: Cli, colour_run: Path, tmp_path: Path) -> None:
    answer = cli("export", colour_run, "--to", "web", "--out", tmp_path / "none", "--add")
    assert answer.code == 1 and "--add adds to a page" in answer.last_error
    answer = cli("export", colour_run, "--out", tmp_path / "a.onnx", "--add")
    assert answer.code == 1 and "--add is for --to web" in answer.last_error


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_has_no_serious_barrier(
    browser: Any, page: str, photo: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    if AXE is None:
        pytest.skip("no axe-core here: npm ci in web/")
    bad = tmp_path / "words.jpg"
    bad.write_text("no photo")
    visit = Visit(browser, page, viewport={"width": width, "height": 800}, color_scheme=scheme).ready()
    assert axe_problems(visit.page) == []
    visit.upload(photo, bad)
    visit.page.get_by_text("How this works").click()
    assert axe_problems(visit.page) == []
    assert visit.page.locator("html").evaluate("e => e.scrollWidth <= e.clientWidth")
    visit.page.close()
