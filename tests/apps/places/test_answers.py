"""Answers that say how sure they are, and the tables that a head over cells is taught with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from apps.places.answers import (
    abstains,
    album_log_probabilities,
    confidence,
    coverage_of_credible_areas,
    credible_area_km2,
    credible_cells,
    describe,
)
from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import CellPartition, Limits, build
from apps.places.cells.sphere import distance_km
from apps.places.targets import frequency_order, move, neighbour_weights, offset_targets, radii_km
from heads import GeoCells


@pytest.fixture(scope="module")
def photos() -> tuple[np.ndarray, np.ndarray]:
    """Positions around towns, at the antimeridian and near a pole too."""
    rng = np.random.default_rng(0)
    towns = np.array([(48.8, 2.3), (52, 179.95), (-33.9, 151.2), (88, 10)])
    lat, lon = (towns[rng.integers(0, 4, 2_000)] + rng.normal(0, 0.6, (2_000, 2))).T
    return np.clip(lat, -90, 90), (lon + 180) % 360 - 180


@pytest.fixture(scope="module")
def grid(photos: tuple[np.ndarray, np.ndarray]) -> CellPartition:
    return build(*photos, Limits(60, 5))[0]


def test_the_credible_area_is_the_smallest_that_holds_the_share() -> None:
    probabilities = np.array([0.4, 0.3, 0.2, 0.1])
    areas = np.array([1000.0, 10, 5, 1])  # by probability an area: 3, 2, 1, 0
    assert credible_cells(probabilities, areas, 0.5).tolist() == [3, 2, 1]
    assert credible_area_km2(probabilities, areas, 0.5) == 16
    assert credible_area_km2(probabilities, areas, 0.6) == 16
    assert credible_area_km2(probabilities, areas, 0.61) == 1016
    with pytest.raises(ValueError, match="expected a share between 0 and 1, got 1"):
        credible_cells(probabilities, areas, 1.0)


def test_a_calibrated_model_covers_as_it_promises() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(200, 0.3), 1_500)
    areas = rng.uniform(10, 1000, 200)
    truth = np.array([rng.choice(200, p=row) for row in probabilities])
    for share in (0.5, 0.9):
        covered, size = coverage_of_credible_areas(probabilities, areas, truth, share)
        assert share - 0.03 < covered < share + 0.06
        assert 0 < size < areas.sum()
    assert coverage_of_credible_areas(probabilities[:3], areas, np.full(3, -1), 0.9)[0] == 0


def test_an_album_is_the_mean_of_its_log_probabilities() -> None:
    logs = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    geometric = np.sqrt([0.05, 0.2, 0.025])
    assert np.exp(album_log_probabilities(logs)) == pytest.approx(geometric / geometric.sum())
    assert np.exp(album_log_probabilities(logs[:1])) == pytest.approx([0.5, 0.25, 0.25])
    impossible = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    assert np.exp(album_log_probabilities(impossible)) == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match=r"an album needs one photo or more, got shape \(0, 3\)"):
        album_log_probabilities(np.zeros((0, 3)))


def test_a_model_abstains_where_its_probability_lies_in_no_region(grid: CellPartition) -> None:
    one, even = np.zeros(len(grid)), np.full(len(grid), 1 / len(grid))
    one[3] = 1
    both = np.stack([one, even])
    near = distance_km(grid.lat[0], grid.lon[0], grid.lat, grid.lon) <= 200
    assert confidence(both, grid) == pytest.approx([1, near.mean()])
    assert abstains(both, grid, 0.9).tolist() == [False, True]
    assert abstains(both, grid, 0.0).tolist() == [False, False]
    with pytest.raises(ValueError, match="least confidence from 0 to 1, got 2"):
        abstains(both, grid, 2)


def test_an_answer_is_coarse_unless_it_is_asked_to_be_precise(grid: CellPartition) -> None:
    paris = int(grid.nearest(np.array([48.8]), np.array([2.3]))[0][0])
    probabilities = np.full(len(grid), 0.1 / (len(grid) - 1))
    probabilities[paris] = 0.9
    coarse, precise = describe(probabilities, grid, top=2), describe(probabilities, grid, top=2, precise=True)
    json.dumps(coarse)
    assert coarse["country"] == precise["country"] == "FR"
    assert (coarse["lat"], coarse["lon"]) == (round(grid.lat[paris], 1), round(grid.lon[paris], 1))
    assert precise["lat"] == grid.lat[paris]
    assert precise["cells"][0]["token"] == s2.tokens(grid.ids[paris : paris + 1])[0]
    assert all(s2.levels(s2.from_tokens([cell["token"]]))[0] <= 9 for cell in coarse["cells"])
    assert len(coarse["cells"]) == 2
    assert coarse["cells"][0]["probability"] == pytest.approx(0.9)
    assert coarse["area_50_km2"] == pytest.approx(s2_shapes.areas_km2(grid.ids)[paris])
    assert coarse["area_50_km2"] <= coarse["area_90_km2"]
    assert not coarse["abstains"]
    unsure = describe(probabilities, grid, least=0.99)
    assert (unsure["abstains"], unsure["lat"], unsure["country"], unsure["city"]) == (True, None, None, None)


def test_targets_are_shared_by_distance_and_add_up_to_one(grid: CellPartition) -> None:
    index, weights = neighbour_weights(grid, 65, count=8)
    assert index.shape == weights.shape == (len(grid), 8)
    assert (index[:, 0] == np.arange(len(grid))).all()
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(grid)))
    for cell in range(0, len(grid), 7):
        km = distance_km(grid.lat[cell], grid.lon[cell], grid.lat, grid.lon)
        nearest = np.argsort(km)[:8]
        assert set(index[cell]) == set(nearest.tolist())
        raw = np.exp(-km[index[cell]] / 65)
        assert weights[cell] == pytest.approx(raw / raw.sum())
    few, _ = neighbour_weights(grid, 65, count=10_000)
    assert few.shape == (len(grid), len(grid))
    head = GeoCells(8, [len(grid)], neighbours=[(torch.tensor(index), torch.tensor(weights))])
    assert torch.isfinite(head.loss(head(torch.rand(2, 8, 1, 1)), torch.tensor([0, 1]))["cross_entropy"])
    with pytest.raises(ValueError, match="expected tau_km above 0 and count from 1 up, got 0 and 32"):
        neighbour_weights(grid, 0)


def test_cells_that_share_a_representative_still_have_themselves_first() -> None:
    ids = s2.children(s2.faces(3)[:1])[0]
    twins = CellPartition(ids, np.ones(4), np.full(4, 1.0), np.full(4, 2.0), np.full(4, -1))
    index, weights = neighbour_weights(twins, 10, count=3)
    assert (index[:, 0] == np.arange(4)).all()
    assert all(len(set(row)) == 3 for row in index.tolist())
    assert weights == pytest.approx(np.full((4, 3), 1 / 3))


def test_cells_are_ordered_by_their_photos(grid: CellPartition) -> None:
    order = frequency_order(grid)
    assert sorted(order) == list(range(len(grid)))
    assert (np.diff(grid.weights[order]) <= 0).all()


def test_an_offset_leads_back_to_the_photo(
    photos: tuple[np.ndarray, np.ndarray], grid: CellPartition
) -> None:
    lat, lon = photos
    index = grid.locate(lat, lon)
    known = index >= 0
    offset = offset_targets(grid, index, lat, lon)
    assert (offset[~known] == 0).all()
    again = move(grid, index[known], offset[known])
    assert distance_km(*again, lat[known], lon[known]).max() < 1e-3
    assert np.median(np.linalg.norm(offset[known], axis=1)) < 1.2
    north = np.array([[0.0, 1.0]])
    for cell in range(len(grid)):
        there = move(grid, np.array([cell]), north)
        km = distance_km(*there, grid.lat[cell], grid.lon[cell])
        assert km == pytest.approx(radii_km(grid)[cell], rel=1e-6)
