"""Albums: which photos make one, and an LSTM that tells places by the photos before and after."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import Cli

from apps.places.album.sequence import (
    LONGEST,
    AlbumNetwork,
    Features,
    albums_of,
    cross_entropies,
    fit_sequence,
    in_album,
)

pytestmark = pytest.mark.computes

PLACES = ((48, 2, "red"), (40, 74, "lime"), (33, 151, "blue"))


def test_an_album_is_a_folder_in_time_order_that_ends_with_a_long_gap() -> None:
    times = ["2020:01:02 10:00:00", "2020:01:01 10:00:00", "2020:01:01 11:00:00", "2020:01:05 10:00:00",
             "2020-01-05T11:00:00", "", "2020:01:01 10:30:00", "when?"]
    folders = ["a", "a", "a", "a", "a", "a", "b", "a"]
    assert albums_of(folders, times) == [[1, 2, 0], [3, 4]]  # b has one photo, two tell no time
    assert albums_of([], []) == []


def test_a_long_trip_is_cut_into_albums_of_25() -> None:
    times = [f"2020:01:01 10:{minute:02}:00" for minute in range(LONGEST + 3)]
    assert [len(album) for album in albums_of(["a"] * len(times), times)] == [LONGEST, 3]


def riddles(count: int, seed: int) -> Features:
    """Albums of three photos of one of two places; one of the three tells which, the others tell nothing."""
    rng = np.random.default_rng(seed)
    pooled = rng.normal(0, 0.1, (3 * count, 4))
    cells = np.repeat(rng.integers(0, 2, count), 3)
    logs = np.full((3 * count, 2), np.log(0.5))
    for album in range(count):
        row = 3 * album + rng.integers(0, 3)
        pooled[row, cells[row]] += 3
        logs[row] = np.log([0.99, 0.01] if cells[row] == 0 else [0.01, 0.99])
    albums = [list(range(start, start + 3)) for start in range(0, 3 * count, 3)]
    return Features(torch.tensor(pooled).float(), torch.tensor(logs).float(), torch.tensor(cells), albums)


def test_the_lstm_tells_a_photo_that_shows_nothing_by_its_neighbours() -> None:
    network = fit_sequence(riddles(32, 0), seed=0)
    alone, together, count = cross_entropies(network, riddles(40, 1))
    assert count == 120
    assert alone == pytest.approx(2 / 3 * np.log(2) - np.log(0.99) / 3, rel=1e-3)
    assert together < 0.6 * alone


def test_the_same_seed_teaches_the_same_lstm() -> None:
    known = riddles(8, 0)
    one, other = (fit_sequence(known, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_lstm_that_learns_nothing_of_use_answers_as_single_photos_do() -> None:
    known = riddles(12, 0)
    noise = replace(known, cells=torch.randint(0, 2, (36,), generator=torch.manual_seed(0)))
    network = fit_sequence(noise, seed=0)
    fresh = riddles(40, 1)
    alone, together, _ = cross_entropies(network, fresh)
    assert together < alone + 0.3


def test_a_new_lstm_answers_as_single_photos_do() -> None:
    rng = np.random.default_rng(0)
    logs = np.log(rng.dirichlet(np.ones(5), 3))
    said = in_album(AlbumNetwork(4, 5).eval(), rng.normal(size=(3, 4)), logs)
    np.testing.assert_allclose(said, logs, atol=1e-5)


def trip(folder: Path, place: tuple[int, int, str], day: int, *, timed: bool = True) -> None:
    """Four photos of a place, an hour apart and two kilometres."""
    lat, lon, colour = place
    for number in range(4):
        exif = Image.Exif()
        exif.get_ifd(0x8825).update({
            1: "N", 2: (lat, 1.2 * number, 0.0), 3: "E", 4: (lon, 3.0 * day, 0.0),
        })
        if timed:
            exif.get_ifd(0x8769)[0x9003] = f"2020:01:{day:02} {10 + number}:00:00"
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(100 * day + number).integers(-20, 20, (40, 40, 3))
        pixels = np.clip(np.asarray(Image.new("RGB", (40, 40), colour), int) + noise, 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg", exif=exif)


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trips")
    for place in PLACES:
        for day in range(1, 6):
            trip(root / f"{place[2]}{day}", place, day)
    return root


@pytest.fixture(scope="module")
def run(cli: Cli, trips: Path, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    answer = cli(
        "finetune", "places", "--photos", trips, "--weights", colour_run, "--freeze", "--workers", 0,
        "--split-by", "folder", "--split-km", 0.1, "--t-max", 30, "--t-min", 1, "--sequence", "--out", out,
    )
    assert answer.code == 0, answer.err
    assert "sequence model: cross-entropy of 12 photos of val's albums" in answer.err
    return out


def test_an_album_is_answered_by_the_sequence_model_of_its_run(cli: Cli, run: Path, trips: Path) -> None:
    answer = cli("locate", trips / "red1", trips / "blue2", "--checkpoint", run, "--album")
    assert answer.code == 0, answer.err
    albums = [line for line in answer.lines if "album" in line]
    assert [(Path(line["album"]).name, line["by"], line["photos"]) for line in albums] == [
        ("blue2", "sequence model", 4), ("red1", "sequence model", 4),
    ]
    assert albums[1]["country"] == "FR"


def test_an_lstm_of_other_cells_or_a_broken_one_is_refused(
    cli: Cli, run: Path, trips: Path, tmp_path: Path
) -> None:
    copy = Path(copytree(run, tmp_path / "copy"))
    file = copy / "sequence.safetensors"
    save_file(load_file(file), file, {"cells": "0" * 16})
    asked = ("locate", trips / "red1", "--checkpoint", copy, "--album")
    answer = cli(*asked)
    assert answer.code == 1
    assert "is of other cells than the run; train again with --sequence" in answer.last_error
    file.write_bytes(b"no tensors")
    assert "sequence.safetensors is damaged" in cli(*asked).last_error
    file.unlink()
    assert cli(*asked).lines[-1]["by"] == "mean of log-probabilities"


def test_photos_without_times_make_no_album_and_that_is_told_before_training(
    cli: Cli, colour_run: Path, tmp_path: Path
) -> None:
    for place in PLACES:
        for day in (1, 2):
            trip(tmp_path / f"{place[2]}{day}", place, day, timed=False)
    answer = cli(
        "finetune", "places", "--photos", tmp_path, "--weights", colour_run, "--freeze", "--workers", 0,
        "--split-km", 0.1, "--t-max", 30, "--t-min", 1, "--sequence", "--out", tmp_path / "run",
    )
    assert answer.code == 1
    assert "--sequence needs 2 albums or more to learn from, got 0" in answer.last_error


def test_photos_and_data_are_one_option_with_two_names(
    cli: Cli, run: Path, trips: Path, tmp_path: Path
) -> None:
    assert json.loads((run / "config.json").read_text())["settings"]["data"] == str(trips)
    answer = cli("finetune", "places", "--photos", trips, "--data", trips, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "--photos and --data are the same: give one of them" in answer.err
