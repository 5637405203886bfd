"""Log-probabilities of cells to a position that says how sure it is."""

from __future__ import annotations

from functools import cache

from apps.engine.core.spec import HeadSpec
from apps.engine.evaluation.classification import softmax
from apps.engine.inference.decode import Outputs, Sizes
from apps.engine.inference.predictions import PlacePrediction, Prediction
from apps.places.answers import describe
from apps.places.cells.names import grids_of
from apps.places.cells.partition import CellPartition


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """Log-probabilities (B, K) of the finest cells, at the calibrated temperature."""
    del sizes
    probabilities = softmax(outputs[0], float(head.calibration.get("temperature", 1.0)))
    return [PlacePrediction(describe(row, _finest(head.classes), top=top)) for row in probabilities]


@cache
def _finest(classes: tuple[str, ...]) -> CellPartition:
    return grids_of(classes)[-1]
