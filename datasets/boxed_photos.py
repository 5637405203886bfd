"""Photos with boxes: the dataset, and the rules that hold for every layout on disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.photos import LabelledPhotos, Photo

BoxTarget = tuple[
    NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]
]


@dataclass(frozen=True)
class Marked:
    """One marked object.

    Args:
        box: (x1, y1, x2, y2) pixels of the photo as stored.
        label: 0 to K - 1.
        ignored: a crowd or a difficult object: neither learned nor counted as missed.
        area: of the object in square pixels; None takes the box's.
    """

    box: tuple[float, float, float, float]
    label: int
    ignored: bool = False
    area: float | None = None


@dataclass(frozen=True)
class BoxedPhoto(Photo):
    """A photo, its objects, its size as annotated, and its number in COCO files."""

    objects: tuple[Marked, ...] = ()
    width: int = 0
    height: int = 0
    image_id: int = 0


@dataclass(frozen=True)
class Category:
    """A class as COCO files number it."""

    number: int
    name: str


@dataclass
class Found:
    """What a reader found in a layout."""

    photos: list[BoxedPhoto]
    categories: list[Category]
    notes: list[str] = field(default_factory=list)


class BoxedPhotos(LabelledPhotos):
    """Photos with any number of boxes; a target is (boxes, labels, ignored, (width, height), areas).

    Args:
        found: what a reader found.
        classes: names in the order that labels are to have; None for the reader's.

    Attributes:
        transforms: the application's (training, judging) transforms of photo and target together.

    Raises:
        ValueError: there is no box in the whole set, or a box is of a class that is not in ``classes``.
    """

    one_class: ClassVar[bool] = False
    judged_together: ClassVar[int] = 8  # photos: 300 regions of each are in memory at once

    def __init__(self, found: Found, classes: Sequence[str] | None = None) -> None:
        names = [one.name for one in found.categories]
        order = list(classes) if classes is not None else names
        photos = [relabelled(one, names, order) for one in found.photos] if order != names else found.photos
        super().__init__(photos, order)
        self.categories, self.notes = tuple(found.categories), list(found.notes)
        self.transforms: Any = None
        if not any(photo.objects for photo in photos):
            raise ValueError(f"none of the {len(photos)} photos has a box; give a set with annotations")

    def target(self, index: int) -> BoxTarget:
        """Boxes (N, 4), labels, ignored (0 or 1), the photo's size, areas."""
        photo: Any = self.photos[index]
        objects = photo.objects
        areas = [one.area if one.area is not None else area_of(one.box) for one in objects]
        return (
            np.asarray([one.box for one in objects], np.float32).reshape(-1, 4),
            np.asarray([one.label for one in objects], np.int64),
            np.asarray([one.ignored for one in objects], np.int64),
            np.asarray([photo.width, photo.height], np.float32),
            np.asarray(areas, np.float64),
        )


def area_of(box: tuple[float, float, float, float]) -> float:
    """Square pixels of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def relabelled(photo: BoxedPhoto, names: Sequence[str], order: Sequence[str]) -> BoxedPhoto:
    """The photo with its labels in another order of the classes.

    Raises:
        ValueError: a class is not in the order.
    """
    objects = []
    for one in photo.objects:
        if names[one.label] not in order:
            raise ValueError(
                f"{photo.path} has a box of class {names[one.label]!r}, which the model does not know; "
                f"it knows {', '.join(order[:5])}{', ...' if len(order) > 5 else ''}"
            )
        objects.append(Marked(one.box, order.index(names[one.label]), one.ignored, one.area))
    return BoxedPhoto(
        photo.path, 0, objects=tuple(objects), width=photo.width, height=photo.height, image_id=photo.image_id
    )


def inside(
    box: Sequence[float], width: float, height: float, where: str
) -> tuple[float, float, float, float] | None:
    """A box (x1, y1, x2, y2) cut to its photo; None where nothing is left of it.

    Raises:
        ValueError: a number is not finite, or a side is negative.
    """
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)) or x2 < x1 or y2 < y1:
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
