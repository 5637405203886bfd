"""Finding faces with an SSD on MobileNetV1, their landmarks with MTCNN's output network; without torch."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.files import exclusive, write_bytes
from apps.engine.core.spec import INPUT
from apps.engine.inference.decode.boxes import suppressed
from apps.engine.inference.model_file import onnx_session
from apps.faces.extraction.face import DetectionError, Face, inside, search_copy
from apps.zoo.weights import ensure_weights
from backbone.pretrained import FACE_SSD
from backbone.storage import on_disk, weights_cache

LARGE_PX, SMALL_PX = 512, 192  # sides of the squares that are looked through; trained on the first
SMALL_PHOTO_PX = 384  # longer side up to which the small square shows a face of 40 px with 20
MIN_PROBABILITY = 0.3
NMS_THRESH, MOST = 0.5, 100
LEAST_PX = 20  # smaller faces, in the copy that is looked through, are left out
LANDMARK_PX = 48  # side of what MTCNN's output network sees
ONET = "mtcnn_onet.onnx"
WAIT_SECONDS = 600.0
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DetectorFiles:
    """ONNX files: the SSD for a large and for a small square, and the network for landmarks."""

    large: Path
    small: Path
    onet: Path


def detector_files(console: Console | None = None) -> DetectorFiles:
    """The files, made once in the user's cache of the registered weights and of facenet-pytorch's.

    Args:
        console: where a line says what is fetched and made; None is silent.

    Raises:
        ConnectionError: the weights are not here and cannot be fetched.
        ImportError: what makes the files is not installed.
        OSError: the cache cannot be written.
    """
    sides = {f"{FACE_SSD}_{side}.onnx": side for side in (LARGE_PX, SMALL_PX)}
    names = (*sides, ONET)
    ready = [path for name in names if (path := on_disk(name)) is not None]
    if len(ready) == len(names):
        return DetectorFiles(*ready)
    weights, folder = ensure_weights(FACE_SSD, console), weights_cache()
    folder.mkdir(parents=True, exist_ok=True)
    error = "another process has been making the face detector for long; wait for it, or stop it"
    with exclusive(folder / f".{FACE_SSD}.onnx.lock", error, seconds=WAIT_SECONDS):
        if not all((folder / name).is_file() for name in names):
            if console is not None:
                console.say("making the face detector's files, once")
            from apps.faces.extraction.graphs import mtcnn_network, ssd_network  # needs torch

            write_bytes(folder / ONET, mtcnn_network("onet"))
            for name, side in sides.items():
                write_bytes(folder / name, ssd_network(weights, side))
    return DetectorFiles(*(folder / name for name in names))


class SSDDetector:
    """Faces of one photo after another; may be shared by threads.

    Args:
        files: the networks; None takes those of :func:`detector_files`, when the first photo comes.
        min_probability: faces that the network is less sure of are left out, 0 to 1.

    Raises:
        ValueError: the limit is out of range.

    Source: Howard et al. 2017, section 4.6; Zhang et al. 2016 for the landmarks.
    """

    def __init__(
        self, files: DetectorFiles | None = None, *, min_probability: float = MIN_PROBABILITY
    ) -> None:
        if not 0 <= min_probability <= 1:
            raise ValueError(f"the least probability must be 0 to 1, got {min_probability}")
        self.files, self.min_probability = files, min_probability
        self._sessions: dict[Path, Any] = {}
        self._lock = threading.Lock()

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of a photo, largest first; none where it is smaller than a face can be.

        Args:
            image: of any mode and any size.

        Raises:
            DetectionError: a network failed on this photo.
        """
        small, factor = search_copy(image)
        if min(small.size) < LEAST_PX:
            return []
        files = self.files = self.files or detector_files()
        squares = {SMALL_PX: files.small}  # in which large faces are found best
        if max(small.size) > SMALL_PHOTO_PX:
            squares[LARGE_PX] = files.large
        sessions = {side: self._session(file) for side, file in squares.items()}
        onet = self._session(files.onet)
        try:
            boxes, scores = self._best(sessions, small)
            points = landmarks(onet, small, boxes)
        except Exception as err:  # the runtime's kinds of errors are its own
            raise DetectionError(f"the face detector failed on this photo ({type(err).__name__})") from err
        faces = [
            Face(inside(box, small.size), place.astype(np.float64), float(score)).scaled(factor)
            for box, place, score in zip(boxes, points, scores, strict=True)
            if np.ptp(place, axis=0).max() >= 1
        ]
        return sorted(faces, key=lambda face: (-face.size_px, face.box))

    def _session(self, file: Path) -> Any:
        with self._lock:
            if file not in self._sessions:
                self._sessions[file] = onnx_session(file, file)
            return self._sessions[file]

    def _best(self, sessions: dict[int, Any], image: Image.Image) -> tuple[Floats, Floats]:
        """(N, 4) pixels of the photo, cut to it, and (N,) probabilities, the best first."""
        boxes, scores = zip(*(_looked(*item, image) for item in sessions.items()), strict=True)
        limits = {
            "size": max(image.size), "threshold": self.min_probability, "overlap": NMS_THRESH,
            "candidates": 4 * MOST, "most": MOST,
        }
        best, chances, _ = suppressed(np.concatenate(boxes), np.concatenate(scores), limits)
        places = best.clip(0, np.array([*image.size, *image.size])).astype(np.float32)
        large = (places[:, 2:] - places[:, :2]).min(axis=1) >= LEAST_PX
        return places[large], chances[large]


def _looked(side: int, ssd: Any, image: Image.Image) -> tuple[Floats, Floats]:
    """(A, 4) boxes in pixels of the photo, before any is suppressed, and (A, 1) probabilities."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    square = np.zeros((1, side, side, 3), np.uint8)  # the aspect is kept, the rest stays black
    square[0, :height, :width] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    boxes, scores = ssd.run(None, {INPUT: square})
    return boxes[0] / np.float32(scale), scores[0]


def landmarks(onet: Any, image: Image.Image, boxes: Floats) -> Floats:
    """Five points in each box, (N, 5, 2) pixels: eyes, nose, corners of the mouth.

    Args:
        onet: session of MTCNN's output network.
        image: RGB.
        boxes: (N, 4) pixels.
    """
    if not len(boxes):
        return np.empty((0, 5, 2), np.float32)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    squares = np.concatenate([np.floor(centres - half), np.ceil(centres + half)], 1)
    crops = [_seen(image, tuple(square.astype(int).tolist())) for square in squares]
    points = onet.run(["points"], {"x": np.stack(crops)})[0].reshape(-1, 2, 5).transpose(0, 2, 1)
    sides = squares[:, 2:] - squares[:, :2]
    return (points * sides[:, None] + squares[:, None, :2]).astype(np.float32)


def _seen(image: Image.Image, square: Any) -> Floats:
    """(3, 48, 48) in -1 to 1; what lies outside the photo is black."""
    shrinks = square[2] - square[0] > LANDMARK_PX
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    crop = image.crop(square).resize((LANDMARK_PX, LANDMARK_PX), how)
    return (np.asarray(crop, np.float32).transpose(2, 0, 1) - 127.5) / 128
