"""TensorFlow.js models: manifest, shards and graph, read and looked up; what they mean is for others."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.zoo.convert.source import RefusedError
from datasets.validation import short

MAX_JSON_BYTES = 64 << 20
STORED = {"float32": "<f4", "int32": "<i4", "bool": "?", "uint8": "u1"}  # as they are in a shard
QUANTISED = {"uint8": "u1", "uint16": "<u2", "float16": "<f2"}

Array = npt.NDArray[Any]
Node = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model of TensorFlow.js.

    Args:
        path: of its manifest.
        nodes: of its graph; empty where the file lists weights alone.
        weights: name -> array, float32 where the file has it quantised.
        stored: how most of the weights are stored: ``float32``, ``float16``, ``uint8`` or ``uint16``.
    """

    path: Path
    nodes: tuple[Node, ...]
    weights: dict[str, Array]
    stored: str


class Graph:
    """The nodes of a model by name, and who uses whom."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes = {str(node["name"]): node for node in model.nodes}
        self.users: dict[str, list[str]] = {}
        for name, node in self.nodes.items():
            for source in inputs(node):
                self.users.setdefault(source, []).append(name)

    def weight(self, node: Node, at: int) -> Array:
        """The constant that is a node's input number ``at``.

        Raises:
            RefusedError: it is none of the weights that the manifest lists.
        """
        name = inputs(node)[at]
        while name not in self.model.weights and self.nodes.get(name, {}).get("op") == "Identity":
            name = inputs(self.nodes[name])[0]
        if name not in self.model.weights:
            raise RefusedError(
                f"{self.model.path}: {node['name']} needs the weights {name}, which are not listed"
            )
        return self.model.weights[name]

    def channels(self, node: Node, at: int) -> Array:
        """The same, one number a channel."""
        return self.weight(node, at).reshape(-1)


def inputs(node: Node) -> list[str]:
    """Names of a node's inputs, without the number of an output and the mark of a control input."""
    return [str(source).removeprefix("^").partition(":")[0] for source in node.get("input") or ()]


def integers(node: Node, key: str) -> list[int]:
    """An attribute that is a list of integers; empty without it."""
    return [int(value) for value in node["attr"].get(key, {}).get("list", {}).get("i", [])]


def text(value: Mapping[str, Any]) -> str:
    """An attribute's text; bytes are written in base64."""
    return base64.b64decode(value["s"]).decode()


def texts(node: Node, key: str) -> list[str]:
    """An attribute that is a list of texts; empty without it."""
    return [text({"s": value}) for value in node["attr"].get(key, {}).get("list", {}).get("s", [])]


def is_tfjs(head: bytes) -> bool:
    """Whether a file begins as JSON; what it holds is looked at when it is read."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") and b"\0" not in head


def read_model(path: Path) -> Model:
    """A graph-model manifest, or a list of weights alone, with its shards from the same folder.

    Args:
        path: the ``.json`` file.

    Raises:
        RefusedError: it is no manifest, or a shard is missing, short, or of a kind that is not known.
        OSError: a file cannot be read.
    """
    content = _json(path)
    listed = isinstance(content, list)
    nodes = () if listed else _nodes(path, content)
    groups = content if listed else content["weightsManifest"]
    weights: dict[str, Array] = {}
    kinds: list[str] = []
    try:
        for group in groups or []:
            entries = group["weights"]
            kinds += [str((entry.get("quantization") or entry)["dtype"]) for entry in entries]
            weights |= _group(path, group["paths"], entries)
    except (TypeError, KeyError, AttributeError) as err:
        raise RefusedError(f"{path} is no manifest of TensorFlow.js: its list of weights is damaged") from err
    if not weights:
        raise RefusedError(f"{path} is no manifest of TensorFlow.js: it lists no weights")
    return Model(path, nodes, weights, max(set(kinds), key=kinds.count))


def _json(path: Path) -> Any:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise RefusedError(f"{path} has {path.stat().st_size} bytes, too many for a manifest")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as err:
        raise RefusedError(f"{path} is not whole JSON ({type(err).__name__}); copy it again") from err
    if not isinstance(content, dict | list):
        raise RefusedError(f"{path} is no manifest of TensorFlow.js")
    return content


def _nodes(path: Path, content: dict[str, Any]) -> tuple[Node, ...]:
    topology = content.get("modelTopology")
    if "weightsManifest" not in content or not isinstance(topology, dict):
        raise RefusedError(
            f"{path} is no manifest of TensorFlow.js: modelTopology or weightsManifest is missing"
        )
    nodes = topology.get("node")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise RefusedError(
            f"{path} is a {content.get('format', 'layers-model')} without a graph; convert it with "
            "tensorflowjs_converter --output_format tfjs_graph_model"
        )
    return tuple(nodes)


def _group(path: Path, shards: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """The weights of one group: its shards are one run of bytes."""
    layouts = [_layout(path, entry) for entry in entries]
    expected = sum(dtype.itemsize * math.prod(shape) for dtype, shape in layouts)
    data = _bytes(path, shards, expected)
    weights: dict[str, Array] = {}
    offset = 0
    for entry, (dtype, shape) in zip(entries, layouts, strict=True):
        raw = np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape)
        weights[str(entry["name"])] = _plain(path, entry, raw)
        offset += raw.nbytes
    return weights


def _bytes(path: Path, shards: Sequence[str], expected: int) -> bytes:
    files: list[Path] = []
    for shard in shards:
        name = PurePosixPath(str(shard))
        if name.is_absolute() or ".." in name.parts or "\\" in str(shard):
            raise RefusedError(f"{path} names a shard outside its folder, {str(shard)!r}")
        file = path.parent / name
        if not file.is_file():
            raise RefusedError(f"{path} needs {file}, which is missing; get it from the same place")
        files.append(file)
    held = sum(file.stat().st_size for file in files)  # a manifest may name one large file many times
    if held != expected:
        raise RefusedError(
            f"{path}: {short(list(map(str, shards)))} hold {held} bytes, the manifest says {expected}; "
            "get them again"
        )
    return b"".join(file.read_bytes() for file in files)


def _layout(path: Path, entry: Mapping[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """How a weight lies in its shard."""
    quantised = entry.get("quantization")
    kind = quantised["dtype"] if quantised else entry["dtype"]
    known = (QUANTISED if quantised else STORED).get(kind)
    shape = tuple(entry["shape"])
    if known is None:
        raise RefusedError(f"{path}: {entry['name']} is stored as {kind}, which is not known here")
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise RefusedError(f"{path}: {entry['name']} has the shape {entry['shape']}")
    return np.dtype(known), shape


def _plain(path: Path, entry: Mapping[str, Any], raw: Array) -> Array:
    """Integers become ``q * scale + min``, half floats floats."""
    quantised = entry.get("quantization")
    if not quantised:
        return raw.copy()  # the bytes of a shard cannot be written to
    values = raw.astype(np.float64)
    if raw.dtype.kind == "u":
        scale, least = quantised.get("scale"), quantised.get("min")
        if not all(isinstance(part, int | float) for part in (scale, least)):
            raise RefusedError(f"{path}: {entry['name']} is quantised without scale and min")
        values = values * scale + least
    return np.rint(values).astype(np.int32) if entry["dtype"] == "int32" else values.astype(np.float32)
