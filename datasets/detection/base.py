"""Photos with boxes: the dataset, and the rules that hold for every layout on disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.base import ImageDataset, Photo
from datasets.detection.faults import Tally, tally_now
from datasets.image_io import SIDEWAYS, BadImageError, image_size, stored_size

BoxTarget = tuple[
    NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]
]
Corners = tuple[float, float, float, float]
LARGEST_SIDE = 1_000_000  # px
BACK = {6: 8, 8: 6}  # the orientation that undoes another; each other one undoes itself


@dataclass(frozen=True)
class Marked:
    """One marked object.

    Args:
        box: (x1, y1, x2, y2) pixels of the image as shown, upright.
        label: 0 to K - 1.
        ignored: a crowd or a difficult object: neither learned nor counted as missed.
        area: of the object in square pixels; None takes the box's.
    """

    box: Corners
    label: int
    ignored: bool = False
    area: float | None = None


@dataclass(frozen=True)
class BoxedPhoto(Photo):
    """An image with its objects.

    Args:
        objects: marked on it, in pixels of the image as shown.
        width, height: as annotated, of the image as shown; 0 where only a damaged file could say it.
        image_id: its number in COCO files.
        turn: EXIF's orientation where the annotations are of the pixels as stored, else 1.
    """

    objects: tuple[Marked, ...] = ()
    width: int = 0
    height: int = 0
    image_id: int = 0
    turn: int = 1


@dataclass(frozen=True)
class Category:
    """A class as COCO files number it."""

    number: int
    name: str


@dataclass
class Annotations:
    """What a reader found in a layout.

    Args:
        photos: those that are there.
        categories: the classes.
        notes: sentences on what a user should know.
        missing: numbers, in COCO files, of the photos that are named and not there.
        tally: what was odd about the boxes.
    """

    photos: list[BoxedPhoto]
    categories: list[Category]
    notes: list[str] = field(default_factory=list)
    missing: frozenset[int] = frozenset()
    tally: Tally = field(default_factory=Tally)


class DetectionDataset(ImageDataset):
    """Photos with any number of boxes; a target is (boxes, labels, ignored, (width, height), areas).

    Args:
        found: what a reader found.
        classes: names in the order that labels are to have; None for the reader's.

    Attributes:
        missing: numbers of the photos that the annotations name and that are not there.
        tally: what was odd about the boxes.
        transforms: the application's (training, judging) transforms of photo and target together.

    Raises:
        ValueError: there is no box in the whole set, or a box is of a class that is not in ``classes``.
    """

    single_label: ClassVar[bool] = False
    evaluated_together: ClassVar[int | None] = 8  # photos: 300 regions of each are in memory at once

    def __init__(self, result: Annotations, classes: Sequence[str] | None = None) -> None:
        names = [category.name for category in result.categories]
        order = list(classes) if classes is not None else names
        photos = (
            [relabelled(image, names, order) for image in result.photos] if order != names else result.photos
        )
        if not any(photo.objects for photo in photos):
            why = f" ({'; '.join(result.notes)})" if result.notes else ""
            raise ValueError(f"none of the {len(photos)} photos has a box{why}; give a set with annotations")
        super().__init__(photos, order)
        self.categories, self.notes = tuple(result.categories), list(result.notes)
        self.missing, self.tally = result.missing, result.tally
        self.transforms: Any = None

    def target(self, index: int) -> BoxTarget:
        """Boxes (N, 4), labels, ignored (0 or 1), the image's size, areas."""
        photo: Any = self.photos[index]
        objects = photo.objects
        areas = [item.area if item.area is not None else area_of(item.box) for item in objects]
        return (
            np.asarray([item.box for item in objects], np.float32).reshape(-1, 4),
            np.asarray([item.label for item in objects], np.int64),
            np.asarray([item.ignored for item in objects], np.int64),
            np.asarray([photo.width, photo.height], np.float32),
            np.asarray(areas, np.float64),
        )


