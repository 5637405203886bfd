"""TFLite files with the real structure, written with the schema's own builders; for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

Array = npt.NDArray[Any]
Folded = list[tuple[Array, Array, int]]  # (weight (O, I, k, k), bias, stride) of each convolution

TYPES = {"f4": tflite.TensorType.FLOAT32, "f2": tflite.TensorType.FLOAT16, "i4": tflite.TensorType.INT32,
         "i1": tflite.TensorType.INT8, "u1": tflite.TensorType.UINT8}  # fmt: skip
OPS = tflite.BuiltinOperator


@dataclass
class Entry:
    """A tensor; without data it is what an operator makes."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "f4"
    data: Array | None = None
    scale: Array = field(default_factory=lambda: np.empty(0, np.float32))
    zero: Array = field(default_factory=lambda: np.empty(0, np.int64))
    axis: int = 0


@dataclass
class Graph:
    """Tensors and operators as they are added; ``write`` makes the file."""

    tensors: list[Entry] = field(default_factory=list)
    operators: list[tuple[tuple[int, str], list[int], list[int], Any]] = field(default_factory=list)
    outputs: list[int] | None = None  # of the file; those of the last operator where there are no others

    def tensor(self, *args: Any, **kwargs: Any) -> int:
        self.tensors.append(Entry(*args, **kwargs))
        return len(self.tensors) - 1

    def operator(self, code: int, inputs: list[int], output: int, options: Any = None) -> int:
        self.operators.append(((code, ""), inputs, [output], options))
        return output

    def custom(self, name: str, inputs: list[int], outputs: list[int], options: bytes = b"") -> None:
        self.operators.append(((OPS.CUSTOM, name), inputs, outputs, options))

    def write(self, path: Path) -> None:
        b = flatbuffers.Builder(1 << 20)
        buffers = [_table(b, "Buffer")]
        tensors = []
        for one in self.tensors:
            number = 0
            if one.data is not None:
                number = len(buffers)
                data = b.CreateNumpyVector(np.frombuffer(one.data.tobytes(), np.uint8))
                buffers.append(_table(b, "Buffer", Data=data))
            tensors.append(_tensor(b, one, number))
        codes = sorted({code for code, *_ in self.operators})
        names = [{"CustomCode": b.CreateString(name)} if name else {} for _, name in codes]
        code_tables = [
            _table(b, "OperatorCode", DeprecatedBuiltinCode=min(c, 127), BuiltinCode=c, Version=1, **named)
            for (c, _), named in zip(codes, names, strict=True)
        ]
        operators = [_operator(b, codes.index(code), *rest) for code, *rest in self.operators]
        graph = _table(
            b, "SubGraph", Tensors=_offsets(b, tensors), Inputs=_ints(b, [0]),
            Outputs=_ints(b, self.outputs or self.operators[-1][2]), Operators=_offsets(b, operators),
        )
        graphs, coded = _offsets(b, [graph]), _offsets(b, code_tables)
        model = _table(
            b, "Model", Version=3, OperatorCodes=coded, Subgraphs=graphs,
            Description=b.CreateString("written by a test"), Buffers=_offsets(b, buffers),
        )
        b.Finish(model, b"TFL3")
        path.write_bytes(bytes(b.Output()))


def _table(b: Any, kind: str, **fields: Any) -> Any:
    getattr(tflite, f"{kind}Start")(b)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(b, value)
    return getattr(tflite, f"{kind}End")(b)


def _ints(b: Any, values: Any) -> Any:
    return b.CreateNumpyVector(np.asarray(values, np.int32))


def _offsets(b: Any, values: list[Any]) -> Any:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependUOffsetTRelative(value)
    return b.EndVector()


def _tensor(b: Any, one: Entry, buffer: int) -> Any:
    name, shape, quantised = b.CreateString(one.name), _ints(b, one.shape), None
    if one.scale.size:
        scale, zero = b.CreateNumpyVector(one.scale), b.CreateNumpyVector(one.zero)
        quantised = _table(
            b, "QuantizationParameters", Scale=scale, ZeroPoint=zero, QuantizedDimension=one.axis
        )
    more = {} if quantised is None else {"Quantization": quantised}
    return _table(b, "Tensor", Shape=shape, Type=TYPES[one.dtype], Buffer=buffer, Name=name, **more)


