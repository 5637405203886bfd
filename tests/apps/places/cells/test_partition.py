"""The adaptive partition against a slow one, and what must hold of any partition."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import s2sphere

from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import Limits, build
from apps.places.cells.sphere import Nearest, distance_km
from datasets.geo.position_tables import read_positions

pytestmark = pytest.mark.computes


def crowded(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions that crowd around some towns, one of them at the antimeridian and one at a pole."""
    rng = np.random.default_rng(seed)
    towns = np.array([(48.8, 2.3), (-33.9, 151.2), (52, 179.99), (90, 0), (0.01, -0.01), (-14, -171)])
    lat, lon = (towns[rng.integers(0, len(towns), count)] + rng.normal(0, 1, (count, 2)) ** 3).T
    return np.clip(lat, -90, 90), (lon + 180) % 360 - 180


def slow_partition(lat: np.ndarray, lon: np.ndarray, limits: Limits, weights: np.ndarray) -> dict[int, float]:
    """The same by the other port of S2 and a dictionary of cells, level by level."""
    leaves = [
        s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(a, b))
        for a, b in zip(lat.tolist(), lon.tolist(), strict=True)
    ]
    found: dict[int, float] = {}
    open_photos = range(len(leaves))
    for level in range(limits.min_level, limits.max_level + 1):
        cells: dict[int, list[int]] = {}
        for n in open_photos:
            cells.setdefault(leaves[n].parent(level).id(), []).append(n)
        open_photos = []
        for cell, members in cells.items():
            weight = float(weights[members].sum())
            if weight > limits.t_max and level < limits.max_level:
                open_photos += members
            elif weight > limits.t_min:
                found[cell] = weight
    return found


@pytest.mark.parametrize(("limits", "weighted"), [
    (Limits(40, 5), False), (Limits(40, 5, 0), False), (Limits(10, 0, 3, 9), False), (Limits(30, 4), True),
])
def test_the_partition_equals_a_slow_one(limits: Limits, weighted: bool) -> None:
    lat, lon = crowded(3_000)
    weights = np.random.default_rng(1).integers(1, 5, len(lat)).astype(float)
    (grid,) = build(lat, lon, limits, weights if weighted else None)
    expected = slow_partition(lat, lon, limits, weights if weighted else np.ones(len(lat)))
    assert dict(zip(grid.ids.tolist(), grid.weights.tolist(), strict=True)) == expected
    assert grid.total == (weights.sum() if weighted else len(lat))
    assert (np.diff(grid.ids.astype(object)) > 0).all()


@pytest.mark.parametrize(("t_max", "t_min", "cells", "coverage", "levels"), [
    (500, 25, 545, 0.979, (2, 12)), (100, 10, 2290, 0.943, (2, 15)),
])
def test_real_positions_give_the_known_partition(
    shared: Path, t_max: int, t_min: int, cells: int, coverage: float, levels: tuple[int, int]
) -> None:
    photos = read_positions(shared / "data" / "geo" / "coordinates_100k.csv")
    (grid,) = build(photos.lat, photos.lon, Limits(t_max, t_min))
    assert len(grid) == cells
    assert grid.weights.sum() / grid.total == pytest.approx(coverage, abs=5e-4)
    assert (s2.levels(grid.ids).min(), s2.levels(grid.ids).max()) == levels


def test_a_representative_is_the_mean_of_its_photos_on_the_sphere() -> None:
    """Longitudes 179 and -179 have the mean 180, not 0."""
    (grid,) = build([0.5, 0.5, 0.7], [179, -179, -179], Limits(10, 0, 0))
    assert len(grid) == 1
    assert (grid.lat[0], grid.lon[0]) == pytest.approx((0.567, -179.667), abs=1e-3)
    lat, lon = crowded(2_000)
    weights = np.random.default_rng(2).uniform(0.1, 3, len(lat))
    (grid,) = build(lat, lon, Limits(40, 5), weights)
    index = grid.locate(lat, lon)
    for cell in range(len(grid)):
        own = index == cell
        mean = s2.degrees((s2.unit_vectors(lat[own], lon[own]) * weights[own, None]).sum(axis=0))
        assert distance_km(grid.lat[cell], grid.lon[cell], *mean) < 1e-6
        assert grid.weights[cell] == pytest.approx(weights[own].sum())


def test_photos_that_cancel_each_other_out_are_represented_by_the_middle_of_their_cell() -> None:
    north = s2.parents(s2.leaf_ids([90], [0]), 0)
    (grid,) = build([90, 45, 45], [0, 45, -135], Limits(10, 0, 0))
    assert grid.ids[0] == north[0]


def test_finer_grids_split_the_cells_of_coarser_ones() -> None:
    lat, lon = crowded(3_000)
    grids = build(lat, lon, [Limits(500, 20), Limits(100, 10), Limits(30, 5)])
    assert len(grids[0]) < len(grids[1]) < len(grids[2])
    assert (grids[0].parents == -1).all()
    for coarse, fine in pairwise(grids):
        levels = s2.levels(coarse.ids)[fine.parents]
        assert (s2.parents(fine.ids, levels) == coarse.ids[fine.parents]).all()


