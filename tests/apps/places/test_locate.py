"""locate: an offset in the cell is told as evaluate judges it; swapped columns are noticed on the map."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import Cli, save_colour

from apps.engine.core.console import Console
from apps.places import locate as module
from apps.places.answers import moved
from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import CellPartition, Limits, build
from apps.places.cells.sphere import distance_km
from apps.places.targets import offset_targets
from apps.places.task import fit_offset


def test_an_offset_leads_to_the_photo_and_to_the_city_around_it() -> None:
    lat, lon = np.array([48.85, 48.86, 52.51, 52.52]), np.array([2.34, 2.35, 13.39, 13.40])
    grid = build(lat, lon, Limits(3, 1))[-1]
    cells = grid.locate(lat, lon)
    offset = offset_targets(grid, cells, lat, lon)[0]
    chances = np.eye(len(grid))[cells[0]]
    line = moved(grid, chances, offset, precise=True)
    assert distance_km(line["lat"], line["lon"], 48.85, 2.34) < 0.01
    assert line["country"] == "FR"
    assert moved(grid, chances, offset, precise=False)["lat"] == 48.9


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photos each in Paris and Berlin, the brighter the further north, and a table that tells it."""
    root = tmp_path_factory.mktemp("table")
    rows = ["path,lat,lon"]
    for colour, (lat, lon) in {"red": (48.8, 2.3), "blue": (52.5, 13.4)}.items():
        for number in range(10):
            noise = np.random.default_rng(number).integers(-20, 20, (40, 40, 3))
            shade = np.asarray(Image.new("RGB", (40, 40), colour), int) * (0.3 + 0.07 * number)
            pixels = np.clip(shade + noise, 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"{colour}{number}.png")
            rows.append(f"{colour}{number}.png,{lat + 0.02 * number},{lon}")
    (root / "photos.csv").write_text("\n".join(rows) + "\n")
    return root / "photos.csv"


def test_locate_tells_the_position_that_evaluate_judges(
    cli: Cli, table: Path, colour_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offset is a fixed one: how much a regression on features so few makes of them hangs on rounding."""
    def far(layer: torch.nn.Linear, *_: object) -> None:
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([0.4, -0.3]))

    monkeypatch.setattr("apps.places.task.fit_offset", far)
    run, file = tmp_path / "run", tmp_path / "said.csv"
    made = cli(
        "finetune", "places", "--photos", table, "--weights", colour_run, "--freeze", "--offset",
        "--workers", 0, "--split-km", 0.5, "--t-max", 10, "--t-min", 1, "--out", run,
    )
    assert made.code == 0, made.err
    judged = cli("evaluate", "places", "--checkpoint", run, "--no-baselines", "--write-predictions", file)
    assert judged.code == 0, judged.err
    with file.open(newline="") as lines:
        said = {row["path"]: float(row["lat"]) for row in csv.DictReader(lines)}
    answer = cli("locate", *said, "--checkpoint", run, "--precise", "--top", 1)
    assert answer.code == 0, answer.err
    for line in answer.lines:
        assert line["lat"] == pytest.approx(said[line["path"]], abs=1e-6)
    away = [abs(line["lat"] - line["cells"][0]["lat"]) for line in answer.lines]
    assert max(away) > 5e-2  # not the middle of the cell


def test_columns_that_look_swapped_on_the_map_get_a_warning(cli: Cli, table: Path, tmp_path: Path) -> None:
    swapped = table.parent / "swapped.csv"
    swapped.write_text(table.read_text().replace("path,lat,lon", "path,lon,lat"))
    answer = cli(
        "finetune", "places", "--photos", swapped, "--width", 0.25, "--resolution", 32, "--workers", 0,
        "--split-km", 0.5, "--t-max", 10, "--t-min", 1, "--epochs", 1, "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err
    assert "with latitude and longitude swapped 100% would be" in answer.err


@pytest.mark.parametrize("flag", [("--split", "all"), ("--ten-crop",), ("--write-predictions", "x.csv")])
def test_options_for_a_run_are_refused_for_a_file_of_predictions(
    cli: Cli, tmp_path: Path, flag: tuple[str, ...]
) -> None:
    answer = cli("evaluate", "places", "--predictions", tmp_path / "p.csv", *flag)
    assert answer.code == 2
    assert f"{flag[0]} is for --checkpoint" in answer.err


def test_offsets_are_fitted_by_a_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 6)).astype(np.float32)
    true = rng.normal(size=(6, 2)).astype(np.float32)
    layer = torch.nn.Linear(6, 2)
    fit_offset(layer, features, features @ true + 0.5)
    np.testing.assert_allclose(layer.weight.detach().numpy().T, true, atol=0.05)
    np.testing.assert_allclose(layer.bias.detach().numpy(), 0.5, atol=0.05)


@pytest.mark.parametrize(("photos", "album"), [(1, False), (2, False), (2, True)])
def test_the_map_says_what_the_lines_say(
    photos: int, album: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one photo with its offset, of an album, and of several photos together."""
    for number in range(photos):
        save_colour(tmp_path / "in" / f"{number}.png", (9, 9, 9))
    ids = np.sort(s2.parents(s2.leaf_ids([55.68, 50.94, 50.96], [12.57, 6.96, 6.96]), 13))
    grid = CellPartition(ids, np.ones(3), *s2_shapes.centres_deg(ids), np.full(3, -1))
    logs = np.log(np.where(grid.lat > 53, 0.36, 0.32))

    def answers(paths: Any, *_: object, **__: object) -> Iterator[Any]:
        yield from ((path, (logs, np.array([0.2, -0.1]))) for path in paths)

    engine = SimpleNamespace(note="")
    monkeypatch.setattr(module, "run_values", lambda *_, **__: {"classes": ()})
    monkeypatch.setattr(module, "Predictor", lambda *_, **__: SimpleNamespace(loaded=engine))
    monkeypatch.setattr(module, "grids_of", lambda _: [grid])
    monkeypatch.setattr(module, "_answers", answers)
    drawn: list[Any] = []
    monkeypatch.setattr("apps.places.maps.render.write_map", lambda *given, **_: drawn.append(given))
    asked = module.Asked(album=album, map=tmp_path / "map.html")
    lines = list(module.locate([tmp_path / "in"], tmp_path, asked, Console(quiet=True)))
    (path, _, probabilities, answer), = drawn
    assert path == tmp_path / "map.html" and probabilities.sum() == pytest.approx(1)
    assert answer["country"] == "DK"
    assert [cell["probability"] for cell in answer["cells"]] == pytest.approx([0.36, 0.32, 0.32])
    if photos == 1 or album:
        for key in ("lat", "lon", "city", "country", "cells"):
            assert answer[key] == lines[-1][key]
