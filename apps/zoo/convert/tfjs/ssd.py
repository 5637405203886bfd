"""face-api's SSD on MobileNetV1: a list of weights by name, without a graph."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from apps.zoo.convert.source import Detector, Layer, RefusedError, Source, as_tensor
from apps.zoo.convert.tfjs.manifest import Array, Model
from backbone.pretrained import HALF_INPUT

EPS = 1e-3  # of its batch-norm, which the file does not hold
SIZE = 512
COLUMNS = ("background", "face", "???")  # the third is trained on nothing
BLOCKS, ADDED, MAPS = 13, 8, 6
TRUNK, TOP = "MobilenetV1/Conv2d", "Prediction"


def read_face_ssd(model: Model) -> Source:
    """Its 35 convolutions, predictors and stored default boxes; batch-norm is folded.

    Args:
        model: without a graph.

    Raises:
        RefusedError: it is another list of weights.
    """
    return _Reader(model).source()


class _Reader:
    def __init__(self, model: Model) -> None:
        self.model = model

    def source(self) -> Source:
        """Layers in the order of the network."""
        layers = [self._convolution(f"{TRUNK}_0_pointwise", stride=2)]
        for block in range(1, BLOCKS + 1):
            layers.append(self._depthwise(f"{TRUNK}_{block}_depthwise"))
            layers.append(self._convolution(f"{TRUNK}_{block}_pointwise"))
        for number in range(ADDED):
            layers.append(self._convolution(f"{TOP}/Conv2d_{number}_pointwise", stride=1 + number % 2))
        scores = [self._predictor(number, "ClassPredictor") for number in range(MAPS)]
        moves = [_swapped(self._predictor(number, "BoxEncodingPredictor")) for number in range(MAPS)]
        detector = Detector(
            tuple(map(_tensors, scores)), tuple(map(_tensors, moves)), "sigmoid", as_tensor(self._anchors()),
            names=COLUMNS,
        )
        return Source(
            self.model.path, f"tfjs-{self.model.stored}", tuple(layers), None, "same", resolution=SIZE,
            input=HALF_INPUT, detector=detector,
        )

    def _weight(self, name: str, axes: int) -> Array:
        weight = self.model.weights.get(name)
        if weight is None or weight.ndim != axes:
            raise RefusedError(
                f"{self.model.path} lists weights without a graph, and is not face-api's SSD: {name} is "
                f"missing or has not {axes} axes; give the manifest of a graph-model"
            )
        return weight

    def _convolution(self, name: str, stride: int = 1) -> Layer:
        weight = self._weight(f"{name}/weights", 4).transpose(3, 2, 0, 1)
        bias = self._weight(f"{name}/convolution_bn_offset", 1)
        return Layer(name, as_tensor(weight), as_tensor(bias), stride=stride)

    def _depthwise(self, name: str) -> Layer:
        weight = self._weight(f"{name}/depthwise_weights", 4).transpose(2, 3, 0, 1).astype(np.float64)
        gamma, beta, mean, var = (
            self._weight(f"{name}/BatchNorm/{part}", 1).astype(np.float64)
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        gain = gamma / np.sqrt(var + EPS)
        if gain.shape != weight.shape[:1]:
            raise RefusedError(f"{self.model.path}: {name} has batch-norm of another number of channels")
        return Layer(name, as_tensor(weight * gain.reshape(-1, 1, 1, 1)), as_tensor(beta - mean * gain))

    def _predictor(self, number: int, kind: str) -> tuple[Array, Array]:
        name = f"{TOP}/BoxPredictor_{number}/{kind}"
        return self._weight(f"{name}/weights", 4).transpose(3, 2, 0, 1), self._weight(f"{name}/biases", 1)

    def _anchors(self) -> Array:
        """(A, 4): y1, x1, y2, x2 as shares of the side become x1, y1, x2, y2."""
        return self._weight("Output/extra_dim", 3).reshape(-1, 4)[:, [1, 0, 3, 2]]


def _tensors(layer: tuple[Array, Array]) -> tuple[Tensor, Tensor]:
    return as_tensor(layer[0]), as_tensor(layer[1])


def _swapped(layer: tuple[Array, Array]) -> tuple[Array, Array]:
    """y, x, h, w of each box as x, y, w, h; the coder's numbers are the head's own, 10 and 5."""
    weight, bias = (part.reshape(-1, 4, *part.shape[1:])[:, [1, 0, 3, 2]] for part in layer)
    return weight.reshape(-1, *weight.shape[2:]), bias.reshape(-1)
