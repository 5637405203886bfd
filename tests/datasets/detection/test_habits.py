"""Habits of tools and hands in files of boxes: read as they are meant, and said; or named by ``check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import Cli

from datasets.detection.base import Annotations, DetectionDataset
from datasets.detection.layouts import read_split

BOX = (8.0, 6.0, 24.0, 30.0)  # on photos of 40 x 32
LINE = "{} 0.4 0.5625 0.4 0.75\n"
COUNTS = [262, *[24, 8] * 15, 24, 514]  # BOX as runs down the columns


def photo(path: Path, level: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 32), (level, 90, 40)).save(path)


def yolo(root: Path, names: str = "names: [cup, fork]\n", line: str = LINE) -> None:
    root.mkdir(exist_ok=True)
    (root / "data.yaml").write_text(f"train: train/images\nval: valid/images\n{names}")
    for split, count in (("train", 4), ("valid", 2)):
        for n in range(count):
            photo(root / split / f"images/{split}{n}.jpg", 20 * n)
            (root / split / "labels").mkdir(exist_ok=True)
            (root / split / f"labels/{split}{n}.txt").write_text(line.format(n % 2))


def coco(root: Path, *, categories: Any = None, **changes: Any) -> None:
    """Two splits; ``changes`` reach each annotation, or call for a value of it."""
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", 4), ("val", 2)):
        images = [
            {"id": n, "file_name": f"{split}{n}.jpg", "width": 40, "height": 32} for n in range(count)
        ]
        marks = [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [8, 6, 16, 24]} for n in range(count)
        ]
        marks = [
            mark | {key: value(mark[key]) if callable(value) else value for key, value in changes.items()}
            for mark in marks
        ]
        listed = categories or [{"id": 1, "name": "cup"}, {"id": 2, "name": "fork"}]
        data = {"images": images, "annotations": marks, "categories": listed}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(data))
        for n in range(count):
            photo(root / f"images/{split}/{split}{n}.jpg", 20 * n)


def read(root: Path, classes: tuple[str, ...] = ("cup", "fork")) -> Annotations:
    result = read_split(root, "train")
    images = DetectionDataset(result)
    assert images.classes == classes and len(images) == 4
    for n in range(4):
        boxes, labels, *_ = images.target(n)
        assert np.allclose(boxes, [BOX], atol=1e-3)
        assert labels.tolist() == [n % len(classes)]
    return result


def test_numbers_of_coco_may_be_texts_or_have_a_point(tmp_path: Path) -> None:
    categories = [{"id": "1", "name": "cup"}, {"id": "2", "name": "fork"}]
    coco(tmp_path, categories=categories, image_id=str, id=str, category_id=float, iscrowd="0")
    path = tmp_path / "annotations/instances_train.json"
    data = json.loads(path.read_text())
    for image in data["images"]:
        image |= {"id": str(image["id"]), "width": "40", "height": 32.0}
    path.write_text(json.dumps(data))
    assert read(tmp_path).notes == []


@pytest.mark.parametrize("value", ["a1", "1.5", 1.5, "\u0661", "9" * 40, "-", ""])
def test_ids_that_are_no_whole_numbers_stay_refused(value: object, tmp_path: Path) -> None:
    coco(tmp_path, image_id=value)
    with pytest.raises(ValueError, match="image_id must be a whole number") as caught:
        read_split(tmp_path, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("counts", [COUNTS, "compressed"], ids=["runs", "text"])
def test_a_mask_alone_gives_the_box_around_it(counts: Any, tmp_path: Path) -> None:
    if counts == "compressed":
        from faster_coco_eval.core import mask

        counts = mask.frPyObjects({"size": [32, 40], "counts": COUNTS}, 32, 40)["counts"].decode()
    coco(tmp_path, bbox=None, segmentation={"size": [32, 40], "counts": counts})
    boxes = [mark.box for image in read(tmp_path).photos for mark in image.objects]
    assert np.allclose(boxes, [BOX] * 4, atol=1e-3)


@pytest.mark.parametrize(("mask", "words"), [
    ({"size": [32], "counts": COUNTS}, "size must be a height and a width"),
    ({"size": [32, 41], "counts": COUNTS}, "counts make 1280 pixels of 32 x 41"),
    ({"size": [32, 40], "counts": [-1, 1281]}, "counts must be a whole number of 0 to 1,280"),
    ({"size": [32, 40], "counts": None}, "counts must be words"),
])
def test_a_mask_that_is_none_is_refused_in_one_line(mask: Any, words: str, tmp_path: Path) -> None:
    coco(tmp_path, bbox=None, segmentation=mask)
    with pytest.raises(ValueError, match=words):
        read_split(tmp_path, "train")


def test_classes_of_one_name_are_one_class_in_coco_and_yolo_and_that_is_said(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "caf\u00e9"}, {"id": 2, "name": " cafe\u0301"}]
    coco(tmp_path / "coco", categories=categories)
    yolo(tmp_path / "yolo", "names: [' caf\u00e9', \"cafe\u0301\"]\n")
    for name in ("coco", "yolo"):
        (note,) = read(tmp_path / name, ("caf\u00e9",)).notes
        assert note.endswith("classes of one name are one class: 'caf\u00e9'")


def test_a_number_of_classes_that_is_not_that_of_the_names_is_said(tmp_path: Path) -> None:
    yolo(tmp_path, "nc: 3\nnames: [cup, fork]\n")
    (note,) = read(tmp_path).notes
    assert note == f"{tmp_path / 'data.yaml'} says nc: 3 and names 2 classes: the names count"


@pytest.mark.parametrize("form", ["{}.TXT", "{}.jpg.txt"])
def test_labels_of_yolo_under_other_names_are_those_of_their_photo(form: str, tmp_path: Path) -> None:
    yolo(tmp_path)
    for path in list(tmp_path.rglob("labels/*.txt")):
        path.rename(path.with_name(form.format(path.stem)))
    result = read(tmp_path)
    assert not result.tally.unlabelled and not result.tally.labels_only


def test_boxes_outside_in_many_files_are_one_sentence(tmp_path: Path) -> None:
    yolo(tmp_path, line=LINE + "0 1.5 1.5 0.2 0.2\n")
    (note, other) = read(tmp_path).notes
    assert note.startswith("4 boxes in several files lie outside their photos") and "train0.txt" in note
    assert other.startswith("4 of 8 boxes reach out of their photos")


def test_a_set_whose_boxes_are_all_swapped_is_checked_and_not_trained_on(cli: Cli, tmp_path: Path) -> None:
    yolo(tmp_path / "yolo", line="{} 0.4 0.5625 -0.4 0.75\n")
    coco(tmp_path / "coco", bbox=[24, 6, -16, 24])
    for name in ("yolo", "coco"):
        answer = cli("check", "objects", tmp_path / name, "--no-network")
        assert answer.code == 0, answer.err
        assert answer.lines[0]["problems"]["boxes_swapped"] == 6 and not answer.lines[0]["notes"]
        with pytest.raises(ValueError, match="a box has a width and a height of 0 or more, got -16 x 24"):
            read_split(tmp_path / name, "train")
