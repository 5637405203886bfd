"""Splits that keep neighbours together, whatever they are made by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.geo.geotags import read_folder
from datasets.geo.positions import Positions
from datasets.geo.splits import near_each_other, split_positions


def chord_km(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """All distances between some positions, (N, N)."""
    phi, theta = np.radians(lat), np.radians(lon)
    points = np.stack([np.cos(theta) * np.cos(phi), np.sin(theta) * np.cos(phi), np.sin(phi)], axis=1)
    chord = np.linalg.norm(points[:, None] - points[None], axis=2)
    return 2 * 6371.0088 * np.arcsin(np.minimum(chord / 2, 1))


def towns(count: int = 300, seed: int = 0) -> Positions:
    """Photos around 40 towns, some at the antimeridian and a pole, by 12 authors in 6 folders."""
    rng = np.random.default_rng(seed)
    middles = np.stack([rng.uniform(-60, 60, 40), rng.uniform(-180, 180, 40)], axis=1)
    middles[:3] = (20, 180), (-10, -180), (89.9, 0)
    town = rng.integers(0, 40, count)
    lat, lon = (middles[town] + rng.normal(0, 0.05, (count, 2))).T
    lon = (lon + 180) % 360 - 180
    return Positions(
        np.clip(lat, -90, 90), lon, paths=tuple(f"f{t % 6}/{n}.jpg" for n, t in enumerate(town)),
        authors=tuple(f"a{t % 12}" if t % 5 else "" for t in town),
    )


@pytest.mark.parametrize("by", ["distance", "author", "folder"])
@pytest.mark.parametrize("km", [0, 2, 40])
def test_no_neighbours_sit_on_both_sides(by: str, km: float) -> None:
    photos = towns()
    train, val = split_positions(photos, 0.3, by=by, km=km)
    assert len(train)
    assert len(val)
    assert sorted([*train, *val]) == list(range(len(photos)))
    apart = chord_km(photos.lat, photos.lon)[np.ix_(train, val)]
    assert apart.min() > km
    if by == "author":
        sides = [{photos.authors[n] for n in side if photos.authors[n]} for side in (train, val)]
        assert not sides[0] & sides[1]
    if by == "folder":
        assert not {photos.paths[n][:2] for n in train} & {photos.paths[n][:2] for n in val}


def test_groups_are_those_of_a_naive_search_up_to_the_promised_slack() -> None:
    photos = towns(200)
    apart = chord_km(photos.lat, photos.lon)
    found = near_each_other(photos.lat, photos.lon, 5)
    same = found[:, None] == found[None]

    def reachable(km: float) -> np.ndarray:
        near = apart <= km
        for _ in range(8):
            near = (near.astype(float) @ near) > 0
        return near

    assert not (reachable(5) & ~same).any()
    assert not (same & ~reachable(5 * 1.75)).any()
    assert 20 < len(np.unique(found)) < 200


def test_the_share_is_met_and_the_draw_hangs_on_the_seed_alone() -> None:
    photos = towns(2_000)
    first = split_positions(photos, 0.2)[1]
    assert len(first) / 2_000 == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(first, split_positions(photos, 0.2)[1])
    assert set(first) != set(split_positions(photos, 0.2, seed=1)[1])


def test_equal_positions_stay_together_and_crowded_ones_cost_no_pairs() -> None:
    """60,000 photos at one spot would be 1.8 thousand million pairs."""
    lat = np.repeat([48.8, -33.9], [60_000, 10])
    photos = Positions(lat, np.repeat([2.3, 151.2], [60_000, 10]))
    assert split_positions(photos, 0.1)[1].tolist() == list(range(60_000, 60_010))


def test_real_photos_are_split(shared: Path) -> None:
    photos = read_folder(shared / "data" / "geo" / "photos")
    train, val = split_positions(photos, 0.2, km=1)
    assert len(val) / 245 == pytest.approx(0.2, abs=0.05)
    assert chord_km(photos.lat, photos.lon)[np.ix_(train, val)].min() > 1


def test_what_cannot_be_split_says_why() -> None:
    photos = towns(20)
    with pytest.raises(ValueError, match="expected 0 < fraction < 1 and km from 0 up, got 1 and 1"):
        split_positions(photos, 1.0)
    with pytest.raises(ValueError, match="by one of distance, author, folder, got 'day'"):
        split_positions(photos, 0.2, by="day")
    with pytest.raises(ValueError, match="all 20 photos hang together by distance and 30000 km"):
        split_positions(photos, 0.2, km=30_000)
    bare = Positions(photos.lat, photos.lon)
    with pytest.raises(ValueError, match="no photo names its author; split by folder or distance"):
        split_positions(bare, 0.2, by="author")
    with pytest.raises(ValueError, match="the positions have no paths; split by distance"):
        split_positions(bare, 0.2, by="folder")
