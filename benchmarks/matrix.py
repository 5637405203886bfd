"""The machine's peak as a side of the comparison: a product of two matrices."""

from __future__ import annotations

from itertools import repeat

import torch

from benchmarks.gate import Gate
from benchmarks.rounds import Side

PRODUCT, PRODUCTS = 1024, 4  # rows and columns of a matrix, and products in a step
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def matrix_product(gate: Gate, side: Side) -> None:
    """Products of square matrices; the work is told in GFLOP."""
    kind = TYPES[side.options.get("precision", "fp32")]
    a, b = (torch.randn(PRODUCT, PRODUCT).to(kind) for _ in range(2))
    work = PRODUCTS * 2 * PRODUCT**3 / 1e9
    gate.say({"threads": torch.get_num_threads()})
    for _ in gate.through(repeat(None), lambda _: work):
        for _ in range(PRODUCTS):
            torch.mm(a, b)
