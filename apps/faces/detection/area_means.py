"""Means of an image over bins of pixels, exact and many at once, by sums from which all of them follow."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Sums = NDArray[np.int64]

BITS = 21  # of a colour's sum; three are kept in one number
MASK = (1 << BITS) - 1
MOST_PX = (1 << BITS) // 255  # in a bin, so that its sums fit


class Corners(NamedTuple):
    """Places in sums over an image that bins lie between, and 1 / the pixels in each; arrays of one shape."""

    top_left: Ints
    top_right: Ints
    low_left: Ints
    low_right: Ints
    share: Floats


def sums_of(pixels: NDArray[np.uint8]) -> Sums:
    """(H + 1, W + 1): of all pixels above and to the left, from which every mean follows.

    The three colours are in one number, which overflows: the sum of a bin, a difference of four, does not.
    """
    sums = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1), np.int64)
    colours = pixels[..., 2].astype(np.int64)
    for more in (1, 0):
        colours <<= BITS
        colours += pixels[..., more]
    np.cumsum(colours, axis=1, out=sums[1:, 1:])
    for above, row in pairwise(sums):
        np.add(above, row, out=row)
    return sums


def means_of(sums: Sums, corners: Corners) -> Floats:
    """(N, 3, ...) means over the bins (N, ...), 0 to 255."""
    flat = sums.ravel()
    whole = flat.take(corners.low_right)
    whole -= flat.take(corners.top_right)
    whole -= flat.take(corners.low_left)
    whole += flat.take(corners.top_left)
    means = np.empty((len(whole), 3, *whole.shape[1:]), np.float32)
    for colour in range(3):
        means[:, colour] = (whole & MASK).astype(np.int32)  # numpy is faster from these
        whole >>= BITS
    means *= corners.share[:, None]
    return means


def bins_of(start: Any, length: Any, count: int) -> tuple[Ints, Ints]:
    """Where each of ``count`` bins over ``length`` places begins and ends; neighbours may share a place."""
    places = np.arange(count)
    return start + places * length // count, start - (-(places + 1) * length // count)


def corners_of(rows: tuple[Ints, Ints], columns: tuple[Ints, Ints], width: int) -> Corners:
    """Of bins (..., rows, columns) in sums that are ``width`` wide.

    Raises:
        ValueError: a bin is too large for its sums.
    """
    top, low = (part[..., :, None] for part in rows)
    left, right = (part[..., None, :] for part in columns)
    high, wide = low - top, right - left
    most = int(high.max(initial=0)) * int(wide.max(initial=0))
    if most > MOST_PX:
        raise ValueError(f"faces are looked for on smaller images: {most} px came into one")
    top, low = top * width, low * width
    share = np.float32(1) / (high.astype(np.float32) * wide.astype(np.float32))
    return Corners(top + left, top + right, low + left, low + right, share)
