"""Boxes in ``objects`` of described photos: metadata.jsonl beside them, Parquet files, or tar shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets.described.layouts import described, described_splits
from datasets.described.metadata import BOXES, CLASSES, FILE_NAME, by_number
from datasets.detection.base import (
    Annotations,
    BoxedPhoto,
    Marked,
    existing,
    inside,
    left_out,
    numbered,
    size_in_file,
)
from datasets.tables import clean_name
from datasets.validation import four, short

OBJECTS = ("objects", "annotations")


def imagefolder_splits(root: Path) -> set[str]:
    """The splits of a folder with photos and boxes so described; none where there are none."""
    splits = described_splits(root)
    return splits if any(_has_boxes(root, split) for split in splits) else set()


def _has_boxes(root: Path, split: str) -> bool:
    part = described(root, split)
    return part is not None and any(_holder(row) is not None for _, row in part.rows)


def read_imagefolder(root: Path, split: str) -> Annotations:
    """The described photos of a split; a box is x, y, width and height in pixels.

    Raises:
        FileNotFoundError: the description, or all photos, are missing.
        ValueError: a line, a box or a class is none.
    """
    part = described(root, split)
    if part is None:
        existing(root / split / "metadata.jsonl", "a line a photo with file_name and objects")
        raise FileNotFoundError(f"{root} describes no photos of {split}")
    other = described(root, "val" if split == "train" else "train")
    tables = [[_objects(row, split.where) for _, row in split.rows] for split in (part, other) if split]
    every = {name for table in tables for objects in table for name, _ in objects}
    names = sorted(every, key=by_number)
    photos, outside = [], 0
    for image_id, ((file, _), objects) in enumerate(zip(part.rows, tables[0], strict=True), start=1):
        width, height = size_in_file(file)
        results = [
            (inside((x, y, x + w, y + h), width, height, str(file)), names.index(label))
            for label, (x, y, w, h) in objects if width
        ]
        marks = tuple(Marked(box, label) for box, label in results if box is not None)
        outside += len(results) - len(marks)
        photos.append(BoxedPhoto(file, 0, objects=marks, width=width, height=height, image_id=image_id))
    return Annotations(photos, numbered(names), [*left_out(part.where, outside), *part.notes])


def _holder(row: dict[str, Any]) -> Any:
    """What holds the boxes of a photo; None where nothing does."""
    named = next((row[name] for name in OBJECTS if row.get(name) is not None), None)
    return row if named is None and any(row.get(name) is not None for name in BOXES) else named


def _objects(row: dict[str, Any], path: Path) -> list[tuple[str, list[float]]]:
    """(class, box) of each object of a photo: lists of both, or a list of objects that have both."""
    where, objects = f"{path}: {row[FILE_NAME]}", _holder(row) or {}
    if isinstance(objects, list) and all(isinstance(item, dict) for item in objects):
        pairs = [(_first(item, CLASSES), _first(item, BOXES)) for item in objects]
        objects = {BOXES[0]: [box for _, box in pairs], CLASSES[0]: [label for label, _ in pairs]}
    if not isinstance(objects, dict):
        raise ValueError(f"{where}: objects must hold bbox and categories, got {short(objects)}")
    boxes, labels = _first(objects, BOXES, []), _first(objects, CLASSES, [])
    if not isinstance(boxes, list) or not isinstance(labels, list) or len(boxes) != len(labels):
        raise ValueError(f"{where}: objects must hold as many categories as bbox, got {short(objects)}")
    if any(not isinstance(label, str | int) for label in labels):
        raise ValueError(f"{where}: each category must be a name or a number, got {short(labels)}")
    both = zip(labels, boxes, strict=True)
    return [(clean_name(str(label)), four(box, f"{where}: bbox")) for label, box in both]


def _first(values: dict[str, Any], names: tuple[str, ...], other: Any = None) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), other)
