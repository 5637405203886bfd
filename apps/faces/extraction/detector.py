"""Finding faces with facenet-pytorch's MTCNN, kept away from the inputs that it falls over."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from apps.faces.extraction.face import LANDMARKS, DetectionError, Face, inside, search_copy

MIN_FACE_PX = 40  # in that copy: 4 % of a large photo's longer side
LEAST_PX = 20  # the network's own limit: no face is smaller
MIN_PROBABILITY = 0.9


class Detector:
    """Faces of one photo after another; may be shared by threads.

    The library's own batches raise on photos of different sizes, on a photo without a face among
    others, on grey, transparent and tiny ones. Here it gets one RGB photo of a sensible size at a time, which
    costs the same on a CPU.

    Args:
        min_face_px: shorter side of the smallest face looked for, in a copy of the photo of which the
            longer side is 1024 px at most; 20 or more.
        min_probability: faces that the detector is less sure of are left out, 0 to 1.

    Raises:
        ValueError: a limit is out of range.
        ImportError: facenet-pytorch is not installed.
    """

    def __init__(
        self, *, min_face_px: int = MIN_FACE_PX, min_probability: float = MIN_PROBABILITY
    ) -> None:
        if min_face_px < LEAST_PX:
            raise ValueError(f"faces of {LEAST_PX} px or more can be found, got {min_face_px}")
        if not 0 <= min_probability <= 1:
            raise ValueError(f"the least probability must be 0 to 1, got {min_probability}")
        self.min_face_px, self.min_probability = min_face_px, min_probability
        self._networks: dict[int, Any] = {}
        self._lock = threading.Lock()

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of a photo, largest first; none where it is smaller than a face can be.

        Args:
            image: of any mode and any size.

        Raises:
            DetectionError: the network failed on this photo.
        """
        small, factor = search_copy(image)
        least = min(self.min_face_px, *small.size)
        if least < LEAST_PX:
            return []
        boxes, probabilities, points = self._run(np.array(small), least)
        faces = [
            Face(inside(box, small.size), place, float(probability)).scaled(factor)
            for box, place, probability in zip(boxes, points, probabilities, strict=True)
            if probability >= self.min_probability and _usable(box, place, small.size)
        ]
        return sorted(faces, key=lambda face: (-face.size_px, face.box))

    def _run(self, pixels: NDArray[np.uint8], least: int) -> Any:
        try:
            # planes of colour one behind the other: shrinking them is faster than shrinking pixels
            planes = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().permute(1, 2, 0)
            boxes, probabilities, points = self._network(least).detect(planes, landmarks=True)
        except (RuntimeError, IndexError, ValueError) as err:
            raise DetectionError(f"the face detector failed on this photo ({type(err).__name__})") from err
        if boxes is None:
            return [], [], []
        return tuple(np.asarray(item, dtype=np.float64) for item in (boxes, probabilities, points))

    def _network(self, least: int) -> Any:
        """The cascade for a least face size; its weights come with the package."""
        with self._lock:
            if least not in self._networks:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    from facenet_pytorch import MTCNN

                    network = MTCNN(min_face_size=least, keep_all=True, device=torch.device("cpu"))
                # its max pooling is ten times as fast in this layout
                self._networks[least] = network.eval().to(memory_format=torch.channels_last)
            return self._networks[least]


def _usable(box: Any, points: Any, size: tuple[int, int]) -> bool:
    """Whether a box holds some of the photo and the landmarks say how the face is turned."""
    if not (np.isfinite(box).all() and np.isfinite(points).all() and np.shape(points) == (LANDMARKS, 2)):
        return False
    x1, y1, x2, y2 = inside(box, size)
    return x2 - x1 >= 1 and y2 - y1 >= 1 and bool(np.ptp(points, axis=0).max() >= 1)
