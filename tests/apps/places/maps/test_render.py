"""Maps of an answer: what is drawn where, in three formats, without a network."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from apps.places.answers import describe
from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import CellPartition
from apps.places.cells.sphere import distance_km
from apps.places.maps.render import write_map
from apps.places.maps.view import WORLD, Spot, View, close_view, rings_of, shown_cells

ANSWER = {"lat": None, "lon": None, "cells": []}


def around(lat: float, lon: float, tau_km: float, level: int = 5) -> tuple[CellPartition, np.ndarray]:
    """All cells of a level with a probability that falls off from a place."""
    ids = s2.faces(level)
    middle_lat, middle_lon = s2_shapes.centres_deg(ids)
    count = len(ids)
    grid = CellPartition(ids, np.ones(count), middle_lat, middle_lon, np.full(count, -1))
    mass = np.exp(-distance_km(lat, lon, middle_lat, middle_lon) / tau_km)
    return grid, mass / mass.sum()


def test_the_smallest_area_of_99_percent_is_shown_and_its_tones_are_credible_areas() -> None:
    grid, probabilities = around(48, 10, 300)
    shown = shown_cells(grid, probabilities)
    assert 0.99 <= shown.probabilities.sum() < 0.995
    assert (np.diff(shown.probabilities) <= 0).all()
    assert shown.tones.max() == 1
    half = shown.tones > 0.5
    assert shown.probabilities[half].sum() == pytest.approx(0.5, abs=0.02)
    density = shown.probabilities / s2_shapes.areas_km2(shown.ids)
    assert density[half].min() >= density[~half].max()


def test_small_cells_are_gathered_unless_the_map_is_to_be_precise() -> None:
    leaves = s2.leaf_ids([48.2, 48.2001, 40], [16.3, 16.3001, -3])
    ids = np.sort(s2.parents(leaves, 18))
    grid = CellPartition(ids, np.ones(3), *s2_shapes.centres_deg(ids), np.full(3, -1))
    third = np.full(3, 1 / 3)
    coarse, precise = shown_cells(grid, third), shown_cells(grid, third, precise=True)
    assert s2.levels(coarse.ids).tolist() == [9, 9]
    assert coarse.probabilities == pytest.approx([2 / 3, 1 / 3])
    assert sorted(precise.ids.tolist()) == ids.tolist()


@pytest.mark.parametrize(("lat", "lon"), [(48, 10), (-17, 179.5), (-17, -179.5), (65, -150), (0.1, 0.1)])
def test_the_close_view_holds_the_place_also_across_the_antimeridian(lat: float, lon: float) -> None:
    view = close_view(shown_cells(*around(lat, lon, 150)))
    assert view is not None
    east, north = view.spot(lat, lon)
    assert view.west < east < view.east
    assert view.south < north < view.north
    assert view.east - view.west < 100
    shown = shown_cells(*around(lat, lon, 150))
    assert all(rings for rings in rings_of(shown.ids[:5].tolist(), view))


def test_an_answer_that_is_spread_over_the_earth_or_at_a_pole_has_no_close_view() -> None:
    assert close_view(shown_cells(*around(0, 0, 50_000))) is None
    assert close_view(shown_cells(*around(89, 0, 150))) is None


def test_lines_appear_in_a_view_once_twice_or_not_at_all() -> None:
    line = np.array([[170.0, 0], [179, 5]])
    assert len(WORLD.placed(line)) == 1
    across = View(160, -20, 200, 20)
    (moved,) = across.placed(np.array([[-175.0, 0], [-170, 5]]))
    assert moved[:, 0].tolist() == [185, 190]
    assert View(0, 50, 10, 60).placed(line) == []


def test_a_png_is_dark_where_the_answer_is_and_nowhere_else(tmp_path: Path) -> None:
    def reddish(lat: float, lon: float) -> np.ndarray:
        path = tmp_path / "map.png"
        grid, probabilities = around(lat, lon, 80)
        write_map(path, grid, probabilities, describe(probabilities, grid), title="a $photo$ \u4e2d.jpg")
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        world = pixels[: len(pixels) // 2]
        rows, columns = np.nonzero(world[..., 0] - world[..., 2] > 60)
        legend = (columns < 200) & (rows > 0.7 * len(world))
        return np.stack([columns[~legend], rows[~legend]], axis=1) / (pixels.shape[1], pixels.shape[0])

    europe, australia = reddish(48, 10), reddish(-30, 140)
    assert min(len(europe), len(australia)) > 30
    assert europe[:, 0].mean() < australia[:, 0].mean() - 0.2  # further west
    assert europe[:, 1].mean() < australia[:, 1].mean() - 0.1  # further north


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    grid, probabilities = around(48, 10, 150)
    answer = describe(probabilities, grid)
    answer["cells"][0]["city"] = "Ulm <DE>"
    write_map(path, grid, probabilities, answer, title="<b>&.jpg")
    page = path.read_text()
    assert len(page) < 900_000
    assert "&lt;b&gt;&amp;.jpg" in page
    assert "Ulm &lt;DE&gt;" in page
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=|url\(|https?:", page)
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(svgs) == 2
    for text in svgs:
        drawing = ElementTree.fromstring(text)
        width, height = map(int, drawing.attrib["viewBox"].split()[2:])
        assert (width, height > 1000) == (8000, True)
        titles = [one.text or "" for one in drawing.iter("title")]
        assert len(titles) > 5
        assert all(re.fullmatch(r"[0-9a-f]+: \d+\.\d\d%", one) for one in titles)


def test_geojson_has_the_cells_with_their_probability(tmp_path: Path) -> None:
    path = tmp_path / "map.geojson"
    grid, probabilities = around(48, 10, 150)
    write_map(path, grid, probabilities, describe(probabilities, grid))
    *features, answer = json.loads(path.read_text())["features"]
    assert answer["geometry"]["type"] == "Point" and answer["properties"] == {"role": "answer"}
    shown = shown_cells(grid, probabilities)
    assert [one["properties"]["probability"] for one in features] == shown.probabilities.tolist()
    assert [one["properties"]["token"] for one in features] == s2.tokens(shown.ids)
    west, south = np.array(features[0]["geometry"]["coordinates"][0]).min(axis=0)
    assert (west < 10, south < 48) == (True, True)


def test_a_map_in_another_format_or_of_other_cells_is_refused(tmp_path: Path) -> None:
    grid, probabilities = around(48, 10, 150)
    with pytest.raises(ValueError, match=r"suffix '.gif'; a map is written as .png, .html, .geojson, .kml"):
        write_map(tmp_path / "map.gif", grid, probabilities, ANSWER)
    with pytest.raises(ValueError, match=r"expected 6144 probabilities .*, got \(3,\) with sum 1"):
        write_map(tmp_path / "map.png", grid, np.full(3, 1 / 3), ANSWER)
    with pytest.raises(ValueError, match="with sum 2"):
        write_map(tmp_path / "map.png", grid, probabilities * 2, ANSWER)


def two_cities() -> tuple[CellPartition, np.ndarray]:
    """Copenhagen has the likeliest cell, Cologne two cells below one of level 9 that together have more."""
    ids = np.sort(s2.parents(s2.leaf_ids([55.68, 50.94, 50.96], [12.57, 6.96, 6.96]), 13))
    lat, lon = s2_shapes.centres_deg(ids)
    grid = CellPartition(ids, np.ones(3), lat, lon, np.full(3, -1))
    return grid, np.where(lat > 53, 0.36, 0.32)


def cross_of(page: str) -> tuple[float, float]:
    """Latitude and longitude of the cross on the map of the world."""
    text = re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0]
    x, y = map(int, re.findall(r'd="M(-?\d+),(-?\d+)h160M', text)[0])
    scale = 8000 / 360
    return 90 - y / WORLD.stretch / scale, (x + 80) / scale - 180


def test_json_table_and_cross_name_one_place_also_where_small_cells_are_drawn_together(
    tmp_path: Path
) -> None:
    grid, probabilities = two_cities()
    shown = shown_cells(grid, probabilities)
    assert len(shown.ids) == 2 and shown.lat[0] < 53, "drawn together, Cologne has more"
    answer = describe(probabilities, grid, top=3)
    write_map(tmp_path / "map.html", grid, probabilities, answer)
    page = (tmp_path / "map.html").read_text()
    rows = re.findall(r"<th scope=\"row\"[^>]*>(.*?)</th><td[^>]*>(.*?)</td></tr>", page)
    assert rows == [
        (f"{cell['city']}, {cell['country']}", f"{cell['probability']:.1%}") for cell in answer["cells"]
    ]
    assert rows[0] == (f"{answer['city']}, DK", "36.0%")
    assert [country for _, country in (name.split(", ") for name, _ in rows)] == ["DK", "DE", "DE"]
    lat, lon = cross_of(page)
    assert (lat, lon) == pytest.approx((answer["lat"], answer["lon"]), abs=0.05)


def test_an_answer_that_abstains_has_no_cross(tmp_path: Path) -> None:
    grid, probabilities = two_cities()
    answer = describe(probabilities, grid, least=0.9)
    assert answer["abstains"]
    write_map(tmp_path / "map.html", grid, probabilities, answer)
    assert "h160M" not in (tmp_path / "map.html").read_text()
    write_map(tmp_path / "map.png", grid, probabilities, answer)
    assert (tmp_path / "map.png").stat().st_size > 10_000


def album(folder: Path) -> list[Spot]:
    """Two photos with GPS that they must not pass on, and one that is gone."""
    exif = Image.Exif()
    exif[0x010E] = "planted description"
    for name in ("a<b>.jpg", "c.jpg"):
        Image.new("RGB", (300, 200), "orange").save(folder / name, exif=exif)
    return [
        Spot(str(folder / "a<b>.jpg"), 55.7, 12.6, 0.5, "Copenhagen", "DK"),
        Spot(str(folder / "c.jpg"), 50.9, 7.0, 0.25, "Cologne", "DE"),
        Spot(str(folder / "gone.jpg"), 1, 2, 0.1),
    ]


@pytest.mark.parametrize("trip", [True, False])
def test_photos_are_dots_tiles_points_and_placemarks_and_a_trip_is_a_line(tmp_path: Path, trip: bool) -> None:
    grid, probabilities = two_cities()
    answer, spots = describe(probabilities, grid), album(tmp_path)
    for suffix in ("html", "geojson", "kml", "png"):
        path = tmp_path / f"map.{suffix}"
        write_map(path, grid, probabilities, answer, title="trip <1>", spots=spots, trip=trip)
    page = (tmp_path / "map.html").read_text()
    tiles = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert tiles[:2] == ["a&lt;b&gt;.jpg<br>Copenhagen, DK (50 %)", "c.jpg<br>Cologne, DE (25 %)"]
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert svg.count("<circle") == 3 and ("<polyline" in svg) == trip
    thumbnails = [base64.b64decode(text) for text in re.findall(r"data:image/jpeg;base64,([^\"]+)", page)]
    assert len(thumbnails) == 3 and not any(b"planted" in data for data in thumbnails)
    features = json.loads((tmp_path / "map.geojson").read_text())["features"]
    photos = [one for one in features if one["properties"]["role"] == "photo"]
    assert [one["geometry"]["coordinates"] for one in photos] == [[12.6, 55.7], [7.0, 50.9], [2, 1]]
    assert photos[1]["properties"] | {"path": ""} == {
        "role": "photo", "path": "", "confidence": 0.25, "city": "Cologne", "country": "DE"
    }
    assert [one["geometry"]["type"] for one in features].count("LineString") == trip
    root, space = ElementTree.parse(tmp_path / "map.kml").getroot(), {"k": "http://www.opengis.net/kml/2.2"}
    places = [one.text for one in root.iterfind(".//k:Placemark/k:Point/k:coordinates", space)]
    assert places[1:] == ["12.600000,55.700000", "7.000000,50.900000", "2.000000,1.000000"]
    assert len(root.findall(".//k:Polygon", space)) == len(shown_cells(grid, probabilities).ids)
    assert len(root.findall(".//k:LineString", space)) == trip
    assert root.findtext(".//k:Document/k:name", namespaces=space) == "trip <1>"
    plain = tmp_path / "plain.png"
    write_map(plain, grid, probabilities, answer, title="trip <1>")
    assert plain.read_bytes() != (tmp_path / "map.png").read_bytes()
