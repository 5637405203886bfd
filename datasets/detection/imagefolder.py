"""Boxes in Hugging Face's ``imagefolder``: SPLIT/metadata.jsonl with ``objects`` beside the photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets.detection.base import (
    BoxedPhoto,
    Found,
    Marked,
    existing,
    inside,
    left_out,
    names_of,
    numbered,
    size_in_file,
)
from datasets.metadata import FILE_NAME, metadata_of, read_metadata
from datasets.names import NamedPhotos, missing_photos
from datasets.tables import clean_name
from datasets.validation import four, short

BOXES = ("bbox", "bboxes", "boxes")
CLASSES = ("categories", "category", "labels", "label", "names")


def imagefolder_splits(root: Path) -> set[str]:
    """The splits of a folder with photos and boxes so described; none where there are none."""
    listed = {split: path for split in ("train", "val") if (path := _file(root, split)) is not None}
    whole = metadata_of(root)
    every = listed or ({"train": whole} if whole is not None else {})
    boxes = any("objects" in row for path in every.values() for row in read_metadata(path))
    return set(every) if boxes else set()


def read_imagefolder(root: Path, split: str) -> Found:
    """The photos of ``SPLIT/metadata.jsonl``; a box is x, y, width and height in pixels.

    Raises:
        FileNotFoundError: the file, or all photos, are missing.
        ValueError: a line, a box or a class is none.
    """
    path = _file(root, split) or (metadata_of(root) if split == "train" else None)
    path = path or existing(root / split / "metadata.jsonl", "a line a photo with file_name and objects")
    places = {path, *(item for name in ("train", "val") if (item := _file(root, name)) is not None)}
    tables = {
        place: [(row[FILE_NAME], _objects(row, place)) for row in read_metadata(place)] for place in places
    }
    every = {name for rows in tables.values() for _, objects in rows for name, _ in objects}
    names = sorted(every, key=_by_number)
    named, photos, missing, outside = NamedPhotos(path.parent), [], [], 0
    for image_id, (name, objects) in enumerate(tables[path], start=1):
        file = named.find(name)
        if file is None:
            missing.append(name)
            continue
        width, height = size_in_file(file)
        results = [
            (inside((x, y, x + w, y + h), width, height, f"{path}: {name}"), names.index(label))
            for label, (x, y, w, h) in objects if width
        ]
        marks = tuple(Marked(box, label) for box, label in results if box is not None)
        outside += len(results) - len(marks)
        photos.append(BoxedPhoto(file, 0, objects=marks, width=width, height=height, image_id=image_id))
    notes = missing_photos(path, missing, len(tables[path]))
    return Found(photos, numbered(names), [*left_out(path, outside), *notes])


def _by_number(name: str) -> tuple[bool, int, str]:
    """Numbers by size, however long they are, then words."""
    digits = name.lstrip("0") if name.isascii() and name.isdecimal() else ""
    return not name.isdecimal(), len(digits), digits or name


def _file(root: Path, split: str) -> Path | None:
    return next((path for name in names_of(split) if (path := metadata_of(root / name)) is not None), None)


def _objects(row: dict[str, Any], path: Path) -> list[tuple[str, list[float]]]:
    """(class, box) of each object of a photo."""
    where, objects = f"{path}: {row[FILE_NAME]}", row.get("objects") or {}
    if not isinstance(objects, dict):
        raise ValueError(f"{where}: objects must hold bbox and categories, got {short(objects)}")
    boxes: Any = next((objects[name] for name in BOXES if name in objects), [])
    labels: Any = next((objects[name] for name in CLASSES if name in objects), [])
    if not isinstance(boxes, list) or not isinstance(labels, list) or len(boxes) != len(labels):
        raise ValueError(f"{where}: objects must hold as many categories as bbox, got {short(objects)}")
    pairs = zip(labels, boxes, strict=True)
    return [(clean_name(str(label)), four(box, f"{where}: bbox")) for label, box in pairs]
