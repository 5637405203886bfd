"""TFLite by LiteRT's converter, in fp32 or in int8 a channel with ranges from the user's photos."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.spec import INPUT
from apps.engine.inference.engines import Engine
from apps.engine.inference.graph.model import Plan
from apps.engine.inference.mobile.files import given_outputs
from apps.export.mobile.network import Named, converted, example, library, mobile_network, silent
from apps.export.quantise import readable
from datasets.outside import full_disk_named

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
SIGNATURE = "serving_default"


def tflite_model(made: Plan) -> bytes:
    """The plan in fp32, for one photo at a time; input and outputs have the names that the plan gives.

    Raises:
        ImportError: LiteRT's converter is not installed.
        ValueError: it cannot convert the network.
    """
    litert = library("litert_torch", "tflite", "litert-torch")
    network = Named(mobile_network(made), tuple(given_outputs(made.spec.heads))).eval()
    try:
        with silent(), tempfile.TemporaryDirectory() as folder:
            program = litert.convert(network, sample_kwargs={INPUT: example(made)})
            path = Path(folder) / "model.tflite"
            with full_disk_named(path):
                program.export(str(path))
            return path.read_bytes()
    except OSError:
        raise
    except Exception as err:  # the converter's errors are of many classes
        raise converted("tflite", err) from err


def quantised_tflite(
    content: bytes, model: Engine, photos: list[Path], say: Callable[[str], None] = lambda _: None
) -> bytes:
    """The model in int8: all layers in whole numbers, weights 8 bits with a scale a channel.

    What stands behind the last layer, such as boxes in pixels, stays in fp32, and so do the outputs.

    Args:
        content: of the file in fp32.
        model: reads photos as the file wants them.
        photos: to take the ranges of activations from.
        say: takes a line of words on each photo that cannot be read.

    Raises:
        ImportError: the quantiser is not installed.
        ValueError: no photo can be read, or the model cannot be quantised.
    """
    quantizer = library("ai_edge_quantizer.quantizer", "tflite", "ai-edge-quantizer")
    types = library("ai_edge_quantizer.qtyping", "tflite", "ai-edge-quantizer")
    good = readable(model, photos, say)
    operations, none = types.TFLOperationName, "no_quantize"
    try:
        with silent():
            work = quantizer.Quantizer(bytearray(content))
            work.add_static_config(".*", operations.ALL_SUPPORTED, 8, 8)
            work.update_quantization_recipe(".*", operations.OUTPUT, algorithm_key=none)
            for name in tail_of(content):
                regex = f"^{re.escape(name)};?$"
                work.update_quantization_recipe(regex, operations.ALL_SUPPORTED, algorithm_key=none)
            first = work.calibrate({SIGNATURE: [{INPUT: model.photo(good[0])}]}, num_threads=1)
            ranges = whole_ranges(content, first, (model.photo(path) for path in good))
            made = work.quantize(ranges, enable_progress_report=False)
            return whole_numbers_in(bytes(made.quantized_model))
    except Exception as err:  # the quantiser's errors are of many classes
        raise converted("tflite", err) from err


def whole_ranges(content: bytes, first: dict[str, Any], photos: Iterable[Any]) -> dict[str, Any]:
    """The least and the greatest value of every tensor over all photos.

    The quantiser's own ranges are moving averages, which cut off the greatest logits: at 0.25-128 a third of
    the right answers of 1000 classes were lost so.

    Args:
        content: of the file in fp32.
        first: the quantiser's ranges of one photo, whose form is kept.
        photos: (1, ...) uint8 each.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    network = Interpreter(
        model_content=content, num_threads=1, experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    network.allocate_tensors()
    (given,) = network.get_input_details()
    places = {item["name"]: item["index"] for item in network.get_tensor_details()}
    known = {name: places[name] for name, values in first.items() if values and name in places}
    least, most = dict.fromkeys(known, np.inf), dict.fromkeys(known, -np.inf)
    for photo in photos:
        network.set_tensor(given["index"], photo)
        network.invoke()
        for name, place in known.items():
            values = network.get_tensor(place)
            least[name], most[name] = min(least[name], values.min()), max(most[name], values.max())
    result = dict(first)
    for name in known:
        if np.size(first[name]["min"]) == 1:  # those of weights are a channel's
            ends = {"min": least[name], "max": most[name]}
            result[name] = first[name] | {
                end: np.full_like(first[name][end], value) for end, value in ends.items()
            }
    return result


def graph_of(content: bytes) -> tuple[Any, Any, list[str]]:
    """A model as LiteRT's own tables, its one graph, and the names of the graph's operators."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    known = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    names = [known[code.builtinCode] for code in model.operatorCodes]
    graph = model.subgraphs[0]
    return model, graph, [names[node.opcodeIndex] for node in graph.operators]


def tail_of(content: bytes) -> list[str]:
    """Names of what the operators behind the last layer on the way to an output give: of a classifier none.

    As :func:`apps.export.tail.tail` of an ONNX graph.
    """
    _, graph, names = graph_of(content)
    makers = {place: at for at, node in enumerate(graph.operators) for place in node.outputs}
    waiting, result = list(graph.outputs), []
    seen: set[int] = set()
    while waiting:
        at = makers.get(waiting.pop())
        if at is None or at in seen or names[at] in LAYERS:
            continue
        seen.add(at)
        node = graph.operators[at]
        result += [graph.tensors[place].name.decode() for place in node.outputs]
        waiting += list(node.inputs)
    return result


def whole_numbers_in(content: bytes) -> bytes:
    """The model with its bytes of pixels made int8 at once, not by way of fp32.

    A CAST to fp32 with a QUANTIZE behind it becomes that QUANTIZE alone: pixels are bytes of scale 1.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, names = graph_of(content)
    cast = next((at for at, name in enumerate(names) if name == "CAST"), None)
    if cast is None:
        return content
    made = graph.operators[cast].outputs[0]
    users = [at for at, node in enumerate(graph.operators) if made in node.inputs]
    if [names[at] for at in users] != ["QUANTIZE"]:
        return content
    source = graph.operators[cast].inputs[0]
    graph.operators[users[0]].inputs = [source]
    for place in {source, *graph.inputs}:
        scale = schema.QuantizationParametersT()
        scale.scale, scale.zeroPoint = [1.0], [0]
        graph.tensors[place].quantization = scale
    graph.operators = [node for at, node in enumerate(graph.operators) if at != cast]
    for buffer in model.buffers:
        if buffer.offset > 1:  # the quantiser puts large weights behind the tables
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
