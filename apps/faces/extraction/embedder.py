"""What turns face crops into unit vectors, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbone.schema import LARGEST_PX, TEXT, Rule, checked, number

BATCH = 32  # crops that PyTorch sees at once
Align = Literal["five-point", "none"]
ALIGNMENTS: tuple[Align, ...] = get_args(Align)
Vectors = NDArray[np.float32]
_PERHAPS = Rule(lambda value: value is None or isinstance(value, str), "a text, or null")
MODEL = {
    "fingerprint": TEXT, "name": TEXT, "dim": number(1, 65_536, whole=True),
    "resolution": number(16, LARGEST_PX, whole=True), "weights": _PERHAPS, "checkpoint": _PERHAPS,
}


@dataclass(frozen=True)
class ModelInfo:
    """Which network made a table of vectors; it travels with the table.

    Args:
        fingerprint: 16 hex digits over the network's numbers and what it expects of its input; vectors
            can be compared only where it is the same.
        name: of the weights.
        dim: length of the vectors.
        resolution: side of the crops in pixels.
        weights: what ``--weights`` was, a path or a name; None for a run.
        checkpoint: the run's folder; None for weights.
    """

    fingerprint: str
    name: str
    dim: int
    resolution: int
    weights: str | None = None
    checkpoint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelInfo:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a value is of another type, out of bounds, or not known.
        """
        return cls(**checked(values, MODEL, "its model", needed=("fingerprint", "name", "dim", "resolution")))


class FaceModel(Protocol):
    """Crops to unit vectors, whatever computes them."""

    @property
    def info(self) -> ModelInfo:
        """What it is."""

    def vectors(self, crops: Sequence[Image.Image]) -> Vectors:
        """(N, D) unit vectors of RGB crops that have the side ``info.resolution``."""


def lasting(spec: str) -> str:
    """A path that holds from any folder; a name as it is."""
    return str(Path(spec).absolute()) if Path(spec).exists() else spec
