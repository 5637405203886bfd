"""Batch-norm over the batch of all processes, on any backend; ``torch.nn.SyncBatchNorm`` wants GPUs."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from backbone._cpu.layers import BatchNormReLU6


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Make every batch-norm of a model take its statistics over the processes; parameters and names stay.

    In evaluation mode, without a process group, or with one process, it is plain batch-norm. Every
    process must run the same layers in the same order; their batches may differ in size, and one may be
    empty. Call it before DistributedDataParallel, which then need not broadcast buffers: they are
    the same everywhere.

    Returns:
        The same model, changed in place (a lone batch-norm is changed too).

    Raises:
        ValueError: a kind of batch-norm whose forward is not known, which would go on counting alone.
    """
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, (nn.SyncBatchNorm, *GLOBAL.values())):
            continue
        if type(module) not in GLOBAL:
            raise ValueError(
                f"batch-norm {name!r} is a {type(module).__name__}, which cannot be synchronised; "
                f"only {', '.join(item.__name__ for item in GLOBAL)} can"
            )
        module.__class__ = GLOBAL[type(module)]  # in place: hooks, parameters and names stay
    return model


class Processes:
    """How the processes put their numbers together; the ``StatsReducer`` of ``backbone._cpu.norm_relu6``."""

    def moments(self, mean: Tensor, variance: Tensor, count: float) -> tuple[Tensor, Tensor, float]:
        """Mean, biased variance and count over all processes, put together without cancellation.

        Source: Chan, Golub and LeVeque 1979, the pairwise update, here for all processes at once.
        """
        custom = torch.cat([mean, variance, mean.new_tensor([count])])
        parts = [torch.empty_like(custom) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, custom)
        table, channels = torch.stack(parts).double(), len(mean)
        means, variances, counts = table[:, :channels], table[:, channels:-1], table[:, -1:]
        total = float(counts.sum())
        if total < 2:
            raise ValueError(
                f"batch-norm needs 2 values a channel or more over all processes, got {total:g}"
            )
        share = counts / total
        middle = (share * means).sum(0)
        return middle, (share * (variances + (means - middle) ** 2)).sum(0), total

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        dist.all_reduce(values)
        return values


class _GlobalStatistics(_BatchNorm):
    """The forward that the layers below share; all else is PyTorch's batch-norm."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if not self.training or not _many_processes():
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        output, mean, variance, count = _normalise(input, self.weight, self.bias, self.eps)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            step = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), step)
            unbiased = variance * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), step)
        return output


class GlobalBatchNorm1d(_GlobalStatistics, nn.BatchNorm1d):
    """``BatchNorm1d`` over all processes."""


class GlobalBatchNorm2d(_GlobalStatistics, nn.BatchNorm2d):
    """``BatchNorm2d`` over all processes."""


class GlobalBatchNorm3d(_GlobalStatistics, nn.BatchNorm3d):
    """``BatchNorm3d`` over all processes."""


class GlobalBatchNormAct2d(GlobalBatchNorm2d):
    """timm's batch-norm with its activation, over all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        drop: Any = self.drop
        activation: Any = self.act
        output: Tensor = activation(drop(super().forward(input)))
        return output


class GlobalBatchNormReLU6(BatchNormReLU6, GlobalBatchNorm2d):
    """Batch-norm with ReLU6 by the kernels of ``backbone``, over all processes."""

    @property
    def stats_reducer(self) -> Processes | None:  # type: ignore[override]
        """The other processes, where there are any."""
        return Processes() if _many_processes() else None


GLOBAL: dict[type[_BatchNorm], type[_BatchNorm]] = {
    nn.BatchNorm1d: GlobalBatchNorm1d, nn.BatchNorm2d: GlobalBatchNorm2d, nn.BatchNorm3d: GlobalBatchNorm3d,
    BatchNormAct2d: GlobalBatchNormAct2d, BatchNormReLU6: GlobalBatchNormReLU6,
}


def _many_processes() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _normalise(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Normalised output; mean, biased variance and number of values a channel, over all processes."""
    mean, variance, count = _statistics(x.detach())
    output: Tensor = _Normalise.apply(x, weight, bias, mean, variance, count, eps)
    return output, mean, variance, count


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean, biased variance and count a channel over all processes; this one's part may be empty."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    wide = _wide(x)
    mean = variance = wide.new_zeros(x.shape[1])
    if x.numel():
        variance, mean = torch.var_mean(wide, dim=axes, correction=0)
    middle, spread, count = Processes().moments(mean, variance, x.numel() / x.shape[1])
    return middle.to(wide.dtype), spread.to(wide.dtype), count


def _wide(x: Tensor) -> Tensor:
    """At least float32: sums in half precision lose the small values."""
    return x if x.dtype == torch.float64 else x.float()


class _Normalise(torch.autograd.Function):
    """Batch-norm with statistics given, whose gradient knows that they depend on every process's input."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor,
        count: float, eps: float,
    ) -> Tensor:
        """Shape: as ``x``."""
        inverse = torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.count = count
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x (the sums over all processes in it), weight and bias (of this process alone)."""
        x, weight, mean, inverse = ctx.saved_tensors
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        centred = _wide(x) - mean.view(shape)
        wide = _wide(grad)
        of_bias = wide.sum(axes)
        of_weight = (wide * centred).sum(axes) * inverse
        sums = torch.cat([of_bias, of_weight])
        dist.all_reduce(sums)
        mean_grad, mean_product = (sums / ctx.count).chunk(2)
        scale = inverse if weight is None else inverse * _wide(weight)
        of_x = wide - mean_grad.view(shape) - centred * (inverse * mean_product).view(shape)
        of_x = of_x * scale.view(shape)
        return (
            of_x.to(x.dtype), of_weight.to(weight.dtype) if weight is not None else None,
            of_bias.to(weight.dtype) if weight is not None else None, None, None, None, None,
        )
