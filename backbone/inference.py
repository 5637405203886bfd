"""A copy of a backbone for answering: batch-norm inside the convolutions, channels-last, no gradients."""

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
from backbone.mobilenet import FullBlock, MobileNetV1, PaddedConv2d, SeparableBlock

TOLERANCE = 1e-3  # of a fold that is found by watching, against the network itself, relative to its maps


def folded(backbone: Backbone, dtype: torch.dtype = torch.float32, *, plain: bool = False) -> Backbone:
    """A copy that gives the same maps sooner and cannot learn.

    Normalisation stays a step of its own: the zeros that a convolution pads with are zeros of the
    normalised image. A network of timm is folded where a batch-norm is seen to follow a convolution and
    the whole still gives the same maps; else the copy is as it was, channels-last.

    Args:
        backbone: any; it stays as it is. Later changes to it do not reach the copy.
        dtype: of the weights, the arithmetic and the maps: float32 or bfloat16.
        plain: only PyTorch's own operators, as exporters want to see them, and not the faster ones.

    Returns:
        A backbone with the channels, the preprocessing and the fingerprint of the one given; in evaluation
        mode for ever.

    Raises:
        ValueError: ``dtype`` is neither of the two, or the backbone is a folded copy already.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
    if isinstance(backbone, _Folded):
        raise ValueError("this backbone is a folded copy already; fold the one that it was made from")
    with torch.no_grad():
        if isinstance(backbone, MobileNetV1):
            return _FoldedMobileNet(backbone, dtype, plain).eval()
        return _FoldedCopy(backbone, dtype).eval()


class _Folded(Backbone):
    """What the two kinds of copies share: they are for answering only."""

    def __init__(self, original: Backbone, dtype: torch.dtype) -> None:
        super().__init__(original.preprocessing)
        self.channels, self.dtype = dict(original.channels), dtype
        self.of = original.fingerprint()
        self.frozen = True

    def fingerprint(self) -> str:
        """That of the backbone which was folded: a head that fits the one fits the other."""
        return self.of

    def unfreeze(self) -> None:
        """Refused.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("a folded backbone cannot learn; unfreeze the one that it was made from")

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """As any backbone, without gradients."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return super().forward(images)


class _Step(nn.Module):
    """One convolution with the batch-norm and the ReLU6 behind it."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: PaddedConv2d, norm: nn.BatchNorm2d, dtype: torch.dtype, plain: bool) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            conv.weight.double(), None, norm.running_mean.double(), norm.running_var.double(), norm.eps,
            norm.weight.double(), norm.bias.double(),
        )
        self.register_buffer("weight", weight.detach().to(dtype))
        self.register_buffer("bias", bias.detach().to(dtype))
        self.pads_of = conv.pads_of
        self.stride, self.dilation, self.groups = conv.stride[0], conv.dilation[0], conv.groups
        self.plain = plain
        self.by_kernel = conv.is_depthwise and (self.stride == 1 or self.dilation == 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        (top, bottom), (left, right) = self.pads_of(x)
        uneven = top != bottom or left != right
        if self.plain:
            x, around = (F.pad(x, (left, right, top, bottom)), (0, 0)) if uneven else (x, (top, left))
            how = self.stride, around, self.dilation, self.groups
            return F.relu6(F.conv2d(x, self.weight, self.bias, *how))
        if self.by_kernel and not natively(x) and kernels.usable(x):
            out = -(-x.shape[2] // self.stride), -(-x.shape[3] // self.stride)
            return kernels.depthwise(
                x, self.weight, out, self.stride, self.dilation, (top, left), self.bias.float()
            )
        weight = self.weight
        if uneven and self.by_kernel:  # a filter of zeros on its first edges, padded evenly, saves a copy
            weight, top, left = F.pad(weight, (right - left, 0, bottom - top, 0)), bottom, right
        elif uneven:
            x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
        if x.device.type == "cpu" and natively(x) and torch._C._has_mkldnn:
            return self._fused(x, weight, top, left)
        how = self.stride, (top, left), self.dilation, self.groups
        return F.conv2d(x, weight, self.bias, *how).clamp_(0, 6)

    def _fused(self, x: Tensor, weight: Tensor, top: int, left: int) -> Tensor:
        """Convolution and ReLU6 in one pass over the memory."""
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.bias, [top, left], [self.stride] * 2, [self.dilation] * 2, self.groups,
            "hardtanh", [0.0, 6.0], "",
        )
        return found


class _FoldedMobileNet(_Folded):
    """MobileNetV1 as a row of steps."""

    def __init__(self, original: MobileNetV1, dtype: torch.dtype, plain: bool) -> None:
        super().__init__(original, dtype)
        self.stage_strides = original.stage_strides
        self.stem = _Step(original.conv_stem, original.bn1, dtype, plain)
        self.stages = nn.ModuleList(_folded_stage(stage, dtype, plain) for stage in original.blocks)

    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """Maps by stride, in the copy's type; a stride met twice keeps the deeper map."""
        x = self.stem(normalised.to(self.dtype, memory_format=torch.channels_last))
        maps: dict[int, Tensor] = {}
        for stride, stage in zip(self.stage_strides, self.stages, strict=True):
            x = stage(x)
            maps[stride] = x
        return maps


def _folded_stage(stage: nn.Module, dtype: torch.dtype, plain: bool) -> nn.Sequential:
    steps: list[_Step] = []
    for block in stage.children():
        if isinstance(block, SeparableBlock):
            steps += [
                _Step(block.conv_dw, block.bn1, dtype, plain), _Step(block.conv_pw, block.bn2, dtype, plain)
            ]
        else:
            assert isinstance(block, FullBlock)
            steps.append(_Step(block.conv, block.bn1, dtype, plain))
    return nn.Sequential(*steps)


class _FoldedCopy(_Folded):
    """Any other backbone, copied, with those batch-norms folded that follow a convolution directly."""

    def __init__(self, original: Backbone, dtype: torch.dtype) -> None:
        super().__init__(original, dtype)
        plain, merged = _still_copy(original), _still_copy(original)
        side = original.preprocessing.resolution
        images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        images = images.to(original.mean.device)
        self.folds = fold_in_place(merged, images)
        if not _same(merged(images), plain(images)):
            merged, self.folds = plain, 0
        self.inner = merged.to(dtype)

    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """The maps of the copy, in its type."""
        return self.inner.features(normalised.to(self.dtype, memory_format=torch.channels_last))


def _still_copy(backbone: Backbone) -> Backbone:
    made = copy.deepcopy(backbone)
    made.freeze()
    return made.to(memory_format=torch.channels_last)


def _same(found: dict[int, Tensor], expected: dict[int, Tensor]) -> bool:
    return all(
        bool((found[stride] - one).abs().max() <= TOLERANCE * (1 + one.abs().max()))
        for stride, one in expected.items()
    )


class _Watch:
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
        """Look whose output a batch-norm takes."""
        assert isinstance(module, nn.BatchNorm2d)
        self.runs[module] += 1
        if id(inputs[0]) in self.outputs:
            self.pairs.append((self.outputs[id(inputs[0])][0], module))

    def once(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """The pairs of which neither ran for anything else."""
        return [pair for pair in self.pairs if self.runs[pair[0]] == self.runs[pair[1]] == 1]


def fold_in_place(backbone: Backbone, images: Tensor) -> int:
    """Fold every batch-norm that is seen to take a convolution's output; returns how many.

    Args:
        backbone: in evaluation mode; it changes.
        images: passed through it once, to see what follows what.
    """
    watch, hooks = _Watch(), []
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(watch.after_conv))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(watch.before_norm))
    try:
        backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    names = {module: name for name, module in backbone.named_modules()}
    for conv, norm in watch.once():
        backbone.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
        backbone.set_submodule(names[norm], _what_follows(norm))
    return len(watch.once())


def _what_follows(norm: nn.BatchNorm2d) -> nn.Module:
    """What stays of a batch-norm that is folded: timm's carries its activation along."""
    parts = (getattr(norm, name, None) for name in ("drop", "act"))
    return nn.Sequential(*(part for part in parts if isinstance(part, nn.Module)))
