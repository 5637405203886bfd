"""A copy of a backbone for inference: batch-norm inside the convolutions, channels-last, no gradients."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from backbone._cpu import kernels
from backbone._cpu.depthwise import natively
from backbone.base import Backbone
from backbone.mobilenet import Activation, Conv2dSame, FullBlock, MobileNetV1, SeparableBlock, map_padding

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
TOLERANCE = 1e-3  # of a fusion by traced pairs, against the network itself, relative to its maps


def inference_model(
    backbone: Backbone, dtype: torch.dtype = torch.float32, *, plain: bool = False
) -> Backbone:
    """A copy that gives the same maps sooner and cannot be trained.

    Normalisation is not fused: the zeros that a convolution pads with are zeros of the normalised image. In
    a network of timm each batch-norm that is seen to follow a convolution is fused with it, if the whole
    still gives the same maps; else the copy is as it was, channels-last.

    Args:
        backbone: any; it stays as it is. Later changes to it do not reach the copy.
        dtype: of the weights, the arithmetic and the maps: float32 or bfloat16.
        plain: only PyTorch's own operators, as exporters want to see them, and not the faster ones.

    Returns:
        A backbone with the channels, the preprocessing and the fingerprint of the one given; in evaluation
        mode for ever.

    Shape:
        images: (B, 3, H, W) in [0, 1], or uint8.
        returns: {stride: (B, channels[stride], H', W')} in ``dtype``.

    Raises:
        ValueError: ``dtype`` is neither of the two, or the backbone is an inference model already.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
    if isinstance(backbone, _InferenceModel):
        raise ValueError("this backbone is an inference model already; give the network it was made from")
    with torch.no_grad():
        if isinstance(backbone, MobileNetV1):
            return _InferenceMobileNet(backbone, dtype, plain).eval()
        return _InferenceCopy(backbone, dtype).eval()


class _InferenceModel(Backbone):
    """What both classes of copies share."""

    def __init__(self, original: Backbone, dtype: torch.dtype) -> None:
        super().__init__(original.preprocessing)
        self.channels, self.dtype = dict(original.channels), dtype
        self.original_fingerprint = original.fingerprint()
        self.frozen = True

    def fingerprint(self) -> str:
        """That of the backbone which was copied: a head that fits either fits the other."""
        return self.original_fingerprint

    def unfreeze(self) -> None:
        """Refused.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("an inference model cannot be trained; unfreeze the network it was made from")

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """As any backbone, without gradients."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return super().forward(images)


class _ConvAct(nn.Module):
    """A convolution with the batch-norm and the ReLU6 or ReLU behind it."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: Activation, dtype: torch.dtype, plain: bool
    ) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            conv.weight.double(), None, norm.running_mean.double(), norm.running_var.double(), norm.eps,
            norm.weight.double(), norm.bias.double(),
        )
        self.register_buffer("weight", weight.detach().to(dtype))
        self.register_buffer("bias", bias.detach().to(dtype))
        self.kernel, self.same = conv.kernel_size[0], isinstance(conv, Conv2dSame)
        self.stride, self.dilation, self.groups = conv.stride[0], conv.dilation[0], conv.groups
        self.plain, self.limited = plain, activation == "relu6"
        depthwise = conv.groups == conv.in_channels == conv.out_channels > 1 and self.kernel == 3
        self.by_kernel = depthwise and (self.stride == 1 or self.dilation == 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        (top, bottom), (left, right) = map_padding(x, self.kernel, self.stride, self.dilation, same=self.same)
        uneven = top != bottom or left != right
        if self.plain:
            x, around = (F.pad(x, (left, right, top, bottom)), (0, 0)) if uneven else (x, (top, left))
            geometry = self.stride, around, self.dilation, self.groups
            return (F.relu6 if self.limited else F.relu)(F.conv2d(x, self.weight, self.bias, *geometry))
        if self.by_kernel and self.limited and not natively(x) and kernels.usable(x):
            out = -(-x.shape[2] // self.stride), -(-x.shape[3] // self.stride)
            return kernels.depthwise(
                x, self.weight, out, self.stride, self.dilation, (top, left), self.bias.float()
            )
        weight = self.weight
        if uneven and self.by_kernel:  # a filter of zeros on its first edges, padded evenly, saves a copy
            weight, top, left = F.pad(weight, (right - left, 0, bottom - top, 0)), bottom, right
        elif uneven:
            x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
        if x.device.type == "cpu" and natively(x) and HAS_ONEDNN:
            return self._fused(x, weight, top, left)
        geometry = self.stride, (top, left), self.dilation, self.groups
        return F.conv2d(x, weight, self.bias, *geometry).clamp_(0, 6 if self.limited else None)

    def _fused(self, x: Tensor, weight: Tensor, top: int, left: int) -> Tensor:
        """Convolution and activation in one pass over the memory."""
        after = ("hardtanh", [0.0, 6.0]) if self.limited else ("relu", [])
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.bias, [top, left], [self.stride] * 2, [self.dilation] * 2, self.groups,
            *after, "",
        )
        return output


class _InferenceMobileNet(_InferenceModel):
    """MobileNetV1 as a sequence of convolutions with their activations."""

    def __init__(self, original: MobileNetV1, dtype: torch.dtype, plain: bool) -> None:
        super().__init__(original, dtype)
        self.stage_strides = original.stage_strides
        how = original.activation, dtype, plain
        self.stem = _ConvAct(original.conv_stem, original.bn1, *how)
        self.stages = nn.ModuleList(_fused_stage(stage, *how) for stage in original.blocks)

    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """Maps by stride, in the copy's type; a stride met twice keeps the deeper map."""
        x = self.stem(normalised.to(self.dtype, memory_format=torch.channels_last))
        maps: dict[int, Tensor] = {}
        for stride, stage in zip(self.stage_strides, self.stages, strict=True):
            x = stage(x)
            maps[stride] = x
        return maps


