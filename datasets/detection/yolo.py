"""YOLO's layout: images/SPLIT/*, labels/SPLIT/*.txt, classes.txt."""

from __future__ import annotations

from pathlib import Path

from datasets.detection.base import (
    BoxedPhoto,
    Category,
    Found,
    Marked,
    existing,
    inside,
    left_out,
    size_in_file,
)
from datasets.image_io import find_images
from datasets.validation import read_text

MOST = 2.0  # of a share: boxes may hang out of their image a little


def is_yolo(root: Path) -> bool:
    """Whether the folder has YOLO's ``images/``, ``labels/`` and ``classes.txt``."""
    return (root / "labels").is_dir() and (root / "images").is_dir()


def read_yolo(root: Path, split: str) -> Found:
    """The images of ``images/SPLIT``; one without a text file has no boxes, nor has a damaged image.

    Raises:
        FileNotFoundError: ``classes.txt`` or the folder is missing.
        ValueError: a line is not ``class x y width height``, or its class is not listed.
    """
    listing = existing(root / "classes.txt", "the names of the classes, one a line")
    names = [line.strip() for line in read_text(listing).splitlines() if line.strip()]
    folder = existing(root / "images" / split, "the photos of the split")
    photos, notes = [], []
    for number, path in enumerate(find_images([folder]), start=1):
        width, height = size_in_file(path)
        labels = root / "labels" / split / path.relative_to(folder).with_suffix(".txt")
        lines = read_text(labels).splitlines() if labels.is_file() else []
        results = [
            _marked(line, width, height, f"{labels}:{n}", names)
            for n, line in enumerate(lines, start=1) if width and line.strip()
        ]
        objects = tuple(item for item in results if item is not None)
        notes += left_out(labels, len(results) - len(objects))
        photos.append(BoxedPhoto(path, 0, objects=objects, width=width, height=height, image_id=number))
    return Found(photos, [Category(n, name) for n, name in enumerate(names, start=1)], notes)


def _marked(line: str, width: int, height: int, where: str, names: list[str]) -> Marked | None:
    try:
        label, x, y, w, h = (kind(part) for kind, part in zip((int, *[float] * 4), line.split(), strict=True))
    except ValueError as err:
        raise ValueError(f"{where}: a line is `class x y width height`, got {line.strip()!r}") from err
    if not 0 <= label < len(names):
        raise ValueError(f"{where}: class {label} is not in classes.txt, which lists {len(names)}")
    if max(map(abs, (x, y, w, h))) > MOST:
        raise ValueError(f"{where}: x, y, width and height are shares of the photo, not pixels, got {line!r}")
    sides = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    box = inside(sides, width, height, where)
    return None if box is None else Marked(box, int(label))
