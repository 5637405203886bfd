"""Is the written model the trained one: the greatest distance between their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.inference.decode.kinds import kind_of
from apps.engine.inference.engines import Engine
from apps.engine.inference.graph.model import Plan

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}  # greatest distance over the greatest output
BATCHES = (1, 3)
ALIKE = 0.75  # share of objects that are held: of boxes that nearly tie another one may stay


def parity(plan: Plan, model: Engine) -> float:
    """How far the file's outputs are from the trained network's, over the greatest of them.

    Raises:
        ValueError: further than is right for the precision.
    """
    reference, worst = plan.reference(), 0.0
    for batch in BATCHES:
        images = plan.example(batch, seed=batch)
        names, wanted = plan.spec.outputs, reference(images)
        outputs = dict(zip(names, zip(model.run(images.numpy()), wanted, strict=True), strict=True))
        for head in plan.spec.heads:
            pairs = [(got, value.numpy()) for got, value in (outputs[name] for name in head.outputs)]
            if kind_of(head.kind).boxes:
                made, expected = zip(*pairs, strict=True)
                distance = detections_distance(made, expected, plan.spec.resolution)
            else:
                distance = max(_distance(*pair) for pair in pairs)
            worst = max(worst, distance)
    most = TOLERANCE.get(plan.spec.precision)
    if most is not None and not worst <= most:
        raise ValueError(
            f"the exported model's outputs are off by {worst:.2g} of their size, more than {most:g} for "
            f"{plan.spec.precision}; nothing was written: export with another --precision or --opset"
        )
    return worst


def _distance(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(np.abs(got - wanted).max()) / max(float(np.abs(wanted).max()), 1e-6)


def detections_distance(
    got: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]], size: float, share: float = ALIKE
) -> float:
    """How far objects are from the nearest of their class, in scores and in shares of the image's side.

    Args:
        got: boxes (B, D, 4) pixels, scores (B, D) and labels (B, D); a score of 0 is no object.
        wanted: the same of another network.
        size: side of the image in pixels.
        share: of the objects that the distance holds for, 0 to 1; the best ones.
    """
    distances: list[float] = []
    for boxes, scores, labels, other_boxes, other_scores, other_labels in zip(*got, *wanted, strict=True):
        apart = np.maximum(
            np.abs(boxes[:, None] - other_boxes).max(axis=2) / size, np.abs(scores[:, None] - other_scores)
        )
        apart[labels[:, None] != other_labels] = 1
        real, other_real = scores > 0, other_scores > 0
        apart[~real], apart[:, ~other_real] = 1, 1
        distances += [*apart.min(axis=1)[real], *apart.min(axis=0)[other_real]]
    return float(np.quantile(distances, share)) if distances else 0.0
