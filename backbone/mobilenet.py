"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861), to be read beside the paper's Table 1."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone._cpu.depthwise import Pads, depthwise
from backbone._cpu.dispatch import cast, laid_out, learning
from backbone._cpu.norm_relu6 import norm_relu6
from backbone._cpu.pointwise import pointwise
from backbone.base import Backbone, Preprocessing

Padding = Literal["same", "symmetric"]

STEM_CHANNELS = 32
BATCH_NORM_EPS = 1e-5  # of timm; TF-slim trained with 1e-3, which its folded files no longer show

# Table 1 without its first row: (stride, output channels) of each "conv dw + conv pw" pair, by stage.
# The paper prints stride 2 for the last pair; its own map sizes (7x7 in, 7x7 out) need 1.
STAGES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((1, 64),),
    ((2, 128), (1, 128)),
    ((2, 256), (1, 256)),
    ((2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512)),
    ((2, 1024), (1, 1024)),
)
# Table 5: the shallow network drops the five layers of 14 x 14 x 512.
SHALLOW_STAGES = (*STAGES[:3], STAGES[3][:1], STAGES[4])


def scale_channels(channels: int, width: float) -> int:
    """Channels after the width multiplier, in eights, never less than 90 % of the product.

    The rule is that of timm and of the TensorFlow object detection models, so shapes agree.
    """
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME padding adds before and after one axis of ``size`` pixels."""
    reach = dilation * (kernel - 1) + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


class PaddedConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow (``same``) or as PyTorch (``symmetric``) does.

    The two agree at stride 1; at stride 2 and an even size ``same`` adds a row and a column
    at the bottom right only, so weights of one kind lose accuracy under the other.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *,
        stride: int = 1, dilation: int = 1, groups: int = 1, padding: Padding = "same",
    ) -> None:
        self.pads_itself = padding == "same" and stride > 1
        self.is_depthwise = groups == in_channels == out_channels and kernel == 3 and groups > 1
        super().__init__(
            in_channels, out_channels, kernel, stride=stride, dilation=dilation, groups=groups, bias=False,
            padding=0 if self.pads_itself else dilation * (kernel - 1) // 2,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        if learning(x):
            stride, dilation = self.stride[0], self.dilation[0]
            if self.is_depthwise and (stride == 1 or (stride == 2 and dilation == 1)):
                pads = self.pads_of(x)
                return depthwise(cast(x), cast(self.weight), stride=stride, dilation=dilation, pads=pads)
            if self.kernel_size == (1, 1) and stride == self.groups == 1:
                return pointwise(cast(x), cast(self.weight))
        if self.pads_itself:
            (top, bottom), (left, right) = self.pads_of(x)
            x = F.pad(x, (left, right, top, bottom))
        return super().forward(x)

    def pads_of(self, x: Tensor) -> Pads:
        """Rows, then columns, of zeros before and after a map."""
        if self.pads_itself:
            k, s, d = self.kernel_size[0], self.stride[0], self.dilation[0]
            return same_padding(x.shape[2], k, s, d), same_padding(x.shape[3], k, s, d)
        around = self.dilation[0] * (self.kernel_size[0] - 1) // 2
        return (around, around), (around, around)


class SeparableBlock(nn.Module):
    """Depthwise 3x3 then pointwise 1x1, each with batch-norm and ReLU6 (the paper's Figure 3)."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, dilation: int, padding: Padding, eps: float
    ) -> None:
        super().__init__()
        self.conv_dw = PaddedConv2d(
            in_channels, in_channels, 3, stride=stride, dilation=dilation, groups=in_channels, padding=padding
        )
        self.bn1 = nn.BatchNorm2d(in_channels, eps=eps)
        self.conv_pw = PaddedConv2d(in_channels, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        x = norm_relu6(self.bn1, self.conv_dw(x))
        return norm_relu6(self.bn2, self.conv_pw(x))


class FullBlock(nn.Module):
    """One full 3x3 convolution in place of the separable pair: the network of the paper's Table 4."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, dilation: int, padding: Padding, eps: float
    ) -> None:
        super().__init__()
        self.conv = PaddedConv2d(
            in_channels, out_channels, 3, stride=stride, dilation=dilation, padding=padding
        )
        self.bn1 = nn.BatchNorm2d(out_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        return norm_relu6(self.bn1, self.conv(x))


class MobileNetV1(Backbone):
    """MobileNetV1 without its classifier, at any width; names and shapes are those of timm's.

    Args:
        width: multiplier of every layer's channels, above 0; the paper's alpha.
        padding: ``same`` for TensorFlow's weights, ``symmetric`` for timm's own.
        separable: False builds the full-convolution network of Table 4.
        shallow: True drops the five 14 x 14 x 512 layers, as in Table 5.
        output_stride: 32, 16 or 8; below 32 the late strides become dilation and every stride
            keeps its deepest map, for dense tasks.
        eps: of batch-norm; weights are only right with the value they were stored for.
        preprocessing: what the weights expect; mean = std = 0.5 by default.

    Shape:
        images: (B, 3, H, W) in [0, 1], or uint8; H and W from 32 up.
        returns: {2, 4, 8, 16, 32 -> (B, channels[stride], ceil(H / stride), ceil(W / stride))}

    Raises:
        ValueError: width is not above 0, or padding or output_stride is not one of the above.
    """

    def __init__(
        self, width: float = 1.0, *, padding: Padding = "same", separable: bool = True, shallow: bool = False,
        output_stride: int = 32, eps: float = BATCH_NORM_EPS, preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__(preprocessing)
        if not 0 < width < float("inf"):
            raise ValueError(f"width must be above 0, got {width}")
        if padding not in ("same", "symmetric"):
            raise ValueError(f"padding must be 'same' or 'symmetric', got {padding!r}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        self.width, self.padding = width, padding
        channels = scale_channels(STEM_CHANNELS, width)
        self.conv_stem = PaddedConv2d(3, channels, 3, stride=2, padding=padding)
        self.bn1 = nn.BatchNorm2d(channels, eps=eps)
        block = SeparableBlock if separable else FullBlock
        stages: list[nn.Module] = []
        self.channels, self.stage_strides = {}, []
        total, dilation = 2, 1
        for stage in SHALLOW_STAGES if shallow else STAGES:
            blocks: list[nn.Module] = []
            for paper_stride, paper_channels in stage:
                dilate = total * paper_stride > output_stride
                stride, out = (1 if dilate else paper_stride), scale_channels(paper_channels, width)
                blocks.append(
                    block(channels, out, stride=stride, dilation=dilation, padding=padding, eps=eps)
                )
                channels, total = out, total * stride
                dilation *= paper_stride if dilate else 1
            stages.append(nn.Sequential(*blocks))
            self.stage_strides.append(total)
            self.channels[total] = channels
        self.blocks = nn.Sequential(*stages)
        self.apply(_initialise)

    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """Maps by stride; a stride met twice keeps the deeper map."""
        x = norm_relu6(self.bn1, self.conv_stem(laid_out(normalised)))
        maps: dict[int, Tensor] = {}
        for stride, stage in zip(self.stage_strides, self.blocks, strict=True):
            x = stage(x)
            maps[stride] = x
        return maps


def _initialise(module: nn.Module) -> None:
    """He initialisation by fan-out, each group on its own, so that depthwise layers start at scale."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        with torch.no_grad():
            module.weight.normal_(0.0, (2.0 / fan_out) ** 0.5)
