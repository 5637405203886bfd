"""What answers to "where was it taken?" are worth: counted once over all images, divided once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apps.places.cells.s2 import Floats, Ints
from apps.places.cells.sphere import EARTH_RADIUS_KM, distance_km

DISTANCES_KM = (1, 25, 200, 750, 2500)  # street, city, region, country, continent
GEOSCORE_FULL, GEOSCORE_KM = 5000.0, 1492.7
RESAMPLES = 1000

Statistic = Callable[[Floats], float]


@dataclass(frozen=True, eq=False)
class GeoPredictions:
    """Predicted and true positions of N images, in degrees.

    Args:
        lat: (N,) predicted latitudes; NaN where the model abstained.
        lon: (N,) predicted longitudes; NaN in the same places.
        true_lat: (N,) -90 to 90.
        true_lon: (N,) -180 to 180.
        paths: N strings that name the images.
        confidence: (N,) 0 to 1, or None where not known.

    Raises:
        ValueError: there is no image, a shape does not fit, or a position is not on the globe.
    """

    lat: Floats
    lon: Floats
    true_lat: Floats
    true_lon: Floats
    paths: tuple[str, ...]
    confidence: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.paths)
        shapes = {item.shape for item in (self.lat, self.lon, self.true_lat, self.true_lon)}
        if n == 0 or shapes != {(n,)}:
            raise ValueError(f"expected four coordinates for each of {n} photos, got shapes {sorted(shapes)}")
        gone = np.isnan(self.lat)
        if (gone != np.isnan(self.lon)).any():
            at = int((gone != np.isnan(self.lon)).argmax())
            raise ValueError(f"{self.paths[at]} has one predicted coordinate; give both, or none to abstain")
        for lat, lon, what in ((self.true_lat, self.true_lon, "true"), (self.lat, self.lon, "predicted")):
            wrong = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 180)) & ~(gone & (what == "predicted"))
            if wrong.any():
                at = int(wrong.argmax())
                raise ValueError(
                    f"{self.paths[at]} has the {what} position {lat[at]}, {lon[at]}; "
                    "expected degrees from -90 to 90 north and -180 to 180 east"
                )

    @cached_property
    def answered(self) -> NDArray[np.bool_]:
        """Where the model did not abstain."""
        return ~np.isnan(self.lat)

    @cached_property
    def distances_km(self) -> Floats:
        """(N,) kilometres between prediction and truth; infinite where the model abstained."""
        result = np.full(len(self.paths), np.inf)
        known = self.answered
        result[known] = distance_km(
            self.lat[known], self.lon[known], self.true_lat[known], self.true_lon[known]
        )
        return result


def geoscore(km: Floats | float) -> Floats:
    """Points for an answer that far off: 5000 for none, 1839 for 1492.7 km, 0 for an infinite distance.

    Source: the game GeoGuessr, as Haas et al. 2024, PIGEON: Predicting Image Geolocations, give it.
    """
    out: Floats = GEOSCORE_FULL * np.exp(-np.asarray(km, np.float64) / GEOSCORE_KM)
    return out


def _statistics() -> dict[str, Statistic]:
    """The figures of a set of distances by name."""

    def share_within(limit: float) -> Statistic:
        return lambda km: float((km <= limit).mean())

    return {
        **{f"within_{limit}km": share_within(limit) for limit in DISTANCES_KM},
        "median_km": lambda km: _finite_or_nan(km, np.median),
        "mean_km": lambda km: _finite_or_nan(km, np.mean),
        "geoscore": lambda km: float(geoscore(km).mean()),
    }


def _finite_or_nan(km: Floats, average: Callable[[Floats], np.floating]) -> float:
    known = km[np.isfinite(km)]
    return float(average(known)) if len(known) else float("nan")


def geo_metrics(p: GeoPredictions) -> dict[str, float]:
    """Shares within 1, 25, 200, 750 and 2500 km, ``median_km``, ``mean_km``, ``geoscore``, ``answered``.

    An image on which the model abstained counts as wrong at every distance and as 0 points; median and mean
    are over the answered images, NaN if there is none. The earth is a sphere of 6371.0088 km.
    """
    results = {name: statistic(p.distances_km) for name, statistic in _statistics().items()}
    return {**results, "answered": float(p.answered.mean()), "earth_radius_km": EARTH_RADIUS_KM}


def geo_intervals(p: GeoPredictions, *, seed: int = 0, level: float = 0.95) -> dict[str, list[float]]:
    """Bootstrap intervals [lower, upper] of the figures of :func:`geo_metrics`, images drawn anew.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13 (percentiles).
    """
    return bootstrap(p.distances_km, _statistics(), seed=seed, level=level)


def bootstrap(
    values: Floats, statistics: dict[str, Statistic], *, seed: int = 0, level: float = 0.95,
    resamples: int = RESAMPLES,
) -> dict[str, list[float]]:
    """Percentile intervals of statistics over N values.

    Args:
        level: share of resamples inside the interval, 0 to 1, both excluded.
    """
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(statistics)))
    for row in drawn:
        sample = values[rng.integers(0, len(values), len(values))]
        row[:] = [statistic(sample) for statistic in statistics.values()]
    half = (1 - level) / 2
    low, high = np.full((2, len(statistics)), np.nan)
    known = ~np.isnan(drawn).all(axis=0)  # a statistic may be undefined in every resample
    low[known], high[known] = np.nanquantile(drawn[:, known], [half, 1 - half], axis=0)
    return {name: [float(a), float(b)] for name, a, b in zip(statistics, low, high, strict=True)}


def country_accuracy(predicted: Sequence[str], true: Sequence[str]) -> tuple[float, int]:
    """Share of images whose country is right, and how many have a known one.

    Args:
        predicted: codes, empty where the model abstained or named a place at sea.
        true: codes, empty where not known; those images are not counted.

    Returns:
        share from 0 to 1 (NaN if none is known), and the number of images counted.
    """
    counted = [(item, other) for item, other in zip(predicted, true, strict=True) if other]
    right = sum(item == other for item, other in counted)
    return (right / len(counted) if counted else float("nan")), len(counted)


def area_until_truth_km2(probabilities: Floats, areas_km2: Floats, truth: Ints) -> Floats:
    """How much of the earth must be searched, likeliest places first, until the true cell is reached.

    Cells are taken in the order of probability an area. A model is the better the smaller it is.

    Args:
        probabilities: (N, K), rows add up to 1.
        areas_km2: (K,) above 0.
        truth: (N,) index of the true cell, or -1 where no cell holds the photo: then it is infinite.

    Returns:
        (N,) km2, the true cell included.
    """
    out = np.full(len(truth), np.inf)
    for row in np.flatnonzero(truth >= 0):
        density = probabilities[row] / areas_km2
        out[row] = areas_km2[density > density[truth[row]]].sum() + areas_km2[truth[row]]
    return out
