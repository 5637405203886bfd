"""``check``: each mistake is planted in real files and told of by the real command; a clean set is clean."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.engine.checking.classes import similar_names
from apps.engine.checking.copies import leaks_before_training
from apps.engine.checking.labels import label_doubts, out_of_fold
from apps.engine.checking.page import RED, _thumbnail
from datasets.base import ImageDataset, Photo

SIDE = 96


def picture(seed: int, *, smooth: int = 8) -> Image.Image:
    """A colourful picture that resembles no other."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (smooth, smooth, 3), np.uint8))
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    number = 0
    for split, count in (("train", 12), ("val", 4)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for at in range(count):
                number += 1
                picture(number).save(root / split / name / f"{split}{at}.jpg", quality=92)
    return root


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "data"))


def checked(cli: Cli, data: Path, *options: object, app: str = "dogs") -> dict:
    answer = cli("check", app, data, "--no-network", *options)
    assert answer.code == 0, answer.err
    return answer.lines[0]


def test_a_clean_set_has_no_problem_and_nothing_is_changed(cli: Cli, clean: Path) -> None:
    before = sorted(clean.rglob("*"))
    answer = checked(cli, clean)
    assert answer["images"] == 32 and answer["splits"] == {"train": 24, "val": 8}
    assert not any(answer["problems"].values()), answer["problems"]
    assert {"leaks", "near_leaks", "duplicates", "unreadable_images"} <= answer["problems"].keys()
    assert "likely_wrong_labels" in answer["not_checked"][0]
    assert sorted(clean.rglob("*")) == before


