"""Near duplicates: cut, resized, compressed copies are met; other pictures are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from apps.engine.checking.fingerprints import SIDE
from apps.engine.checking.near import near_pairs, stacked


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(3)
    return [
        Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize((320, 240)) for _ in range(40)
    ]


def test_cut_resized_and_compressed_copies_are_met_and_nothing_else(pictures: list[Image.Image]) -> None:
    rng, copies = np.random.default_rng(4), []
    for image in pictures[:20]:
        left, top, right, low = rng.uniform(0, 0.1, 4)
        box = (int(left * 320), int(top * 240), int((1 - right) * 320), int((1 - low) * 240))
        small = image.crop(box).resize((int(rng.uniform(90, 300)), int(rng.uniform(90, 300))))
        data = io.BytesIO()
        small.save(data, "JPEG", quality=60)
        copies.append(Image.open(data))
    pairs = near_pairs(stacked([*map(grey, pictures), *map(grey, copies)]))
    assert {(a, b) for a, b, _ in pairs} == {(n, 40 + n) for n in range(20)}
    assert all(0.97 <= score <= 1.001 for _, _, score in pairs)


def test_flat_pictures_few_and_none_give_no_pairs(pictures: list[Image.Image]) -> None:
    flat = np.full((SIDE, SIDE), 200, np.uint8)
    assert near_pairs(stacked([flat, flat])) == []
    assert near_pairs(stacked([])) == [] and near_pairs(stacked([grey(pictures[0])])) == []
    assert [pair[:2] for pair in near_pairs(stacked([grey(pictures[0])] * 2))] == [(0, 1)]
