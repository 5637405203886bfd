"""MobileNetV1 in the graph of a TensorFlow.js model: its convolutions in the order of the network."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apps.zoo.convert.source import Layer, Norm, RefusedError, Source, as_tensor, padding_of, padding_of_all
from apps.zoo.convert.tfjs.heads import read_heads
from apps.zoo.convert.tfjs.manifest import Graph, Node, integers, read_model, text, texts
from apps.zoo.convert.tfjs.ssd import read_face_ssd
from backbone.pretrained import HALF_INPUT

_PASSED = ("Identity", "Reshape", "Squeeze", "Flatten", "Dropout")
_ASSUMED_INPUT = (
    "the file does not say how its input is normalised: taken as (x-0.5)/0.5 of RGB in [0, 1]; else give "
    "--input"
)


def read_tfjs(path: Path) -> Source:
    """The convolutions of a graph-model, or of face-api's SSD, as floats.

    Of 1001 classes the first, background, is dropped.

    Args:
        path: the ``.json`` file; its shards lie beside it.

    Raises:
        RefusedError: it is damaged, or another network.
        OSError: a file cannot be read.
    """
    model = read_model(path)
    if not model.nodes:
        return read_face_ssd(model)
    try:
        return _Walk(Graph(model)).source()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, binascii.Error) as err:
        if isinstance(err, RefusedError):
            raise
        raise RefusedError(f"{path} holds a damaged graph ({type(err).__name__}); get it again") from err


@dataclass
class _Open:
    """A convolution whose followers up to its activation are still being read."""

    layer: Layer
    low: bool = False
    high: bool = False


class _Walk:
    """Along the chain from image to pooling; each handler takes what it knows and refuses the rest."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.path, self.nodes = graph, graph.model.path, graph.nodes
        self.done: list[_Open] = []
        self.pads: list[list[int]] | None = None
        self.handlers = {
            "Conv2D": self._convolution, "_FusedConv2D": self._convolution,
            "DepthwiseConv2dNative": self._convolution, "FusedDepthwiseConv2dNative": self._convolution,
            "BiasAdd": self._add, "Add": self._add, "AddV2": self._add, "Sub": self._add,
            "Mul": self._multiply,
            "FusedBatchNorm": self._norm, "FusedBatchNormV2": self._norm, "FusedBatchNormV3": self._norm,
            "Relu": self._bound, "Relu6": self._bound, "Minimum": self._bound, "Maximum": self._bound,
            "ClipByValue": self._bound, "Pad": self._take_pads, "PadV2": self._take_pads,
        }

    def source(self) -> Source:
        """Walk, and put together what there is."""
        images = [name for name, node in self.nodes.items() if node["op"] == "Placeholder"]
        if len(images) != 1:
            raise RefusedError(f"{self.path} is no MobileNetV1: it has {len(images)} inputs")
        pooled = self._trunk(images[0])
        heads = read_heads(self.graph, pooled)
        layers = tuple(item.layer for item in self.done)
        return Source(
            self.path, f"tfjs-{self.graph.model.stored}", layers, heads.classifier,
            padding_of_all(layers, self.path), resolution=self._side(self.nodes[images[0]]), input=HALF_INPUT,
            declared=heads.declared, extras=heads.extras, input_note=_ASSUMED_INPUT,
        )

    def _trunk(self, current: str) -> str:
        """Follow the chain; returns the node that pools."""
        for _ in self.nodes:
            followers = self.graph.users.get(current, [])
            if len(followers) != 1:
                raise RefusedError(
                    f"{self.path} is no MobileNetV1: {len(followers)} layers follow {current}, no pooling yet"
                )
            current = followers[0]
            node = self.nodes[current]
            if node["op"] in ("Mean", "AvgPool"):
                self._close("the pooling")
                return current
            if node["op"] in _PASSED:
                continue
            if node["op"] not in self.handlers:
                raise RefusedError(
                    f"{self.path} is no MobileNetV1: {current} is {node['op']}, which it does not have"
                )
            self.handlers[node["op"]](current, node)
        raise RefusedError(f"{self.path} is no MobileNetV1: it has no pooling behind its convolutions")

    def _convolution(self, name: str, node: Node) -> None:
        self._close(name)
        weight = self.graph.weight(node, 1)
        depthwise = "Depthwise" in node["op"]
        weight = weight.transpose(2, 3, 0, 1) if depthwise else weight.transpose(3, 2, 0, 1)
        strides = integers(node, "strides")
        dilated = set(integers(node, "dilations")) - {1}
        if dilated or strides[1] != strides[2] or (depthwise and weight.shape[1] != 1):
            raise RefusedError(f"{self.path}: {name} has strides or a shape that MobileNetV1 does not have")
        pads, self.pads = self.pads, None
        layer = Layer(
            name, as_tensor(weight), as_tensor(np.zeros(len(weight), np.float32)), stride=strides[1],
            padding=padding_of(
                pads, f"{self.path}: {name}", same=text(node["attr"]["padding"]) == "SAME",
                kernel=weight.shape[-1], stride=strides[1],
            ),
        )
        self.done.append(_Open(layer))
        fused = texts(node, "fused_ops")
        if "BiasAdd" in fused:
            self._add(name, node, 2)
        for activation in fused[("BiasAdd" in fused) :]:
            self._activate(name, activation)

    def _take_pads(self, _: str, node: Node) -> None:
        self.pads = self.graph.weight(node, 1).astype(int).tolist()

    def _add(self, name: str, node: Node, at: int = 1) -> None:
        layer = self._last(name).layer
        shift = as_tensor(self.graph.channels(node, at))
        shift = -shift if node["op"] == "Sub" else shift
        if layer.norm is not None:
            layer = replace(layer, norm=replace(layer.norm, shift=layer.norm.shift + shift))
        elif layer.bias is not None:
            layer = replace(layer, bias=layer.bias + shift)
        self._last(name).layer = layer

    def _multiply(self, name: str, node: Node) -> None:
        """A scale of each channel, as batch-norm leaves it: it goes into the convolution."""
        layer = self._last(name).layer
        scale = as_tensor(self.graph.channels(node, 1))
        if layer.norm is not None or layer.bias is None:
            raise RefusedError(f"{self.path}: {name} multiplies behind batch-norm, as no MobileNetV1")
        weight = layer.weight * scale.view(-1, 1, 1, 1)
        self._last(name).layer = replace(layer, weight=weight, bias=layer.bias * scale)

    def _norm(self, name: str, node: Node) -> None:
        layer = self._last(name).layer
        scale, shift, mean, var = (as_tensor(self.graph.weight(node, at)) for at in (1, 2, 3, 4))
        if layer.norm is not None:
            raise RefusedError(f"{self.path}: {name} is a second batch-norm of {layer.name}")
        eps = float(node["attr"].get("epsilon", {}).get("f", 1e-4))
        mean = mean if layer.bias is None else mean - layer.bias
        self._last(name).layer = replace(layer, bias=None, norm=Norm(scale, shift, mean, var, eps))

    def _bound(self, name: str, node: Node) -> None:
        limits = {"Minimum": (6.0,), "Maximum": (0.0,), "ClipByValue": (0.0, 6.0)}.get(node["op"], ())
        got = tuple(float(self.graph.weight(node, at)) for at, _ in enumerate(limits, start=1))
        if got != limits:
            raise RefusedError(f"{self.path}: {name} bounds at {got}; the network here has ReLU6, 0 and 6")
        same = {"ClipByValue": "Relu6", "Maximum": "Relu"}
        self._activate(name, same.get(node["op"], str(node["op"])))

    def _activate(self, name: str, activation: str) -> None:
        last = self._last(name)
        if activation not in ("Relu", "Relu6", "Minimum"):
            raise RefusedError(f"{self.path}: {name} has activation {activation}; the network here has ReLU6")
        last.low |= activation != "Minimum"
        last.high |= activation != "Relu"

    def _last(self, name: str) -> _Open:
        if not self.done:
            raise RefusedError(
                f"{self.path}: {name} comes before the first convolution; only graphs without are read"
            )
        return self.done[-1]

    def _close(self, before: str) -> None:
        """The convolution before is followed by a whole ReLU6."""
        if self.done and not (self.done[-1].low and self.done[-1].high):
            raise RefusedError(f"{self.path}: {self.done[-1].layer.name} has no ReLU6 before {before}")

    def _side(self, image: Node) -> int | None:
        sizes = [int(dim.get("size", -1)) for dim in image["attr"]["shape"]["shape"].get("dim", [])]
        sides = set(sizes[1:3])
        if len(sides) > 1:
            raise RefusedError(
                f"{self.path} wants images of {sizes[2]} x {sizes[1]}; square ones are read here"
            )
        return next((side for side in sides if side > 0), None)
