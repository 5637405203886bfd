"""A table of boxes: SPLIT.csv with path, x1, y1, x2, y2, class; a row with a path alone is an empty photo."""

from __future__ import annotations

import csv
from pathlib import Path

from datasets.boxed_photos import BoxedPhoto, Category, Found, Marked, existing, inside
from datasets.images import photo_size

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")


def is_boxes_csv(root: Path) -> bool:
    """Whether the folder has ``train.csv`` or ``val.csv``."""
    return (root / "train.csv").is_file() or (root / "val.csv").is_file()


def read_boxes_csv(root: Path, split: str) -> Found:
    """The photos of ``SPLIT.csv``; paths are relative to the folder. Classes are those of both tables.

    Raises:
        FileNotFoundError: the table or a photo is missing.
        ValueError: a column is missing, or a row has no numbers or a box of negative size.
    """
    path = existing(root / f"{split}.csv", f"a table with {', '.join(COLUMNS)}")
    tables = {one: _rows(one) for one in (root / "train.csv", root / "val.csv") if one.is_file()}
    names = sorted({row["class"] for rows in tables.values() for row in rows if row["class"]})
    of_photo: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in enumerate(tables[path], start=2):
        of_photo.setdefault(row["path"], []).append((number, row))
    photos = []
    for image_id, (name, rows) in enumerate(of_photo.items(), start=1):
        photo = existing(root / name, f"a photo of {path}")
        width, height = photo_size(photo)
        told = [_marked(row, width, height, f"{path}:{n}", names) for n, row in rows if row["class"]]
        objects = tuple(one for one in told if one is not None)
        photos.append(BoxedPhoto(photo, 0, objects=objects, width=width, height=height, image_id=image_id))
    return Found(photos, [Category(n, name) for n, name in enumerate(names, start=1)])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
        return list(reader)


def _marked(row: dict[str, str], width: int, height: int, where: str, names: list[str]) -> Marked | None:
    try:
        sides = [float(row[name]) for name in COLUMNS[1:5]]
    except (TypeError, ValueError) as err:
        raise ValueError(f"{where}: x1, y1, x2 and y2 must be numbers of pixels") from err
    box = inside(sides, width, height, where)
    return None if box is None else Marked(box, names.index(row["class"]))
