"""What evaluators take, from the engine that answers for a run: torch reads images and holds results."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from apps.engine.core.machine import usable_cores
from apps.engine.core.spec import HeadSpec
from apps.engine.data.loader import Loader
from apps.engine.inference.decode.kinds import kind_of
from apps.engine.inference.loading import load_engine
from apps.engine.inference.slices.sliced import check_detector, sliced
from apps.engine.inference.tta import averaged

if TYPE_CHECKING:
    from apps.engine.inference.slices.tiles import Slices
    from datasets.base import ImageDataset
    from datasets.image_io import Pixels


def as_kept(spec: HeadSpec, outputs: Sequence[Any]) -> Any:
    """A head's outputs as ``postprocess`` keeps them: a tensor, a table of tensors, or an image's objects."""
    kind = kind_of(spec.kind)
    if kind.boxes:
        return [
            tuple(torch.from_numpy(np.array(part[scores > 0])) for part in (boxes, scores, labels))
            for boxes, scores, labels in zip(*outputs, strict=True)
        ]
    tensors = [torch.from_numpy(np.array(part)) for part in outputs]
    if not kind.kept_as and len(tensors) == 1:
        return tensors[0]
    names = spec.outputs if len(tensors) > 1 else (kind.kept_as,)
    return {name.split("/")[-1]: tensor for name, tensor in zip(names, tensors, strict=True)}


def evaluated_by(
    source: str, *, tta: str | None = None, say: Callable[[str], None], **how: Any
) -> Callable[[Tensor], Any]:
    """From a batch of images to what an evaluator takes, by the engine that answers for a run or for weights.

    Args:
        source: the run, or the name of the weights.
        tta: views to average; None for those that the run was calibrated with.
        say: takes a line on what computes.
        how: see :func:`apps.engine.inference.loading.load_engine`.

    Shape:
        images: (B, 3, S, S) uint8.
    """
    engine = load_engine(source, tta=tta, threads=usable_cores(), **how)
    if engine.note:
        say(engine.note)
    (spec,) = engine.spec.heads
    kinds = [tta or str(spec.extra.get("tta", "none"))]

    def forward(images: Tensor) -> Any:
        return as_kept(spec, averaged(engine, images.permute(0, 2, 3, 1).cpu().numpy(), kinds))

    return forward


def sliced_by(
    source: str, slices: Slices, *, say: Callable[[str], None], **how: Any
) -> Callable[[Tensor], Any]:
    """The same for a detector that sees tiles of each image, too; ``how`` as of :func:`evaluated_by`.

    Shape:
        images: (1, 3, H, W) uint8, of any size.

    Raises:
        ValueError: it is no detector.
    """
    engine = load_engine(source, calls=usable_cores(), **how)
    check_detector(engine, source)
    if engine.note:
        say(engine.note)
    (spec,) = engine.spec.heads

    def forward(images: Tensor) -> Any:
        pixels = np.ascontiguousarray(images[0].permute(1, 2, 0).cpu().numpy())
        return as_kept(spec, sliced(engine, pixels, slices, usable_cores()))

    return forward


class _AsRead:
    """Images at their own size."""

    def __call__(self, photo: Pixels, /) -> Tensor:
        return torch.from_numpy(photo).permute(2, 0, 1)

    def both(self, pixels: Pixels, target: Any) -> tuple[Tensor, Any]:
        return self(pixels), target


def whole_loader(photos: ImageDataset) -> Loader:
    """Images at their own size, one by one: read by this process, so that few are in memory at once."""
    return Loader(copy.copy(photos), _AsRead(), batch_size=1, workers=0)
