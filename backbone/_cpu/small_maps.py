"""Convolutions that compute in float where bfloat16 gives wrong numbers: on maps smaller than the kernel.

On a map of 1 px a kernel at stride 2 has taps that never meet a pixel; PyTorch's bfloat16 leaves their
gradients unwritten, so that they hold whatever the memory held. Where a 4x4 kernel covers the whole map it
even convolves wrongly. Both were seen on processors with bfloat16 units, with PyTorch 2.14.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def guard_small_maps(network: nn.Module) -> None:
    """Make the convolutions of a network compute in float, whatever autocast says, where maps are small.

    Depthwise layers of our own networks have a backward of their own and stay as they are; so do parameters
    and names. The network is changed in place.
    """
    for module in network.modules():
        at_risk = isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1
        if at_risk and not isinstance(module, _Guarded) and not getattr(module, "is_depthwise", False):
            module.__class__ = _guarded(type(module))  # in place: hooks, parameters and names stay


class _Guarded(nn.Module):
    """Goes before the class of a convolution."""

    kernel_size: tuple[int, ...]
    dilation: tuple[int, ...]

    def forward(self, x: Tensor) -> Any:
        """As the convolution; in float where the map is no larger than the kernel's reach."""
        device = x.device.type
        if not torch.is_autocast_enabled(device) or not self._covers(x):
            return super().forward(x)
        with torch.autocast(device, enabled=False):
            return super().forward(x.float())

    def _covers(self, x: Tensor) -> bool:
        """Whether the kernel reaches over the whole map, on either axis."""
        sides = zip(x.shape[2:], self.kernel_size, self.dilation, strict=True)
        return any(side <= dilation * (kernel - 1) + 1 for side, kernel, dilation in sides)


_KINDS: dict[type[nn.Module], type[nn.Module]] = {}


def _guarded(kind: type[nn.Module]) -> type[nn.Module]:
    if kind not in _KINDS:
        _KINDS[kind] = type(f"Guarded{kind.__name__}", (_Guarded, kind), {})
    return _KINDS[kind]
