"""Tiles: they cover the photo, overlap, grow up to the whole, and small photos have none."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from apps.engine.inference.slices.tiles import LEAST_RATIO, OVERLAP, Slices, starts, tiles


@pytest.mark.parametrize(("width", "height", "side"), [
    (4000, 3000, 300), (640, 480, 300), (10_000, 10, 96), (451, 450, 300), (12_000, 8400, 600),
])
def test_an_object_of_any_size_lies_whole_in_a_tile_of_which_it_takes_a_fair_part(
    width: int, height: int, side: int
) -> None:
    every, draw = list(tiles(width, height, side)), random.Random(0)
    assert every[-1] == (0, 0, width, height)
    assert all(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height for x1, y1, x2, y2 in every)
    for _ in range(200):
        share = draw.random()
        across, high = share * min(width, side), share * min(height, side)
        left, top = draw.uniform(0, width - across), draw.uniform(0, height - high)
        around = [
            x2 - x1 for x1, y1, x2, y2 in every
            if x1 <= left and y1 <= top and left + across <= x2 and top + high <= y2
        ]
        assert min(around) <= max(side, 2 * max(across, high) / OVERLAP, LEAST_RATIO * side)


def test_neighbours_overlap_by_their_share_and_lie_evenly() -> None:
    for length in (300, 301, 525, 526, 4000):
        first = starts(length, 300)
        assert first[0] == 0 and first[-1] + 300 == length
        steps = [b - a for a, b in pairwise(first)]
        assert all(step <= 300 * (1 - OVERLAP) + 1 for step in steps)
        assert not steps or max(steps) - min(steps) <= 1


def test_sizes_double_and_a_photo_hardly_larger_than_a_tile_is_seen_once() -> None:
    assert sorted({x2 - x1 for x1, _, x2, _ in tiles(4000, 3000, 300)}) == [300, 600, 1200, 2400, 4000]
    assert list(tiles(440, 300, 300)) == [(0, 0, 440, 300)]
    assert sum(1 for _ in tiles(12_000, 8_400, 300)) < 3600


@pytest.mark.parametrize("side", [-1, 0, 31, 100_001])
def test_sides_out_of_bounds_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"--slice-size must be 32 to 100000 pixels, got {side}"):
        Slices(side)
