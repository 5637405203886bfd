"""One label an image: logits to the likeliest classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    unknown, breeds = unknown_flags(head.calibration.get("unknown"), logits), _breeds(head, logits)
    return [
        ClassPrediction(tuple(ClassScore(head.classes[i], float(row[i])) for i in best.tolist()), odd, breed)
        for row, best, odd, breed in zip(probabilities, order, unknown, breeds, strict=True)
    ]


def _breeds(head: HeadSpec, logits: NDArray[Any]) -> list[ClassScore | None]:
    """The likeliest breed of each image on which all breeds together have their least share."""
    how = head.extra.get("breeds")
    if how is None:
        return [None] * len(logits)
    dogs = softmax(logits, 1.0)[:, how["rows"]].sum(axis=1) >= how["least"]
    among = softmax(logits[:, how["rows"]], 1.0)
    return [
        ClassScore(head.classes[how["rows"][best]], float(row[best])) if dog else None
        for row, best, dog in zip(among, among.argmax(axis=1).tolist(), dogs, strict=True)
    ]
