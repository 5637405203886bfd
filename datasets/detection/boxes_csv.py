"""A table of boxes: SPLIT.csv with path, x1, y1, x2, y2, class; a row with a path alone is an empty image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets.detection.base import (
    Annotations,
    BoxedPhoto,
    Marked,
    existing,
    inside,
    left_out,
    names_of,
    numbered,
    size_in_file,
)
from datasets.names import NamedPhotos, missing_photos
from datasets.tables import MISSING, clean_name, read_table
from datasets.validation import LARGEST_PX, finite

COLUMNS = {
    "path": ("path", "filename", "file_name", "file", "image", "image_path", "img", "image_id", "photo"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "class": ("class", "class_name", "label", "name", "category"),
}
NAMES = ("{}.csv", "{}_labels.csv", "{}/_annotations.csv", "{}/labels.csv", "{}/annotations.csv")
WHOLE = ("labels.csv", "annotations.csv", "boxes.csv", "_annotations.csv")
SIDES = ("x1", "y1", "x2", "y2")
HALF = ("width", "height", "w", "h")
_Row = tuple[int, dict[str, str]]


def csv_splits(root: Path) -> set[str]:
    """The splits of a folder with tables of boxes; none where there are no such tables."""
    splits = {split for split in ("train", "val") if _listing(root, split)}
    return splits or ({"train"} if _whole(root) else set())


def read_boxes_csv(root: Path, split: str) -> Annotations:
    """The photos of ``SPLIT.csv``; paths are relative to its folder. Classes are those of both tables.

    Columns may be called as TensorFlow's and Roboflow's are: filename, xmin, ymin, xmax, ymax, class. A
    damaged photo has no boxes: without its size they cannot be checked.

    Raises:
        FileNotFoundError: the table, or all photos, are missing.
        ValueError: a column is missing, or a row has no numbers or a box of negative size.
    """
    path = _listing(root, split) or (_whole(root) if split == "train" else None)
    path = path or existing(root / f"{split}.csv", f"a table with {', '.join(COLUMNS)}")
    other = _listing(root, "val" if split == "train" else "train")
    tables = {item: _rows(item) for item in dict.fromkeys((path, other)) if item is not None}
    names = sorted({row["class"] for rows in tables.values() for _, row in rows if row["class"]})
    of_photo: dict[str, list[_Row]] = {}
    for number, row in tables[path]:
        of_photo.setdefault(row["path"], []).append((number, row))
    folders = (
        path.parent,
        *(place / name for place in (path.parent, root) for name in ("images", *names_of(split))),
    )
    named = NamedPhotos(*(folder for folder in dict.fromkeys((*folders, root)) if folder.is_dir()))
    photos, missing, outside = [], [], 0
    for image_id, (name, rows) in enumerate(of_photo.items(), start=1):
        photo = named.find(name)
        if photo is None:
            missing.append(f"{name} (line {rows[0][0]})")
            continue
        width, height = size_in_file(photo)
        results = [
            _marked(row, width, height, f"{path}:{n}", names) for n, row in rows if width and row["class"]
        ]
        objects = tuple(item for item in results if item is not None)
        outside += len(results) - len(objects)
        photos.append(BoxedPhoto(photo, 0, objects=objects, width=width, height=height, image_id=image_id))
    notes = missing_photos(path, missing, len(of_photo))
    return Annotations(photos, numbered(names), [*left_out(path, outside), *notes])


def _listing(root: Path, split: str) -> Path | None:
    """The table of a split."""
    places = [root / name.format(item) for item in names_of(split) for name in NAMES]
    return next((path for path in places if path.is_file()), None)


def _whole(root: Path) -> Path | None:
    """The table of a folder without splits."""
    return next((root / name for name in WHOLE if (root / name).is_file()), None)


def _pick(path: Path, heading: list[str]) -> dict[str, str]:
    plain = {name.casefold(): name for name in reversed(heading)}
    results = {
        key: next(plain[name] for name in names if name in plain)
        for key, names in COLUMNS.items()
        if any(name in plain for name in names)
    }
    missing = [name for name in COLUMNS if name not in results]
    if missing:
        halves = [name for name in HALF if name in plain]
        hint = "; corners are wanted, not a width and a height" if halves and "x2" in missing else ""
        raise ValueError(f"{path} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}{hint}")
    return results


def _rows(path: Path) -> list[_Row]:
    """(line, cells) of each row of a table."""
    table = read_table(path, _pick)
    for misfit in table.misfits:
        raise ValueError(f"{path}:{misfit.row + 1}: a row must have as many columns as the first line")
    cells = {key: table.texts(key) for key in COLUMNS}
    if table.separator != ",":  # decimal commas, as spreadsheets write them beside semicolons
        cells |= {key: [cell.replace(",", ".") for cell in cells[key]] for key in SIDES}
    rows = [
        (number + 1, dict(zip(cells, row, strict=True)))
        for number, row in zip(table.rows.tolist(), zip(*cells.values(), strict=True), strict=True)
    ]
    for number, row in rows:
        _check_row(row, f"{path}:{number}")
        row["class"] = clean_name(row["class"])
    return rows


def _check_row(row: dict[str, str], where: str) -> None:
    """Refuse a row without a photo, or with half a box; of one without a box all five cells become empty."""
    sides = [name for name in SIDES if row[name].casefold() not in MISSING]
    if not sides and row["class"].casefold() in MISSING:
        row["class"] = ""
    if not row["path"]:
        raise ValueError(f"{where}: a row must name its photo in the column path")
    if sides and not row["class"]:
        raise ValueError(f"{where}: a box must have a class; leave all five empty for a photo without boxes")


def _marked(row: dict[str, str], width: int, height: int, where: str, names: Sequence[str]) -> Marked | None:
    sides = [
        finite(row[name], f"{where}: {name}", -LARGEST_PX, LARGEST_PX) for name in SIDES
    ]
    box = inside(sides, width, height, where)
    return None if box is None else Marked(box, names.index(row["class"]))
