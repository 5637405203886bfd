"""Faces by MTCNN's cascade: proposals on a pyramid of copies, refined twice; numpy and ONNX Runtime alone.

The sums are those of facenet-pytorch, whose networks these are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.engine.inference.decode.overlap import nms
from apps.engine.inference.model_file import Network
from apps.faces.detection.area_means import (
    Corners,
    Floats,
    Ints,
    Sums,
    bins_of,
    corners_of,
    means_of,
    sums_of,
)

SIDES = {"pnet": 12, "rnet": 24, "onet": 48}  # of the networks' inputs, in pixels
INPUT, OUTPUT = "x", "answers"
THRESHOLDS, FACTOR = (0.6, 0.7, 0.7), 0.709  # facenet-pytorch's own
STRIDE = 2  # of the proposal network
NMS_OF_A_COPY, NMS = 0.5, 0.7
LANDMARKS = 5
BATCH = 128  # crops that a network sees at once


class Faces(NamedTuple):
    """What a detector finds on an image.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2) pixels, which may lie beyond the image.
        scores: (N,), 0 to 1.
        landmarks: (N, 5, 2) pixels: left and right eye as seen, nose, left and right corner of the mouth.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats


class Pyramid(NamedTuple):
    """The copies of an image, and the places of the proposal network on them, one copy after another.

    Args:
        sizes: (height, width) of each copy.
        corners: of the pixels of all copies, (1, P).
        boxes: (A, 4) of the places, in pixels of the image.
        copies: (A,) which copy each is on.
    """

    sizes: list[tuple[int, int]]
    corners: Corners
    boxes: Floats
    copies: Ints


