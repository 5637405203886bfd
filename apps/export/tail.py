"""What stands between a graph's last layers and its outputs: decoding, which stays in full precision."""

from __future__ import annotations

from typing import Any

LAYERS = ("Conv", "Gemm", "MatMul")


def tail(graph: Any) -> list[str]:
    """Names of the nodes behind the last layer on the way to an output: of a classifier none.

    Boxes in pixels and probabilities of many classes have ranges that 8 bits would make coarse.

    Args:
        graph: an ``onnx.GraphProto`` of which every node has a name.
    """
    makers = {name: node for node in graph.node for name in node.output}
    waiting, result = [value.name for value in graph.output], {}
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.op_type not in LAYERS and node.name not in result:
            result[node.name] = node
            waiting += list(node.input)
    return list(result)