def _fused_stage(
    stage: nn.Module, activation: Activation, dtype: torch.dtype, plain: bool
) -> nn.Sequential:
    how = activation, dtype, plain
    steps: list[_ConvAct] = []
    for block in stage.children():
        if isinstance(block, SeparableBlock):
            steps.append(_ConvAct(block.conv_dw, block.bn1, *how))
            steps.append(_ConvAct(block.conv_pw, block.bn2, *how))
        else:
            assert isinstance(block, FullBlock)
            steps.append(_ConvAct(block.conv, block.bn1, *how))
    return nn.Sequential(*steps)


class _InferenceCopy(_InferenceModel):
    """Any other backbone, copied, with those batch-norms fused that follow a convolution directly."""

    def __init__(self, original: Backbone, dtype: torch.dtype) -> None:
        super().__init__(original, dtype)
        unfused, fused = _frozen_copy(original), _frozen_copy(original)
        side = original.preprocessing.resolution
        images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        images = images.to(original.mean.device)
        self.fused_count = fuse_conv_bn(fused, images)
        if not _same(fused(images), unfused(images)):
            fused, self.fused_count = unfused, 0
        self.inner = fused.to(dtype)

    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """The maps of the copy, in its type."""
        return self.inner.features(normalised.to(self.dtype, memory_format=torch.channels_last))


def _frozen_copy(backbone: Backbone) -> Backbone:
    copied = copy.deepcopy(backbone)
    copied.freeze()
    return copied.to(memory_format=torch.channels_last)


def _same(maps: dict[int, Tensor], expected: dict[int, Tensor]) -> bool:
    return all(
        bool((maps[stride] - wanted).abs().max() <= TOLERANCE * (1 + wanted.abs().max()))
        for stride, wanted in expected.items()
    )


class _PairTracer:
    """Which batch-norm took which convolution's output as it came."""

    def __init__(self) -> None:
        self.outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # kept, or an id could be used again
        self.pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
        self.runs: Counter[nn.Module] = Counter()

    def after_conv(self, module: nn.Module, _inputs: Any, output: Tensor) -> None:
        """Remember what a convolution gave."""
        assert isinstance(module, nn.Conv2d)
        self.runs[module] += 1
        self.outputs[id(output)] = module, output

    def before_norm(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Note whose output a batch-norm takes."""
        assert isinstance(module, nn.BatchNorm2d)
        self.runs[module] += 1
        if id(inputs[0]) in self.outputs:
            self.pairs.append((self.outputs[id(inputs[0])][0], module))

    def once(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """The pairs of which neither ran for anything else."""
        return [pair for pair in self.pairs if self.runs[pair[0]] == self.runs[pair[1]] == 1]


def fuse_conv_bn(backbone: Backbone, images: Tensor) -> int:
    """Fuse every batch-norm that is seen to take a convolution's output into it; returns how many.

    Args:
        backbone: in evaluation mode; it changes.
        images: passed through it once, to see what follows what.
    """
    tracer, hooks = _PairTracer(), []
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(tracer.after_conv))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(tracer.before_norm))
    try:
        backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    names = {module: name for name, module in backbone.named_modules()}
    for conv, norm in tracer.once():
        backbone.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
        backbone.set_submodule(names[norm], _what_follows(norm))
    return len(tracer.once())


def _what_follows(norm: nn.BatchNorm2d) -> nn.Module:
    """What stays of a batch-norm that is fused: timm's carries its activation along."""
    parts = (getattr(norm, name, None) for name in ("drop", "act"))
    return nn.Sequential(*(part for part in parts if isinstance(part, nn.Module)))
