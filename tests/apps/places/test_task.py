"""finetune places, evaluate places, locate: real photos with GPS in, kilometres and maps out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.engine.evaluation.classification import log_softmax
from apps.places.cells.names import grids_of, names_of
from apps.places.cells.partition import Limits, build

CITIES = {"red": (48.8566, 2.3522), "lime": (40.7128, -74.0060), "blue": (-33.8688, 151.2093)}
EACH = 10


def geotagged(path: Path, colour: str, lat: float, lon: float, *, time: str = "") -> Path:
    """A JPEG of one colour with a little noise, a GPS block, and a time where given."""
    seed = int(path.stem.split("_")[-1])
    noise = np.random.default_rng(seed).integers(-20, 20, (48, 48, 3))
    pixels = np.clip(np.asarray(Image.new("RGB", (48, 48), colour), int) + noise, 0, 255)
    exif = Image.Exif()
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = ("N" if lat >= 0 else "S"), (abs(lat), 0.0, 0.0)
    gps[3], gps[4] = ("E" if lon >= 0 else "W"), (abs(lon), 0.0, 0.0)
    if time:
        exif.get_ifd(0x8769)[0x9003] = time
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path, exif=exif)
    return path


def scattered(number: int, lat: float, lon: float) -> tuple[float, float]:
    """Two kilometres from photo to photo, so that a split may part them."""
    return lat + 0.02 * (number % 5), lon + 0.04 * (number // 5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for colour, (lat, lon) in CITIES.items():
        for number in range(EACH):
            geotagged(root / colour / f"{colour}_{number}.jpg", colour, *scattered(number, lat, lon))
    return root


CELLS = ("--workers", 0, "--split-km", 0.5, "--t-max", 20, "--t-min", 1)
FAST = ("--width", 0.25, "--resolution", 32, *CELLS)


@pytest.fixture(scope="module")
def run(cli: Cli, photos: Path, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head alone, on a backbone that knows colours."""
    out = tmp_path_factory.mktemp("runs") / "run"
    answer = cli("finetune", "places", "--data", photos, "--weights", colour_run, "--freeze", *CELLS,
                 "--val-share", 0.3, "--out", out)
    assert answer.code == 0, answer.err
    assert "logistic regression:" in answer.err
    return out


def test_three_colours_in_three_cities_are_told_apart(cli: Cli, run: Path) -> None:
    answer = cli("evaluate", "places", "--checkpoint", run, "--no-baselines")
    assert answer.code == 0, answer.err
    assert answer.lines[0]["n"] == 9
    assert answer.lines[0]["metrics"]["within_200km"] >= 0.6
    assert set(answer.lines[0]["intervals"]) >= {"within_1km", "geoscore", "median_km"}


def test_cells_pass_through_the_names_of_a_checkpoint() -> None:
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-80, 80, 500), rng.uniform(-180, 180, 500)
    grids = build(lat, lon, [Limits(100, 5), Limits(20, 2)])
    again = grids_of(names_of(grids))
    for one, other in zip(grids, again, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.parents, other.parents)
        np.testing.assert_allclose(one.lat, other.lat, atol=1e-6)
        np.testing.assert_allclose(one.weights, other.weights)
    with pytest.raises(ValueError, match="'beagle' names no cell"):
        grids_of(["beagle"])


def test_a_temperature_changes_sureness_and_not_order() -> None:
    raw = np.log(np.array([[0.7, 0.2, 0.1]]))
    soft = np.exp(log_softmax(raw, 2.0))
    assert soft.sum() == pytest.approx(1)
    assert soft[0].argsort().tolist() == raw[0].argsort().tolist()
    assert soft[0, 0] < 0.7


