"""A head's outputs as answers, in numpy alone: one decoder a kind of head, whichever engine computed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.decode.kinds import KINDS, kind_of
from apps.engine.inference.predictions import HeadsPrediction, Prediction

Outputs = Sequence[Any]  # images first: arrays, or lists of arrays where images have unlike numbers of rows
Sizes = Sequence[tuple[int, int]]  # (width, height) of the images in pixels
Decoder = Callable[[HeadSpec, Outputs, Sizes, int], list[Prediction]]


def decode_model(
    spec: ModelSpec, outputs: Outputs, sizes: Sizes, *, top: int | None = None
) -> list[Prediction]:
    """One answer an image: of the one head, or of several by their names.

    Args:
        spec: of the model.
        outputs: all of its outputs, images first.
        sizes: of the images.
        top: how many classes, cells or objects an image, 1 or more; None for 5, and for all objects.
    """
    named = dict(zip(spec.outputs, outputs, strict=True))
    by_head = {
        head.name: decode(head, [named[name] for name in head.outputs], sizes, top=top)
        for head in spec.heads
    }
    if len(by_head) == 1:
        return next(iter(by_head.values()))
    images = zip(*by_head.values(), strict=True)
    return [HeadsPrediction(dict(zip(by_head, answers, strict=True))) for answers in images]


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, *, top: int | None = None) -> list[Prediction]:
    """The answers of one head; ``top`` as of :func:`decode_model`.

    Raises:
        ValueError: its kind is not known here.
    """
    return decoder_of(head)(head, outputs, sizes, top or kind_of(head.kind).top)


def decoder_of(head: HeadSpec) -> Decoder:
    """What reads the outputs of a head of this kind.

    Raises:
        ValueError: its kind is not known here.
    """
    if not kind_of(head.kind).decoder:
        raise ValueError(
            f"head {head.name!r} gives {head.kind!r}, which this version cannot read; it reads "
            f"{', '.join(sorted(KINDS))}"
        )
    return _imported(kind_of(head.kind).decoder)


@cache
def _imported(target: str) -> Decoder:
    module, _, name = target.partition(":")
    decoder: Decoder = getattr(import_module(module), name)
    return decoder
