"""The linear layers behind the pooling of a TensorFlow.js model: a classifier, or heads of another kind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from apps.zoo.convert.source import RefusedError, as_tensor
from apps.zoo.convert.tfjs.manifest import Array, Graph, Node, inputs, texts
from backbone.weights_files import plain_classifier

_PRODUCTS = ("MatMul", "_FusedMatMul", "Conv2D", "_FusedConv2D")
_SUMS = ("BiasAdd", "Add", "AddV2")
_PASSED = ("Identity", "Reshape", "Squeeze")
_ENDS = ("Relu", "Softmax", "Sigmoid")


@dataclass(frozen=True)
class Heads:
    """What was read.

    Args:
        classifier: (weight (K, C), bias (K,)) of the one linear layer that gives classes.
        extras: without a classifier: ``NAME.weight`` and ``NAME.bias`` of each layer.
        declared: what the metadata say of them.
    """

    classifier: tuple[Tensor, Tensor] | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    declared: tuple[tuple[str, str], ...] = ()


@dataclass
class _Dense:
    """A linear layer, its input and what ends it."""

    name: str
    weight: Array
    bias: Array
    behind: str
    end: str = ""

    @property
    def words(self) -> str:
        """Such as ``feats -> gender_pred(sigmoid)``."""
        return (f"{self.behind} -> " if self.behind else "") + f"{self.name}({self.end or 'linear'})"


def read_heads(graph: Graph, pooled: str) -> Heads:
    """All linear layers that get the pooled features, or what others have made of them.

    Args:
        graph: of the model.
        pooled: name of the node that pools.

    Raises:
        RefusedError: something else follows the pooling.
    """
    dense = _dense_layers(graph, pooled)
    if len(dense) == 1 and dense[0].end in ("", "softmax"):
        weight, bias = plain_classifier(dense[0].weight, dense[0].bias)
        return Heads((as_tensor(weight), as_tensor(bias)))
    if not dense:
        return Heads()
    extras = {f"{item.name}.weight": as_tensor(item.weight) for item in dense}
    extras |= {f"{item.name}.bias": as_tensor(item.bias) for item in dense}
    return Heads(None, extras, (("heads", ", ".join(item.words for item in dense)),))


def _dense_layers(graph: Graph, pooled: str) -> list[_Dense]:
    results: list[_Dense] = []
    owners: dict[str, _Dense | None] = {pooled: None}
    for name, node in graph.nodes.items():
        source = next((source for source in inputs(node) if source in owners), None)
        if source is None:
            continue
        owner = owners[source]
        if node["op"] in _PRODUCTS:
            owner = _dense(graph, name, node, owner)
            results.append(owner)
        elif owner is not None and node["op"] in _SUMS:
            owner.bias = owner.bias + graph.channels(node, 1)
        elif owner is not None and node["op"] in _ENDS:
            owner.end = node["op"].lower()
        elif node["op"] not in (*_PASSED, "Softmax"):
            raise RefusedError(f"{graph.model.path} is no MobileNetV1: {node['op']} follows its pooling")
        owners[name] = owner
    return results


def _dense(graph: Graph, name: str, node: Node, behind: _Dense | None) -> _Dense:
    kernel = graph.weight(node, 1)
    kernel = kernel.reshape(math.prod(kernel.shape[:-1]), kernel.shape[-1])
    attributes: Any = node["attr"]
    kernel = kernel if attributes.get("transpose_b", {}).get("b") else kernel.T
    fused = texts(node, "fused_ops")
    bias = graph.channels(node, 2) if "BiasAdd" in fused else np.zeros(len(kernel), np.float32)
    short = name.partition("/")[0]
    return _Dense(short, kernel, bias, behind.name if behind else "", "relu" if "Relu" in fused else "")
