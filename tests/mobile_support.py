"""Small TFLite files made with LiteRT's own tables, for tests without a converter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from apps.engine.core.spec import HeadSpec, ModelSpec

SIDE = 32


def spec_of(head: HeadSpec, **more: Any) -> ModelSpec:
    backbone = {"name": "n", "arch": "mobilenetv1", "source": "s", "licence": "l"}
    values: dict[str, Any] = {
        "fingerprint": "0" * 16, "resolution": SIDE, "crop": 0.875, "layout": "nhwc", "precision": "fp32",
        "backbone": backbone, "heads": (head,), "resize": head.extra.get("resize", "crop"),
    }
    return ModelSpec(**(values | more))


def mean_colours(outputs: Mapping[str, tuple[int, ...]]) -> bytes:
    """A file that gives of one photo, as each output, its mean colours times 3 rows of constants.

    Args:
        outputs: name -> shape behind the photo's axis; their values are ``means @ weights(name, size)``.
    """
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = []
    graph.tensors, graph.operators = [], []
    images = _tensor(model, graph, "images", (1, SIDE, SIDE, 3), schema.TensorType.UINT8)
    floats = _tensor(model, graph, "floats", (1, SIDE, SIDE, 3))
    means = _tensor(model, graph, "means", (1, 3))
    axes = _tensor(model, graph, "axes", (2,), schema.TensorType.INT32, np.array([1, 2], np.int32))
    options = schema.ReducerOptionsT()
    options.keepDims = False
    _operator(model, graph, "CAST", [images], floats)
    _operator(model, graph, "MEAN", [floats, axes], means, ("ReducerOptions", options))
    made = {}
    for name, shape in outputs.items():
        size = int(np.prod(shape))
        matrix = _tensor(model, graph, f"{name}/w", (size, 3), data=weights(name, size).T.copy())
        flat = _tensor(model, graph, f"{name}/flat", (1, size))
        _operator(
            model, graph, "FULLY_CONNECTED", [means, matrix, -1], flat,
            ("FullyConnectedOptions", schema.FullyConnectedOptionsT()),
        )
        to = _tensor(model, graph, f"{name}/to", (len(shape) + 1,), schema.TensorType.INT32,
                     np.array([1, *shape], np.int32))
        made[name] = _tensor(model, graph, name, (1, *shape))
        _operator(model, graph, "RESHAPE", [flat, to], made[name])
    graph.inputs, graph.outputs = [images], list(made.values())
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs = [_named("images", images)]
    signature.outputs = [_named(name, place) for name, place in made.items()]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def weights(name: str, size: int) -> Any:
    """(3, size) constants of an output."""
    return np.random.default_rng(len(name)).normal(0, 0.02, (3, size)).astype(np.float32)


def _named(name: str, place: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, place
    return entry


def _tensor(
    model: Any, graph: Any, name: str, shape: tuple[int, ...], kind: int = schema.TensorType.FLOAT32,
    data: Any = None,
) -> int:
    entry = schema.TensorT()
    entry.name, entry.shape, entry.type, entry.buffer = name, list(shape), kind, 0
    if data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        entry.buffer = len(model.buffers) - 1
    graph.tensors.append(entry)
    return len(graph.tensors) - 1


def _operator(
    model: Any, graph: Any, name: str, inputs: list[int], output: int, options: tuple[str, Any] | None = None
) -> None:
    code, node = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    model.operatorCodes.append(code)
    node.opcodeIndex, node.inputs, node.outputs = len(model.operatorCodes) - 1, inputs, [output]
    if options is not None:
        node.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
        node.builtinOptions = options[1]
    graph.operators.append(node)
