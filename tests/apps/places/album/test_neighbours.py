"""Photos of an album that tell no position, helped by their neighbours in time and by tracks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.places.album.neighbours import UNFORESEEN, Fix, near
from apps.places.cells.partition import CellPartition, Limits, build
from apps.places.cells.sphere import distance_km

PARIS, BERLIN = (48.86, 2.35), (52.52, 13.40)
HOUR = 3600.0


def photo(path: Path, colour: str, clock: str, place: tuple[float, float] | None, zone: str = "") -> Path:
    """A photo of one colour; ``clock`` is ``HH:MM`` of one day."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: f"2026:05:01 {clock}:00"} | ({0x9011: zone} if zone else {}))
    if place is not None:
        exif.get_ifd(0x8825).update({1: "N", 2: (place[0], 0.0, 0.0), 3: "E", 4: (place[1], 0.0, 0.0)})
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(sum(path.name.encode())).integers(-20, 20, (40, 40, 3))
    pixels = np.clip(np.asarray(Image.new("RGB", (40, 40), colour), int) + noise, 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(path, exif=exif)
    return path


@pytest.fixture(scope="module")
def run(cli: Cli, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red is Paris, blue is Berlin."""
    root = tmp_path_factory.mktemp("learned")
    for colour, place in (("red", PARIS), ("blue", BERLIN)):
        for number in range(10):
            at = (place[0] + 0.01 * number, place[1] + 0.005 * number)
            photo(root / f"{colour}{number}.jpg", colour, f"{8 + number:02}:00", at)
    out = tmp_path_factory.mktemp("runs") / "run"
    answer = cli(
        "finetune", "places", "--photos", root, "--weights", colour_run, "--freeze", "--workers", 0,
        "--split-km", 0.1, "--t-max", 15, "--t-min", 1, "--out", out,
    )
    assert answer.code == 0, answer.err
    return out


@pytest.fixture
def grid() -> CellPartition:
    rng = np.random.default_rng(0)
    lat, lon = (np.concatenate([at + rng.normal(0, 0.5, 200) for at in axis])
                for axis in zip(PARIS, BERLIN, strict=True))
    return build(lat, lon, Limits(50, 1))[-1]


def mean_distance_km(grid: CellPartition, shares: np.ndarray, place: tuple[float, float]) -> float:
    return float((shares * distance_km(grid.lat, grid.lon, *place)).sum())


def test_the_nearer_in_time_the_nearer_in_space(grid: CellPartition) -> None:
    at = [near(grid, hours * HOUR, Fix(0.0, *BERLIN), None) for hours in (0.1, 3, 20)]
    far = [mean_distance_km(grid, item.shares, BERLIN) for item in at if item is not None]
    assert len(far) == 3
    assert far[0] < far[1] < far[2] < 400
    for item in at:
        assert item is not None
        assert item.shares.sum() == pytest.approx(1)
        assert item.shares.min() >= UNFORESEEN / len(grid)
    assert near(grid, 15 * 24 * HOUR, Fix(0.0, *BERLIN), None) is None


def test_between_two_fixes_somebody_is_on_the_way(grid: CellPartition) -> None:
    start, end = Fix(0.0, *PARIS), Fix(10 * HOUR, *BERLIN)
    results = [near(grid, hours * HOUR, start, end) for hours in (0.5, 9.5)]
    early, late = (item.shares for item in results if item is not None)
    assert mean_distance_km(grid, early, PARIS) < 150 < mean_distance_km(grid, late, PARIS)
    assert mean_distance_km(grid, late, BERLIN) < 150 < mean_distance_km(grid, early, BERLIN)
    (there,) = (item for item in [near(grid, 0.0, start, end)] if item is not None)
    assert there.hours == 0
    assert distance_km(there.lat, there.lon, *PARIS).max() < 1


def test_neighbours_help_a_photo_and_its_own_position_does_not(cli: Cli, run: Path, tmp_path: Path) -> None:
    """All look like Paris; two tell that they are of Berlin."""
    trip = tmp_path / "trip"
    for name, clock, place in (("a", "10:00", BERLIN), ("b", "10:20", None), ("c", "10:40", BERLIN)):
        photo(trip / f"{name}.jpg", "red", clock, place)
    alone = photo(tmp_path / "alone" / "d.jpg", "red", "10:00", BERLIN)
    answer = cli("locate", trip, alone, "--checkpoint", run, "--album", "--precise")
    assert answer.code == 0, answer.err
    lines = {Path(line["path"]).stem: line for line in answer.lines if "path" in line}
    assert [lines[name]["country"] for name in "abcd"] == ["DE", "DE", "DE", "FR"]
    assert [lines[name].get("neighbours") for name in "abcd"] == [1, 2, 1, None]
    assert lines["b"]["neighbour_hours"] == pytest.approx(1 / 3, abs=1e-3)
    assert distance_km(lines["b"]["lat"], lines["b"]["lon"], *BERLIN) < 2
    albums = {Path(line["album"]).name: line["country"] for line in answer.lines if "album" in line}
    assert albums == {"trip": "DE", "alone": "FR"}
    plain = cli("locate", trip, "--checkpoint", run, "--album", "--no-neighbours")
    assert {line["country"] for line in plain.lines} == {"FR"}
    assert not any("neighbours" in line for line in plain.lines)


def track(path: Path, clock: str, place: tuple[float, float]) -> Path:
    path.write_text(
        f'<gpx xmlns="http://www.topografix.com/GPX/1/1"><wpt lat="{place[0]}" lon="{place[1]}">'
        f"<time>2026-05-01T{clock}:00Z</time></wpt></gpx>", encoding="utf-8",
    )
    return path


def test_a_track_helps_by_the_clock_that_the_photo_the_flag_or_the_longitude_tells(
    cli: Cli, run: Path, tmp_path: Path
) -> None:
    gpx = track(tmp_path / "way.gpx", "08:00", BERLIN)
    zoned = photo(tmp_path / "a" / "zoned.jpg", "red", "10:00", None, "+02:00")
    plain = photo(tmp_path / "b" / "plain.jpg", "red", "10:00", None)
    for given, more, hours, told in (
        (zoned, (), 0.0, False), (plain, ("--clock", 2), 0.0, False), (plain, (), 1.0, True),
    ):
        answer = cli("locate", given, "--checkpoint", run, "--album", "--gpx", gpx, *more)
        assert answer.code == 0, answer.err
        line = answer.lines[0]
        assert (line["country"], line["neighbours"], line["neighbour_hours"]) == ("DE", 1, hours)
        assert ("+1 hours are taken" in answer.err) is told


def test_what_cannot_be_is_one_line(cli: Cli, run: Path, tmp_path: Path) -> None:
    given = photo(tmp_path / "a.jpg", "red", "10:00", None)
    gpx = track(tmp_path / "way.gpx", "08:00", BERLIN)
    answer = cli("locate", given, "--checkpoint", run, "--gpx", gpx)
    assert (answer.code, answer.last_error) == (2, "Error: --gpx is for --album")
    answer = cli("locate", given, "--checkpoint", run, "--album", "--clock", 99)
    assert (answer.code, answer.last_error) == (1, "error: --clock must be -14 to 14 hours, got 99")
    gpx.write_text("no track", encoding="utf-8")
    answer = cli("locate", given, "--checkpoint", run, "--album", "--gpx", gpx)
    assert (answer.code, answer.out) == (1, "")
    assert answer.last_error.startswith(f"error: {gpx} is no GPX file")


def test_a_fix_where_no_cell_is_gives_its_position_and_leaves_the_cells_alone(grid: CellPartition) -> None:
    """The model knows no place there: how sure the answer is follows from the fix."""
    item = near(grid, HOUR, Fix(0.0, -50.0, -120.0), None)
    assert item is not None
    alone = np.full(len(grid), 1 / len(grid))
    np.testing.assert_allclose(np.exp(item.fused(np.log(alone))), alone)
    line = item.line(alone, precise=True, abstains=False)
    assert (line["lat"], line["lon"]) == pytest.approx((-50.0, -120.0), abs=0.05)
    assert line["neighbours"] == 1
    assert 0.9 < line["confidence"] <= 1 - UNFORESEEN
