"""COCO, VOC, YOLO and CSV: the same four photos in each layout, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.detection.base import DetectionDataset
from datasets.detection.layouts import read_boxes

SIZE = (80, 60)
BOXES = {"a": [("cat", 10, 10, 30, 40), ("dog", 40, 20, 70, 50)], "b": [("dog", 0, 0, 20, 20)], "c": []}


def photos(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(BOXES):
        Image.new("L" if name == "b" else "RGB", SIZE, 60 * number).save(folder / f"{name}.jpg")


def coco_data() -> dict[str, Any]:
    images = [{"id": n, "file_name": f"{k}.jpg", "width": 80, "height": 60} for n, k in enumerate(BOXES, 5)]
    marks = [
        {
            "image_id": n, "category_id": {"cat": 3, "dog": 7}[c], "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": 0,
        }
        for n, k in enumerate(BOXES, 5) for c, x1, y1, x2, y2 in BOXES[k]
    ]
    return {
        "images": images, "annotations": [one | {"id": n} for n, one in enumerate(marks)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def write_coco(root: Path, data: Any = None) -> None:
    photos(root / "train2017")
    (root / "annotations").mkdir()
    text = data if isinstance(data, str) else json.dumps(data or coco_data())
    (root / "annotations" / "instances_train2017.json").write_text(text)


def write_voc(root: Path) -> None:
    photos(root / "JPEGImages")
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{name}\n" for name in BOXES))
    for name, marks in BOXES.items():
        objects = "".join(
            f"<object><name>{c}</name><difficult>{int(c == 'cat')}</difficult><bndbox><xmin>{x1 + 1}</xmin>"
            f"<ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for c, x1, y1, x2, y2 in marks
        )
        size = "<size><width>80</width><height>60</height></size>"
        text = f"<annotation><filename>{name}.jpg</filename>{size}{objects}</annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)


def write_yolo(root: Path) -> None:
    photos(root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    for name, marks in BOXES.items():
        lines = [
            f"{['cat', 'dog'].index(c)} {(x1 + x2) / 160} {(y1 + y2) / 120} "
            f"{(x2 - x1) / 80} {(y2 - y1) / 60}\n"
            for c, x1, y1, x2, y2 in marks
        ]
        if lines:
            (root / "labels" / "train" / f"{name}.txt").write_text("".join(lines))


def write_csv(root: Path) -> None:
    photos(root / "photos")
    rows = [
        f"photos/{name}.jpg,{x1},{y1},{x2},{y2},{c}\n" for name in BOXES for c, x1, y1, x2, y2 in BOXES[name]
    ]
    (root / "train.csv").write_text("path,x1,y1,x2,y2,class\n" + "".join(rows) + "photos/c.jpg,,,,,\n")


WRITERS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo, "csv": write_csv}


@pytest.mark.parametrize("layout", WRITERS)
def test_each_layout_gives_the_same_boxes_and_keeps_empty_photos(layout: str, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    found = DetectionDataset(read_boxes(tmp_path, "train"))
    assert found.classes == ("cat", "dog") and len(found) == 3
    for index, marks in enumerate(BOXES.values()):
        boxes, labels, ignored, size, _ = found.target(index)
        assert np.allclose(boxes, np.reshape([one[1:] for one in marks], (-1, 4)), atol=1e-3)
        assert [found.classes[n] for n in labels] == [one[0] for one in marks]
        assert size.tolist() == [80, 60] and found.pixels(index).shape == (60, 80, 3)
        assert ignored.tolist() == [int(layout == "voc" and one[0] == "cat") for one in marks]


def test_boxes_are_cut_to_the_photo_and_those_outside_are_told(tmp_path: Path) -> None:
    data = coco_data()
    data["annotations"][0]["bbox"], data["annotations"][1]["bbox"] = [-10, -10, 30, 30], [200, 200, 9, 9]
    write_coco(tmp_path, data)
    found = read_boxes(tmp_path, "train")
    assert [one.box for one in found.photos[0].objects] == [(0, 0, 20, 20)]
    assert "1 boxes lie outside their photo" in found.notes[0]


def spoil(data: dict[str, Any], change: str) -> Any:
    first = data["annotations"][0]
    if change == "negative":
        first["bbox"] = [10, 10, -5, 5]
    elif change == "category":
        first["category_id"] = 99
    elif change == "image":
        first["image_id"] = 99
    elif change == "twice":
        data["images"].append(data["images"][0])
    elif change == "file":
        data["images"][0]["file_name"], data["annotations"] = "gone.jpg", data["annotations"][:2]
    elif change == "empty":
        data["annotations"] = []
    return json.dumps(data)[:-9] if change == "cut off" else data


@pytest.mark.parametrize(("change", "said"), [
    ("negative", "annotation 0: a box has a width and a height of 0 or more, got -5 x 5"),
    ("category", "is of category 99, which is not in the list"), ("image", "is of image 99, which is not"),
    ("twice", "image id 5 comes twice"), ("file", "1 of 3 photos are missing and left out: gone.jpg"),
    ("empty", "none of the 3 photos has a box"), ("cut off", "no whole JSON file"),
])
def test_broken_coco_files_are_refused_in_one_line(change: str, said: str, tmp_path: Path) -> None:
    write_coco(tmp_path, spoil(coco_data(), change))
    with pytest.raises((ValueError, FileNotFoundError), match=said) as caught:
        DetectionDataset(read_boxes(tmp_path, "train"))
    assert "\n" not in str(caught.value)


def test_a_class_that_the_model_does_not_know_is_named(tmp_path: Path) -> None:
    write_coco(tmp_path)
    with pytest.raises(ValueError, match="class 'cat', which the model does not know; it knows dog"):
        DetectionDataset(read_boxes(tmp_path, "train"), ["dog"])


def test_labels_follow_the_order_of_the_model(tmp_path: Path) -> None:
    write_coco(tmp_path)
    found = DetectionDataset(read_boxes(tmp_path, "train"), ["dog", "bus", "cat"])
    assert found.target(0)[1].tolist() == [2, 0]


def test_a_folder_without_boxes_says_which_layouts_there_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no boxes in a known layout: COCO's annotations"):
        read_boxes(tmp_path, "train")


def test_a_yolo_line_of_another_form_is_named_with_its_number(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5\n")
    with pytest.raises(ValueError, match=r"a.txt:1: a line is `class x y .* a polygon, got '0 0.5 0.5'"):
        read_boxes(tmp_path, "train")
