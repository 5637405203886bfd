"""Batch-norm and ReLU6 in one step, which keeps one map for the backward where PyTorch keeps three."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from backbone._cpu import kernels
from backbone._cpu.dispatch import learning


class Across(Protocol):
    """How a batch-norm that several processes share puts their numbers together (its ``across``)."""

    def moments(self, mean: Tensor, variance: Tensor, count: float) -> tuple[Tensor, Tensor, float]:
        """Mean, population variance and count a channel over all processes, of those of this one."""

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""


def norm_relu6(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """``relu6(norm(x))``, with the module's statistics, momentum and mode.

    Shape:
        x: (B, C, H, W)
        returns: (B, C, H, W)
    """
    across: Across | None = getattr(norm, "across", None) if norm.training else None
    alone = across is None and x.numel() > x.shape[1]
    if not (learning(x) and _plain(norm) and (alone or (across is not None and kernels.usable(x)))):
        return F.relu6(norm(x), inplace=True)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    result: Tensor = _NormReLU6.apply(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.training, norm.momentum,
        norm.eps, across,
    )
    return result


def _plain(norm: nn.BatchNorm2d) -> bool:
    """An ordinary batch-norm in float, which nobody has hooked."""
    return (
        (type(norm) is nn.BatchNorm2d or hasattr(norm, "across")) and norm.affine and norm.track_running_stats
        and norm.momentum is not None and norm.weight.dtype == torch.float32
        and not (norm._forward_hooks or norm._forward_pre_hooks or norm._backward_hooks
                 or norm._backward_pre_hooks)
    )


class _NormReLU6(torch.autograd.Function):
    """By the kernels where they are there, else by PyTorch's operators."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        training: bool, momentum: float, eps: float, across: Across | None,
    ) -> Tensor:
        """Normalise, move the running statistics in training, cut off at 0 and 6."""
        ctx.how, ctx.by_kernel = (training, eps), kernels.usable(x)
        ctx.across, ctx.count = across, x.numel() // x.shape[1]
        if ctx.by_kernel:
            if training:
                mean, variance, count = moments(x)
                if across is not None:
                    mean, variance, count = across.moments(mean.float(), variance.float(), count)
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
        training, eps = ctx.how
        x, weight, mean, inverse, *rest = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        if ctx.by_kernel:
            found = _by_kernel(
                x, weight, mean, inverse, rest[0], rest[1], gradient, training=training, count=ctx.count,
                across=ctx.across,
            )
        else:
            y, *running = rest
            found = torch.ops.aten.native_batch_norm_backward(
                torch.ops.aten.hardtanh_backward(gradient, y, 0, 6), x, weight, *(running or (None, None)),
                mean, inverse, training, eps, [True, True, True],
            )
        return *found, None, None, None, None, None, None


def _by_kernel(
    x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, scale: Tensor, shift: Tensor, gradient: Tensor,
    *, training: bool, count: float, across: Across | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the maps, and of the scale and the shift by this process's maps alone.

    Source: Ioffe and Szegedy 2015, section 3.
    """
    centre = mean.float()
    (plain, centred), to_x = kernels.norm_grad_sums(x, gradient, scale, shift, centre, still=not training)
    centred = centred + plain * (centre.double() - mean)  # the kernel's mean is rounded to float
    if to_x is None:
        every_plain, every_centred = plain, centred
        if across is not None:
            every_plain, scaled = across.sum(torch.cat([plain, centred * inverse]).float()).double().chunk(2)
            every_centred = scaled / inverse
        slope = -scale.double() * inverse.square() * every_centred / count
        offset = -scale.double() * every_plain / count + slope * (centre.double() - mean)
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