def test_copies_leaks_and_bad_files_are_counted_and_shown(cli: Cli, data: Path, tmp_path: Path) -> None:
    train, val = data / "train", data / "val"
    shutil.copy(train / "cat" / "train0.jpg", train / "cat" / "again.jpg")
    shutil.copy(train / "cat" / "train1.jpg", val / "cat" / "leak.jpg")
    shutil.copy(train / "cat" / "train2.jpg", train / "dog" / "conflict.jpg")
    near = Image.open(train / "dog" / "train3.jpg").crop((6, 4, 92, 90)).resize((70, 70))
    near.save(val / "dog" / "near.jpg", quality=60)
    (train / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    Image.new("RGB", (SIDE, SIDE), "blue").save(train / "cat" / "blue.png")
    picture(900).save(train / "cat" / "png.jpg", "PNG")
    fix, page = tmp_path / "moves.csv", tmp_path / "report"
    answer = checked(cli, data, "--fix", fix, "--report", page)
    wanted = {
        "duplicates": 2, "leaks": 1, "near_leaks": 1, "near_duplicates": 0, "conflicting_copies": 1,
        "unreadable_images": 1, "odd_images": 1, "wrong_suffix": 1, "small_classes": 0,
    }
    assert {kind: answer["problems"][kind] for kind in wanted} == wanted
    rows = {row["path"]: row["action"] for row in csv.DictReader(fix.open())}
    assert rows == dict.fromkeys((
        "train/cat/train0.jpg", "train/cat/train1.jpg", "train/cat/train2.jpg", "train/dog/conflict.jpg",
        "train/dog/train3.jpg", "train/dog/broken.jpg",
    ), "leave-out")
    assert answer["moves"] == len(rows)
    text = (page / "report.html").read_text()
    assert "Near leaks" in text and "broken.jpg" in text and text.count("data:image/jpeg") >= 8
    assert str(tmp_path) not in text + fix.read_text()
    assert "http" not in text.replace("http-equiv", "")


def test_a_training_follows_the_table_and_counts(cli: Cli, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "train" / "cat" / "train1.jpg", data / "val" / "cat" / "leak.jpg")
    (data / "train" / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    fix = tmp_path / "moves.csv"
    checked(cli, data, "--fix", fix)
    with fix.open("a") as file:
        file.write("train/dog/train5.jpg,move,cat,by hand,\n")
        file.write("train/dog/nowhere.jpg,leave-out,,by hand,\n")
    run = tmp_path / "run"
    answer = cli(
        "finetune", "dogs", "--data", data, "--fix", fix, "--width", 0.25, "--resolution", 32, "--epochs", 1,
        "--workers", 0, "--no-export", "--out", run,
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["fixed"] == {"moved": 1, "left_out": 2} and answer.lines[0]["skipped"] == 0
    assert "1 photos moved, 2 left out, 23 stay" in answer.err and "1 rows name no photo" in answer.err
    assert json.loads((run / "config.json").read_text())["data"]["train"] == 23


@pytest.mark.parametrize(("row", "why"), [
    ("a.jpg,burn,", "expected a path, an action of leave-out or move"),
    ("train/cat/train0.jpg,move,cow", "'cow', which is no class; there are cat, dog"),
    ("train/cat/train0.jpg,move,", "a class to move to"),
])
def test_a_wrong_table_is_one_line(row: str, why: str, cli: Cli, clean: Path, tmp_path: Path) -> None:
    (tmp_path / "moves.csv").write_text(f"path,action,class\n{row}\n")
    fix, run = tmp_path / "moves.csv", tmp_path / "run"
    answer = cli("finetune", "dogs", "--data", clean, "--fix", fix, "--out", run)
    assert answer.code == 1 and why in answer.last_error and not (tmp_path / "run").exists()


def test_a_split_that_cannot_be_read_is_a_problem_and_the_other_is_checked(cli: Cli, data: Path) -> None:
    (data / "val" / "cow").mkdir()
    picture(77).save(data / "val" / "cow" / "0.png")
    answer = checked(cli, data)
    assert answer["problems"]["refused"] == 1 and answer["splits"] == {"train": 24}
    shutil.rmtree(data / "train")
    refused = cli("check", "dogs", data / "none", "--no-network")
    assert refused.code == 1 and "none does not exist" in refused.last_error


def test_small_and_alike_classes(cli: Cli, data: Path) -> None:
    for split in ("train", "val"):
        (data / split / "Cat_").mkdir()
        picture(500).rotate(7 if split == "val" else 200).save(data / split / "Cat_" / f"{split}.png")
    problems = checked(cli, data)["problems"]
    assert problems["small_classes"] == 1 and problems["similar_class_names"] == 1
    assert similar_names(["a b", "A-B", "ab", "c"]) == [
        "classes 'a b' and 'A-B' and 'ab' differ by case or blanks alone: are they one?"
    ]


def test_a_training_on_its_validation_images_says_so(clean: Path, tmp_path: Path) -> None:
    photos = [Photo(path, 0) for path in sorted((clean / "train").rglob("*.jpg"))]
    copied = Path(shutil.copytree(clean / "train", tmp_path / "val"))
    copies = [Photo(path, 0) for path in sorted(copied.rglob("*.jpg"))]
    train = ImageDataset(photos, ["all"])
    others = [Photo(path, 0) for path in sorted((clean / "val").rglob("*.jpg"))]
    assert leaks_before_training(train, ImageDataset(others, ["all"])) == []
    (same,) = leaks_before_training(train, train)
    (copy,) = leaks_before_training(train, ImageDataset([*copies[:3], *others], ["all"]))
    assert same.startswith("24 of 24 validation photos are training photos") and copy.startswith("3 of 11")


def test_flipped_labels_come_first() -> None:
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(4), 60)
    features = (np.repeat(np.eye(4)[true], 16, axis=1) * 2 + rng.normal(size=(240, 64))).astype(np.float32)
    labels, flipped = true.copy(), rng.choice(240, 12, replace=False)
    labels[flipped] = (labels[flipped] + 1) % 4
    probabilities = out_of_fold(features, labels)
    assert probabilities.shape == (240, 4) and np.allclose(probabilities.sum(axis=1), 1)
    doubts = label_doubts(probabilities, labels)
    assert len(set(doubts.order[:12]) & set(flipped)) >= 8
    hits = [n for n in doubts.order[:8] if n in set(flipped)]
    assert (doubts.instead[hits] == true[hits]).all() and doubts.doubtful[hits].all()
    assert doubts.doubtful.sum() < 30


def test_a_box_at_the_edge_of_a_long_photo_is_on_its_tile(tmp_path: Path) -> None:
    """Tiles are square, and cut what is not."""
    Image.new("RGB", (400, 100), "blue").save(tmp_path / "a.png")
    tile = _thumbnail(tmp_path / "a.png", ((6.0, 40.0, 7.0, 60.0),))
    red = np.argwhere(np.abs(np.asarray(tile).astype(int) - RED).max(axis=2) < 60)
    assert tile.width == tile.height and len(red) > 20 and red[:, 1].max() < 20
