"""Colours of photos, changed in whole numbers: the compiled way where it is, else none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from backbone._cpu import kernels

UNIT = 1024  # numbers are in 1 / 1024


def usable(image: Tensor) -> bool:
    """Whether a picture (3, H, W) can be worked on: bytes whose channels lie together, and kernels."""
    return (
        image.dtype == torch.uint8 and image.device.type == "cpu" and image.numel() > 0
        and image.permute(1, 2, 0).is_contiguous() and kernels.library() is not None
    )


def channel_sums(image: Tensor) -> list[int]:
    """The sum of each channel of a picture for which :func:`usable` holds.

    Shape:
        image: (3, H, W) uint8.
    """
    sums = torch.empty(3, dtype=torch.int64)
    kernels.call("colour_sums", image.dtype, image, sums, image[0].numel())
    result: list[int] = sums.tolist()
    return result


def mixed(image: Tensor, matrix: Sequence[Sequence[int]], shift: int) -> Tensor:
    """``matrix`` times each pixel plus ``shift``, cut to a byte: downwards, and to 0 to 255.

    Args:
        image: (3, H, W) uint8 for which :func:`usable` holds; it stays as it is.
        matrix: three rows of three numbers in 1 / 1024, each below 2^20 in size.
        shift: in 1 / 1024, below 2^30 in size.

    Shape:
        returns: (3, H, W) uint8, with channels that lie together.
    """
    out = torch.empty_like(image)
    kernels.call(
        "colour_mix", image.dtype, image, out, torch.tensor(matrix, dtype=torch.int32),
        torch.full((3,), shift, dtype=torch.int32), image[0].numel(),
    )
    return out
