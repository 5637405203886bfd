"""A network that is ready to compute: from pixels on a square to the outputs of its heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.spec import ModelSpec
from apps.engine.inference.decode import Outputs
from apps.engine.inference.preprocess import read_square

Pixels = NDArray[np.uint8]


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
    run: Callable[[Pixels], Outputs]
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
