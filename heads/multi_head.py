"""Several heads on one backbone, which runs once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from heads.base import Head


class MultiHead(nn.Module):
    """A backbone with named heads: one pass, many answers.

    ``backbone_dtype`` is the type in which the backbone computes: float32, or bfloat16 to train it faster.
    The heads compute in float32 whatever it is.

    Args:
        backbone: any module from images to ``{stride: map}``.
        heads: name -> head; each names the strides that it takes.

    Shape:
        images: (B, 3, H, W) in [0, 1].
        returns: {name: that head's output}.
    """

    def __init__(self, backbone: nn.Module, heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)
        self.strides = {name: head.strides for name, head in heads.items()}
        self.backbone_dtype = torch.float32

    def forward(self, images: Tensor, want: Iterable[str] | None = None) -> dict[str, Any]:
        """Outputs of the heads in ``want``, or of all of them.

        Raises:
            KeyError: ``want`` names a head that is not there, or a head wants a missing stride.
        """
        maps = self._maps(images)
        names = self.strides if want is None else want
        return {name: self.heads[name](*(_wide(maps[s]) for s in self.strides[name])) for name in names}

    def _maps(self, images: Tensor) -> dict[int, Tensor]:
        """The backbone's maps, in its type."""
        if self.backbone_dtype == torch.float32:
            maps: dict[int, Tensor] = self.backbone(images)
            return maps
        with torch.autocast(images.device.type, self.backbone_dtype):
            in_bf16: dict[int, Tensor] = self.backbone(images)
        return in_bf16

    @contextmanager
    def in_fp32(self) -> Iterator[None]:
        """The backbone in float32, too, for the length of a ``with``."""
        before, self.backbone_dtype = self.backbone_dtype, torch.float32
        try:
            yield
        finally:
            self.backbone_dtype = before


def _wide(x: Tensor) -> Tensor:
    """At least float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
