"""A face in a photo, and what finds faces; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from apps.faces.extraction.align import Array

SEARCH_PX = 1024  # longer side of the copy in which faces are looked for
LANDMARKS = 5


class DetectionError(ValueError):
    """The detector could not work on a photo."""


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    Args:
        box: (x1, y1, x2, y2) pixels of the photo, inside it.
        landmarks: (5, 2) pixels: left and right eye as seen, nose, left and right corner of the mouth;
            None where nobody looked for them.
        probability: of the detector, 0 to 1; None where it did not run.
    """

    box: tuple[float, float, float, float]
    landmarks: Array | None
    probability: float | None

    @property
    def size_px(self) -> float:
        """The shorter side of the box."""
        x1, y1, x2, y2 = self.box
        return min(x2 - x1, y2 - y1)

    def scaled(self, factor: float) -> Face:
        """The same face in a photo ``factor`` times as large."""
        x1, y1, x2, y2 = self.box
        points = None if self.landmarks is None else self.landmarks * factor
        return Face((x1 * factor, y1 * factor, x2 * factor, y2 * factor), points, self.probability)


class FaceDetector(Protocol):
    """Finds the faces of one photo after another; may be shared by threads."""

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of a photo of any mode and size, largest first.

        Raises:
            DetectionError: the network failed on this photo.
        """


def search_copy(image: Image.Image) -> tuple[Image.Image, float]:
    """The photo in RGB and no longer than :data:`SEARCH_PX`, and by how much it was shrunk."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    longer = max(rgb.size)
    if longer <= SEARCH_PX:
        return rgb, 1.0
    factor = longer / SEARCH_PX
    size = (max(1, round(rgb.width / factor)), max(1, round(rgb.height / factor)))
    return rgb.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), factor


def inside(box: Any, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box (x1, y1, x2, y2) cut to a photo of (width, height)."""
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = size
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
