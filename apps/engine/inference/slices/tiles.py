"""Where the tiles of a photo lie: overlapping squares, such of twice their side, ..., and the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

Tile = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the photo
OVERLAP = 0.25  # of the side of a tile: what is smaller lies whole in one of two neighbours
LEAST_RATIO = 1.5  # of a photo's longer side to a tile's, or the tile shows what the whole photo shows
LEAST_PX, LARGEST_PX = 32, 100_000


@dataclass(frozen=True)
class Slices:
    """That a detector looks at tiles of a photo, too.

    Args:
        side: of the smallest tiles, 32 pixels or more; None for the detector's own resolution, so that
            nothing is made smaller.

    Raises:
        ValueError: the side is out of bounds.
    """

    side: int | None = None

    def __post_init__(self) -> None:
        if self.side is not None and not LEAST_PX <= self.side <= LARGEST_PX:
            raise ValueError(f"--slice-size must be {LEAST_PX} to {LARGEST_PX} pixels, got {self.side}")


def tiles(width: int, height: int, side: int) -> Iterator[Tile]:
    """The tiles of a photo, the smallest first, and the whole photo at last.

    An object of any size lies whole in a tile of which it takes a fair part: it is in one of the smallest
    where it is no larger than their overlap, in one of those of twice their side up to twice that, ...

    Args:
        width, height: of the photo in pixels.
        side: of the smallest tiles in pixels.
    """
    while max(width, height) >= LEAST_RATIO * side:
        for top in starts(height, side):
            for left in starts(width, side):
                yield left, top, min(left + side, width), min(top + side, height)
        side *= 2
    yield 0, 0, width, height


def starts(length: int, side: int) -> list[int]:
    """Where tiles begin along a length, spread evenly, each with :data:`OVERLAP` of its side or more."""
    count = max(1, math.ceil((length - OVERLAP * side) / ((1 - OVERLAP) * side)))
    return [round(n * (length - side) / (count - 1)) for n in range(count)] if count > 1 else [0]
