"""``cells`` on the real command line: build, report, convert, and what it says to bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.places.cells import s2
from apps.places.cells.files import check_same_cells, fingerprint, read_cells

FORMATS = ("csv", "parquet", "geojson")


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 positions around two towns, five at a third, one alone."""
    rng = np.random.default_rng(0)
    rows = [(48.8, 2.3)] * 100 + [(-17.0, 179.9)] * 100 + [(64, -22)] * 5
    near = (np.array(rows) + rng.normal(0, 0.02, (len(rows), 2))).round(6).tolist()
    path = tmp_path_factory.mktemp("points") / "points.csv"
    path.write_text("lat,lon\n" + "\n".join(f"{a},{b}" for a, b in [*near, (-89.0, 0)]) + "\n")
    return path


@pytest.fixture(scope="module")
def built(cli: Cli, points: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same nested partition in each format."""
    folder = tmp_path_factory.mktemp("cells")
    for kind in FORMATS:
        answer = cli(
            "cells", "build", points, "--t-max", 150, "--t-max", 40, "--t-min", 4, "--t-min", 2,
            "--out", folder / f"cells.{kind}",
        )
        assert answer.code == 0, answer.err
    return {kind: folder / f"cells.{kind}" for kind in FORMATS}


def test_build_tells_what_it_built(cli: Cli, points: Path, tmp_path: Path) -> None:
    answer = cli("cells", "build", points, "--t-max", 500, "--t-min", 4, "--out", tmp_path / "new" / "cells")
    assert answer.code == 0, answer.err
    (found,) = answer.lines
    assert (found["cells"], found["levels"], found["points"]) == (3, {"2": 3}, 206)
    assert found["coverage"] == pytest.approx(205 / 206)
    assert found["photos_a_cell"] == {"min": 5, "median": 100, "max": 100}
    assert 0 < found["area_km2"]["share_of_earth"] < 3 / 6 / 16 * 1.5
    assert 2 < found["effective_cells"] < 3
    assert "coarser" not in found
    assert len(read_cells(tmp_path / "new" / "cells")[0]) == 3


def test_the_three_formats_hold_the_same_partition(built: dict[str, Path]) -> None:
    first, *others = [read_cells(path) for path in built.values()]
    assert len(first) == 2
    assert first[0].limits is not None
    assert (first[0].limits.t_max, first[1].total) == (150, 206)
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            for name in ("ids", "weights", "lat", "lon", "parents"):
                assert (getattr(mine, name) == getattr(theirs, name)).all(), name
            assert (mine.limits, mine.total) == (theirs.limits, theirs.total)


def test_cells_other_than_those_of_a_checkpoint_are_refused(built: dict[str, Path]) -> None:
    own = {fingerprint(read_cells(path)) for path in built.values()}
    assert len(own) == 1
    grids = read_cells(built["csv"])
    check_same_cells(grids, own.pop(), "runs/places")
    with pytest.raises(ValueError, match=r"runs/places was trained on other cells \(fingerprint 0123\)"):
        check_same_cells(grids[1:], "0123", "runs/places")
    assert fingerprint(grids) != fingerprint(grids[1:]) != fingerprint(grids[:1])


def test_europe_with_swapped_columns_is_noticed_on_the_map(cli: Cli, tmp_path: Path) -> None:
    """All numbers are below 90 there, so only the map can tell."""
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(47, 52, 60).round(4).tolist(), rng.uniform(1.5, 13, 60).round(4).tolist()
    table = tmp_path / "points.csv"
    answers = []
    for heading in ("lat,lon", "lon,lat"):
        rows = [f"{a},{b}" for a, b in zip(lat, lon, strict=True)]
        table.write_text("\n".join([heading, *rows]) + "\n")
        limits = ("--t-max", 100, "--t-min", 1)
        answers.append(cli("cells", "build", table, *limits, "--out", tmp_path / "cells.csv").err)
    assert "swapped" not in answers[0]
    assert "of the positions are on land; with latitude and longitude swapped" in answers[1]


def test_geojson_has_a_polygon_a_cell_and_none_across_the_antimeridian(built: dict[str, Path]) -> None:
    document = json.loads(built["geojson"].read_text())
    grids = read_cells(built["csv"])
    assert len(document["features"]) == sum(map(len, grids))
    for feature in document["features"]:
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        east = [lon for lon, _ in ring]
        assert max(east) - min(east) < 180
        parent = feature["properties"]["parent"]
        assert feature["properties"]["partition"] == 0 or parent in s2.tokens(grids[0].ids)


def test_report_repeats_the_figures_and_judges_test_points(
    cli: Cli, built: dict[str, Path], points: Path
) -> None:
    plain = cli("cells", "report", built["parquet"]).lines[0]
    assert plain["coarser"][0]["cells"] == len(read_cells(built["csv"])[0])
    (found,) = cli("cells", "report", built["csv"], "--points", points).lines
    assert (found["points"], found["earth_radius_km"]) == (206, 6371.0088)
    assert found["coarser"][0]["coverage"] == pytest.approx(205 / 206)
    for one in (found, found["coarser"][0]):
        shares = list(one["ceiling"].values())
        assert shares == sorted(shares)
        assert one["ceiling"]["within_25km"] == pytest.approx(205 / 206)
        assert all(one["right_cell"][key] <= share for key, share in one["ceiling"].items())
    assert found["cells"] == plain["cells"]


def test_the_ceiling_is_the_nearest_representative_of_all_cells(cli: Cli, tmp_path: Path) -> None:
    """A photo just over a cell's border may be nearer to the neighbour's representative than to its own."""
    one, other = s2.tokens(s2.parents(s2.leaf_ids([0.1, -1], [0.1, 0.2]), 1))
    (tmp_path / "cells.csv").write_text(f"token,lat,lon\n{one},0.1,0.1\n{other},-0.1,10\n")
    (tmp_path / "points.csv").write_text("lat,lon\n-1,0.2\n")
    (found,) = cli("cells", "report", tmp_path / "cells.csv", "--points", tmp_path / "points.csv").lines
    assert found["ceiling"]["within_200km"] == 1
    assert found["right_cell"]["within_200km"] == 0


def test_convert_reads_what_others_write(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text(
        "class_label,hex_id,imgs_per_cell,latitude_mean,longitude_mean\n0,47e67,60,48.8,2.3\n1,4877,70,51.5,-0.1\n"
    )
    answer = cli("cells", "convert", tmp_path / "other.csv", "--out", tmp_path / "cells.geojson")
    assert (answer.code, answer.lines[0]["cells"], answer.lines[0]["coverage"]) == (0, 2, None), answer.err
    (grid,) = read_cells(tmp_path / "cells.geojson")
    assert (grid.weights.tolist(), grid.lat.tolist()) == ([60, 70], [48.8, 51.5])


def test_a_folder_of_photos_is_a_source_too_and_odd_ones_are_named(cli: Cli, tmp_path: Path) -> None:
    for number in range(4):
        exif = Image.Exif()
        exif.get_ifd(0x8825).update({1: "S", 2: (33, number, 0), 3: "E", 4: (151, 0, 0)})
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.jpg", exif=exif)
    Image.new("RGB", (8, 8)).save(tmp_path / "none.jpg")
    answer = cli("cells", "build", tmp_path, "--t-max", 9, "--t-min", 1, "--out", tmp_path / "cells.csv")
    assert answer.code == 0, answer.err
    assert (answer.lines[0]["cells"], answer.lines[0]["points"], answer.lines[0]["skipped"]) == (1, 4, 1)
    assert "none.jpg: it has no EXIF; left out" in answer.err
    with (tmp_path / "cells.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["lat"]) == pytest.approx(-33.025, abs=1e-4)


def test_weights_count_where_the_table_has_them(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("lat,lon,weight\n10,10,30\n10,10,5\n50,50,8\n")
    table, out = tmp_path / "points.csv", tmp_path / "c.csv"
    answer = cli("cells", "build", table, "--t-max", 90, "--t-min", 9, "--out", out)
    assert answer.lines[0]["photos_a_cell"]["max"] == 35
    assert answer.lines[0]["coverage"] == pytest.approx(35 / 43)
    assert "has weights: they count instead of photos" in answer.err


@pytest.mark.parametrize(("flags", "words"), [
    (("--t-max", 5, "--t-min", 9), "expected 0 <= t_min < t_max, got 9 and 5"),
    (("--t-max", 9, "--t-max", 5, "--t-max", 4, "--t-min", 1, "--t-min", 2), "each of 3 --t-max, got 2"),
    (("--t-max", 9, "--t-min", 1, "--min-level", 9, "--max-level", 3), "expected levels 0 <= min <= max"),
])
def test_wrong_flags_are_a_usage_error(cli: Cli, points: Path, flags: tuple[object, ...], words: str) -> None:
    answer = cli("cells", "build", points, *flags, "--out", "cells.csv")
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.last_error


def test_bad_input_is_one_line_that_says_how_to_mend_it(cli: Cli, points: Path, tmp_path: Path) -> None:
    def error(*arguments: object) -> str:
        answer = cli("cells", *arguments)
        assert (answer.code, answer.out) == (1, "")
        return answer.last_error

    def build_error(source: object, to: Path) -> str:
        return error("build", source, "--t-max", 5000, "--t-min", 2000, "--out", to)

    out = tmp_path / "cells.csv"
    assert "no cell has more than 2000 photos (t_min): the fullest has 100;" in build_error(points, out)
    assert not out.exists()
    assert "has the suffix .txt; cells are written as .csv" in build_error(points, out.with_suffix(".txt"))
    assert "nothing.csv is no file; give a CSV or Parquet table" in build_error("nothing.csv", out)
    assert "nothing.csv is no file; make it with: python cli.py cells build" in error("report", "nothing.csv")
    assert "it has no column token, only lat, lon" in error("report", points)
    for text, words in (
        ("token\nzz\n", "'zz' is no S2 token"), ("token\n1\n14\n", "cells 1 and 14 overlap in one partition"),
        ("token\n", "it has no row"), ("{}", "no cells that can be read"), ("{", "no cells that can"),
        ("token,lat,lon\n1,95,0\n", "position 0 is latitude 95.0"), ("token,lat\n1,x\n", "could not convert"),
    ):
        out.write_text(text)
        assert words in error("report", out)
