"""Layers that take the place of MobileNetV1's while it trains on a CPU: same parameters, faster gradients."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone._cpu.depthwise import depthwise
from backbone._cpu.norm_relu6 import StatsReducer, can_fuse, norm_relu6
from backbone._cpu.pointwise import pointwise
from backbone.mobilenet import Conv2dSame, FullBlock, MobileNetV1, SeparableBlock, padding_of

DTYPES = (torch.float32, torch.bfloat16)
Model = TypeVar("Model", bound=nn.Module)
Module = TypeVar("Module", bound=nn.Module)


def optimize_for_training(model: Model) -> Model:
    """Swap the layers of every MobileNetV1 in a model for ones that train faster on a CPU.

    Depthwise and pointwise convolutions and batch-norm with ReLU6 get a backward of their own, compiled where
    there is a C compiler. Parameters, buffers, hooks and modes are those of the layers that are replaced, so
    state dicts keep their keys and an optimizer made before goes on working; weights become channels-last.
    Without gradients, on other devices and while tracing, the layers compute what those replaced do. A hook
    on a batch-norm sees its output behind ReLU6; a counter of operators should look at a network that is not
    swapped. Batch-norm with plain ReLU stays as it is. A second call changes nothing, and other networks stay
    as they are.

    Args:
        model: a MobileNetV1, or a module that holds some.

    Returns:
        The same model, changed in place.
    """
    for module in list(model.modules()):
        if isinstance(module, MobileNetV1):
            module.to(memory_format=torch.channels_last)
            module.bn1, module.act1 = _fused(module.bn1, module.act1)
        elif isinstance(module, SeparableBlock):
            module.conv_dw = _depthwise(module.conv_dw)
            module.bn1, module.act1 = _fused(module.bn1, module.act1)
            module.conv_pw = _as(PointwiseConv2d, module.conv_pw)
            module.bn2, module.act2 = _fused(module.bn2, module.act2)
        elif isinstance(module, FullBlock):
            module.bn1, module.act1 = _fused(module.bn1, module.act1)
    return model


class DepthwiseConv2d(nn.Conv2d):
    """The depthwise 3x3 convolution of :func:`backbone._cpu.depthwise.depthwise`."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride))."""
        if not records_gradients(x):
            return super().forward(x)
        return depthwise(
            _autocast(x), _autocast(self.weight), stride=self.stride[0], dilation=self.dilation[0],
            pads=padding_of(self, x),
        )


class DepthwiseConv2dSame(DepthwiseConv2d, Conv2dSame):
    """The same, padded as TensorFlow does."""


class PointwiseConv2d(nn.Conv2d):
    """The pointwise 1x1 convolution of :func:`backbone._cpu.pointwise.pointwise`."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', H, W)."""
        if not records_gradients(x):
            return super().forward(x)
        return pointwise(_autocast(x), _autocast(self.weight))


class BatchNormReLU6(nn.BatchNorm2d):
    """Batch-norm with the ReLU6 behind it.

    ``stats_reducer`` is where several processes that share a batch put their statistics together.
    """

    stats_reducer: StatsReducer | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C, H, W), 0 to 6."""
        reducer = self.stats_reducer if self.training else None
        if records_gradients(input) and can_fuse(self, input, reducer):
            return norm_relu6(self, input, reducer)
        return F.relu6(super().forward(input), inplace=True)


def records_gradients(x: Tensor) -> bool:
    """Whether ``x`` is a channels-last map on a CPU whose gradients are recorded, and not one of a tracer."""
    return (
        torch.is_grad_enabled() and type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu"
        and x.dtype in DTYPES and x.ndim == 4 and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
    )


def _autocast(x: Tensor) -> Tensor:
    """As autocast would give it to a convolution; as it is outside of autocast."""
    return x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x


def _as(layer: type[Module], module: nn.Module) -> Module:
    """A layer of another class with the parameters, buffers, hooks, settings and mode of ``module``."""
    if isinstance(module, layer):
        return module
    made = layer.__new__(layer)
    made.__dict__.update(module.__dict__)
    return made


def _depthwise(conv: nn.Conv2d) -> nn.Conv2d:
    if conv.stride[0] > 2 or (conv.stride[0] == 2 and conv.dilation[0] > 1):
        return conv
    return _as(DepthwiseConv2dSame if isinstance(conv, Conv2dSame) else DepthwiseConv2d, conv)


def _fused(norm: nn.BatchNorm2d, act: nn.Module) -> tuple[nn.BatchNorm2d, nn.Module]:
    """Both in the place of the batch-norm, and nothing in that of the activation."""
    if type(norm) is not nn.BatchNorm2d or not isinstance(act, nn.ReLU6):
        return norm, act
    return _as(BatchNormReLU6, norm), _as(nn.Identity, act)
