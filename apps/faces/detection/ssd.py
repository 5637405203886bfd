"""Finding faces with an SSD on MobileNetV1; MTCNN's last network looks at each box again. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.device import AS_USUAL, Compute
from apps.engine.core.files import cached, say_once, sha256_of
from apps.engine.inference.model_file import Network, load_network
from apps.faces.detection.mtcnn import Cascade, Faces, Floats, nms
from apps.faces.detection.networks import load_cascade, torch_network
from apps.zoo.weights import ensure_weights
from backbone.pretrained import FACE_SSD

# Sides of the squares that are looked through, and the longer side of an image up to which each shows a face
# of 40 px with 20. The network was trained on the last; large faces are found best in the first.
SQUARES = {160: 320, 320: 640, 512: 1 << 16}
MIN_SCORE = 0.15  # of a box that MTCNN's last network is to look at
MIN_PROBABILITY = 0.8  # of that network: finds every face of group photos, and none where nobody is
NMS_THRESH, MOST = 0.3, 200
LIMITS = {"score_thresh": MIN_SCORE, "nms_thresh": NMS_THRESH, "detections_per_img": MOST}
OUTPUTS = ("boxes", "scores")
FORMAT = 2  # raised when the same weights are to be written otherwise


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
    return {side: cached(name, partial(_exported, weights, side)) for side, name in names.items()}


def _exported(weights: Path, side: int) -> bytes:
    from apps.faces.detection.ssd_graph import ssd_network

    say_once(weights)
    return ssd_network(weights, side, **LIMITS)


class SSDFinder:
    """Faces of one image after another, for a ``Detector``; safe to call from several threads.

    Args:
        networks: side of a square to the SSD that looks through it: (1, side, side, 3) uint8 RGB to boxes
            (1, D, 4) in pixels and scores (1, D).
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
            modules = {side: ssd_module(weights, side, **LIMITS) for side in SQUARES}
            return cls({side: torch_network(modules[side], choice.device) for side in SQUARES},
                       load_cascade(compute))
        paths = ssd_networks(console)
        networks = {side: load_network(path, OUTPUTS, choice) for side, path in paths.items()}
        return cls(networks, load_cascade(compute))

    def __call__(self, pixels: NDArray[np.uint8], least_px: int) -> Faces:
        """The faces of an image (H, W, 3) whose shorter side is ``least_px`` or more."""
        longer = max(pixels.shape[:2])
        sides = {min(SQUARES), next(side for side, most in SQUARES.items() if longer <= most)}
        boxes, scores = (np.concatenate(part) for part in zip(
            *(_looked(self._networks[side], side, pixels) for side in sorted(sides)), strict=True
        ))
        boxes = boxes[nms(boxes, scores, NMS_THRESH)[:MOST]]
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= least_px / 2]
        return self._cascade.finish(pixels, boxes)


def _looked(network: Network, side: int, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """(N, 4) boxes in pixels of the image and (N,) scores, those of one face suppressed."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((1, side, side, 3), np.uint8)  # the aspect is kept, the rest stays black
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    square[0, : size[1], : size[0]] = np.asarray(small)
    boxes, scores = network(square)[:2]
    good = scores[0] > MIN_SCORE
    edge = np.array([width, height, width, height], np.float32)
    return (boxes[0, good] / np.float32(scale)).clip(0, edge), scores[0, good]
