"""YOLO's files: images/SPLIT/* and labels/SPLIT/*.txt with classes.txt, data.yaml or obj.data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.detection.base import (
    Annotations,
    BoxedPhoto,
    Marked,
    existing,
    inside,
    left_out,
    numbered,
    same_names,
    size_in_file,
)
from datasets.detection.faults import tally_now
from datasets.detection.yolo_files import LISTS, YoloFiles, yolo_files
from datasets.folders import find_images
from datasets.names import NamedPhotos, missing_photos
from datasets.validation import read_text

MOST = 2.0  # of a share: boxes may hang out of their photo a little
BESIDE = (".txt", ".cache", ".xml", ".json")
LINE = "class x y width height"
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


def yolo_splits(root: Path) -> set[str]:
    """The splits of a folder with YOLO's labels; none where there are no such labels."""
    files = yolo_files(root)
    return set() if files is None else set(files.splits)


def read_yolo(root: Path, split: str) -> Annotations:
    """The photos of a split; one without a text file has no boxes, nor has a damaged photo.

    A line is ``class x y width height`` in shares of the photo; a confidence and the number of a track, which
    trackers add, are not read.
    Of ``class x1 y1 x2 y2 x3 y3 ...``, a polygon, the box around it is taken.

    Raises:
        FileNotFoundError: the names of the classes, the folder, or all photos of a list are missing.
        ValueError: a line is of another form, or its class is not listed.
    """
    files = yolo_files(root)
    if files is None or split not in files.splits:
        existing(root / "images" / split, "the photos of the split")
        raise FileNotFoundError(
            f"{root} has no split {split}; it has {', '.join(files.splits if files else ())}"
        )
    photos, outside = [], dict[Path, int]()
    names = list(dict.fromkeys(files.names))
    paths, missing = _photos(files, split)
    used = set()
    for number, path in enumerate(paths, start=1):
        width, height = size_in_file(path)
        labels = files.labels_of(path)
        used.add(labels)
        if not labels.is_file():
            tally_now().unlabelled.append(path)
        lines = read_text(labels).splitlines() if labels.is_file() else []
        results = [
            _marked(line, (width, height), f"{labels}:{n}", files, names)
            for n, line in enumerate(lines, start=1)
            if width and line.strip()
        ]
        objects = tuple(item for item in results if item is not None)
        outside |= {labels: cut} if (cut := len(results) - len(objects)) else {}
        photos.append(BoxedPhoto(path, 0, objects=objects, width=width, height=height, image_id=number))
    _tell_unused(files, split, used)
    notes = [*files.notes, *same_names(files.names, files.listing), *missing, *_left_out(outside)]
    return Annotations(photos, numbered(names), notes)


def _left_out(outside: dict[Path, int]) -> list[str]:
    """A sentence on boxes that nothing is left of, by their file."""
    if len(outside) < 2:
        return [note for path, count in outside.items() for note in left_out(path, count)]
    note = " in several files lie outside their photos or have no area, and are left out: "
    some = ", ".join(map(str, list(outside)[:3])) + (", ..." if len(outside) > 3 else "")
    return [f"{sum(outside.values())} boxes{note}{some}"]


def _tell_unused(files: YoloFiles, split: str, used: set[Path]) -> None:
    """Note the files of labels, in the folders of those of a split, that no photo belongs to."""
    lists = {files.listing, *(place for places in files.splits.values() for place in places)}
    every = {path for folder in {path.parent for path in used} for path in folder.glob("*.[tT][xX][tT]")}
    unused = sorted(path for path in every - used - lists if path.name not in LISTS)
    rest = [name for name in files.splits if name != split] if unused else []
    others = {name for part in rest for path in _photos(files, part)[0] for name in (path.stem, path.name)}
    tally_now().labels_only += [path for path in unused if path.stem not in others]


def _photos(files: YoloFiles, split: str) -> tuple[list[Path], list[str]]:
    """The photos of a split's folders and lists, each once, and a sentence on those that are missing."""
    results: dict[Path, None] = {}
    notes: list[str] = []
    for place in files.splits[split]:
        if place.is_dir():
            results |= dict.fromkeys(find_images([place], beside=BESIDE))
            continue
        names = [line.strip() for line in read_text(place).splitlines() if line.strip()]
        named = NamedPhotos(place.parent, files.root)
        paths = [named.find(name) for name in names]
        results |= dict.fromkeys(path for path in paths if path is not None)
        lost = [name for name, path in zip(names, paths, strict=True) if path is None]
        notes += missing_photos(place, lost, len(names))
    return list(results), notes


def _marked(
    line: str, size: tuple[int, int], where: str, files: YoloFiles, names: Sequence[str]
) -> Marked | None:
    label, numbers = _numbers(line, where, files.points)
    if not 0 <= label < len(files.names):
        raise ValueError(
            f"{where}: class {label:g} is not in {files.listing.name}, which lists {len(files.names)}"
        )
    if max(map(abs, numbers)) > MOST:
        raise ValueError(f"{where}: x, y, width and height are shares of the photo, not pixels, got {line!r}")
    box = inside(_sides(numbers, size, files.points), *size, where)
    return None if box is None else Marked(box, names.index(files.names[int(label)]))


def _numbers(line: str, where: str, points: int) -> tuple[float, list[float]]:
    """The class, which some write as ``0.0``, and the other numbers."""
    refusal = f"{where}: a line is `{LINE}`, or a class and the points of a polygon, got {line.strip()!r}"
    words = line.split()
    if len(words) > 4 and any(map(_DECIMAL_COMMA.fullmatch, words)):
        raise ValueError(f"{where}: numbers have decimal commas; write points, got {line.strip()!r}")
    try:
        label, *numbers = map(float, line.replace(",", " ").split())
    except ValueError as err:
        raise ValueError(refusal) from err
    if len(numbers) in (5, 6) and not points and numbers[-1].is_integer() and numbers[-1] > 1:
        del numbers[4:]  # a track's number, after the confidence where there is one
    polygon = len(numbers) >= 6 and (points or len(numbers) % 2 == 0)
    if not label.is_integer() or not (len(numbers) in (4, 5) or polygon):
        raise ValueError(refusal)
    return label, numbers


def _sides(numbers: Sequence[float], size: tuple[int, int], points: int) -> tuple[float, ...]:
    """(x1, y1, x2, y2) in pixels."""
    width, height = size
    if len(numbers) in (4, 5) or points:
        x, y, w, h = numbers[:4]
        return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
    corners = np.reshape(numbers, (-1, 2)) * size
    return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
