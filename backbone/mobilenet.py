"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861), to be read beside the paper's Table 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.base import Backbone, Preprocessing

Padding = Literal["same", "symmetric"]
Activation = Literal["relu6", "relu"]
Pads = tuple[tuple[int, int], tuple[int, int]]  # rows before and after a map, then columns

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu6": nn.ReLU6, "relu": nn.ReLU}
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


class Conv2dSame(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: at an even size there is more at the bottom right."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        (top, bottom), (left, right) = padding_of(self, x)
        return super().forward(F.pad(x, (left, right, top, bottom)))


def padding_of(conv: nn.Conv2d, x: Tensor) -> Pads:
    """Rows of zeros that a square convolution puts above and below ``x``, then columns left and right."""
    kernel, stride, dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
    return map_padding(x, kernel, stride, dilation, same=isinstance(conv, Conv2dSame))


def map_padding(x: Tensor, kernel: int, stride: int, dilation: int, *, same: bool) -> Pads:
    """As :func:`padding_of`, of the numbers of a convolution."""
    if same:
        height, width = x.shape[2:]
        return same_padding(height, kernel, stride, dilation), same_padding(width, kernel, stride, dilation)
    size = dilation * (kernel - 1) // 2
    return (size, size), (size, size)


def conv3x3(
    in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1, groups: int = 1,
    padding: Padding = "same",
) -> nn.Conv2d:
    """A 3x3 convolution without bias, padded as TensorFlow (``same``) or as PyTorch (``symmetric``) does.

    The two agree at stride 1; at stride 2 and an even size they do not, and weights of one kind lose
    accuracy under the other.
    """
    same = padding == "same" and stride > 1
    layer = Conv2dSame if same else nn.Conv2d
    return layer(
        in_channels, out_channels, 3, stride=stride, padding=0 if same else dilation, dilation=dilation,
        groups=groups, bias=False,
    )


class SeparableBlock(nn.Module):
    """Depthwise 3x3 then pointwise 1x1, each with batch-norm and ReLU6 (the paper's Figure 3) or ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, dilation: int, padding: Padding,
        eps: float, activation: Activation = "relu6",
    ) -> None:
        super().__init__()
        self.conv_dw = conv3x3(
            in_channels, in_channels, stride=stride, dilation=dilation, groups=in_channels, padding=padding
        )
        self.bn1 = nn.BatchNorm2d(in_channels, eps=eps)
        self.act1: nn.Module = ACTIVATIONS[activation](inplace=True)
        self.conv_pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=eps)
        self.act2: nn.Module = ACTIVATIONS[activation](inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        x = self.act1(self.bn1(self.conv_dw(x)))
        out: Tensor = self.act2(self.bn2(self.conv_pw(x)))
        return out


class FullBlock(nn.Module):
    """A full 3x3 convolution in place of the separable pair: the network of the paper's Table 4."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, dilation: int, padding: Padding,
        eps: float, activation: Activation = "relu6",
    ) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels, stride=stride, dilation=dilation, padding=padding)
        self.bn1 = nn.BatchNorm2d(out_channels, eps=eps)
        self.act1: nn.Module = ACTIVATIONS[activation](inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.act1(self.bn1(self.conv(x)))
        return out


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
        activation: behind each batch-norm, ``relu6`` or ``relu``; as for ``eps``.
        preprocessing: what the weights expect; mean = std = 0.5 by default.

    Shape:
        images: (B, 3, H, W) in [0, 1], or uint8; H and W from 32 up.
        returns: {2, 4, 8, 16, 32 -> (B, channels[stride], ceil(H / stride), ceil(W / stride))}

    Raises:
        ValueError: width is not above 0, or padding, output_stride or activation is not one of the above.
    """

    def __init__(
        self, width: float = 1.0, *, padding: Padding = "same", separable: bool = True, shallow: bool = False,
        output_stride: int = 32, eps: float = BATCH_NORM_EPS, activation: Activation = "relu6",
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__(preprocessing)
        if not 0 < width < float("inf"):
            raise ValueError(f"width must be above 0, got {width}")
        if padding not in ("same", "symmetric"):
            raise ValueError(f"padding must be 'same' or 'symmetric', got {padding!r}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be 'relu6' or 'relu', got {activation!r}")
        self.width, self.padding, self.activation = width, padding, activation
        self.arguments: dict[str, Any] = {
            "width": width, "padding": padding, "separable": separable, "shallow": shallow,
            "output_stride": output_stride, "eps": eps, "activation": activation,
        }
        channels = scale_channels(STEM_CHANNELS, width)
        self.conv_stem = conv3x3(3, channels, stride=2, padding=padding)
        self.bn1 = nn.BatchNorm2d(channels, eps=eps)
        self.act1: nn.Module = ACTIVATIONS[activation](inplace=True)
        block = SeparableBlock if separable else FullBlock
        stages: list[nn.Module] = []
        self.channels, self.stage_strides = {}, []
        total, dilation = 2, 1
        for stage in SHALLOW_STAGES if shallow else STAGES:
            blocks: list[nn.Module] = []
            for paper_stride, paper_channels in stage:
                dilate = total * paper_stride > output_stride
                stride, out = (1 if dilate else paper_stride), scale_channels(paper_channels, width)
                blocks.append(block(
                    channels, out, stride=stride, dilation=dilation, padding=padding, eps=eps,
                    activation=activation,
                ))
                channels, total = out, total * stride
                dilation *= paper_stride if dilate else 1
            stages.append(nn.Sequential(*blocks))
            self.stage_strides.append(total)
            self.channels[total] = channels
        self.blocks = nn.Sequential(*stages)
        self.apply(_initialize)

    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """Maps by stride; a stride met twice keeps the deeper map."""
        x = self.act1(self.bn1(self.conv_stem(normalised)))
        maps: dict[int, Tensor] = {}
        for stride, stage in zip(self.stage_strides, self.blocks, strict=True):
            x = stage(x)
            maps[stride] = x
        return maps

    def save_pretrained(self, folder: str | Path, *, name: str = "own", licence: str = "unknown") -> Path:
        """Write ``config.json`` and ``model.safetensors``, which everything here that takes weights reads.

        Args:
            folder: made where it is missing.
            name: of the weights, as answers and model cards state it.
            licence: of the weights, as an SPDX name.

        Raises:
            OSError: the folder cannot be written.
        """
        from backbone.exchange import write_backbone

        return write_backbone(self, Path(folder), name=name, licence=licence)

    @classmethod
    def from_pretrained(cls, source: str | Path, *, revision: str | None = None) -> Self:
        """The network of a folder that ``save_pretrained`` or a training wrote, or of a repository.

        Args:
            source: a folder, a file of weights, or a repository ``USER/NAME`` of Hugging Face's hub, for
                which huggingface_hub is imported.
            revision: a branch, a tag or a commit of the repository.

        Raises:
            FileNotFoundError: there is nothing of that name.
            ImportError: it is a repository, and huggingface_hub is not installed.
            ValueError: it is damaged, or of another network.
        """
        from backbone.exchange import hub_folder
        from backbone.weights import load_state, load_weights

        place = hub_folder(str(source), revision) if _is_repository(source) else source
        weights = load_weights(place)
        if weights.info.arch != "mobilenetv1":
            raise ValueError(f"{source} holds {weights.info.arch}, no MobileNetV1; try backbone.create")
        network = cls(**weights.info.arguments, preprocessing=weights.info.preprocessing)
        load_state(network, weights)
        return network

    def push_to_hub(
        self, repo_id: str, *, name: str = "own", licence: str = "unknown", private: bool = True,
        token: str | None = None,
    ) -> str:
        """Send it to a repository of the hub, which is made where it is missing; returns the address.

        Raises:
            ImportError: huggingface_hub is not installed.
            OSError: the hub does not answer, or refuses.
        """
        from tempfile import TemporaryDirectory

        from backbone.exchange import push_folder

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, name=name, licence=licence)
            return push_folder(Path(folder), repo_id, private=private, token=token)


def _is_repository(source: str | Path) -> bool:
    """Whether a name is neither here nor can be anything but ``USER/NAME`` of the hub."""
    if isinstance(source, Path) or source.count("/") != 1 or source[0] in "./~":
        return False
    return not Path(source).exists()


def _initialize(module: nn.Module) -> None:
    """He initialisation by fan-out, each group on its own, so that depthwise layers start at scale."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        with torch.no_grad():
            module.weight.normal_(0.0, (2.0 / fan_out) ** 0.5)
