"""Photos with many attributes each, of which some may be unknown."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from datasets.base import ImageDataset, Photo

Values = NDArray[np.float32]


class MultiLabelDataset(ImageDataset):
    """Photos, a row of values each.

    Args:
        paths: the files.
        names: of the attributes, the columns.
        values: (images, names): probabilities or 0 and 1; NaN is unknown.
        people: who is on each image, so that nobody is in two splits; None where that is not known.
        columns: (images, D) what is learned, where that is more than ``values``; by default these.

    Raises:
        ValueError: the sizes differ, or a name comes twice.
    """

    single_label: ClassVar[bool] = False

    def __init__(
        self, paths: Sequence[Path], names: Sequence[str], values: Values, *,
        people: Sequence[str] | None = None, columns: Values | None = None,
    ) -> None:
        super().__init__([Photo(path, 0) for path in paths], names)
        self.values = np.asarray(values, np.float32)
        self.columns = self.values if columns is None else np.asarray(columns, np.float32)
        self.people = None if people is None else tuple(people)
        if self.values.shape != (len(self.photos), len(self.classes)):
            raise ValueError(
                f"{len(self.photos)} photos with {len(self.classes)} attributes need as many values, "
                f"got an array {self.values.shape}"
            )

    def target(self, index: int) -> Any:
        """What is to be learned of an image: a row of float32, NaN where nothing is known."""
        return self.columns[index]

    @property
    def owners(self) -> dict[str, str]:
        """The person on each image, by its path; empty where that is not known."""
        return {
            str(photo.path): person for photo, person in zip(self.photos, self.people or (), strict=False)
        }

    def subset(self, indices: Iterable[int]) -> Self:
        """The same attributes of some of the images, in the order given."""
        rows = list(indices)
        part = super().subset(rows)
        part.values, part.columns = self.values[rows], self.columns[rows]
        part.people = None if self.people is None else tuple(self.people[row] for row in rows)
        return part

    def joined(self, other: Self) -> Self:
        """The images of this dataset and then of another one with the same attributes."""
        whole = super().joined(other)
        whole.values = np.concatenate([self.values, other.values])
        whole.columns = np.concatenate([self.columns, other.columns])
        known = self.people is not None and other.people is not None
        whole.people = (*(self.people or ()), *(other.people or ())) if known else None
        return whole

    def learning(self, columns: Values) -> Self:
        """The same images with something else to be learned of each."""
        part = self.subset(range(len(self)))
        part.columns, part.notes = np.asarray(columns, np.float32), list(self.notes)
        return part

    def split_by_people(self, share: float, seed: int) -> tuple[Self, Self]:
        """Train and val parts with nobody in both; image by image where nobody is known.

        Args:
            share: of the people that goes to val, 0 to 1 exclusive.
            seed: of the draw.

        Raises:
            ValueError: there are fewer than two people, or images.
        """
        owners = self.people or tuple(str(photo.path) for photo in self.photos)
        people = sorted(set(owners))
        if len(people) < 2:
            what = "person" if self.people else "photo"
            raise ValueError(f"{len(people)} {what} cannot be split into train and val; give 2 or more")
        random.Random(f"{seed} attributes").shuffle(people)
        held = set(people[: min(max(round(len(people) * share), 1), len(people) - 1)])
        train = self.subset(n for n, owner in enumerate(owners) if owner not in held)
        val = self.subset(n for n, owner in enumerate(owners) if owner in held)
        train.notes = list(self.notes)
        return train, val