def test_predictions_written_are_judged_as_the_run_was(
    cli: Cli, run: Path, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "predictions.csv"
    own = cli(
        "evaluate", "places", "--checkpoint", run, "--write-predictions", file, "--report", tmp_path / "page"
    )
    assert own.code == 0, own.err
    assert set(own.lines[0]["baselines"]) == {"most_frequent_cell", "nearest_features"}
    read = cli("evaluate", "places", "--predictions", file)
    for name in ("within_200km", "median_km", "geoscore", "country_accuracy"):
        assert read.lines[0]["metrics"][name] == pytest.approx(own.lines[0]["metrics"][name])
    beside = cli("evaluate", "places", "--predictions", file, "--data", photos)
    assert beside.lines[0]["n"] == 3 * EACH  # a photo without a prediction counts as an abstention
    assert beside.lines[0]["metrics"]["answered"] == pytest.approx(9 / 30)
    page = (tmp_path / "page" / "report.html").read_text()
    assert "most_frequent_cell" in page
    assert "http" not in page.split("</head>")[1]


def test_an_abstention_everywhere_is_null_in_json_and_no_nan(cli: Cli, run: Path) -> None:
    answer = cli("evaluate", "places", "--checkpoint", run, "--min-confidence", 1, "--no-baselines")
    assert answer.code == 0, answer.err
    assert "NaN" not in answer.out
    assert "Infinity" not in answer.out
    if answer.lines[0]["metrics"]["answered"] == 0:
        assert answer.lines[0]["metrics"]["median_km"] is None


def test_locate_answers_coarsely_and_never_tells_what_the_camera_wrote(
    cli: Cli, run: Path, photos: Path, tmp_path: Path
) -> None:
    stray = geotagged(tmp_path / "stray_0.jpg", "red", 12.34567, 98.76543)
    (tmp_path / "text_1.jpg").write_text("no photo")
    answer = cli("locate", stray, tmp_path / "text_1.jpg", "--checkpoint", run, "--top", 2)
    assert answer.code == 0, answer.err
    good, bad = answer.lines
    assert "error" in bad
    assert len(good["cells"]) == 2
    assert good["lat"] == round(good["lat"], 1)
    assert "98.7" not in answer.out
    assert "12.3" not in answer.out
    assert good["country"] in {"FR", "US", "AU"}
    precise = cli("locate", stray, "--checkpoint", run, "--precise").lines[0]
    assert precise["lat"] != good["lat"]


def test_an_album_has_an_answer_of_its_own_after_its_photos(cli: Cli, run: Path, tmp_path: Path) -> None:
    for number, time in enumerate(["2020:01:03 00:00:00", "2020:01:01 00:00:00", "2020:01:02 00:00:00"]):
        geotagged(tmp_path / "trip" / f"p_{number}.jpg", "blue", 0.1, 0.1, time=time)
    answer = cli("locate", tmp_path / "trip", "--checkpoint", run, "--album")
    assert answer.code == 0, answer.err
    assert [Path(line["path"]).stem for line in answer.lines[:3]] == ["p_1", "p_2", "p_0"]
    assert answer.lines[3]["photos"] == 3
    assert {"album", "country", "area_50_km2"} <= set(answer.lines[3])


@pytest.mark.parametrize("suffix", ["png", "html", "geojson"])
def test_a_map_is_drawn_of_all_photos_together(
    cli: Cli, run: Path, photos: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"map.{suffix}"
    answer = cli("locate", photos / "red", "--checkpoint", run, "--map", file, "--ten-crop")
    assert answer.code == 0, answer.err
    assert file.stat().st_size > 500


@pytest.mark.parametrize(
    ("command", "flag", "name"),
    [("locate", "--map", "map.html"), ("evaluate", "--write-predictions", "answers.csv")],
)
def test_the_folder_of_an_output_is_made_or_refused_before_the_answers(
    cli: Cli, run: Path, photos: Path, tmp_path: Path, command: str, flag: str, name: str
) -> None:
    asked = ("locate", next((photos / "red").iterdir())) if command == "locate" else ("evaluate", "places")
    file = tmp_path / "new" / "deeper" / name
    answer = cli(*asked, "--checkpoint", run, flag, file)
    assert answer.code == 0, answer.err
    assert file.stat().st_size > 0
    (tmp_path / "taken").write_text("a file, no folder")
    answer = cli(*asked, "--checkpoint", run, flag, tmp_path / "taken" / name)
    assert (answer.code, answer.out) == (1, "")
    assert f"give another folder with {flag}" in answer.err


def test_refining_takes_the_place_of_a_training_photo(cli: Cli, run: Path, photos: Path) -> None:
    photo = next((photos / "red").iterdir())
    answer = cli("locate", photo, "--checkpoint", run, "--refine", "--precise")
    assert answer.code == 0, answer.err
    line = answer.lines[0]
    assert line["refined"]
    known = [scattered(number, *where) for where in CITIES.values() for number in range(EACH)]
    assert any(abs(line["lat"] - lat) < 1e-3 and abs(line["lon"] - lon) < 1e-3 for lat, lon in known)


def test_predict_answers_as_locate_does(cli: Cli, run: Path, photos: Path) -> None:
    photo = next((photos / "red").iterdir())
    line = cli("predict", photo, "--checkpoint", run).lines[0]
    assert {"lat", "lon", "country", "cells"} <= set(line)


def test_a_table_of_photos_teaches_with_nested_cells_offsets_and_shared_targets(
    cli: Cli, photos: Path, tmp_path: Path
) -> None:
    table, cells = photos / "table.csv", tmp_path / "cells.parquet"
    rows = [
        (f"{colour}/{colour}_{number}.jpg", *scattered(number, *where))
        for colour, where in CITIES.items() for number in range(EACH)
    ]
    table.write_text("path,lat,lon\n" + "".join(f"{p},{a},{o}\n" for p, a, o in rows) + "gone.jpg,1,1\n")
    made = cli("cells", "build", table, "--t-max", 30, "--t-max", 12, "--t-min", 1, "--out", cells)
    assert made.code == 0, made.err
    out = tmp_path / "run"
    answer = cli(
        "finetune", "places", "--data", table, "--cells", cells, "--offset", "--smooth-km", 100,
        "--width", 0.25, "--resolution", 32, "--workers", 0, "--split-km", 0.5, "--epochs", 2, "--out", out,
    )
    assert answer.code == 0, answer.err
    assert "gone.jpg: there is no such file; left out" in answer.err
    (row, *_) = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert {"train/cross_entropy_0", "train/cross_entropy_1", "train/offset"} <= set(row)
    same = cli("evaluate", "places", "--checkpoint", out, "--cells", cells, "--no-baselines")
    assert same.code == 0, same.err
    other = tmp_path / "other.parquet"
    cli("cells", "build", table, "--t-max", 8, "--t-min", 1, "--out", other)
    refused = cli("evaluate", "places", "--checkpoint", out, "--cells", other)
    assert refused.code == 1
    assert "was trained on other cells" in refused.err


def test_a_sampled_softmax_teaches_too(cli: Cli, photos: Path, tmp_path: Path) -> None:
    answer = cli(
        "finetune", "places", "--data", photos, *FAST, "--epochs", 1, "--softmax", "sampled", "--samples", 2,
        "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(("given", "told"), [
    (("--t-max", 3, "--t-min", 3), "--t-min must be below --t-max, got 3 and 3"),
    (("--t-max", 5000, "--t-min", 500), "no cell has more than 500 photos"),
    (("--split-km", 30000), "hang together by distance"),
    (("--softmax", "adaptive"), "an adaptive softmax needs 12 classes or more"),
    (("--split-by", "author"), "no photo names its author"),
    (("--cells", "nowhere.parquet"), "is no file; make it with: python cli.py cells build"),
])
def test_settings_that_leave_nothing_to_learn_are_one_line(
    cli: Cli, photos: Path, tmp_path: Path, given: tuple[object, ...], told: str
) -> None:
    answer = cli("finetune", "places", "--data", photos, *FAST, *given, "--out", tmp_path / "run")
    assert answer.code in (1, 2)
    assert told in answer.last_error


def test_bad_input_of_locate_and_evaluate_is_one_line(
    cli: Cli, run: Path, photos: Path, tmp_path: Path
) -> None:
    photo = next((photos / "red").iterdir())
    asked = ("locate", photo, "--checkpoint", run)
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, told in (
        ((*asked, "--map", "map.jpg"), "a map is written as .png, .html, .geojson"),
        ((*asked, "--min-confidence", 2), "--min-confidence must be 0 to 1, got 2"),
        (("locate", empty, "--checkpoint", run), "no photo in"),
        (("locate", photo, "--checkpoint", tmp_path), "config.json"),
        (("evaluate", "places"), "give either --checkpoint RUN or --predictions F"),
        (("evaluate", "places", "--predictions", photo), ""),
    ):
        answer = cli(*arguments)
        assert answer.code in (1, 2)
        assert told in answer.err
        assert "Traceback" not in answer.err


def test_photos_without_positions_are_named_and_a_table_without_paths_is_refused(
    cli: Cli, photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "points.csv"
    table.write_text("lat,lon\n1,2\n3,4\n")
    answer = cli("finetune", "places", "--data", table, *FAST, "--out", tmp_path / "run")
    assert answer.code == 1
    assert "has no column path" in answer.last_error
    Image.new("RGB", (40, 40)).save(tmp_path / "plain.jpg")
    answer = cli("finetune", "places", "--data", tmp_path, *FAST, "--out", tmp_path / "run")
    assert answer.code == 1
    assert "tells where it was taken" in answer.last_error
