"""Log-probabilities of cells to a position that says how sure it is."""

from __future__ import annotations

from functools import cache

import numpy as np

from apps.engine.core.spec import HeadSpec
from apps.engine.evaluation.classification import softmax
from apps.engine.inference.decode import Outputs, Sizes
from apps.engine.inference.predictions import PlacePrediction, Prediction
from apps.places.answers import describe, near_share, summary
from apps.places.cells.names import grids_of
from apps.places.cells.partition import CellPartition


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """Log-probabilities (B, K) of the finest cells, at the calibrated temperature."""
    del sizes
    probabilities = softmax(outputs[0], float(head.calibration.get("temperature", 1.0)))
    return [PlacePrediction(describe(row, _finest(head.classes), top=top)) for row in probabilities]


def decode_alone(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """As :func:`decode`, by what an exported file says of its cells: needs no gazetteer and no S2."""
    del sizes
    where, areas = head.extra, np.array(head.extra["areas_km2"])
    rows = [name.split("/") for name in head.classes]
    finest = max(int(row[0]) for row in rows)
    lat, lon = (np.array([float(row[n]) for row in rows if int(row[0]) == finest]) for n in (2, 3))
    predictions: list[Prediction] = []
    for row in softmax(outputs[0], float(head.calibration.get("temperature", 1.0))):
        cells = [
            {"token": where["tokens"][n], "probability": float(row[n]), "lat": where["lat"][n],
             "lon": where["lon"][n], "country": where["countries"][n], "city": where["cities"][n]}
            for n in np.argsort(-row, kind="stable")[:top].tolist()
        ]
        sure = near_share(row, int(row.argmax()), lat, lon)
        predictions.append(PlacePrediction(summary(row, cells, sure, areas)))
    return predictions


@cache
def _finest(classes: tuple[str, ...]) -> CellPartition:
    return grids_of(classes)[-1]