def _operator(b: Any, code: int, inputs: list[int], outputs: list[int], options: Any) -> Any:
    ins, outs = _ints(b, inputs), _ints(b, outputs)
    more = {}
    if isinstance(options, bytes):
        more["CustomOptions"] = b.CreateNumpyVector(np.frombuffer(options, np.uint8)) if options else 0
    elif options is not None:
        kind, fields = options
        more["BuiltinOptions"] = _table(b, kind, **fields)
        more["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, kind)
    return _table(b, "Operator", OpcodeIndex=code, Inputs=ins, Outputs=outs, **more)


def write_mobilenet(
    path: Path, layers: Folded, classifier: tuple[Array, Array], *, resolution: int, kind: str = "float32",
    activation: int = tflite.ActivationFunctionType.RELU6, extra: int | None = None,
) -> None:
    """A network as TensorFlow exports it: convolutions, pooling, a 1 x 1 convolution, squeeze, softmax.

    Args:
        path: of the file.
        layers: of the trunk.
        classifier: (weight (K, C), bias (K,)).
        resolution: pixels.
        kind: ``float32``; ``float16`` (weights behind DEQUANTIZE); or ``int8``, a scale a channel.
        activation: of every convolution.
        extra: code of an operator that MobileNetV1 does not have, put before the pooling.
    """
    g = Graph()
    dtype = "i1" if kind == "int8" else "f4"
    size = resolution
    x = g.tensor("input", (1, size, size, 3), dtype, **_in_range(kind, 1 / 128, 0))
    for number, (weight, bias, stride) in enumerate(layers):
        size = -(-size // stride)
        depthwise = weight.shape[1] == 1 and number > 0
        laid = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
        w = _weights(g, f"conv{number}/weights", laid, 3 if depthwise else 0, kind)
        b = _bias(g, f"conv{number}/bias", bias, x, w)
        out = g.tensor(
            f"conv{number}", (1, size, size, len(weight)), dtype, **_in_range(kind, 6 / 255, -128)
        )
        fields = {"StrideW": stride, "StrideH": stride, "FusedActivationFunction": activation,
                  "DilationWFactor": 1, "DilationHFactor": 1, "Padding": tflite.Padding.SAME}  # fmt: skip
        name = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        code = OPS.DEPTHWISE_CONV_2D if depthwise else OPS.CONV_2D
        x = g.operator(code, [x, w, b], out, (name, fields | ({"DepthMultiplier": 1} if depthwise else {})))
    if extra is not None:
        x = g.operator(extra, [x, x], g.tensor("extra", g.tensors[x].shape))
    _top(g, x, classifier, size, kind, dtype)
    g.write(path)


def _top(g: Graph, x: int, classifier: tuple[Array, Array], size: int, kind: str, dtype: str) -> None:
    weight, bias = classifier
    pooled = g.tensor("pool", (1, 1, 1, weight.shape[1]), dtype, **_in_range(kind, 6 / 255, -128))
    pool = {"FilterWidth": size, "FilterHeight": size, "StrideW": size, "StrideH": size,
            "Padding": tflite.Padding.VALID}  # fmt: skip
    x = g.operator(OPS.AVERAGE_POOL_2D, [x], pooled, ("Pool2DOptions", pool))
    w = _weights(g, "logits/weights", weight[:, None, None, :], 0, kind)
    b = _bias(g, "logits/bias", bias, x, w)
    one = {"StrideW": 1, "StrideH": 1, "DilationWFactor": 1, "DilationHFactor": 1}
    out = g.tensor("logits", (1, 1, 1, len(weight)), dtype, **_in_range(kind, 0.1, 0))
    x = g.operator(OPS.CONV_2D, [x, w, b], out, ("Conv2DOptions", one))
    out = g.tensor("squeezed", (1, len(weight)), dtype, **_in_range(kind, 0.1, 0))
    x = g.operator(OPS.SQUEEZE, [x], out, ("SqueezeOptions", {}))
    out = g.tensor("probabilities", (1, len(weight)), dtype, **_in_range(kind, 1 / 256, -128))
    g.operator(OPS.SOFTMAX, [x], out, ("SoftmaxOptions", {"Beta": 1.0}))


def _in_range(kind: str, scale: float, zero: int) -> dict[str, Any]:
    if kind != "int8":
        return {}
    return {"scale": np.array([scale], np.float32), "zero": np.array([zero], np.int64)}


def _weights(g: Graph, name: str, values: Array, axis: int, kind: str) -> int:
    if kind == "float32":
        return g.tensor(name, values.shape, data=values.astype("<f4"))
    if kind == "float16":
        half = g.tensor(name, values.shape, "f2", data=values.astype("<f2"))
        return g.operator(OPS.DEQUANTIZE, [half], g.tensor(f"{name}/dequantised", values.shape))
    others = tuple(a for a in range(values.ndim) if a != axis)
    scale = (np.abs(values).max(axis=others) / 127).astype(np.float32)
    along = [1] * values.ndim
    along[axis] = -1
    steps = np.round(values / scale.reshape(along)).astype("i1")
    return g.tensor(name, values.shape, "i1", data=steps, scale=scale, zero=np.zeros(len(scale), np.int64),
                    axis=axis)  # fmt: skip


def _bias(g: Graph, name: str, values: Array, x: int, w: int) -> int:
    """Integers in steps of the input's scale times each weight's."""
    if g.tensors[w].dtype != "i1":
        return g.tensor(name, values.shape, data=values.astype("<f4"))
    scale = (g.tensors[x].scale * g.tensors[w].scale).astype(np.float32)
    steps = np.round(values / scale).astype("<i4")
    return g.tensor(name, values.shape, "i4", data=steps, scale=scale, zero=np.zeros(len(scale), np.int64))
