"""Photos with where they were taken: positions, and the cells that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from datasets.base import ImageDataset, Photo
from datasets.geo.positions import Floats, Ints, Positions


class GeoDataset(ImageDataset):
    """Photos with positions.

    The target of an image is ``{"cells": (P,) int64, "position": (2,) float64 degrees north and east}``, and
    ``"offset": (2,) float32`` where there are offsets.

    Args:
        positions: with paths.
        cells: (N, P) the cell of each image in each of P partitions, -1 where none holds it.
        classes: names of the cells.
        offsets: (N, 2) seen from the finest cell's representative, in radii of the cell; or None.

    Raises:
        ValueError: the positions have no paths, or the tables do not fit.
    """

    single_label: ClassVar[bool] = False

    def __init__(
        self, positions: Positions, cells: Ints, classes: Sequence[str], offsets: Floats | None = None
    ) -> None:
        if len(positions.paths) != len(positions):
            raise ValueError("the positions name no photos; expected a column path, or a folder of photos")
        if cells.shape[0] != len(positions) or (offsets is not None and offsets.shape != (len(cells), 2)):
            raise ValueError(f"expected cells and offsets of {len(positions)} photos, got {cells.shape}")
        super().__init__([Photo(Path(path), 0) for path in positions.paths], classes)
        self.positions, self.cells, self.offsets = positions, cells, offsets

    def subset(self, indices: Iterable[int]) -> Self:
        """The same cells with some of the images, in the order given."""
        rows = np.fromiter(indices, np.int64)
        part = super().subset(rows.tolist())
        part.positions, part.cells = self.positions.taken(rows), self.cells[rows]
        part.offsets = None if self.offsets is None else self.offsets[rows]
        return part

    def target(self, index: int) -> dict[str, NDArray[Any]]:
        """What is to be learned of an image, and what it is evaluated by."""
        where = np.array([self.positions.lat[index], self.positions.lon[index]])
        results: dict[str, NDArray[Any]] = {"cells": self.cells[index], "position": where}
        return (
            results if self.offsets is None else results | {"offset": self.offsets[index].astype(np.float32)}
        )
