"""A network that is ready to compute: from pixels on a square to the outputs of its heads, on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.spec import ModelSpec
from apps.engine.inference.decode import Outputs
from apps.engine.inference.preprocess import read_square

IMAGE_BYTES = 24e6  # of a width of 1.0 at 224 px: its two largest maps in float32, and room for a library
SIDE = 224
MOST, LEAST = 64, 8  # more are not decoded faster: a thread reads the images of its batch
SHARE = 0.5  # of the free memory: other processes may share the card
UNKNOWN_BYTES = 2e9
NO_ROOM = ("out of memory", "failed to allocate", "bfc_arena", "cuda failure 2")
Pixels = NDArray[np.uint8]
Run = Callable[[Pixels], Outputs]


@dataclass(frozen=True)
class Engine:
    """A network with what computes it; safe to call from several threads.

    Args:
        spec: what the network says of itself.
        run: (B, ...) uint8 RGB images in the spec's layout -> the outputs of all heads, images first.
        batch: images that are best given at once.
        sizes_vary: whether images of another side than the spec's are computed, too.
        note: a line for the user where PyTorch stepped in; else empty.
    """

    spec: ModelSpec
    run: Run
    batch: int = 1
    sizes_vary: bool = False
    note: str = ""

    def photo(self, path: Path) -> Pixels:
        """(1, ...) the photo in the spec's layout.

        Raises:
            BadImageError: it cannot be read.
        """
        spec = self.spec
        return self.laid_out(read_square(path, spec.resolution, spec.crop, spec.resize)[0][None])

    def laid_out(self, images: Pixels) -> Pixels:
        """(B, R, R, 3) in the spec's layout, contiguous."""
        wanted = images if self.spec.layout == "nhwc" else images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(wanted)


def batch_for(device: str, resolution: int, *, free_bytes: float | None = None) -> int:
    """Images at once on a device: a power of two.

    Args:
        device: one of :data:`apps.engine.core.device.DEVICES`.
        resolution: side of the images, px.
        free_bytes: of the device's memory; None asks PyTorch, where that knows the device.
    """
    if free_bytes is None:
        free_bytes = _free_bytes(device)
    room = SHARE * free_bytes / (IMAGE_BYTES * (resolution / SIDE) ** 2)
    return 1 << min(max(int(room), LEAST), MOST).bit_length() - 1


def _free_bytes(device: str) -> float:
    if device == "cuda":
        try:
            import torch

            return float(torch.cuda.mem_get_info()[0])
        except (ImportError, RuntimeError, AssertionError):
            return UNKNOWN_BYTES
    return UNKNOWN_BYTES


def in_halves(run: Run) -> Run:
    """The same outputs, also where a device has no room for all images at once: then by halves."""

    def by_halves(images: Pixels) -> Outputs:
        try:
            return run(images)
        except Exception as err:  # PyTorch and the runtimes have each a kind of their own
            if len(images) < 2 or not is_out_of_memory(err):
                raise
        middle = len(images) // 2
        parts = [by_halves(np.ascontiguousarray(part)) for part in (images[:middle], images[middle:])]
        return [_joined(first, second) for first, second in zip(*parts, strict=True)]

    return by_halves


def is_out_of_memory(err: BaseException) -> bool:
    """Whether a device had no room."""
    return any(words in str(err).lower() for words in NO_ROOM)


def _joined(first: Any, second: Any) -> Any:
    """An output of two batches: an array, or a list with an array an image."""
    return np.concatenate([first, second]) if isinstance(first, np.ndarray) else [*first, *second]
