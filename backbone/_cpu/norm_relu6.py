"""Batch-norm and ReLU6 in a single step, which keeps one map for the backward where PyTorch keeps three."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from backbone._cpu import kernels


class StatsReducer(Protocol):
    """How processes that share a batch put the statistics of a batch-norm together."""

    def moments(self, mean: Tensor, variance: Tensor, count: float) -> tuple[Tensor, Tensor, float]:
        """Mean, population variance and count a channel over all processes, of those of this process."""

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""


def can_fuse(norm: nn.BatchNorm2d, x: Tensor, reducer: StatsReducer | None) -> bool:
    """Whether :func:`norm_relu6` gives what ``relu6(norm(x))`` does.

    It wants a scale and statistics in float32, a momentum, and more than one value a channel; with a reducer,
    which counts the values of all processes, the compiled kernels.
    """
    ordinary = (
        norm.affine and norm.running_mean is not None and norm.momentum is not None
        and norm.weight.dtype == torch.float32
    )
    if not ordinary:
        return False
    return x.numel() > x.shape[1] if reducer is None else kernels.usable(x)


def norm_relu6(norm: nn.BatchNorm2d, x: Tensor, reducer: StatsReducer | None = None) -> Tensor:
    """``relu6(norm(x))``, with the module's statistics, momentum and mode; see :func:`can_fuse`.

    Shape:
        x: (B, C, H, W)
        returns: (B, C, H, W)
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    result: Tensor = _NormReLU6.apply(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.training, norm.momentum,
        norm.eps, reducer,
    )
    return result


class _NormReLU6(torch.autograd.Function):
    """By the kernels where they are there, else by PyTorch's operators."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        training: bool, momentum: float, eps: float, reducer: StatsReducer | None,
    ) -> Tensor:
        """Normalise, move the running statistics in training, cut off at 0 and 6."""
        ctx.training, ctx.eps, ctx.by_kernel = training, eps, kernels.usable(x)
        ctx.reducer, ctx.count = reducer, x.numel() // x.shape[1]
        if ctx.by_kernel:
            if training:
                mean, variance, count = moments(x)
                if reducer is not None:
                    mean, variance, count = reducer.moments(mean.float(), variance.float(), count)
                ctx.count = count
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((variance * (count / (count - 1))).to(running_var.dtype), momentum)
            else:
                mean, variance = running_mean.double(), running_var.double()
            inverse = (variance + eps).rsqrt()
            scale = (inverse * weight).float()
            shift = (bias - mean * inverse * weight).float()
            ctx.save_for_backward(x, weight, mean, inverse, scale, shift)
            return kernels.norm_apply(x, scale, shift)
        y, mean, inverse = torch.native_batch_norm(
            x, weight, bias, running_mean, running_var, training, momentum, eps
        )
        y.clamp_(0, 6)
        kept = () if training else (running_mean.clone(), running_var.clone())  # they may move before
        ctx.save_for_backward(x, weight, mean, inverse, y, *kept)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the maps, the scale and the shift."""
        x, weight, mean, inverse, *rest = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        if ctx.by_kernel:
            gradients = _gradients_by_kernel(
                x, weight, mean, inverse, rest[0], rest[1], gradient, training=ctx.training, count=ctx.count,
                reducer=ctx.reducer,
            )
        else:
            y, *running = rest
            gradients = torch.ops.aten.native_batch_norm_backward(
                torch.ops.aten.hardtanh_backward(gradient, y, 0, 6), x, weight, *(running or (None, None)),
                mean, inverse, ctx.training, ctx.eps, [True, True, True],
            )
        return *gradients, None, None, None, None, None, None


def _gradients_by_kernel(
    x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, scale: Tensor, shift: Tensor, gradient: Tensor,
    *, training: bool, count: float, reducer: StatsReducer | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the maps, and of the scale and the shift by this process's maps alone.

    Source: Ioffe and Szegedy 2015, section 3.
    """
    centre = mean.float()
    (plain, centred), to_x = kernels.norm_grad_sums(
        x, gradient, scale, shift, centre, fixed_stats=not training
    )
    centred = centred + plain * (centre.double() - mean)  # the kernel's mean is rounded to float
    if to_x is None:
        total_plain, total_centred = plain, centred
        if reducer is not None:
            sums = reducer.sum(torch.cat([plain, centred * inverse]).float())
            total_plain, scaled = sums.double().chunk(2)
            total_centred = scaled / inverse
        slope = -scale.double() * inverse.square() * total_centred / count
        offset = -scale.double() * total_plain / count + slope * (centre.double() - mean)
        to_x = kernels.norm_grad_apply(x, gradient, scale, shift, centre, slope.float(), offset.float())
    return to_x, (centred * inverse).to(weight.dtype), plain.to(weight.dtype)


def moments(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean and population variance of each channel in double precision, and the pixels they are of.

    The sums are of differences from the first pixel, so that a mean far from 0 costs no precision.
    """
    pilot = x[0, :, 0, 0].float().contiguous()
    count = x.numel() // x.shape[1]
    first, second = kernels.norm_sums(x, pilot) / count
    return first + pilot, (second - first.square()).clamp_(min=0), count