def area_of(box: Corners) -> float:
    """Square pixels of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def relabelled(photo: BoxedPhoto, names: Sequence[str], order: Sequence[str]) -> BoxedPhoto:
    """The image with its labels in another order of the classes.

    Raises:
        ValueError: a class is not in the order.
    """
    objects = []
    for item in photo.objects:
        if names[item.label] not in order:
            raise ValueError(
                f"{photo.path} has a box of class {names[item.label]!r}, which the model does not know; "
                f"it knows {', '.join(order[:5])}{', ...' if len(order) > 5 else ''}"
            )
        objects.append(Marked(item.box, order.index(names[item.label]), item.ignored, item.area))
    return replace(photo, objects=tuple(objects))


def inside(
    box: Sequence[float], width: float, height: float, where: str
) -> Corners | None:
    """A box (x1, y1, x2, y2) cut to its image; None where nothing is left of it.

    Raises:
        ValueError: a number is not finite, or a side is negative.
    """
    x1, y1, x2, y2 = box
    tally, known = tally_now(), all(map(math.isfinite, box))
    if known and (x2 < x1 or y2 < y1) and tally.lenient:
        tally.add_swapped((x1, y1, x2, y2), where)
        x1, x2, y1, y2 = *sorted((x1, x2)), *sorted((y1, y2))
    elif known and x2 >= x1 and y2 >= y1:
        tally.add((x1, y1, x2, y2), width, height, where)
    if not known or x2 < x1 or y2 < y1:
        raise ValueError(
            f"{where}: a box has a width and a height of 0 or more, got {x2 - x1:g} x {y2 - y1:g}; "
            f"mend the file"
        )
    x1, x2 = max(x1, 0.0), min(x2, float(width))
    y1, y2 = max(y1, 0.0), min(y2, float(height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def existing(path: Path, what: str) -> Path:
    """A path that is there.

    Raises:
        FileNotFoundError: it is not.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {what}")
    return path


def a_file(path: Path, what: str) -> Path:
    """A file that is there.

    Raises:
        FileNotFoundError: it is not, or it is a folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{' '.join(str(path).split())} is missing: {what}")
    return path


def size_in_file(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of an image as shown; (0, 0) of a damaged one, which the loader will name."""
    try:
        return image_size(path)
    except BadImageError:
        return 0, 0


def names_of(split: str) -> tuple[str, ...]:
    """What a split may be called in a layout, the first that is there counts."""
    names = {"val": ("val", "valid", "validation", "test"), "train": ("train", "trainval")}
    return names.get(split, (split,))


def numbered(names: Sequence[str]) -> list[Category]:
    """Classes of a layout without numbers of its own: from 1, in this order."""
    return [Category(n, name) for n, name in enumerate(names, start=1)]


def left_out(path: Path, outside: int) -> list[str]:
    """A sentence on boxes of a file that nothing is left of, if there are any."""
    if not outside:
        return []
    return [f"{path}: {outside} boxes lie outside their photo or have no area, and are left out"]


def same_names(names: Sequence[str], where: Path) -> list[str]:
    """A sentence on classes that a list has several times, which are one, if there are any."""
    twice = list(dict.fromkeys(name for n, name in enumerate(names) if name in names[:n]))
    if not twice:
        return []
    return [f"{where}: classes of one name are one class: {', '.join(map(repr, twice[:5]))}"]


def as_shown(photo: BoxedPhoto) -> BoxedPhoto:
    """The image with its boxes turned upright, where its annotated size is that of the pixels as stored.

    Images are read upright. Only sizes can tell what an annotation means, so only those that EXIF lays on
    their side, and that are no squares, are looked at; all others are taken to be annotated as shown.
    """
    try:
        width, height, turn = stored_size(photo.path)
    except BadImageError:  # reported by whoever reads the pixels
        return photo
    shown = (height, width) if turn in SIDEWAYS else (width, height)
    if (photo.width, photo.height) not in ((width, height), shown):
        sizes = f"annotated as {photo.width} x {photo.height} pixels, it has {shown[0]} x {shown[1]}"
        tally_now().other_size.append(f"{photo.path}: {sizes}")
    if turn not in SIDEWAYS or width == height or (photo.width, photo.height) != (width, height):
        return photo
    objects = tuple(replace(item, box=turned(item.box, turn, width, height)) for item in photo.objects)
    return replace(photo, objects=objects, width=height, height=width, turn=turn)


def turned(box: Corners, turn: int, width: float, height: float) -> Corners:
    """A box of the pixels as stored on the image as shown.

    Args:
        box: (x1, y1, x2, y2) pixels.
        turn: EXIF's orientation: 5 to 8, which change width and height; every other leaves the box.
        width, height: as stored.
    """
    if turn not in SIDEWAYS:
        return box
    y1, x1, y2, x2 = box
    if turn in (6, 7):
        x1, x2 = height - x2, height - x1
    if turn in (7, 8):
        y1, y2 = width - y2, width - y1
    return x1, y1, x2, y2


def turned_back(box: Corners, photo: BoxedPhoto) -> Corners:
    """A box of the image as shown where the annotations have it."""
    return turned(box, BACK.get(photo.turn, photo.turn), photo.width, photo.height)
