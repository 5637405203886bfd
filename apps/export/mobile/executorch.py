"""ExecuTorch programs for XNNPACK, in fp32."""

from __future__ import annotations

from typing import Any

import torch

from apps.engine.inference.graph.model import Plan
from apps.export.mobile.network import converted, example, library, mobile_network, silent


def executorch_model(made: Plan) -> bytes:
    """The plan as a program whose layers XNNPACK computes, for one photo of float pixels, 0 to 255.

    Raises:
        ImportError: ExecuTorch is not installed.
        ValueError: it cannot take the network.
    """
    lower = library("executorch.exir", "executorch", "executorch").to_edge_transform_and_lower
    place = "executorch.backends.xnnpack.partition.xnnpack_partitioner"
    partitioner = library(place, "executorch", "executorch").XnnpackPartitioner
    try:
        with silent():
            program = torch.export.export(mobile_network(made), (example(made, floats=True),))
            made_program: Any = lower(program, partitioner=[partitioner()]).to_executorch()
            return bytes(made_program.buffer)
    except Exception as err:  # its errors are of many classes
        raise converted("executorch", err) from err
