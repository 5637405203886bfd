"""A head's outputs as answers, in numpy alone: one decoder a kind of head, whichever engine computed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.predictions import HeadsPrediction, Prediction

Outputs = Sequence[Any]  # images first: arrays, or lists of arrays where images have unlike numbers of rows
Sizes = Sequence[tuple[int, int]]  # (width, height) of the images in pixels
TOP, ALL = 5, 10**6  # classes or cells an image, and objects, which a threshold limits
Decoder = Callable[[HeadSpec, Outputs, Sizes, int], list[Prediction]]

DECODERS = {  # strings, as an application's own decoder is imported only where it is needed
    "attributes": "apps.attributes.decode:decode",
    "cells": "apps.places.decode:decode",
    "classes": "apps.engine.inference.decode.classes:decode",
    "detections": "apps.engine.inference.decode.boxes:decode",
    "embedding": "apps.engine.inference.decode.embedding:decode",
}


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
    usual = ALL if head.kind == "detections" else TOP
    return decoder_of(head)(head, outputs, sizes, top or usual)


def decoder_of(head: HeadSpec) -> Decoder:
    """What reads the outputs of a head of this kind.

    Raises:
        ValueError: its kind is not known here.
    """
    if head.kind not in DECODERS:
        raise ValueError(
            f"head {head.name!r} gives {head.kind!r}, which this version cannot read; it reads "
            f"{', '.join(sorted(DECODERS))}"
        )
    return _imported(DECODERS[head.kind])


@cache
def _imported(target: str) -> Decoder:
    module, _, name = target.partition(":")
    decoder: Decoder = getattr(import_module(module), name)
    return decoder
