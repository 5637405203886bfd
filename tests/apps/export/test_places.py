"""A page of two heads on one backbone: names and places of one photo, in one pass, with the map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_support import Visit, served, web_page
from support import COLOURS, Cli

from apps.engine.inference.lines import predict

CITIES = {"red": (48.85, 2.35), "green": (52.52, 13.4), "blue": (41.9, 12.5)}


@pytest.fixture(scope="module")
def places(cli: Cli, colours: Path, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head of places on the backbone of the colours' run: each colour is a city."""
    table = tmp_path_factory.mktemp("table") / "photos.csv"
    rows = ["path,lat,lon"]
    for colour in COLOURS:
        lat, lon = CITIES[colour]
        for number, photo in enumerate(sorted((colours / "train" / colour).iterdir())):
            rows.append(f"{photo},{lat + 0.02 * (number % 4)},{lon + 0.04 * (number // 4)}")
    table.write_text("\n".join(rows) + "\n")
    out = tmp_path_factory.mktemp("runs") / "places"
    answer = cli(
        "finetune", "places", "--data", table, "--weights", colour_run, "--freeze", "--workers", 0,
        "--split-km", 0.5, "--t-max", 20, "--t-min", 1, "--val-share", 0.3, "--out", out,
    )
    assert answer.code == 0, answer.err
    return out


def _spots(map_: Any) -> list[tuple[float, float]]:
    """(lat, lon) of the spots, all of which the map's part of the earth must hold."""
    left, top, width, height = map(float, map_.get_attribute("viewBox").split())
    assert width == pytest.approx(2 * height) and 80 <= width <= 360
    found = []
    for spot in map_.locator("circle").all():
        x, y = float(spot.get_attribute("cx")), float(spot.get_attribute("cy"))
        assert left <= x <= left + width and top <= y <= top + height
        found.append((90 - y, x - 180))
    return found


@pytest.mark.slow
def test_one_pass_names_and_places_a_photo_as_python_does(
    browser: Any, cli: Cli, colours: Path, colour_run: Path, places: Path, tmp_path: Path
) -> None:
    page = web_page(cli, tmp_path / "page", colour_run, places)
    photo = next((colours / "val").rglob("*.png"))
    (line,) = predict([photo], str(page / "model.onnx"), is_run=False)
    cells = line["answers"]["places"]["cells"]
    with served(page) as address:
        visit = Visit(browser, address).ready()
        visit.upload(photo)
        assert visit.page.locator("article h3").all_inner_texts() == ["dogs", "places"]
        lists = visit.page.locator("article ol").all()
        for rows, wanted in zip(lists, (line["answers"]["dogs"]["predictions"], cells), strict=True):
            got = [float(row.get_attribute("data-probability")) for row in rows.locator("li").all()]
            assert got == pytest.approx([one["probability"] for one in wanted], abs=1e-2)
        spots = sorted(_spots(visit.page.get_by_role("img", name="Map of the likeliest places")))
        np.testing.assert_allclose(spots, sorted((one["lat"], one["lon"]) for one in cells), atol=1e-3)
        visit.page.locator("path.land[d]").wait_for(state="attached")
        assert visit.said == []
        visit.page.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spots", "width"),
    [([(48.9, 2.4)], 80), ([(89.0, 179.0), (88.0, 178.0)], 80), ([(60.0, -120.0), (-30.0, 150.0)], 360)],
)
def test_the_map_never_leaves_the_earth(
    browser: Any, cli: Cli, colour_run: Path, tmp_path: Path, spots: list[tuple[float, float]], width: float
) -> None:
    """One spot, spots in a corner, and spots at both ends of the earth."""
    with served(Path(__file__).resolve().parents[3] / "web" / "page") as address:
        page = browser.new_page()
        page.goto(address + "icon.svg")
        told = [{"lat": lat, "lon": lon} for lat, lon in spots]
        module = "async (spots) => (await import('/render.js')).region(spots)"
        left, top, wide, high = page.evaluate(module, told)
        page.close()
    assert (wide, high) == (width, width / 2)
    assert 0 <= left <= 360 - wide and 0 <= top <= 180 - high