def test_photos_outside_all_cells_go_to_the_nearest_with_a_flag() -> None:
    lat, lon = np.repeat([10.0, -20.0], 20), np.repeat([179.0, 30.0], 20)
    (grid,) = build(lat, lon, Limits(30, 5, 10))
    index, inside = grid.assign([10, 10, -21, -89], [179, -178, 30, 100])
    east = int(np.argmax(grid.lon))
    assert index.tolist() == [east, east, 1 - east, 1 - east]
    assert inside.tolist() == [True, False, False, False]
    assert grid.locate([10], [-178]).tolist() == [-1]


def test_the_nearest_is_found_as_by_trying_all() -> None:
    lat, lon = crowded(300)
    others = crowded(200, seed=1)
    index, km = Nearest(lat, lon)(*others)
    every = distance_km(others[0][:, None], others[1][:, None], lat, lon)
    assert km == pytest.approx(every.min(axis=1), abs=1e-4)
    assert every[np.arange(200), index] == pytest.approx(every.min(axis=1), abs=1e-4)


@pytest.mark.parametrize(("a", "b", "km"), [
    ((0, 0), (0, 90), 10007.557),  # a quarter of the equator
    ((0, 179.5), (0, -179.5), 111.195),  # across the date line
    ((90, 0), (-90, 77), 20015.114),  # from pole to pole
    ((90, 10), (90, -130), 0),  # a pole has one place
    ((48.8566, 2.3522), (51.5074, -0.1278), 343.556),  # Paris - London
    ((10, 20), (10, 20), 0),
])
def test_distances_a_reader_can_check(a: tuple[float, float], b: tuple[float, float], km: float) -> None:
    assert distance_km(*a, *b) == pytest.approx(km, abs=6e-4)
    assert distance_km(*b, *a) == pytest.approx(km, abs=6e-4)


def test_distances_are_those_of_another_formula_also_where_points_nearly_touch() -> None:
    lat, lon = crowded(500)
    other = np.clip(lat + np.geomspace(1e-9, 100, 500), -90, 90)
    a, b = s2.unit_vectors(lat, lon), s2.unit_vectors(other, lon)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1))
    assert distance_km(lat, lon, other, lon) == pytest.approx(angle * 6371.0088, rel=1e-5, abs=1e-6)
    with pytest.raises(ValueError, match="expected latitudes from -90 to 90 degrees, got 91"):
        distance_km(91, 0, 0, 0)
    with pytest.raises(ValueError, match="expected finite longitudes"):
        distance_km(0, np.nan, 0, 0)


def test_no_cell_is_split_below_max_level_even_if_it_is_too_full() -> None:
    (grid,) = build([1] * 100, [2] * 100, Limits(5, 0, 2, 7))
    assert (len(grid), s2.levels(grid.ids)[0], grid.weights[0]) == (1, 7, 100)
    (deep,) = build([1] * 100, [2] * 100, Limits(5, 0))
    assert s2.levels(deep.ids).tolist() == [30]


@pytest.mark.parametrize(("arguments", "words"), [
    ((5, 5), "expected 0 <= t_min < t_max, got 5 and 5"), ((5, -1), "got -1 and 5"),
    ((5, float("nan")), "got nan and 5"), ((5, 1, 9, 3), "expected levels 0 <= min <= max <= 30"),
])
def test_limits_that_make_no_sense_are_refused(arguments: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Limits(*arguments)  # type: ignore[arg-type]


def test_an_empty_partition_says_how_full_the_fullest_cell_is() -> None:
    words = r"no cell has more than 9 photos \(t_min\): the fullest has 3; lower t_min"
    with pytest.raises(ValueError, match=words):
        build([1, 1, 1, 50], [1, 1, 1, 50], Limits(10, 9))
    with pytest.raises(ValueError, match="expected positions of photos, got none"):
        build([], [], Limits(10, 9))
    with pytest.raises(ValueError, match="expected 2 finite weights above 0"):
        build([1, 2], [1, 2], Limits(10, 1), [1, 0])
    with pytest.raises(ValueError, match="expected t_max from the coarsest down"):
        build([1, 2], [1, 2], [Limits(10, 1), Limits(20, 1)])


def test_outlines_lie_on_the_map_and_enclose_their_cell() -> None:
    """What a ring encloses on an equal-area map is the cell's area, also at poles and date line."""
    lat, lon = crowded(60)
    ids = np.unique(np.concatenate([s2.parents(s2.leaf_ids(lat, lon), level) for level in (1, 2, 3, 8)]))
    for cell, km2 in zip(np.concatenate([s2.faces(), ids]).tolist(),
                         s2_shapes.areas_km2(np.concatenate([s2.faces(), ids])).tolist(), strict=True):
        total = 0.0
        for ring in s2_shapes.outline(cell):
            assert (ring[0] == ring[-1]).all()
            assert (np.abs(ring) <= (180, 90)).all()
            assert np.abs(np.diff(ring[:, 0])).max() <= 90
            x, y = np.radians(ring[:, 0]), np.sin(np.radians(ring[:, 1]))
            total += float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
        assert total * 6371.0088**2 == pytest.approx(km2, rel=0.01)
