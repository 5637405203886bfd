"""MTCNN's networks in the form that ONNX Runtime computes fastest: the same sums without PReLU; needs torch.

ONNX Runtime lays channels out in blocks between convolutions. PReLU is computed outside of them, and takes
more time than the convolutions do. It is ``a x + (1 - a) relu(x)``: the sum of two convolutions, inside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 16  # channels that are laid out together, at most
MEAN, SPAN = 127.5, 128.0  # of the pixels that the networks were trained on


class Bent(nn.Module):
    """A convolution and PReLU after it: ``linear(x) + relu(bent(x))``.

    Args:
        linear: weight and bias of the first.
        bent: of the second.
        groups: of both.
    """

    def __init__(self, linear: tuple[Tensor, Tensor], bent: tuple[Tensor, Tensor], groups: int = 1) -> None:
        super().__init__()
        self.linear, self.bent = _convolution(*linear, groups), _convolution(*bent, groups)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) of a convolution's input."""
        summed: Tensor = self.linear(images) + torch.relu(self.bent(images))
        return summed


class Blocked(nn.Module):
    """One of the three networks, with one output.

    Args:
        network: facenet-pytorch's ``PNet``, ``RNet`` or ``ONet``.

    Shape:
        images: (N, 3, H, W) RGB in 0 to 255.
        returns: (N, 5, h, w) of ``PNet``, (N, 5) of ``RNet``, (N, 15) of ``ONet``: four moves, of the last
            the five x and the five y of landmarks, and the logit of a face.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        parts: dict[str, Any] = dict(network.named_children())
        depth = sum(name.startswith("conv") and "_" not in name for name in parts)
        first, mix = _first(parts["conv1"], parts["prelu1"])
        layers: list[nn.Module] = [first]
        for n in range(1, depth + 1):
            conv = parts[f"conv{n}"]
            if n > 1:
                layers += [_convolution(mix(conv.weight) if n == 2 else conv.weight, conv.bias)]
                layers += [_prelu(parts[f"prelu{n}"])]
            if f"pool{n}" in parts:
                layers.append(parts[f"pool{n}"])
        if f"dense{depth + 1}" in parts:
            dense = parts[f"dense{depth + 1}"]
            layers += [nn.Flatten(), _linear(_rows_first(dense.weight, conv.out_channels), dense.bias)]
            layers.append(parts[f"prelu{depth + 1}"])
        heads = [part for name, part in parts.items() if "_" in name and not name.startswith("softmax")]
        merged = _answers(*heads)
        layers.append(_linear(*merged) if merged[0].ndim == 2 else _convolution(*merged))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """One output, in a tuple as those of networks with more."""
        return (self.layers(images),)


def _answers(chances: Any, *others: Any) -> tuple[Tensor, Tensor]:
    """One layer for all answers; the softmax of two is the logistic function of their difference."""
    logit = (part[1:] - part[:1] for part in (chances.weight, chances.bias))
    rest = ([getattr(other, name) for other in others] for name in ("weight", "bias"))
    weight, bias = (torch.cat([*parts, last]) for parts, last in zip(rest, logit, strict=True))
    return weight, bias


def _first(conv: Any, prelu: Any) -> tuple[Bent, Any]:
    """The first convolution, and what brings the weights of the second into the order of its channels.

    It takes in how pixels are scaled. A slope above 1 would bend downwards, which the sum cannot: such a
    channel becomes two, as it is and above 0, and the second convolution joins them. Zeros fill the last
    block.
    """
    weight, slopes = conv.weight / SPAN, prelu.weight
    bias = conv.bias - MEAN * weight.sum(dim=(1, 2, 3))
    steep = slopes > 1
    count = len(slopes)
    more = torch.nonzero(steep)[:, 0]
    width = -(-(count + len(more)) // BLOCK) * BLOCK
    rows = torch.zeros(2, width)  # how much of each channel is linear, and how much is bent
    rows[0, :count], rows[1, :count] = torch.where(steep, 1, slopes), torch.where(steep, 0, 1 - slopes)
    rows[1, count : count + len(more)] = 1
    of = torch.zeros(width, dtype=torch.int64)
    of[:count], of[count : count + len(more)] = torch.arange(count), more
    weights = [(weight[of] * part[:, None, None, None], bias[of] * part) for part in rows]

    def mix(following: Tensor) -> Tensor:
        share = torch.zeros(width)
        share[:count] = torch.where(steep, slopes, 1)
        share[count : count + len(more)] = 1 - slopes[more]
        return following[:, of] * share[:, None, None]

    return Bent(weights[0], weights[1]), mix


def _prelu(prelu: Any) -> Bent:
    """Of one slope a channel, 1 at most, as convolutions of each channel alone."""
    slopes = prelu.weight
    none = torch.zeros_like(slopes)
    parts = [(part[:, None, None, None], none) for part in (slopes, 1 - slopes)]
    return Bent(parts[0], parts[1], len(slopes))


def _rows_first(weight: Tensor, channels: int) -> Tensor:
    """Weights of a layer on maps that were laid out by columns, rows and channels, on them as they are."""
    side = round((weight.shape[1] / channels) ** 0.5)
    return weight.view(-1, side, side, channels).permute(0, 3, 2, 1).flatten(1)


def _convolution(weight: Tensor, bias: Tensor, groups: int = 1) -> nn.Conv2d:
    outputs, inputs, side, _ = weight.shape
    layer = nn.Conv2d(inputs * groups, outputs, side, groups=groups)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
