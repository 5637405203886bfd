"""Faces with what a teacher said of each: a vector, and the person's number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from datasets.base import ImageDataset, Photo


class FaceDistillationDataset(ImageDataset):
    """Photos of faces; the target is ``{"person": number}``, and ``"vector"`` where there is a teacher.

    Args:
        photos: the images, in order; their labels are the people.
        classes: one name a person.
        vectors: (N, D), one an image in that order; None without a teacher.

    Attributes:
        mean: (D,) that was taken from the teacher's unit vectors; None where nothing was.

    Raises:
        ValueError: there is not one vector an image, or one is not finite.
    """

    single_label: ClassVar[bool] = False

    def __init__(
        self, photos: Iterable[Photo], classes: Sequence[str], vectors: NDArray[np.float32] | None
    ) -> None:
        super().__init__(photos, classes)
        self.vectors = vectors
        self.mean: NDArray[np.float32] | None = None
        if vectors is None:
            return
        if len(vectors) != len(self):
            raise ValueError(f"{len(self)} photos need as many vectors, got {len(vectors)}")
        wrong = ~np.isfinite(vectors).all(axis=1)
        if wrong.any():
            first = self.photos[int(wrong.argmax())].path
            raise ValueError(
                f"the teacher's vectors of {int(wrong.sum())} photos are not finite, first that of {first}"
            )

    def subset(self, indices: Iterable[int]) -> Self:
        """The same people with some of the images, in the order given."""
        rows = list(indices)
        part = super().subset(rows)
        part.vectors = None if self.vectors is None else self.vectors[rows]
        return part

    def target(self, index: int) -> dict[str, Any]:
        """What is to be learned of an image."""
        person = {"person": self.photos[index].label}
        return person if self.vectors is None else person | {"vector": self.vectors[index]}
