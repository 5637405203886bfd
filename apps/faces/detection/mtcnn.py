"""Faces by MTCNN's cascade: proposals on a pyramid of copies, refined twice; numpy and ONNX Runtime alone.

The sums are those of facenet-pytorch, whose networks these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.engine.inference.model_file import Network

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Sums = NDArray[np.int32]

SIDES = {"pnet": 12, "rnet": 24, "onet": 48}  # of the networks' inputs, in pixels
INPUT = "x"  # (N, 3, H, W) in -1 to 1, RGB
OUTPUTS = {name: ["moves", *(["points"] if name == "onet" else []), "chances"] for name in SIDES}
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


class Cascade:
    """The three networks; safe to call from several threads.

    Args:
        networks: ``pnet``, ``rnet`` and ``onet``, each (N, 3, H, W) to its outputs as in :data:`OUTPUTS`.

    Source: Zhang et al. 2016, "Joint face detection and alignment using multitask cascaded networks".
    """

    def __init__(self, networks: Mapping[str, Network]) -> None:
        self._networks = networks

    def __call__(self, pixels: NDArray[np.uint8], least_px: int) -> Faces:
        """The faces of an image (H, W, 3) whose shorter side is ``least_px`` or more."""
        sums = _sums(pixels)
        boxes, _ = self._proposed(sums, least_px)
        boxes, scores, moves, _ = self._refined("rnet", sums, boxes, THRESHOLDS[1])
        kept = nms(boxes, scores, NMS)
        return self._output(sums, _moved(boxes[kept], moves[kept], 1))

    def finish(self, pixels: NDArray[np.uint8], boxes: Floats) -> Faces:
        """Those of another detector's boxes (N, 4) that the last network takes for faces, with landmarks."""
        if not len(boxes):
            return self._output(_sums(pixels[:1, :1]), boxes)
        squares = _squared(boxes)  # what is around them is not summed
        left, top = np.maximum(np.floor(squares[:, :2].min(axis=0)) - 1, 0).astype(int)
        right, low = np.ceil(squares[:, 2:].max(axis=0)).astype(int)
        corner = np.array([left, top, left, top], np.float32)
        faces = self._output(_sums(pixels[top:low, left:right]), boxes - corner)
        return Faces(faces.boxes + corner, faces.scores, faces.landmarks + corner[:2])

    def _output(self, sums: Sums, boxes: Floats) -> Faces:
        boxes, scores, moves, points = self._refined("onet", sums, _squared(boxes), THRESHOLDS[2])
        landmarks = _placed(boxes, points)
        boxes = _moved(boxes, moves, 1)
        kept = nms(boxes, scores, NMS, of_smaller=True)
        return Faces(boxes[kept], scores[kept], landmarks[kept])

    def _proposed(self, sums: Sums, least_px: int) -> tuple[Floats, Floats]:
        """Squares that may show a face, by the first network on each copy."""
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        parts: list[tuple[Floats, Floats, Floats]] = []
        scale = SIDES["pnet"] / least_px
        short = min(height, width) * scale
        while short >= SIDES["pnet"]:
            rows, columns = _bins(0, height, int(height * scale + 1)), _bins(0, width, int(width * scale + 1))
            moves, chances = self._networks["pnet"](_planes(_means(sums, rows, columns)))
            some = _cells(moves[0], chances[0, 1], scale)
            kept = nms(some[0], some[1], NMS_OF_A_COPY)
            parts.append((some[0][kept], some[1][kept], some[2][kept]))
            scale, short = scale * FACTOR, short * FACTOR
        if not parts:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        boxes, scores, moves = (np.concatenate(column) for column in zip(*parts, strict=True))
        kept = nms(boxes, scores, NMS)
        return _squared(_moved(boxes[kept], moves[kept], 0)), scores[kept]

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
        made: list[list[Any]] = []
        for start in range(0, len(boxes), BATCH):
            some = slice(start, start + BATCH)
            rows = _bins(top[some, None], (low - top)[some, None], SIDES[name])
            columns = _bins(left[some, None], (right - left)[some, None], SIDES[name])
            made.append(list(self._networks[name](_planes(_means(sums, rows, columns)))))
        if not made:
            none = np.zeros((0, 10), np.float32)
            return boxes, none[:, 0], none[:, :4], none
        moves, *more, chances = (np.concatenate(column) for column in zip(*made, strict=True))
        kept = chances[:, 1] > least
        points = more[0][kept] if more else np.zeros((int(kept.sum()), 10), np.float32)
        return boxes[kept], chances[kept, 1], moves[kept], points


def nms(boxes: Floats, scores: Floats, threshold: float, *, of_smaller: bool = False) -> Ints:
    """Places of the boxes that no better one covers, best first.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2) pixels.
        scores: (N,).
        threshold: share of the union, or of the smaller box, from which the weaker one is dropped.
        of_smaller: hold the shared part against the smaller box; pixels at both ends count then.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, more = boxes[order], float(of_smaller)
    areas = (boxes[:, 2:] - boxes[:, :2] + more).prod(axis=1)
    kept, rest = [], np.arange(len(boxes))
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low + more).clip(min=0).prod(axis=1)
        both = areas[best], areas[rest]
        whole = np.minimum(*both) if of_smaller else sum(both) - shared
        rest = rest[shared <= threshold * whole]
    return order[np.array(kept, np.int64)]


def _sums(pixels: NDArray[np.uint8]) -> Sums:
    """(H + 1, W + 1, 3): of all pixels above and to the left, from which every mean follows."""
    sums = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1, 3), np.int32)  # 255 of 8 million pixels fit in
    np.cumsum(pixels, axis=0, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _bins(start: Any, length: Any, count: int) -> tuple[Ints, Ints]:
    """Where each of ``count`` bins over ``length`` places begins and ends; neighbours may share a place."""
    places = np.arange(count)
    return start + places * length // count, start - (-(places + 1) * length // count)


def _means(sums: Sums, rows: tuple[Ints, Ints], columns: tuple[Ints, Ints]) -> Floats:
    """(..., rows, columns, 3) means over the bins."""
    top, low = (part[..., :, None] for part in rows)
    left, right = (part[..., None, :] for part in columns)
    whole = sums[low, right] - sums[top, right] - sums[low, left] + sums[top, left]
    means: Floats = (whole / ((low - top) * (right - left))[..., None]).astype(np.float32)
    return means


def _planes(means: Floats) -> Floats:
    """(..., H, W, 3) in 0 to 255 to (N, 3, H, W) in -1 to 1."""
    batch = means if means.ndim == 4 else means[None]
    return np.ascontiguousarray(((batch - 127.5) * np.float32(1 / 128)).transpose(0, 3, 1, 2))


def _cells(moves: Floats, chances: Floats, scale: float) -> tuple[Floats, Floats, Floats]:
    """Boxes, scores and moves of the proposal network's places that may show a face."""
    rows, columns = np.nonzero(chances >= THRESHOLDS[0])
    corner = STRIDE * np.stack([columns, rows], axis=1).astype(np.float32)
    step = np.float32(scale)
    boxes = np.concatenate(
        [np.floor((corner + 1) / step), np.floor((corner + SIDES["pnet"]) / step)], axis=1
    )
    return boxes, chances[rows, columns], moves[:, rows, columns].T


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
