"""Readers of boxes: a small whole set of each layout, of which one file is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from datasets.detection.base import DetectionDataset
from datasets.detection.layouts import read_split
from fuzz.mutators import of_json, of_text
from fuzz.runner import Reader, below
from fuzz.samples import SIDE, photos, text


def _boxes(root: Path) -> Iterator[Reader]:
    def read(path: Path, split: str = "train") -> object:
        top = next(folder for folder in path.parents if folder.parent == root)
        return DetectionDataset(read_split(top, split)).counts()

    names = ("1.png", "2.png")
    coco = {
        "images": [
            {"id": n, "file_name": name, "width": SIDE, "height": SIDE} for n, name in enumerate(names, 1)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 10, 12], "area": 120, "iscrowd": 0}
            for n in (1, 2)
        ],
    }
    document = json.dumps(coco).encode()
    photos(root / "coco/train2017", *names)
    yield below("COCO", root / "coco/annotations/instances_train2017.json", [document], read, of_json)
    yield from _voc(root, read)
    yield from _yolo(root, read)
    for folder in ("csv", "hf/train"):
        photos(root / folder, *names)
    table = text(
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        "1.png,24,24,cat,1,2,12,13",
        "2.png,24,24,dog,0,0,9,9",
    )
    yield below("boxes CSV", root / "csv/train.csv", [table], read, of_text)
    rows = [
        {"file_name": name, "objects": {"bbox": [[1, 2, 10, 12]], "categories": ["cat"]}} for name in names
    ]
    yield below(
        "boxes metadata.jsonl",
        root / "hf/train/metadata.jsonl",
        [text(*map(json.dumps, rows))],
        read,
        of_json,
    )


def _voc(root: Path, read: Callable[[Path], object]) -> Iterator[Reader]:
    tree = (
        "<annotation><filename>{}.png</filename><size><width>24</width><height>24</height><depth>3</depth></size>"
        "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>12</xmax>"
        "<ymax>13</ymax></bndbox></object></annotation>"
    )
    for folder in ("voc", "voc-list"):
        photos(root / folder / "JPEGImages", "1.png", "2.png")
        (root / folder / "Annotations").mkdir()
        (root / folder / "ImageSets/Main").mkdir(parents=True)
        (root / folder / "ImageSets/Main/train.txt").write_text("1\n2\n")
        for name in "12":
            (root / folder / f"Annotations/{name}.xml").write_text(tree.format(name))
    yield below("VOC XML", root / "voc/Annotations/1.xml", [tree.format(1).encode()], read, of_text)
    yield below(
        "VOC list",
        root / "voc-list/ImageSets/Main/train.txt",
        [text("1", "2"), text("1  1", "2 -1")],
        read,
        of_text,
    )


def _yolo(root: Path, read: Callable[[Path], object]) -> Iterator[Reader]:
    yaml = text("path: .", "train: images/train", "val: images/val", "nc: 2", "names: [cat, dog]")
    by_number = text("train: images/train", "names:", "  0: cat", "  1: dog", "kpt_shape: [1, 3]")
    data = text("classes = 2", "train = train.txt", "valid = train.txt", "names = obj.names", "backup = b/")
    for folder in ("yolo", "yaml", "names"):
        photos(root / folder / "images/train", "1.png", "2.png")
        photos(root / folder / "images/val", "3.png")
        for split, name in (("train", "1"), ("train", "2"), ("val", "3")):
            (root / folder / "labels" / split).mkdir(parents=True, exist_ok=True)
            (root / folder / "labels" / split / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "yolo/classes.txt").write_text("cat\ndog\n")
    photos(root / "darknet/obj", "1.png")
    (root / "darknet/obj/1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "darknet/train.txt").write_text("obj/1.png\n")
    (root / "darknet/obj.names").write_text("cat\ndog\n")
    labels = text("0 0.5 0.5 0.2 0.3", "1 0.1 0.1 0.9 0.1 0.9 0.9")
    yield below("YOLO labels", root / "yolo/labels/train/1.txt", [labels], read, of_text)
    yield below("YOLO classes.txt", root / "names/classes.txt", [text("cat", "dog")], read, of_text)
    yield below("YOLO data.yaml", root / "yaml/data.yaml", [yaml, by_number], read, of_text)
    yield below("YOLO obj.data", root / "darknet/obj.data", [data], read, of_text)


def readers(root: Path) -> Iterator[Reader]:
    """All of them, their files below a folder."""
    for make in (_boxes,):
        yield from make(root / make.__name__.strip("_"))
