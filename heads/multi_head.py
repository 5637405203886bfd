"""Several heads on one backbone, which runs once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from heads.base import Head


class MultiHead(nn.Module):
    """A backbone with named heads: one pass, many answers.

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

    def forward(self, images: Tensor, want: Iterable[str] | None = None) -> dict[str, Any]:
        """Outputs of the heads in ``want``, or of all of them.

        Raises:
            KeyError: ``want`` names a head that is not there, or a head wants a missing stride.
        """
        maps = self.backbone(images)
        names = self.strides if want is None else want
        return {name: self.heads[name](*(maps[s] for s in self.strides[name])) for name in names}
