"""From probabilities over cells to an answer that says how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.evaluation.classification import log_softmax
from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats, Ints
from apps.places.cells.sphere import distance_km

SHARES = (0.5, 0.9)
SURE_WITHIN_KM = 200.0  # a region
COARSE_DECIMALS = 1  # of a degree: about 11 km, a city
COARSE_LEVEL = 9  # cells of some 18 km


def credible_cells(probabilities: Floats, areas_km2: Floats, share: float) -> Ints:
    """The smallest part of the earth that holds a share of the probability, as indices of cells.

    Cells are taken in the order of probability an area, whole ones.

    Args:
        probabilities: (K,) that add up to 1.
        areas_km2: (K,) above 0.
        share: 0 to 1, both excluded.

    Raises:
        ValueError: the share is out of range.
    """
    if not 0 < share < 1:
        raise ValueError(f"expected a share between 0 and 1, got {share:g}")
    order = np.argsort(-probabilities / areas_km2, kind="stable")
    reached = np.cumsum(probabilities[order])
    count = int(np.searchsorted(reached, share * reached[-1] - 1e-12)) + 1
    return order[:count].astype(np.int64)


def credible_area_km2(probabilities: Floats, areas_km2: Floats, share: float) -> float:
    """The area of :func:`credible_cells` in km2."""
    return float(areas_km2[credible_cells(probabilities, areas_km2, share)].sum())


def coverage_of_credible_areas(
    probabilities: Floats, areas_km2: Floats, truth: Ints, share: float
) -> tuple[float, float]:
    """How often the true cell lies in the credible area, and the median size of that area.

    A calibrated model has a coverage of ``share`` or, as whole cells are taken, somewhat more.

    Args:
        probabilities: (N, K), rows add up to 1.
        truth: (N,) index of the true cell; -1 where no cell holds the photo: such an image is never covered.
    """
    sets = [credible_cells(row, areas_km2, share) for row in probabilities]
    inside = [number in members for number, members in zip(truth.tolist(), sets, strict=True)]
    return float(np.mean(inside)), float(np.median([areas_km2[members].sum() for members in sets]))


def album_log_probabilities(log_probabilities: Floats) -> Floats:
    """One answer for images of one place: the mean of their log-probabilities, made to add up to 1.

    The mean and not the sum, as images of a trip are no independent witnesses.

    Shape:
        log_probabilities: (N, K), N from 1 up; returns: (K,).

    Raises:
        ValueError: there is no image.
    """
    if log_probabilities.ndim != 2 or len(log_probabilities) == 0:
        raise ValueError(f"an album needs one photo or more, got shape {log_probabilities.shape}")
    return log_softmax(np.maximum(log_probabilities, -1e30).mean(axis=0))


def confidence(probabilities: Floats, grid: CellPartition, within_km: float = SURE_WITHIN_KM) -> Floats:
    """Probability of all cells whose representative lies near that of the likeliest one, 0 to 1.

    One small cell among many is never likely by itself; a region may be.

    Shape:
        probabilities: (N, K); returns: (N,).
    """
    best = probabilities.argmax(axis=1)
    out = np.empty(len(probabilities))
    for row, cell in enumerate(best.tolist()):
        out[row] = near_share(probabilities[row], cell, grid.lat, grid.lon, within_km)
    return out


def near_share(row: Floats, cell: int, lat: Floats, lon: Floats, within_km: float = SURE_WITHIN_KM) -> float:
    """Probability (K,) of all cells at (K,) positions that lie near one of them, 0 to 1."""
    return min(float(row[distance_km(lat[cell], lon[cell], lat, lon) <= within_km].sum()), 1.0)


def abstains(probabilities: Floats, grid: CellPartition, least: float) -> NDArray[np.bool_]:
    """Where a model should not answer: its :func:`confidence` is below ``least``, 0 to 1."""
    if not 0 <= least <= 1:
        raise ValueError(f"expected a least confidence from 0 to 1, got {least:g}")
    below: NDArray[np.bool_] = confidence(probabilities, grid) < least
    return below


def coarse(lat: float, lon: float) -> tuple[float, float]:
    """A position blurred to a tenth of a degree, so that it tells a city and no house."""
    return round(lat, COARSE_DECIMALS), round(lon, COARSE_DECIMALS)


def describe(
    probabilities: Floats, grid: CellPartition, *, top: int = 5, least: float = 0.0, precise: bool = False
) -> dict[str, Any]:
    """The answer for one image or album, ready for JSON.

    Args:
        probabilities: (K,) that add up to 1.
        top: how many cells to name.
        least: below this confidence ``lat``, ``lon``, ``country`` and ``city`` are None.
        precise: tell positions and cells as they are; otherwise to a tenth of a degree and cells of level 9
            at the finest.
    """
    from apps.places.maps.gazetteer import gazetteer

    order = np.argsort(-probabilities, kind="stable")[:top]
    places = gazetteer().places(grid.lat[order], grid.lon[order])
    ids = grid.ids[order]
    shown = ids if precise else s2.parents(ids, np.minimum(s2.levels(ids), COARSE_LEVEL))
    cells = [
        {"token": token, "probability": float(probabilities[cell]), **_position(grid, cell, precise),
         "country": place.country_code, "city": place.city}
        for token, cell, place in zip(s2.tokens(shown), order.tolist(), places, strict=True)
    ]
    sure = float(confidence(probabilities[None], grid)[0])
    return summary(probabilities, cells, sure, s2_shapes.areas_km2(grid.ids), least)


def summary(
    probabilities: Floats, cells: Sequence[dict[str, Any]], sure: float, areas_km2: Floats, least: float = 0.0
) -> dict[str, Any]:
    """The answer from the likeliest cells, best first, and the confidence; see :func:`describe`."""
    best = cells[0] if sure >= least else dict.fromkeys(("lat", "lon", "country", "city"))
    return {
        **{key: best[key] for key in ("lat", "lon", "country", "city")}, "confidence": sure,
        "abstains": sure < least,
        **{f"area_{share:.0%}_km2".replace("%", ""): credible_area_km2(probabilities, areas_km2, share)
           for share in SHARES},
        "cells": list(cells),
    }


def _position(grid: CellPartition, cell: int, precise: bool) -> dict[str, float]:
    lat, lon = float(grid.lat[cell]), float(grid.lon[cell])
    lat, lon = (lat, lon) if precise else coarse(lat, lon)
    return {"lat": lat, "lon": lon}


def moved(grid: CellPartition, probabilities: Floats, offset: Floats, *, precise: bool) -> dict[str, Any]:
    """Position, country and city that an offset (2,) leads to from the likeliest cell."""
    from apps.places.targets import move

    best = np.array([int(probabilities.argmax())])
    lat, lon = (float(item[0]) for item in move(grid, best, offset[None]))
    return named(lat, lon, precise=precise)


def named(lat: float, lon: float, *, precise: bool) -> dict[str, Any]:
    """A position with its country and city, to a tenth of a degree unless ``precise``."""
    from apps.places.maps.gazetteer import gazetteer

    (place,) = gazetteer().places([lat], [lon])
    lat, lon = (lat, lon) if precise else coarse(lat, lon)
    return {"lat": lat, "lon": lon, "country": place.country_code, "city": place.city}
