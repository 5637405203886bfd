"""A model's outputs as answers in plain values, without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.evaluation.calibration import UnknownRule
from apps.engine.evaluation.classification import softmax
from apps.export.spec import HeadSpec, ModelSpec
from apps.export.suppress import described, suppressed

Outputs = Sequence[NDArray[np.float32]]
Sizes = Sequence[tuple[int, int]]  # (width, height) of the photos in pixels


def answers(spec: ModelSpec, outputs: Outputs, sizes: Sizes, *, top: int = 5) -> list[dict[str, Any]]:
    """One dict a photo: of the one head, or ``{"answers": {NAME: dict}}`` of several.

    Args:
        spec: of the model.
        outputs: all of its outputs, photos first.
        sizes: of the photos.
        top: how many classes or cells a photo, 1 or more.
    """
    named = dict(zip(spec.outputs, outputs, strict=True))
    by_head = {
        head.name: head_answers(head, [named[name] for name in head.outputs], sizes, top=top)
        for head in spec.heads
    }
    if len(by_head) == 1:
        return next(iter(by_head.values()))
    return [
        {"answers": dict(zip(by_head, photo, strict=True))} for photo in zip(*by_head.values(), strict=True)
    ]


def head_answers(
    head: HeadSpec, outputs: Outputs, sizes: Sizes, *, top: int = 5
) -> list[dict[str, Any]]:
    """The answers of one head.

    Raises:
        ValueError: its kind is not known here.
    """
    if head.kind not in READERS:
        raise ValueError(
            f"head {head.name!r} gives {head.kind!r}, which this version cannot read; it reads "
            f"{', '.join(READERS)}"
        )
    return READERS[head.kind](head, outputs, sizes, top)


def _classes(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[dict[str, Any]]:
    del sizes
    logits = outputs[0]
    probabilities = softmax(logits, float(head.calibration.get("temperature", 1.0)))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    rule = head.calibration.get("unknown")
    unknown = UnknownRule.from_dict(rule).is_unknown(logits) if rule else [False] * len(logits)
    return [
        {
            "predictions": [
                {"name": head.classes[i], "probability": round(float(photo[i]), 6)} for i in best
            ],
            "unknown": bool(strange),
        }
        for photo, best, strange in zip(probabilities, order, unknown, strict=True)
    ]


def _attributes(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[dict[str, Any]]:
    from apps.attributes.names import Layout

    del sizes, top
    layout, logits = Layout.of(head.classes), outputs[0].astype(np.float64)
    thresholds = head.calibration.get("thresholds", {})
    least = {name: float(thresholds.get(name, 0.5)) for name in layout.names}
    values: dict[str, NDArray[np.float64]] = {}
    start = len(layout.names)
    for name, count in layout.groups.items():
        values[name] = softmax(logits[:, start : start + count]) @ np.arange(count)
        start += count
    return [
        {
            "attributes": {
                name: {"probability": round(p, 6), "threshold": round(least[name], 6),
                       "decision": p >= least[name]}
                for name, p in zip(layout.names, photo, strict=True)
            },
            "values": {name: round(float(every[n]), 2) for name, every in values.items()},
        }
        for n, photo in enumerate((0.5 + 0.5 * np.tanh(logits[:, : len(layout.names)] / 2)).tolist())
    ]


def _embedding(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[dict[str, Any]]:
    del head, sizes, top
    vectors = outputs[0].astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [{"embedding": [round(x, 7) for x in row]} for row in vectors.tolist()]


def _cells(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[dict[str, Any]]:
    from apps.places.answers import describe

    del sizes
    probabilities = softmax(outputs[0], float(head.calibration.get("temperature", 1.0)))
    return [describe(row, _grid(head.classes), top=top) for row in probabilities]


def _boxes(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[dict[str, Any]]:
    return [
        {"objects": described(suppressed(boxes, scores, head.extra), head.classes, head.extra, size, top)}
        for boxes, scores, size in zip(*outputs, sizes, strict=True)
    ]


@cache
def _grid(classes: tuple[str, ...]) -> Any:
    from apps.places.cells.names import grids_of

    return grids_of(classes)[-1]


READERS: dict[str, Callable[[HeadSpec, Outputs, Sizes, int], list[dict[str, Any]]]] = {
    "classes": _classes,
    "attributes": _attributes,
    "cells": _cells,
    "embedding": _embedding,
    "boxes": _boxes,
}
