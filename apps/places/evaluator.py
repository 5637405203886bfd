"""A model's answers over cells, held against where images were taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apps.engine.evaluation.classification import log_softmax, softmax
from apps.places.answers import SHARES, abstains, confidence, coverage_of_credible_areas
from apps.places.cells import s2_shapes
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats, Ints
from apps.places.geo_metrics import (
    GeoPredictions,
    area_until_truth_km2,
    country_accuracy,
    geo_intervals,
    geo_metrics,
)
from apps.places.maps.gazetteer import gazetteer
from apps.places.targets import move


@dataclass(frozen=True, eq=False)
class PlaceEvaluation:
    """Probabilities over cells for N images whose positions are known.

    Args:
        log_probabilities: (N, K) at temperature 1.
        offsets: (N, 2) from the likeliest cell's representative in radii of the cell, or None.
        true_lat: (N,) degrees.
        true_lon: (N,) degrees.
        paths: of the images.
        grid: the K cells.
        temperature: by which log-probabilities are divided.
        least: confidence below which the model abstains, 0 to 1.
    """

    log_probabilities: NDArray[np.float32]
    offsets: Floats | None
    true_lat: Floats
    true_lon: Floats
    paths: tuple[str, ...]
    grid: CellPartition
    temperature: float = 1.0
    least: float = 0.0

    @cached_property
    def truth(self) -> Ints:
        """(N,) the cell that holds each image, -1 where none does."""
        return self.grid.locate(self.true_lat, self.true_lon)

    @cached_property
    def probabilities(self) -> Floats:
        """(N, K)."""
        return softmax(self.log_probabilities, self.temperature)

    @cached_property
    def geo(self) -> GeoPredictions:
        """The positions answered; none where the model abstains."""
        best = self.log_probabilities.argmax(axis=1)
        if self.offsets is None:
            lat, lon = self.grid.lat[best], self.grid.lon[best]
        else:
            lat, lon = move(self.grid, best, self.offsets)
        unsure = abstains(self.probabilities, self.grid, self.least)
        lat, lon = (np.where(unsure, np.nan, item) for item in (lat, lon))
        sure = confidence(self.probabilities, self.grid)
        return GeoPredictions(lat, lon, self.true_lat, self.true_lon, self.paths, sure)

    def __len__(self) -> int:
        return len(self.paths)

    def metrics(self) -> dict[str, float]:
        """The figures of the positions, and of the probabilities."""
        areas, known = s2_shapes.areas_km2(self.grid.ids), self.truth >= 0
        needed = area_until_truth_km2(self.probabilities, areas, self.truth)
        rows = np.flatnonzero(known)
        nll = -log_softmax(self.log_probabilities, self.temperature)[rows, self.truth[rows]]
        result = geo_metrics(self.geo) | {
            "country_accuracy": country_figure(self.geo),
            "cell_accuracy": float((self.log_probabilities.argmax(axis=1) == self.truth).mean()),
            "cross_entropy": float(nll.mean()) if len(rows) else float("nan"),
            "area_until_truth_km2": float(np.median(needed)) if known.any() else float("inf"),
        }
        for share in SHARES:
            covered, size = coverage_of_credible_areas(self.probabilities, areas, self.truth, share)
            percent = round(100 * share)
            result |= {f"coverage_{percent}": covered, f"area_{percent}_km2": size}
        return result

    def intervals(self) -> dict[str, list[float]]:
        """95 % bootstrap intervals over images."""
        return geo_intervals(self.geo)


def country_figure(geo: GeoPredictions) -> float:
    """Share of images whose country is right, among those taken in one."""
    true = gazetteer().country_codes(geo.true_lat, geo.true_lon)
    answer = np.full(len(geo.paths), "", dtype=object)
    known = geo.answered
    if known.any():
        answer[known] = gazetteer().country_codes(geo.lat[known], geo.lon[known])
    return country_accuracy(answer.tolist(), true)[0]
