"""K-fold cross-validation: every photo in one fold, groups whole, folds kept, one summary."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import COLOURS, Cli, save_colour

from apps.attributes.task import Attributes, AttributesSettings
from apps.dogs import Dogs, DogsSettings
from apps.engine.data.folds import fold_numbers, fold_rows
from apps.engine.training.folds import summary
from apps.places.task import Places, PlacesSettings
from datasets.geo.geotagged import GeoDataset
from datasets.multilabel import MultiLabelDataset

SMALL = ("--resolution", 32, "--width", 0.25, "--epochs", 1, "--batch-size", 8, "--workers", 0)


def parts(task: Any, settings: Any, count: int, **given: Any) -> list[tuple[Any, Any]]:
    """(train, val) of each fold."""
    tasks = [task(settings(fold=f"{n}/{count}", **given)) for n in range(1, count + 1)]
    return [(task.dataset("train"), task.dataset("val")) for task in tasks]


def test_each_photo_is_evaluated_once_and_classes_are_spread(colours: Path) -> None:
    folds = parts(Dogs, DogsSettings, 4, data=colours)
    evaluated = [path for _, val in folds for path in val.paths(range(len(val)))]
    assert len(evaluated) == len(set(evaluated)) == 36
    for train, val in folds:
        assert (train.counts(), val.counts()) == ([9] * 3, [3] * 3)
        assert not set(train.paths(range(len(train)))) & set(val.paths(range(len(val))))
    again = parts(Dogs, DogsSettings, 4, data=colours)
    assert [val.paths(range(9)) for _, val in again] == [val.paths(range(9)) for _, val in folds]
    other = parts(Dogs, DogsSettings, 4, data=colours, seed=1)
    assert other[0][1].paths(range(9)) != folds[0][1].paths(range(9))


def test_nobody_is_in_two_folds_of_attributes(tmp_path: Path) -> None:
    rows = []
    for person in range(7):
        for n in range(3):
            name = f"{person}_{n}.png"
            save_colour(tmp_path / name, COLOURS["red"], 32, seed=10 * person + n)
            rows.append({"image": name, "Smiling": (person + n) % 2, "person": f"p{person}"})
    with (tmp_path / "attributes.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    seen: list[str] = []
    folds: list[tuple[MultiLabelDataset, MultiLabelDataset]] = parts(
        Attributes, AttributesSettings, 3, data=tmp_path)
    for train, val in folds:
        assert not set(train.people or ()) & set(val.people or ()) and len(train) + len(val) == 21
        assert val.values.shape == (len(val), 1) == val.columns.shape
        seen += val.paths(range(len(val)))
    assert len(set(seen)) == len(seen) == 21


def test_neighbours_are_in_one_fold_of_places(tmp_path: Path) -> None:
    lines = ["path,lat,lon"]
    for n in range(24):
        save_colour(tmp_path / f"{n}.png", COLOURS["red"], 32, seed=n)
        lines.append(f"{n}.png,{48 + n // 2},{2 + n % 2 / 1000}")
    (tmp_path / "photos.csv").write_text("\n".join(lines))
    folds: list[tuple[GeoDataset, GeoDataset]] = parts(
        Places, PlacesSettings, 4, data=tmp_path / "photos.csv", t_max=4.0, t_min=1.0)
    for train, val in folds:
        assert not set(np.round(train.positions.lat)) & set(np.round(val.positions.lat))
        assert (len(train), len(val)) == (18, 6)


@pytest.mark.slow
def test_folds_are_trained_kept_and_summed_up(cli: Cli, colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    usual = ("finetune", "dogs", "--data", colours, *SMALL, "--folds", 2)
    first = cli(*usual, "--out", out)
    assert first.code == 0, first.err
    answer = first.lines[-1]
    values = [fold["top1"] for fold in answer["by_fold"]]
    assert answer["metrics"]["top1"] == pytest.approx(np.mean(values)) and answer["folds"] == 2
    assert json.loads((out / "folds.json").read_text())["metrics"] == answer["metrics"]
    page = (out / "report.html").read_text()
    assert "Fold 2" in page and "mean of 2 folds" in page
    evaluated = cli("evaluate", "dogs", "--checkpoint", out / "fold-2").lines[0]
    assert evaluated["n"] == 18 and evaluated["metrics"]["top1"] == pytest.approx(values[1])
    kept = (out / "fold-1/model.safetensors").stat().st_mtime_ns
    shutil.rmtree(out / "fold-2")
    again = cli(*usual, "--resume", "--out", out)
    assert again.code == 0 and "fold 1 of 2 is finished: kept" in again.err, again.err
    assert again.lines[-1]["metrics"] == answer["metrics"]
    assert (out / "fold-1/model.safetensors").stat().st_mtime_ns == kept
    refused = cli(*usual, "--out", out)
    assert refused.code == 1 and "holds folds already; give another --out, or --resume" in refused.last_error
    changed = cli(*usual, "--lr", 0.5, "--resume", "--out", out)
    assert changed.code == 1 and "the run was started with --lr 0.01, not 0.5" in changed.last_error
    longer = cli(*usual, "--epochs", 2, "--resume", "--out", out)
    assert longer.code == 1 and "fold-1 was trained for 1 epochs, not 2" in longer.last_error


def test_what_cannot_be_folded_is_one_line(cli: Cli, colours: Path, tmp_path: Path) -> None:
    faces = cli("finetune", "faces", "--data", colours, "--folds", 3, "--out", tmp_path / "a")
    assert faces.code == 1 and "--folds: this task draws no folds of its images" in faces.last_error
    with pytest.raises(ValueError, match=r"5 folds need as many groups of photos, there are 2; give fewer"):
        fold_rows(9, "1/5", 0, groups=[0] * 4 + [1] * 5)
    for wrong in ("6/5", "0/5", "1/1", "x", "1/5/2"):
        with pytest.raises(ValueError, match="must be a number of a fold and how many there are"):
            fold_numbers(wrong)


def test_the_interval_counts_that_folds_share_photos() -> None:
    means, intervals = summary([{"a": 0.5, "b": None}, {"a": 0.7, "b": 1.0}, {"a": 0.6, "b": 1.0}])
    half = 4.302652729 * 0.1 * (1 / 3 + 1 / 2) ** 0.5  # t of 2 degrees of freedom; test : train = 1 : 2
    assert means == {"a": pytest.approx(0.6)}
    assert intervals["a"] == pytest.approx([0.6 - half, 0.6 + half])
