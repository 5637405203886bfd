"""Readers of what lies beside weights and photos: teachers, labels, shards, sidecars."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from importing_support import folded, trained, with_background, write_float
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from ssd_file_support import network as ssd_network
from ssd_file_support import write_ssd
from tfjs_writer import mobilenet

from apps.attributes.teachers import load_oracle
from apps.faces.people.xmp import Frame, Region, Sidecar
from apps.faces.teachers import open_teacher
from apps.zoo.convert.detector import find_columns
from apps.zoo.convert.importer import read_source
from apps.zoo.convert.names import class_line
from apps.zoo.convert.network import recognise
from apps.zoo.convert.source import Source
from datasets.geo.tracks import read_gpx
from fuzz.mutators import of_bytes, of_text
from fuzz.runner import Reader, below
from fuzz.samples import text

SIDE = 32


def of_graph(data: bytes, rng: random.Random) -> bytes:
    """A network with another shape, an operator or a constant changed, or its bytes."""
    if rng.random() < 0.5:
        return of_bytes(data, rng)
    model = onnx.load_from_string(data)
    graph, node = model.graph, rng.choice(model.graph.node)
    match rng.randrange(6):
        case 0:
            dims = rng.choice((*graph.input, *graph.output)).type.tensor_type.shape.dim
            dim = rng.choice(dims)
            dim.dim_value = rng.choice((0, 1, -1, 2, 5, 2**20, 2**31, 2**62))
        case 1:
            node.op_type = rng.choice(("Add", "Relu", "Identity", "Loop", "Shape", "Cast", "Nothing", ""))
        case 2:
            values = numpy_helper.to_array(graph.initializer[0]).copy()
            values.flat[0] = rng.choice((np.nan, np.inf, 1e38))
            graph.initializer[0].CopyFrom(numpy_helper.from_array(values, graph.initializer[0].name))
        case 3:
            kind = rng.choice((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING, TensorProto.UINT8))
            rng.choice((*graph.input, *graph.output)).type.tensor_type.elem_type = kind
        case 4:
            constant = graph.initializer[0]
            constant.dims[0] = rng.choice((0, -1, 2**40, 7))
        case _:
            place = rng.choice(("../../etc/passwd", "/dev/zero", "x.bin", ""))
            constant = graph.initializer[0]
            constant.ClearField("raw_data")
            constant.data_location = TensorProto.EXTERNAL
            entry = constant.external_data.add()
            entry.key, entry.value = "location", place
    return bytes(model.SerializeToString())


def _network(columns: int) -> bytes:
    """Images (B, 3, S, S) to (B, columns) by the mean of each colour and a matrix."""
    shapes = {"images": ["batch", 3, SIDE, SIDE], "answers": ["batch", columns]}
    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )
    matrix = np.random.default_rng(0).normal(size=(3, columns)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["answers"]),
    ]
    graph = helper.make_graph(nodes, "g", [given], [made], [numpy_helper.from_array(matrix, "matrix")])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def _teachers(root: Path) -> Iterator[Reader]:
    images = torch.rand(2, 3, SIDE, SIDE)
    crops = [Image.new("RGB", (SIDE, SIDE), "red")] * 2

    def attributes(path: Path) -> object:
        return load_oracle(str(path), ["A", "B"]).answers(images)

    def faces(path: Path) -> object:
        side, answer = open_teacher(str(path))
        return answer([crop.resize((side, side)) for crop in crops])

    yield below("attribute teacher .onnx", root / "attributes.onnx", [_network(2)], attributes, of_graph)
    yield below("face teacher .onnx", root / "faces.onnx", [_network(8)], faces, of_graph)


def _labels(root: Path) -> Iterator[Reader]:
    root.mkdir(parents=True)
    lite = write_float(root / "net.tflite", trained(0.05, classes=4))
    source = read_source(lite)
    names = text("background", "cat", "dog", "red fox", "é")
    yield below(
        "labels", root / "labels.txt", [names], lambda path: class_line(source, path, None), of_text
    )
    ssd = read_source(write_ssd(root / "ssd.tflite", ssd_network()))
    columns = text("background", *(f"class {n}" for n in range(1, _columns(ssd))))
    yield below(
        "labels of a detector", root / "columns.txt", [columns], lambda path: find_columns(ssd, path), of_text
    )


def _columns(source: Source) -> int:
    assert source.detector is not None
    return source.detector.columns


def _shards(root: Path) -> Iterator[Reader]:
    root.mkdir(parents=True)
    network = trained(0.05)
    page = mobilenet(folded(network), with_background(network), stored="uint8").write(root / "model.json")
    shard = next(path for path in sorted(root.iterdir()) if path != page)

    def read(_: Path) -> object:
        return recognise(read_source(page), None)

    yield Reader("tfjs shard", shard, [shard.read_bytes()], read, of_bytes)


def _sidecars(root: Path) -> Iterator[Reader]:
    frame, sidecar = Frame(24, 24, 6), Sidecar()
    sidecar.put([Region((0.1, 0.1, 0.5, 0.5), "Ann"), Region((0.6, 0.6, 0.9, 0.9), None)], frame)

    def read(path: Path) -> object:
        try:
            read_back = Sidecar.read(path)
            regions = read_back.regions(frame)
            read_back.put([Region((0.1, 0.1, 0.5, 0.5), "Bob")], frame)
        except ValueError as err:  # the list of refused sidecars names the file beside the reason
            if str(err).startswith("it ") and "\n" not in str(err):
                return err
            raise
        return regions, read_back.to_bytes()

    yield below("XMP sidecar", root / "photo.jpg.xmp", [sidecar.to_bytes()], read, of_text)


def _tracks(root: Path) -> Iterator[Reader]:
    gpx = (
        '<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
        '<trkpt lat="52.5" lon="13.4"><time>2026-05-01T10:00:00Z</time></trkpt>'
        '<trkpt lat="-33.9" lon="-70.7"><time>2026-05-01T12:00:00+02:00</time></trkpt></trkseg></trk></gpx>'
    )
    yield below("GPX track", root / "way.gpx", [gpx.encode()], read_gpx, of_text)


def readers(root: Path) -> Iterator[Reader]:
    """All of them, their files below a folder."""
    shutil.rmtree(root, ignore_errors=True)
    for make in (_teachers, _labels, _shards, _sidecars, _tracks):
        yield from make(root / make.__name__.strip("_"))
