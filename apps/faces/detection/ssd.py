"""Finding faces with an SSD on MobileNetV1; MTCNN's last network looks at each box again. Without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.device import AS_USUAL, Compute
from apps.engine.core.files import sha256_of
from apps.engine.inference.decode.overlap import nms
from apps.engine.inference.made_once import cached, say_once
from apps.engine.inference.model_file import Network, load_network
from apps.faces.detection.area_means import Floats
from apps.faces.detection.mtcnn import Cascade, Faces
from apps.faces.detection.networks import SSD_OUTPUT, load_cascade, torch_network
from apps.zoo.weights import ensure_weights
from backbone.pretrained import FACE_SSD

# Sides of the squares that are looked through, and the longer side of an image up to which each shows a face
# of 40 px with 20. The network was trained on the last; large faces are found best in a small one.
SQUARES = {128: 256, 160: 320, 320: 640, 512: 1 << 16}
SMALL = 160  # the square for large faces, in which images of more than 320 px are looked through, too
MIN_SCORE = 0.15  # of a box that MTCNN's last network is to look at
MIN_PROBABILITY = 0.8  # of that network: finds every face of group photos, and none where nobody is
NMS_THRESH, MOST = 0.3, 200
MIN_LOGIT = math.log(MIN_SCORE / (1 - MIN_SCORE))
VARIANCES = np.array([0.1, 0.1, 0.2, 0.2], np.float32)  # of the offsets, as the network was trained
FORMAT = 3  # raised when the same weights are to be written otherwise


def ssd_networks(console: Console | None = None) -> dict[int, Path]:
    """The SSD as an ONNX file a square; torch only writes them once, into the user's cache.

    Args:
        console: where a line says what is fetched; None is silent.

    Raises:
        ConnectionError: the weights are not here and cannot be fetched.
        OSError: the cache cannot be written.
    """
    weights = ensure_weights(FACE_SSD, console)
    mark = sha256_of(weights)[:16]
    names = {side: f"ssd-{side}-{FORMAT}-{mark}.onnx" for side in SQUARES}
    say = cache(partial(say_once, weights))  # once for all of them
    return {side: cached(name, partial(_exported, weights, side, say)) for side, name in names.items()}


def _exported(weights: Path, side: int, say: Callable[[], None]) -> bytes:
    from apps.faces.detection.ssd_graph import ssd_network

    say()
    return ssd_network(weights, side)


class SSDFinder:
    """Faces of one image after another, for a ``Detector``; safe to call from several threads.

    Args:
        networks: side of a square to the SSD that looks through it: (1, side, side, 3) uint8 RGB to
            (1, A, 9), as :class:`apps.faces.detection.ssd_graph.FaceMaps`.
        cascade: whose last network sees each box again and gives the landmarks.

    Source: Howard et al. 2017, section 4.6; Zhang et al. 2016 for the last network.
    """

    def __init__(self, networks: Mapping[int, Network], cascade: Cascade) -> None:
        self._networks, self._cascade = networks, cascade

    @classmethod
    def load(cls, console: Console | None = None, compute: Compute = AS_USUAL) -> SSDFinder:
        """With the registered weights, fetched where they are not here.

        Args:
            console: where a line says what is fetched; None is silent.
            compute: by what, and where, all networks are computed.

        Raises:
            ConnectionError: they cannot be fetched.
            ImportError: the engine is not installed.
            ValueError: the device is not there.
        """
        choice = compute.choose()
        if choice.engine == "torch":
            from apps.faces.detection.ssd_graph import ssd_module

            weights = ensure_weights(FACE_SSD, console)
            networks = {
                side: torch_network(ssd_module(weights, side), choice.device) for side in SQUARES
            }
        else:
            paths = ssd_networks(console)
            networks = {side: load_network(path, (SSD_OUTPUT,), choice) for side, path in paths.items()}
        return cls(networks, load_cascade(compute))

    def __call__(self, pixels: NDArray[np.uint8], least_px: int) -> Faces:
        """The faces of an image (H, W, 3) whose shorter side is ``least_px`` or more."""
        longer = max(pixels.shape[:2])
        fits = next(side for side, most in SQUARES.items() if longer <= most)
        sides = {fits, min(fits, SMALL)}
        # a face that both squares show has two boxes: the last network says which of them fits
        boxes = np.concatenate([_looked(self._networks[side], side, pixels) for side in sorted(sides)])
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= least_px / 2]
        return self._cascade.finish(pixels, boxes)


def _looked(network: Network, side: int, pixels: NDArray[np.uint8]) -> Floats:
    """(N, 4) boxes in pixels of the image."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((1, side, side, 3), np.uint8)  # the aspect is kept, the rest stays black
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    square[0, : size[1], : size[0]] = np.asarray(small)
    (made,) = network(square)
    good = made[0, made[0, :, 4] > MIN_LOGIT]
    offsets, defaults = good[:, :4] * VARIANCES, good[:, 5:]
    sides = defaults[:, 2:] - defaults[:, :2]
    middles = (defaults[:, :2] + defaults[:, 2:]) / 2 + offsets[:, :2] * sides
    half = sides * np.exp(offsets[:, 2:]) / 2
    boxes = np.concatenate([middles - half, middles + half], axis=1) / np.float32(scale)
    edge = np.array([width, height, width, height], np.float32)
    clipped: Floats = boxes.clip(0, edge).astype(np.float32)
    return clipped[nms(clipped, good[:, 4], NMS_THRESH)[:MOST]]
