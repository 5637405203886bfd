"""Photos that EXIF turns: their boxes are those of the photo as shown, whichever way they were annotated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support import Cli

from apps.objects.coco_metrics import DetectionEvaluation
from apps.objects.evaluate import numbered
from datasets.detection.base import DetectionDataset
from datasets.detection.layouts import read_boxes
from datasets.image_io import read_pixels

STORED, BOX = (120, 80), (10, 20, 40, 70)  # width and height; the red thing on the pixels as stored
SIDEWAYS, FLAT = (5, 6, 7, 8), (1, 2, 3, 4)


def photo(path: Path, turn: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", STORED, (90, 120, 90))
    ImageDraw.Draw(image).rectangle((BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), fill=(230, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(path, quality=95, exif=exif)


def red(pixels: Any) -> list[int]:
    """Where the red thing is on the pixels that the network gets."""
    ys, xs = np.nonzero((pixels[..., 0] > 150) & (pixels[..., 1] < 80))
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def coco(root: Path, turn: int, size: tuple[int, int], box: tuple[int, ...]) -> None:
    photo(root / "val2017" / "a.jpg", turn)
    (root / "annotations").mkdir()
    mark = {
        "id": 1, "image_id": 9, "category_id": 4, "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
        "area": 1500, "iscrowd": 0,
    }
    images = [{"id": 9, "file_name": "a.jpg", "width": size[0], "height": size[1]}]
    told = {"images": images, "annotations": [mark], "categories": [{"id": 4, "name": "red"}]}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(told))


def voc(root: Path, turn: int, size: tuple[int, int], box: tuple[int, ...]) -> None:
    photo(root / "JPEGImages" / "a.jpg", turn)
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Main/val.txt").write_text("a\n")
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (box[0] + 1, box[1] + 1, box[2], box[3]), strict=True)
    (root / "Annotations/a.xml").write_text(
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size><object><name>red</name>"
        f"<bndbox>{''.join(f'<{k}>{v}</{k}>' for k, v in corners)}</bndbox></object></annotation>"
    )


def yolo(root: Path, turn: int, size: tuple[int, int], box: tuple[int, ...]) -> None:
    photo(root / "images" / "val" / "a.jpg", turn)
    (root / "labels/val").mkdir(parents=True)
    (root / "classes.txt").write_text("red\n")
    (x1, y1, x2, y2), (w, h) = box, size
    line = ((x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h)
    (root / "labels/val/a.txt").write_text("0 " + " ".join(map(str, line)))


def table(root: Path, turn: int, size: tuple[int, int], box: tuple[int, ...]) -> None:
    photo(root / "a.jpg", turn)
    (root / "val.csv").write_text(f"path,x1,y1,x2,y2,class\na.jpg,{','.join(map(str, box))},red\n")


@pytest.mark.parametrize("turn", SIDEWAYS)
@pytest.mark.parametrize("write", [coco, voc])
def test_boxes_of_the_pixels_as_stored_are_turned_with_the_photo(
    write: Any, turn: int, tmp_path: Path
) -> None:
    """The annotated size is the stored one, so the boxes lie there as well."""
    write(tmp_path, turn, STORED, BOX)
    found = DetectionDataset(read_boxes(tmp_path, "val"))
    boxes, _, _, size, _ = found.target(0)
    assert np.abs(boxes[0] - red(found.pixels(0))).max() <= 1
    assert size.tolist() == [80, 120] and found.pixels(0).shape == (120, 80, 3)


@pytest.mark.parametrize("turn", SIDEWAYS + FLAT)
@pytest.mark.parametrize("write", [coco, voc, yolo, table])
def test_boxes_of_the_photo_as_shown_stay_as_they_are(write: Any, turn: int, tmp_path: Path) -> None:
    photo(tmp_path / "shown.jpg", turn)
    box = red(read_pixels(tmp_path / "shown.jpg"))
    size = (80, 120) if turn in SIDEWAYS else STORED
    write(tmp_path / "data", turn, size, tuple(box))
    found = DetectionDataset(read_boxes(tmp_path / "data", "val"))
    boxes, _, _, told, _ = found.target(0)
    assert boxes[0].tolist() == pytest.approx(box, abs=1e-3) and told.tolist() == list(size)


@pytest.mark.parametrize("turn", SIDEWAYS)
def test_result_files_have_boxes_where_the_annotations_have_them(
    turn: int, cli: Cli, tmp_path: Path
) -> None:
    """Another system's results, made for COCO's pixels as stored, are right; ours are written back so."""
    coco(tmp_path, turn, STORED, BOX)
    one = {"image_id": 9, "category_id": 4, "bbox": [10, 20, 30, 50], "score": 0.9}
    (tmp_path / "found.json").write_text(json.dumps([one]))
    answer = cli("evaluate", "objects", "--predictions", tmp_path / "found.json", "--data", tmp_path)
    assert answer.code == 0 and json.loads(answer.out)["metrics"]["ap"] == pytest.approx(1), answer.err
    photos = DetectionDataset(read_boxes(tmp_path, "val"))
    x1, y1, x2, y2 = photos.target(0)[0][0].tolist()
    ours = {"image_id": 1, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 0.9}
    judged = DetectionEvaluation({}, [ours], (str(photos.photos[0].path),))
    assert numbered(judged, photos) == [one]
