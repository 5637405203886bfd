"""A list of labelled images as a dataset; every layout on disk becomes one of these."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datasets.image_io import Box, Pixels, read_image, read_pixels


@dataclass(frozen=True)
class Photo:
    """One image with the number of its class.

    Args:
        path: the file.
        label: 0 to K - 1.
        box: where the object is, (x1, y1, x2, y2) pixels of the file as stored; None if not known.
    """

    path: Path
    label: int
    box: Box | None = None


class PairTransform(Protocol):
    """An image, (H, W, 3) uint8, to (3, S, S) uint8, and its target with it."""

    def __call__(self, photo: Pixels, /) -> Tensor:
        """The image as a network sees it."""

    def both(self, pixels: Pixels, target: Any) -> tuple[Tensor, Any]:
        """The image so, and its target, with the boxes in it moved as the image is."""


class ImageDataset(Dataset[tuple[Image.Image, Any]]):
    """Photos with labels; reads them upright in RGB, resizes and normalises nothing.

    A dataset with other targets than one class an image derives from it, overrides :meth:`target` and sets
    ``single_label`` to False.

    Args:
        photos: what to read, in this order.
        classes: names, one for each label.
        min_side: pixels; JPEGs may be decoded smaller as long as their short side keeps this many.
        crop_to_box: cut images to their box; an image without one stays whole.

    Attributes:
        evaluated_together: the most images a batch in evaluation; None for any number.
        transforms: for training and for evaluation, where targets move with the image; None: the usual.
        notes: sentences on what a user should know about these images.
        fixed: images that a table of corrections moved or left out, by what it did.

    Raises:
        ValueError: a label has no class, or two classes have the same name.
    """

    single_label: ClassVar[bool] = True
    evaluated_together: ClassVar[int | None] = None
    transforms: tuple[PairTransform, PairTransform] | None = None

    def __init__(
        self,
        photos: Iterable[Photo],
        classes: Sequence[str],
        *,
        min_side: int | None = None,
        crop_to_box: bool = False,
    ) -> None:
        self.photos, self.classes = tuple(photos), tuple(classes)
        self.min_side, self.crop_to_box = min_side, crop_to_box
        self.notes: list[str] = []
        self.fixed: dict[str, int] = {}
        if len(set(self.classes)) < len(self.classes):
            twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
            raise ValueError(f"class names must differ, got {', '.join(twice)} more than once")
        for photo in self.photos:
            if not 0 <= photo.label < len(self.classes):
                last = len(self.classes) - 1
                raise ValueError(f"{photo.path} has label {photo.label}; the classes are 0 to {last}")

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        """The picture and its target.

        Raises:
            BadImageError: the image cannot be read.
        """
        path = self.photos[index].path
        return read_image(path, min_side=self.min_side, box=self.box(index)), self.target(index)

    def target(self, index: int) -> Any:
        """What is to be learned of an image: here the number of its class."""
        return self.photos[index].label

    def box(self, index: int) -> Box | None:
        """The part of an image that is read, in pixels as stored; None for the whole."""
        return self.photos[index].box if self.crop_to_box else None

    def pixels(self, index: int, data: bytes | None = None) -> Pixels:
        """The image as (H, W, 3) uint8: the same as ``self[index]``, faster.

        Args:
            index: of the image.
            data: the bytes of its file, where they are at hand.

        Raises:
            BadImageError: the image cannot be read.
        """
        path = self.photos[index].path
        return read_pixels(path, min_side=self.min_side, box=self.box(index), data=data)

    def counts(self) -> list[int]:
        """How many images each class has, in the order of ``classes``."""
        counts = [0] * len(self.classes)
        for photo in self.photos:
            counts[photo.label] += 1
        return counts

    def paths(self, indices: Iterable[int]) -> tuple[str, ...]:
        """The files of some images, in the order given."""
        return tuple(str(self.photos[index].path) for index in indices)

    def subset(self, indices: Iterable[int]) -> Self:
        """The same dataset with some of its images, in the order given."""
        part = copy.copy(self)
        part.photos = tuple(self.photos[index] for index in indices)
        part.notes = []
        return part

    def joined(self, other: Self) -> Self:
        """The images of this dataset and then of another one of the same kind and classes."""
        whole = copy.copy(self)
        whole.photos, whole.notes = (*self.photos, *other.photos), []
        return whole

    def split_off(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Train and val parts, class by class, the same at every call with the same images.

        Args:
            fraction: share of each class that goes to val, 0 to 1 exclusive; at least one image of
                a class goes to either side, and the only image of a class to train.
            seed: of the draw.

        Returns:
            (train, val); train's ``notes`` name the classes that have nothing in val.

        Raises:
            ValueError: the fraction is not between 0 and 1, or no class has two images.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
        of_class: list[list[int]] = [[] for _ in self.classes]
        for index, photo in enumerate(self.photos):
            of_class[photo.label].append(index)
        chosen: set[int] = set()
        for name, members in zip(self.classes, of_class, strict=True):
            random.Random(f"{seed} {name}").shuffle(members)
            chosen.update(members[: _share(len(members), fraction)])
        if not chosen:
            raise ValueError(f"none of {len(self.classes)} classes has two photos, so val would be empty")
        everything = range(len(self))
        train = self.subset(index for index in everything if index not in chosen)
        val = self.subset(index for index in everything if index in chosen)
        train.notes = [
            f"class {name!r} has one photo only: it is in train, none is left for val"
            for name, members in zip(self.classes, of_class, strict=True)
            if len(members) == 1
        ]
        return train, val


def _share(count: int, fraction: float) -> int:
    """Photos of a class that go to val: the rounded share, but one at least on either side."""
    return min(max(round(count * fraction), 1), count - 1) if count > 1 else 0
