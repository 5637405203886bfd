"""Logits of attributes to probabilities, decisions and expected values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.attributes.names import Layout
from apps.engine.core.spec import HeadSpec
from apps.engine.evaluation.classification import softmax
from apps.engine.inference.decode import Outputs, Sizes
from apps.engine.inference.predictions import AttributePrediction, AttributeScore, Prediction


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """Logits (B, N + K1 + ...): each attribute's own probability, each group's expected class."""
    del sizes, top
    layout, logits = Layout.of(head.classes), outputs[0].astype(np.float64)
    chosen = head.calibration.get("thresholds", {})
    thresholds = {name: float(chosen.get(name, 0.5)) for name in layout.names}
    values: dict[str, NDArray[np.float64]] = {}
    start = len(layout.names)
    for name, count in layout.groups.items():
        values[name] = softmax(logits[:, start : start + count]) @ np.arange(count)
        start += count
    probabilities = (0.5 + 0.5 * np.tanh(logits[:, : len(layout.names)] / 2)).tolist()
    return [
        AttributePrediction(
            {name: AttributeScore(p, thresholds[name]) for name, p in zip(layout.names, row, strict=True)},
            {name: float(every[number]) for name, every in values.items()},
        )
        for number, row in enumerate(probabilities)
    ]
