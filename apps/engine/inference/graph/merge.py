"""Exported files of one backbone as one graph, in which what they share is computed once; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from apps.engine.core.spec import INPUT, KEY, ModelSpec
from apps.engine.inference.seal import check_seal


def merged(files: Sequence[Path], names: Sequence[str]) -> tuple[bytes, list[ModelSpec]]:
    """One ONNX model with the heads of all files.

    Two nodes are the same where operator, attributes and inputs are: so the backbones fall together, layer
    by layer from the input on, where their weights are equal.

    Args:
        files: with one head each, and the same input.
        names: of the heads in the result.

    Returns:
        The model, and what each of the files says of itself.

    Raises:
        ValueError: a file is damaged, or not one of ours.
    """
    import onnx

    specs: list[ModelSpec] = []
    graph = onnx.GraphProto(name="heads")
    seen: dict[Any, list[str]] = {}
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        check_seal(file)
        try:
            proto = onnx.load(file, load_external_data=False)
            spec = ModelSpec.from_json({p.key: p.value for p in proto.metadata_props}[KEY], file)
        except Exception as err:  # of protobuf's own kinds
            raise ValueError(f"{file} is damaged, or not one of ours") from err
        specs.append(spec)
        if not number:
            graph.input.extend(proto.graph.input)
        actual = _add(graph, proto.graph, f"{number}/", seen)
        for value, wanted in zip(proto.graph.output, spec.heads[0].named(name).outputs, strict=True):
            graph.node.append(onnx.helper.make_node("Identity", [actual[value.name]], [wanted]))
            value.name = wanted
            graph.output.append(value)
    heads = tuple(spec.heads[0].named(name) for spec, name in zip(specs, names, strict=True))
    model = onnx.helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    onnx.helper.set_model_props(model, {KEY: replace(specs[0], heads=heads).to_json()})
    return model.SerializeToString(), specs


def _add(graph: Any, other: Any, prefix: str, seen: dict[Any, list[str]]) -> dict[str, str]:
    """Add what a graph has of its own; returns the names of all its values in the result."""
    actual = {INPUT: INPUT, "": ""}
    for tensor in other.initializer:
        name, tensor.name = tensor.name, ""
        content = sha256(tensor.SerializeToString()).hexdigest()
        if content not in seen:
            seen[content] = [prefix + name]
            tensor.name = prefix + name
            graph.initializer.append(tensor)
        (actual[name],) = seen[content]
    for node in other.node:
        outputs = list(node.output)
        inputs = [actual[name] for name in node.input]
        settings = tuple(sorted(item.SerializeToString() for item in node.attribute))
        key = node.op_type, node.domain, settings, tuple(inputs), len(outputs)
        if key not in seen:
            seen[key] = [prefix + name for name in outputs]
            node.name = prefix + node.name
            node.input[:], node.output[:] = inputs, seen[key]
            graph.node.append(node)
        actual |= dict(zip(outputs, seen[key], strict=True))
    return actual
