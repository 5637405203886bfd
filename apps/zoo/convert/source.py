"""What a reader finds in a file of weights: its convolutions in order, and what the file says of itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from backbone.mobilenet import Activation

Padding = Literal["same", "symmetric"]
OnConvolution = Any  # (index of the layer, its output) -> None


class RefusedError(ValueError):
    """A file that is not imported; the message says why in one line."""


@dataclass(frozen=True)
class Norm:
    """Batch-norm as the file has it; each tensor is (C,)."""

    scale: Tensor
    shift: Tensor
    mean: Tensor
    var: Tensor
    eps: float


@dataclass(frozen=True)
class Layer:
    """One convolution with what follows it up to its ReLU6.

    Args:
        name: what the file calls it, for messages.
        weight: (out, in / groups, k, k).
        bias: (out,), where batch-norm is folded into the convolution.
        norm: batch-norm, where the file still has it.
        stride: what the file says; None where it says nothing.
        padding: what the file says; None where it says nothing or where both kinds agree.
    """

    name: str
    weight: Tensor
    bias: Tensor | None = None
    norm: Norm | None = None
    stride: int | None = None
    padding: Padding | None = None


@dataclass(frozen=True)
class Detector:
    """What an SSD has besides its convolutions; its added layers are the last eight of ``Source.layers``.

    Args:
        classification: (weight (A x C, channels, 1, 1), bias) of each map; of the C columns the first is the
            background.
        box_regression: (weight (A x 4, channels, 1, 1), bias) of each map: dx, dy, dw, dh over 10, 10, 5, 5.
        score_converter: ``sigmoid`` or ``softmax``.
        anchors: (A, 4), (x1, y1, x2, y2) as shares of the side; None where TensorFlow's formula gives them.
        nms_thresh: intersection over union of its post-processing, where the file tells.
        tensors: numbers of the boxes and the scores before post-processing, in the file's interpreter.
        names: of the columns, where the kind of file fixes them.
    """

    classification: tuple[tuple[Tensor, Tensor], ...]
    box_regression: tuple[tuple[Tensor, Tensor], ...]
    score_converter: Literal["sigmoid", "softmax"] = "sigmoid"
    anchors: Tensor | None = None
    nms_thresh: float = 0.6
    tensors: tuple[int, int] | None = None
    names: tuple[str, ...] = ()

    @property
    def predictors(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """All of its predictors."""
        return self.classification + self.box_regression

    @property
    def columns(self) -> int:
        """Scores of a box, with the background's."""
        return len(self.classification[0][1]) * 4 // len(self.box_regression[0][1])


@dataclass(frozen=True)
class Source:
    """The content of a file of weights, in the order of the network.

    Args:
        path: the file.
        kind: ``tflite-uint8``, ``tflite-float32``, ``keras-h5``, ``timm``, ``pytorch``, ...
        layers: the convolutions of the trunk.
        classifier: (weight (K, C), bias (K,)), or None.
        padding: of the stride-2 layers.
        resolution: pixels, where the file tells.
        input: a key of ``backbone.weights.INPUTS``, where the file tells or its kind fixes it.
        declared: further metadata of the file, such as ``source`` and ``licence``.
        notes: sentences that the user should read.
        assumed: one on what was assumed of resolution and padding, where the file tells nothing.
        input_note: one on what was assumed of the input, where the file tells nothing.
        extras: further tensors that travel with the network, such as heads of another kind.
        activation: behind each layer: ``relu6`` or ``relu``.
        detector: of an SSD, whose ``layers`` are those of the trunk and the eight that it adds.
    """

    path: Path
    kind: str
    layers: tuple[Layer, ...]
    classifier: tuple[Tensor, Tensor] | None
    padding: Padding
    resolution: int | None = None
    input: str | None = None
    declared: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    assumed: str | None = None
    input_note: str | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    detector: Detector | None = None
    activation: Activation = "relu6"

    @property
    def folded(self) -> bool:
        """Whether batch-norm is folded into the convolutions."""
        return all(layer.norm is None for layer in self.layers)

    @property
    def eps(self) -> float | None:
        """Of the batch-norm that the file still has."""
        return next((layer.norm.eps for layer in self.layers if layer.norm is not None), None)


