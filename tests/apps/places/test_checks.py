"""``check places`` and swapped columns of few rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.places.checks import crowds
from datasets.geo.positions import Positions

CITIES = [(48.8, 2.3), (52.5, 13.4), (41.9, 12.5), (40.4, -3.7)]


def table(root: Path, rows: list[tuple[float, float]]) -> Path:
    lines = ["path,lat,lon"]
    for n, (lat, lon) in enumerate(rows):
        small = np.random.default_rng(n).integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(small).resize((64, 48)).save(root / f"{n}.png")
        lines.append(f"{n}.png,{lat},{lon}")
    (root / "photos.csv").write_text("\n".join(lines))
    return root / "photos.csv"


def problems(cli: Cli, path: Path) -> dict:
    answer = cli("check", "places", path, "--no-network")
    assert answer.code == 0, answer.err
    return {kind: n for kind, n in answer.lines[0]["problems"].items() if kind.endswith("positions")}


def test_impossible_and_crowded_positions_are_counted(cli: Cli, tmp_path: Path) -> None:
    rows = [*CITIES, *([(50.1, 8.7)] * 12), (95.0, 120.0), (0.0, 0.0), (10.0, 200.0)]
    assert problems(cli, table(tmp_path, rows)) == {
        "impossible_positions": 3, "swapped_positions": 0, "crowded_positions": 1,
    }
    points = np.array([*CITIES, *([(50.1, 8.7)] * 12)])
    (crowd,) = crowds(Positions(points[:, 0], points[:, 1], paths=tuple(map(str, range(16)))))
    assert crowd.text == "12 of 16 photos lie exactly on 50.1, 8.7" and len(crowd.paths) == 4


@pytest.mark.parametrize("count", [1, 3, 4])
def test_swapped_columns_of_few_rows_are_seen_on_the_map(count: int, cli: Cli, tmp_path: Path) -> None:
    turned = [(lon, lat) for lat, lon in CITIES[:count]]
    assert problems(cli, table(tmp_path, turned))["swapped_positions"] == 1


def test_swapped_predictions_of_few_photos_are_told_of(cli: Cli, tmp_path: Path) -> None:
    for swapped in (True, False):
        rows = ["path,lat,lon,gt_lat,gt_lon"]
        for n, (lat, lon) in enumerate(CITIES[:3]):
            answer = (lon + 0.1, lat) if swapped else (lat + 0.1, lon)
            rows.append(f"{n}.png,{answer[0]},{answer[1]},{lat},{lon}")
        path = tmp_path / "answers.csv"
        path.write_text("\n".join(rows))
        answer = cli("evaluate", "places", "--predictions", path)
        assert answer.code == 0, answer.err
        assert ("swapped the median distance would be" in answer.err) == swapped
        assert json.loads(answer.out)["n"] == 3