class Cascade:
    """The three networks; safe to call from several threads.

    Args:
        networks: ``pnet``, ``rnet`` and ``onet``, as :class:`apps.faces.detection.cascade_graph.Blocked`.

    Source: Zhang et al. 2016, "Joint face detection and alignment using multitask cascaded networks".
    """

    def __init__(self, networks: Mapping[str, Network]) -> None:
        self._networks = networks

    def __call__(self, pixels: NDArray[np.uint8], least_px: int) -> Faces:
        """The faces of an image (H, W, 3) whose shorter side is ``least_px`` or more.

        Raises:
            ValueError: the image is too large: both sides have more than 1024 px.
        """
        sums = sums_of(pixels)
        boxes = self._proposed(sums, least_px)
        boxes, scores, moves, _ = self._refined("rnet", sums, boxes, THRESHOLDS[1])
        kept = nms(boxes, scores, NMS)
        return self._output(sums, _moved(boxes[kept], moves[kept], 1))

    def finish(self, pixels: NDArray[np.uint8], boxes: Floats) -> Faces:
        """Those of another detector's boxes (N, 4) that the last network takes for faces, with landmarks."""
        if not len(boxes):
            return self._output(sums_of(pixels[:1, :1]), boxes)
        squares = _squared(boxes)  # what is around them is not summed
        left, top = np.maximum(np.floor(squares[:, :2].min(axis=0)) - 1, 0).astype(int)
        right, low = np.ceil(squares[:, 2:].max(axis=0)).astype(int)
        corner = np.array([left, top, left, top], np.float32)
        faces = self._output(sums_of(pixels[top:low, left:right]), boxes - corner)
        return Faces(faces.boxes + corner, faces.scores, faces.landmarks + corner[:2])

    def _output(self, sums: Sums, boxes: Floats) -> Faces:
        boxes, scores, moves, points = self._refined("onet", sums, _squared(boxes), THRESHOLDS[2])
        landmarks = _placed(boxes, points)
        boxes = _moved(boxes, moves, 1)
        kept = nms(boxes, scores, NMS, of_smaller=True)
        return Faces(boxes[kept], scores[kept], landmarks[kept])

    def _proposed(self, sums: Sums, least_px: int) -> Floats:
        """Squares that may show a face, by the first network on each copy."""
        pyramid = _pyramid(sums.shape[0] - 1, sums.shape[1] - 1, SIDES["pnet"] / least_px)
        if pyramid is None:
            return np.zeros((0, 4), np.float32)
        pixels, start, made = means_of(sums, pyramid.corners)[0], 0, []
        for height, width in pyramid.sizes:
            copy = pixels[:, start : start + height * width].reshape(1, 3, height, width)
            made.append(self._networks["pnet"](np.ascontiguousarray(copy))[0].reshape(5, -1))
            start += height * width
        answers = np.concatenate(made, axis=1)
        some = np.flatnonzero(answers[4] >= _logit(THRESHOLDS[0]))
        boxes, scores, copies = pyramid.boxes[some], _chances(answers[4, some]), pyramid.copies[some]
        kept = nms(boxes, scores, NMS_OF_A_COPY, groups=copies)
        kept = kept[np.argsort(copies[kept], kind="stable")]
        kept = kept[nms(boxes[kept], scores[kept], NMS)]
        return _squared(_moved(boxes[kept], answers[:4, some[kept]].T, 0))

    def _refined(
        self, name: str, sums: Sums, boxes: Floats, least: float
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Those of the boxes that a network takes for faces: boxes, scores, moves and landmarks' places."""
        corners = np.trunc(boxes).astype(np.int64)  # pixels counted from 1, as the networks were trained
        left, top = np.maximum(corners[:, 0], 1) - 1, np.maximum(corners[:, 1], 1) - 1
        right = np.minimum(corners[:, 2], sums.shape[1] - 1)
        low = np.minimum(corners[:, 3], sums.shape[0] - 1)
        real = (right > left) & (low > top)
        boxes, left, top, right, low = (part[real] for part in (boxes, left, top, right, low))
        made = [np.zeros((0, 5 if name == "rnet" else 15), np.float32)]
        for start in range(0, len(boxes), BATCH):
            some = slice(start, start + BATCH)
            rows = bins_of(top[some, None], (low - top)[some, None], SIDES[name])
            columns = bins_of(left[some, None], (right - left)[some, None], SIDES[name])
            crops = means_of(sums, corners_of(rows, columns, sums.shape[1]))
            made.append(self._networks[name](crops)[0])
        answers = np.concatenate(made)
        kept = answers[:, -1] > _logit(least)
        answers = answers[kept]
        return boxes[kept], _chances(answers[:, -1]), answers[:, :4], answers[:, 4:-1]


def _logit(chance: float) -> float:
    return math.log(chance / (1 - chance))


def _chances(logits: Floats) -> Floats:
    return (1 / (1 + np.exp(-logits))).astype(np.float32, copy=False)


@lru_cache(maxsize=2)  # photos of one camera, upright and on their side
def _pyramid(height: int, width: int, scale: float) -> Pyramid | None:
    """Of an image, from its largest copy to the last that the network fits on; None where it fits on none."""
    sizes, corners, boxes = [], [], []
    short = min(height, width) * scale
    while short >= SIDES["pnet"]:
        size = int(height * scale + 1), int(width * scale + 1)
        sizes.append(size)
        corners.append(corners_of(bins_of(0, height, size[0]), bins_of(0, width, size[1]), width + 1))
        boxes.append(_places(size, scale))
        scale, short = scale * FACTOR, short * FACTOR
    if not sizes:
        return None
    flat = (np.concatenate([part.ravel() for part in parts])[None] for parts in zip(*corners, strict=True))
    copies = np.repeat(np.arange(len(sizes)), [len(part) for part in boxes])
    return Pyramid(sizes, Corners(*flat), np.concatenate(boxes), copies)


def _places(size: tuple[int, int], scale: float) -> Floats:
    """(A, 4) the boxes of the proposal network's places on a copy, in pixels of the image."""
    # a convolution, a pool of 2 x 2 that takes what is left over, and two convolutions more
    rows, columns = (-(-(side - 2) // STRIDE) - 4 for side in size)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    corner, step = STRIDE * grid.astype(np.float32), np.float32(scale)
    return np.concatenate(
        [np.floor((corner + 1) / step), np.floor((corner + SIDES["pnet"]) / step)], axis=1
    )


def _moved(boxes: Floats, moves: Floats, more: int) -> Floats:
    """Boxes by shares of their sides, which count ``more`` pixels than lie between the corners."""
    sides = boxes[:, 2:] - boxes[:, :2] + np.float32(more)
    moved: Floats = boxes + moves * np.concatenate([sides, sides], axis=1)
    return moved


def _squared(boxes: Floats) -> Floats:
    """The square around the middle of each box."""
    sides = boxes[:, 2:] - boxes[:, :2]
    long = sides.max(axis=1, keepdims=True, initial=0)
    corner = boxes[:, :2] + sides * np.float32(0.5) - long * np.float32(0.5)
    return np.concatenate([corner, corner + long], axis=1)


def _placed(boxes: Floats, points: Floats) -> Floats:
    """(N, 5, 2) landmarks in pixels, of (N, 10) shares of the boxes: first all x, then all y."""
    sides = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
    shares = points.reshape(-1, 2, LANDMARKS).transpose(0, 2, 1)
    placed: Floats = shares * sides[:, None] + boxes[:, None, :2] - np.float32(1)
    return placed
