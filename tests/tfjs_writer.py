"""TensorFlow.js graph-models with the real structure; for tests."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from tflite_writer import Array, Folded

ROWS = {"float16": "<f2", "uint8": "u1", "uint16": "<u2", "float32": "<f4", "int32": "<i4"}


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


class Writer:
    """Nodes and weights as they are added; ``write`` makes the manifest and its shards."""

    def __init__(self, stored: str = "float32") -> None:
        self.stored, self.nodes, self.entries, self.data = stored, [], [], b""

    def const(self, name: str, values: Array, *, stored: str | None = None) -> str:
        kind = stored or self.stored
        values = np.asarray(values)
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        if values.dtype.kind == "i":
            entry["dtype"] = kind = "int32"
        if kind in ("uint8", "uint16"):
            least, most = float(values.min()), float(values.max())
            scale = (most - least) / (255 if kind == "uint8" else 65535) or 1.0
            values = np.rint((values - least) / scale)
            entry["quantization"] = {"dtype": kind, "scale": scale, "min": least}
        elif kind == "float16":
            entry["quantization"] = {"dtype": kind, "original_dtype": "float32"}
        self.entries.append(entry)
        self.data += values.astype(ROWS.get(kind, "<f4")).tobytes()
        self.nodes.append({"name": name, "op": "Const", "attr": {}})
        return name

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attributes})
        return name

    def convolution(
        self, name: str, source: str, weight: Array, stride: int, *, fused: tuple[str, ...] = (),
        bias: str = "",
    ) -> str:
        depthwise = weight.shape[1] == 1 and weight.shape[2] == 3
        kernel = self.const(f"{name}/w", weight.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))
        plain = "DepthwiseConv2dNative" if depthwise else "Conv2D"
        return self.node(
            "_FusedConv2D" if fused else plain, name, source, kernel, *([bias] if bias else []),
            strides={"list": {"i": ["1", str(stride), str(stride), "1"]}}, padding={"s": _text("SAME")},
            dilations={"list": {"i": ["1", "1", "1", "1"]}},
            fused_ops={"list": {"s": [_text(op) for op in fused]}},
        )

    def write(self, path: Path, *, shards: int = 2, **changed: Any) -> Path:
        names = [f"{path.stem}-{n}.bin" for n in range(shards)]
        size = -(-len(self.data) // shards)
        for n, name in enumerate(names):
            (path.parent / name).write_bytes(self.data[n * size : (n + 1) * size])
        manifest = {
            "format": "graph-model", "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": names, "weights": self.entries}],
        }
        path.write_text(json.dumps(manifest | changed))
        return path


def mobilenet(layers: Folded, top: tuple[Array, Array], *, stored: str = "float32", size: int = 64) -> Writer:
    """As the converter leaves it: pointwise layers fused, depthwise ones with scale, shift and clip apart."""
    writer = Writer(stored)
    sides = [{"size": str(side)} for side in (-1, size, size, 3)]
    last = writer.node("Placeholder", "image", shape={"shape": {"dim": sides}})
    zero, six = (writer.const(f"bound{n}", np.float32(n), stored="float32") for n in (0, 6))
    for number, (weight, bias, stride) in enumerate(layers):
        name = f"conv_{number}"
        shift = writer.const(f"{name}/b", bias)
        if weight.shape[1] == 1:
            twice = writer.const(f"{name}/scale", np.full(len(bias), 2, np.float32), stored="float32")
            last = writer.convolution(name, last, weight / 2, stride)
            last = writer.node("Mul", f"{name}/mul", last, twice)
            last = writer.node("AddV2", f"{name}/add", last, shift)
            last = writer.node("Relu", f"{name}/relu", last)
            last = writer.node("Minimum", f"{name}/min", last, six)
            last = writer.node("Maximum", f"{name}/max", last, zero)
        else:
            last = writer.convolution(name, last, weight, stride, fused=("BiasAdd", "Relu6"), bias=shift)
    axes = writer.const("axes", np.array([1, 2], np.int32))
    last = writer.node("Mean", "pool", last, axes)
    kernel, bias = writer.const("logits/w", top[0].T), writer.const("logits/b", top[1])
    fused = {"list": {"s": [_text("BiasAdd")]}}
    last = writer.node("_FusedMatMul", "logits/BiasAdd", last, kernel, bias, fused_ops=fused)
    writer.node("Softmax", "probabilities", last)
    return writer
