"""Mistakes in boxes: told of before a training, and listed by ``check objects``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.objects.checks import doubts, learned_nothing
from apps.objects.coco_metrics import doubts as result_doubts
from apps.objects.task import ObjectsSettings
from datasets.detection.base import BoxedPhoto, Marked
from datasets.detection.layouts import read_split

WIDE, HIGH = 120, 90


def photo(path: Path, seed: int, size: tuple[int, int] = (WIDE, HIGH)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(small).resize(size).save(path)


def coco(root: Path, boxes: list[list[float]], *, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """A photo a box, in both splits."""
    for number, split in enumerate(("train", "val")):
        for n in range(len(boxes)):
            photo(root / f"{split}2017" / f"{split}{n}.png", 100 * number + n)
        data = {
            "images": [
                {"id": n, "file_name": f"{split}{n}.png", "width": WIDE, "height": HIGH}
                for n in range(len(boxes))
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": box} for n, box in enumerate(boxes)
            ],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(data))
    return root


def yolo(root: Path, lines: list[str]) -> Path:
    for number, split in enumerate(("train", "val")):
        (root / "labels" / split).mkdir(parents=True)
        for n, line in enumerate(lines):
            photo(root / "images" / split / f"{split}{n}.png", 50 * number + n)
            (root / "labels" / split / f"{split}{n}.txt").write_text(line + "\n")
    (root / "classes.txt").write_text("cat\ndog\n")
    return root


GOOD = [[10.0, 10, 40, 30], [60, 20, 50, 60], [5, 40, 30, 45], [20, 5, 90, 70]]
AS_CORNERS = [[x, y, x + w, y + h] for x, y, w, h in GOOD]
AS_SHARES = [[x / WIDE, y / HIGH, w / WIDE, h / HIGH] for x, y, w, h in GOOD]


def test_good_boxes_are_read_without_a_word(tmp_path: Path) -> None:
    assert read_split(coco(tmp_path, GOOD), "train").notes == []
    shares = yolo(tmp_path / "yolo", ["0 0.5 0.5 0.2 0.4", "1 0.3 0.3 0.2 0.2", "0 0.1 0.2 0.2 0.4"])
    assert read_split(shares, "train").notes == []


def test_shares_where_pixels_are_meant_are_refused_before_a_training(cli: Cli, tmp_path: Path) -> None:
    data, run = coco(tmp_path / "data", AS_SHARES), tmp_path / "run"
    answer = cli("finetune", "objects", "--data", data, "--epochs", 1, "--out", run)
    assert answer.code == 1 and "seem to be shares of the photo, from 0 to 1" in answer.last_error
    assert not run.exists()
    problems = cli("check", "objects", data, "--no-network").lines[0]["problems"]
    assert problems["boxes_units"] == 2 and problems["boxes_tiny"] == 8


def test_corners_where_sides_are_meant_are_told_of(cli: Cli, tmp_path: Path) -> None:
    (note,) = read_split(coco(tmp_path / "data", AS_CORNERS), "train").notes
    assert "all would do as corners" in note
    middles = yolo(tmp_path / "yolo", ["0 0.1 0.2 0.9 0.8", "1 0.05 0.3 0.7 0.95", "0 0.2 0.1 0.9 0.9"])
    (note,) = read_split(middles, "train").notes
    assert "3 of 3 boxes reach out of their photos, and all would do as corners" in note
    assert cli("check", "objects", tmp_path / "data", "--no-network").lines[0]["problems"]["boxes_units"] == 2


def test_each_odd_box_is_counted(cli: Cli, tmp_path: Path) -> None:
    boxes = [*GOOD, [100, 70, 60, 30], [30, 30, 2, 20], [50, 50, -20, 10]]
    data = coco(tmp_path / "data", boxes, names=("cat", "Cat "))
    path = data / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"].append(content["annotations"][0] | {"id": 99})
    path.write_text(json.dumps(content))
    answer = cli("check", "objects", data, "--no-network", "--report", tmp_path / "page")
    assert answer.code == 0, answer.err
    problems = answer.lines[0]["problems"]
    counts = {name.removeprefix("boxes_"): count for name, count in problems.items() if "boxes_" in name}
    assert counts == {"units": 0, "swapped": 2, "outside": 2, "tiny": 2, "duplicate": 1}
    assert problems["similar_class_names"] == 1
    assert "is marked twice" in (tmp_path / "page" / "report.html").read_text()
    refused = cli("finetune", "objects", "--data", data, "--epochs", 1, "--out", tmp_path / "run")
    assert refused.code == 1 and "annotation 6: a box has a width and a height of 0 or more" in refused.err


def test_missing_and_lost_label_files_are_told_of(cli: Cli, tmp_path: Path) -> None:
    data = yolo(tmp_path / "data", ["0 0.5 0.5 0.2 0.4"] * 6)
    for n in (1, 2):
        (data / "labels" / "train" / f"train{n}.txt").unlink()
    (data / "labels" / "train" / "gone.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (data / "images" / "train" / "more").mkdir()
    shutil.move(data / "images" / "train" / "train5.png", data / "images" / "train" / "more" / "train5.png")
    missing, lost = read_split(data, "train").notes
    assert missing.startswith("3 photos have no file of labels") and "train1.png" in missing
    assert lost.startswith("2 files of labels have no photo") and "gone.txt" in lost and "train5.txt" in lost
    assert read_split(data, "val").notes == []
    problems = cli("check", "objects", data, "--no-network").lines[0]["problems"]
    assert (problems["missing_label_files"], problems["labels_without_image"]) == (3, 2)


@pytest.mark.parametrize(("line", "box"), [
    ("0 0.5 0.5 0.5 0.4 17", (30, 27, 90, 63)),
    ("0 0.5 0.5 0.5 0.4 0.83 17", (30, 27, 90, 63)),
    ("0 0.5 0.5 0.5 0.4 0.83", (30, 27, 90, 63)),
    ("0,0.5,0.5,0.5,0.4", (30, 27, 90, 63)),
])
def test_numbers_of_tracks_are_no_points(line: str, box: tuple[float, ...], tmp_path: Path) -> None:
    (image,) = read_split(yolo(tmp_path, [line]), "train").photos
    assert image.objects[0].box == pytest.approx(box)


def test_decimal_commas_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train0.txt:1: numbers have decimal commas; write points"):
        read_split(yolo(tmp_path, ["0 0,5 0,5 0,2 0,1"]), "train")


@pytest.mark.parametrize(("size", "note"), [("None", None), ("60", "2 photos have another size")])
def test_a_size_that_is_none_or_another(size: str, note: str | None, tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", 1)
    (tmp_path / "a.xml").write_text(
        f"<annotation><size><width>{size}</width><height>{size}</height></size><object><name>cat</name>"
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"
    )
    shutil.copy(tmp_path / "a.xml", tmp_path / "b.xml")
    photo(tmp_path / "b.jpg", 2)
    notes = " ".join(read_split(tmp_path, "train").notes)
    assert ("another size" in notes) == (note is not None) and (note or "") in notes


def test_what_a_detector_sees_is_held_against_the_boxes() -> None:
    crowd = Marked((0, 0, 200, 9), 0, ignored=True)
    marks = (Marked((10, 10, 50, 50), 0), Marked((60, 60, 90, 90), 1), crowd)
    image = BoxedPhoto(Path("a.jpg"), 0, objects=marks, width=200, height=200)
    seen = [
        {"name": "Cat", "score": 0.9, "box": [150, 150, 190, 190]},  # not marked
        {"name": "cat", "score": 0.9, "box": [20, 10, 62, 50]},  # beside its box
        {"name": "cat", "score": 0.9, "box": [60, 60, 90, 90]},  # on a dog
        {"name": "cat", "score": 0.5, "box": [100, 100, 120, 120]},  # not sure
        {"name": "cow", "score": 0.9, "box": [100, 100, 120, 120]},  # no class here
        {"name": "cat", "score": 0.9, "box": [20, 0, 60, 9]},  # in a crowd
    ]
    kinds = [kind for kind, _ in doubts(image, ["cat", "dog"], seen)]
    assert kinds == ["boxes_likely_missing", "boxes_likely_misplaced", "boxes_likely_wrong_class"]
    right = [{"name": "cat", "score": 0.9, "box": [10, 10, 50, 50]}]
    assert list(doubts(image, ["cat", "dog"], right)) == []


def test_only_a_detector_that_finds_next_to_nothing_is_told_of(tmp_path: Path) -> None:
    assert learned_nothing(0.5, tmp_path) == "" and learned_nothing(None, tmp_path) == ""
    assert "(AP50 0.0003): give more --epochs, a higher --lr" in learned_nothing(0.0003, tmp_path)


@pytest.mark.slow
def test_a_training_that_learned_nothing_says_so(cli: Cli, tmp_path: Path) -> None:
    data = coco(tmp_path / "data", [[50.0 + n, 40 - n, 7, 7] for n in range(4)])
    answer = cli(
        "finetune", "objects", "--data", data, "--width", 0.25, "--resolution", 64,
        "--epochs", 1, "--workers", 0, "--no-export", "--out", tmp_path / "run",
    )
    assert answer.code == 0 and "this detector finds next to nothing" in answer.err
    assert "give more --epochs, a higher --lr" in " ".join(answer.err.split())


def test_results_that_are_shares_are_told_of() -> None:
    truth = {"images": [{"id": 1, "width": WIDE, "height": HIGH}]}
    results = [{"image_id": 1, "category_id": 1, "score": 0.9, "bbox": box} for box in AS_SHARES]
    (doubt,) = result_doubts(results, truth)
    assert doubt.startswith("all 4 boxes lie within 1.5 pixels") and "width, height in pixels" in doubt
    assert result_doubts([results[0] | {"bbox": box} for box in GOOD], truth) == []


def test_defaults_follow_the_number_of_images() -> None:
    mode = {"epochs": 12, "lr": 2e-4}
    trained = ObjectsSettings(weights="w", head="ssd300")
    assert trained.scaled(mode, 126) == {"epochs": 100, "lr": 2e-3}
    assert trained.scaled(mode, 1280)["epochs"] == 12 and trained.scaled(mode, 640)["epochs"] == 20
    assert ObjectsSettings(weights="w", head="frcnn300").scaled(mode, 126)["lr"] == 1e-3
    assert ObjectsSettings(weights="w", head="ssd300-tf").scaled(mode, 126) == mode
    assert ObjectsSettings().scaled({"epochs": 60, "lr": 1e-2}, 8) == {"epochs": 100, "lr": 1e-2}
