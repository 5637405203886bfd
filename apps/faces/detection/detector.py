"""Finding faces on a photo of any mode and size, largest first; without torch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.core.device import AS_USUAL, Compute
from apps.faces.detection.mtcnn import LANDMARKS, Faces
from apps.faces.detection.networks import load_cascade
from apps.faces.extraction.align import Array

SEARCH_PX = 1024  # longer side of the copy in which faces are looked for
MIN_FACE_PX = 40  # in that copy: 4 % of a large photo's longer side
LEAST_PX = 20  # the network's own limit: no face is smaller
MIN_PROBABILITY = 0.9

# (H, W, 3) uint8 RGB and the shorter side of the smallest face, in pixels, to the faces
Finder = Callable[[NDArray[np.uint8], int], Faces]


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


class Detector:
    """Faces of one photo after another; may be shared by threads.

    Args:
        min_face_px: shorter side of the smallest face looked for, in a copy of the photo of which the
            longer side is 1024 px at most; 20 or more.
        min_probability: faces that the detector is less sure of are left out, 0 to 1.
        finder: finds them on an image; None takes facenet-pytorch's MTCNN, loaded with the first photo.
        compute: by what, and where, MTCNN is computed.

    Raises:
        ValueError: a limit is out of range.
    """

    def __init__(
        self, *, min_face_px: int = MIN_FACE_PX, min_probability: float = MIN_PROBABILITY,
        finder: Finder | None = None, compute: Compute = AS_USUAL,
    ) -> None:
        if min_face_px < LEAST_PX:
            raise ValueError(f"faces of {LEAST_PX} px or more can be found, got {min_face_px}")
        if not 0 <= min_probability <= 1:
            raise ValueError(f"the least probability must be 0 to 1, got {min_probability}")
        self.min_face_px, self.min_probability = min_face_px, min_probability
        self._finder, self._compute = finder, compute
        self._lock = threading.Lock()

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of a photo, largest first; none where it is smaller than a face can be.

        Args:
            image: of any mode and any size.

        Raises:
            DetectionError: the network failed on this photo.
            ImportError: ONNX Runtime or facenet-pytorch is not installed.
        """
        small, factor = _search_copy(image)
        least = min(self.min_face_px, *small.size)
        if least < LEAST_PX:
            return []
        finder = self.load()
        try:
            boxes, scores, points = finder(np.asarray(small), least)
        except (RuntimeError, IndexError, ValueError) as err:
            raise DetectionError(f"the face detector failed on this photo ({type(err).__name__})") from err
        faces = [
            Face(_inside(box, small.size), place.astype(np.float64), float(probability)).scaled(factor)
            for box, place, probability in zip(boxes, points, scores, strict=True)
            if probability >= self.min_probability and _usable(box, place, small.size)
        ]
        return sorted(faces, key=lambda face: (-face.size_px, face.box))

    def load(self) -> Finder:
        """The finder; one thread loads it.

        Raises:
            ImportError: as of :meth:`detect`.
        """
        with self._lock:
            self._finder = self._finder or load_cascade(self._compute)
            return self._finder


def _search_copy(image: Image.Image) -> tuple[Image.Image, float]:
    """The photo in RGB and no longer than :data:`SEARCH_PX`, and by how much it was shrunk."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    longer = max(rgb.size)
    if longer <= SEARCH_PX:
        return rgb, 1.0
    factor = longer / SEARCH_PX
    size = (max(1, round(rgb.width / factor)), max(1, round(rgb.height / factor)))
    return rgb.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), factor


def _usable(box: Any, points: Any, size: tuple[int, int]) -> bool:
    """Whether a box holds some of the photo and the landmarks say how the face is turned."""
    if not (np.isfinite(box).all() and np.isfinite(points).all() and np.shape(points) == (LANDMARKS, 2)):
        return False
    x1, y1, x2, y2 = _inside(box, size)
    return x2 - x1 >= 1 and y2 - y1 >= 1 and bool(np.ptp(points, axis=0).max() >= 1)


def _inside(box: Any, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = size
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
