"""One label an image: logits to the likeliest classes."""

from __future__ import annotations

import numpy as np

from apps.engine.core.spec import HeadSpec
from apps.engine.evaluation.calibration import unknown_flags
from apps.engine.evaluation.classification import softmax
from apps.engine.inference.decode import Outputs, Sizes
from apps.engine.inference.predictions import ClassPrediction, ClassScore, Prediction


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """Logits at the calibrated temperature; ``unknown`` where a rule for it was fitted.

    They are (B, K), or (B, K + 1) where the last one is that of everything else, which only the rule heeds.
    """
    del sizes
    (logits,) = outputs
    probabilities = softmax(logits[:, : len(head.classes)], float(head.calibration.get("temperature", 1.0)))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    unknown = unknown_flags(head.calibration.get("unknown"), logits)
    return [
        ClassPrediction(tuple(ClassScore(head.classes[i], float(row[i])) for i in best.tolist()), strange)
        for row, best, strange in zip(probabilities, order, unknown, strict=True)
    ]