def library(name: str) -> Any:
    """A library that only the importer needs.

    Raises:
        OSError: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as err:
        raise OSError(
            f"reading this file needs the library {name.partition('.')[0]} ({err}); "
            "run: pip install tflite flatbuffers h5py"
        ) from err


def run_directly(
    source: Source, strides: tuple[int, ...], images: Tensor, on_convolution: OnConvolution = None
) -> Tensor:
    """The network computed from the file's own numbers, layer by layer, with no module of ours.

    Args:
        source: the file's content.
        strides: of its layers.
        images: normalised as the network wants them.
        on_convolution: called with each layer's number and output before bias and batch-norm, which is lent.

    Shape:
        images: (B, 3, H, W)
        returns: (B, K) logits, or (B, C) pooled features without a classifier.
    """
    *_, last = maps_directly(source, strides, images, on_convolution)
    pooled = last.mean(dim=(2, 3))
    if source.classifier is None:
        return pooled
    weight, bias = (item.to(last.dtype) for item in source.classifier)
    return pooled @ weight.T + bias


def maps_directly(
    source: Source, strides: tuple[int, ...], images: Tensor, on_convolution: OnConvolution = None
) -> Iterator[Tensor]:
    """The map behind each layer in turn; see :func:`run_directly`."""
    x = images
    for number, (layer, stride) in enumerate(zip(source.layers, strides, strict=True)):
        weight = layer.weight.to(x.dtype)
        groups = x.shape[1] // weight.shape[1]
        y = F.conv2d(_pad(x, weight.shape[-1], stride, source.padding), weight, stride=stride, groups=groups)
        if on_convolution is not None:
            on_convolution(number, y)
        if layer.norm is not None:
            n = layer.norm
            y.sub_(_column(n.mean, y)).div_((_column(n.var, y) + n.eps).sqrt())
            y.mul_(_column(n.scale, y)).add_(_column(n.shift, y))
        if layer.bias is not None:
            y.add_(_column(layer.bias, y))
        x = y.clamp_(0, 6 if source.activation == "relu6" else None)
        yield x


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).view(1, -1, 1, 1)


def _pad(x: Tensor, kernel: int, stride: int, padding: Padding) -> Tensor:
    """One pixel on each side; TensorFlow's SAME at stride 2 and an even size: right and bottom only."""
    if kernel == 1:
        return x
    sides = []
    for size in (x.shape[3], x.shape[2]):
        late_only = padding == "same" and stride == 2 and size % 2 == 0
        sides += [0, 1] if late_only else [1, 1]
    return F.pad(x, sides)


def padding_of(pads: Any, where: str, *, same: bool, kernel: int, stride: int) -> Padding | None:
    """How a convolution of TensorFlow is padded; None where both kinds pad alike.

    Args:
        pads: of a layer of its own before it, [[0, 0], [top, bottom], [left, right], [0, 0]]; or None.
        where: file and layer, for the message.
        same: whether its own padding is SAME.
        kernel: side in pixels.
        stride: of it.

    Raises:
        RefusedError: it is padded in neither way.
    """
    if kernel == 1 and pads is None:
        return None
    if same and pads is None:
        return "same" if stride > 1 else None
    if not same and pads == [[0, 0], [1, 1], [1, 1], [0, 0]]:
        return "symmetric" if stride > 1 else None
    if not same and pads == [[0, 0], [0, 1], [0, 1], [0, 0]] and stride == 2:
        return "same"  # Keras pads so itself; at even sizes it is SAME
    raise RefusedError(f"{where} is padded by {pads}, which no MobileNetV1 here is")


def padding_of_all(layers: Iterable[Layer], path: object) -> Padding:
    """The one padding of a network's layers; RefusedError where they have both."""
    results = {layer.padding for layer in layers if layer.padding}
    if len(results) > 1:
        raise RefusedError(f"{path} pads some layers as TensorFlow and some as PyTorch do")
    return results.pop() if results else "same"


def as_tensor(values: Any) -> Tensor:
    """A float32 tensor of its own from an array of any layout."""
    return torch.as_tensor(values).to(torch.float32).contiguous().clone()
