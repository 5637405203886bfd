"""A table of boxes: SPLIT.csv with path, x1, y1, x2, y2, class; a row with a path alone is an empty image."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from datasets.detection.base import (
    BoxedPhoto,
    Category,
    Found,
    Marked,
    a_file,
    existing,
    inside,
    left_out,
    size_in_file,
)
from datasets.validation import LARGEST_PX, finite, read_text

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")


def is_boxes_csv(root: Path) -> bool:
    """Whether the folder has ``train.csv`` or ``val.csv``."""
    return (root / "train.csv").is_file() or (root / "val.csv").is_file()


def read_boxes_csv(root: Path, split: str) -> Found:
    """The images of ``SPLIT.csv``; paths are relative to the folder. Classes are those of both tables.

    A damaged image has no boxes: without its size they cannot be checked.

    Raises:
        FileNotFoundError: the table or an image is missing.
        ValueError: a column is missing, or a row has no numbers or a box of negative size.
    """
    path = existing(root / f"{split}.csv", f"a table with {', '.join(COLUMNS)}")
    tables = {item: _rows(item) for item in (root / "train.csv", root / "val.csv") if item.is_file()}
    names = sorted({row["class"] for rows in tables.values() for row in rows if row["class"]})
    of_photo: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in enumerate(tables[path], start=2):
        of_photo.setdefault(row["path"], []).append((number, row))
    photos, outside = [], 0
    for image_id, (name, rows) in enumerate(of_photo.items(), start=1):
        photo = a_file(root / name, f"a photo of {path}, line {rows[0][0]}")
        width, height = size_in_file(photo)
        results = [
            _marked(row, width, height, f"{path}:{n}", names) for n, row in rows if width and row["class"]
        ]
        objects = tuple(item for item in results if item is not None)
        outside += len(results) - len(objects)
        photos.append(BoxedPhoto(photo, 0, objects=objects, width=width, height=height, image_id=image_id))
    categories = [Category(n, name) for n, name in enumerate(names, start=1)]
    return Found(photos, categories, left_out(path, outside))


def _rows(path: Path) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    rows: list[dict[str, str]] = []
    try:
        for number_of, row in enumerate(reader, start=2):
            _check_row(row, f"{path}:{number_of}")
            rows.append(row)
    except csv.Error as err:
        raise ValueError(f"{path} is no table with commas ({err}); write it again") from err
    return rows


def _check_row(row: dict[Any, Any], where: str) -> None:
    if None in row or None in row.values():
        raise ValueError(f"{where}: a row must have as many columns as the first line")
    if not row["path"].strip():
        raise ValueError(f"{where}: a row must name its photo in the column path")
    if not row["class"].strip() and any(row[name].strip() for name in COLUMNS[1:5]):
        raise ValueError(f"{where}: a box must have a class; leave all five empty for a photo without boxes")


def _marked(row: dict[str, str], width: int, height: int, where: str, names: list[str]) -> Marked | None:
    sides = [finite(row[name], f"{where}: {name}", -LARGEST_PX, LARGEST_PX) for name in COLUMNS[1:5]]
    box = inside(sides, width, height, where)
    return None if box is None else Marked(box, names.index(row["class"]))
