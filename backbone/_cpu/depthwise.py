"""The depthwise 3x3 convolution with a forward and a backward of its own.

PyTorch's backward is slow for it where it matters here: in bfloat16 at stride 2 it takes a reference path
(a hundred times slower than in float), and TensorFlow's padding costs a copy of the map there and back. Here
the padding is part of the convolution, both gradients are made in one pass by a compiled kernel
(``kernels.py``), and without it bfloat16 gradients are computed in float.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from backbone._cpu import kernels

Pads = tuple[tuple[int, int], tuple[int, int]]

SMALL_MAP = 12  # px; below this the edges are most of the map, and PyTorch's operator is as fast


def depthwise(x: Tensor, weight: Tensor, *, stride: int, dilation: int, pads: Pads) -> Tensor:
    """Convolve each channel with its own 3x3 filter.

    Args:
        x: maps; any floating type.
        weight: one filter a channel, of the type of ``x``.
        stride: 1 or 2.
        dilation: 1 or more; 1 where the stride is 2.
        pads: zero rows before and after the map, then columns.

    Shape:
        x: (B, C, H, W)
        weight: (C, 1, 3, 3)
        returns: (B, C, H', W'), H' = (H + pads - 2 * dilation - 1) // stride + 1.

    Raises:
        ValueError: stride and dilation are not of the above.
    """
    if stride not in (1, 2) or (stride == 2 and dilation != 1):
        raise ValueError(f"expected stride 1, or stride 2 without dilation, got {stride} and {dilation}")
    result: Tensor = _Depthwise.apply(x, weight, stride, dilation, pads)
    return result


class _Depthwise(torch.autograd.Function):
    """Forward and backward by the kernels where they are better, else by PyTorch's operators."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int, pads: Pads) -> Tensor:
        """Keep the maps and the filters."""
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.by_kernel = (stride, dilation, pads), _by_kernel(x, stride)
        out = _out(x.shape[2], pads[0], stride, dilation), _out(x.shape[3], pads[1], stride, dilation)
        if ctx.by_kernel:
            return kernels.depthwise(x, weight, out, stride, dilation, (pads[0][0], pads[1][0]))
        with torch.autocast("cpu", enabled=False):
            padded, rest = _padded(x, pads)
            if not natively(x):
                y = F.conv2d(padded.float(), weight.float(), None, stride, rest, dilation, len(weight))
                return y.to(x.dtype)
            return F.conv2d(padded, weight, None, stride, rest, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """The gradients of the maps and of the filters."""
        x, weight = ctx.saved_tensors
        stride, dilation, pads = ctx.geometry
        if ctx.by_kernel:
            gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
            before = pads[0][0], pads[1][0]
            return *kernels.depthwise_grad(x, gradient, weight, stride, dilation, before), None, None, None
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        return *_by_pytorch(x, weight, gradient, stride, dilation, pads, wanted), None, None, None


def _by_pytorch(
    x: Tensor, weight: Tensor, gradient: Tensor, stride: int, dilation: int, pads: Pads, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """PyTorch's backward, in float where the maps are bfloat16."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    padded, rest = _padded(x.to(dtype), pads)
    to_padded, to_weight, _ = torch.ops.aten.convolution_backward(
        gradient.to(dtype), padded, weight.to(dtype), None, [stride, stride], rest, [dilation, dilation],
        False, [0, 0], len(weight), wanted,
    )
    if to_padded is not None and padded.shape != x.shape:
        (top, _), (left, _) = pads
        to_padded = to_padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return (
        None if to_padded is None else to_padded.to(x.dtype),
        None if to_weight is None else to_weight.to(weight.dtype),
    )


def _padded(x: Tensor, pads: Pads) -> tuple[Tensor, list[int]]:
    """The maps, padded where the operator cannot do it, and what it pads itself."""
    (top, bottom), (left, right) = pads
    if top == bottom and left == right:
        return x, [top, left]
    return F.pad(x, (left, right, top, bottom)), [0, 0]


def _out(size: int, pads: tuple[int, int], stride: int, dilation: int) -> int:
    return (size + sum(pads) - 2 * dilation - 1) // stride + 1


def _by_kernel(x: Tensor, stride: int) -> bool:
    """Whether the compiled kernel is there and is the faster one."""
    small = stride == 1 and x.dtype == torch.float32 and min(x.shape[2:]) < SMALL_MAP
    return not small and kernels.usable(x)


def natively(x: Tensor) -> bool:
    """Whether PyTorch has more than a reference path for this type on this processor."""
    plain = x.dtype != torch.bfloat16 or x.device.type != "cpu"
    return plain or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
