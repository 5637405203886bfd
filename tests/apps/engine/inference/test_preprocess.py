"""Photos as an exported model gets them: the pixels that training judges by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.engine.data.transforms import eval_transform
from apps.engine.inference.preprocess import square
from apps.objects.transforms import ToSquare


@settings(deadline=None, max_examples=40)
@given(st.integers(32, 200), st.integers(32, 200), st.sampled_from([0.875, 1.0]), st.integers(0, 9))
def test_photos_are_read_to_the_pixels_that_training_judges_by(
    height: int, width: int, crop: float, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    wanted = eval_transform(32, crop)(pixels).permute(1, 2, 0).numpy().astype(int)
    got = square(pixels, 32, crop).astype(int)
    assert np.abs(got - wanted).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(100, 300), (60, 400), (300, 100)])
def test_tall_photos_come_out_as_in_training_to_the_last_level(width: int, height: int) -> None:
    """Pillow 13 begins with the columns of such photos, and every fifth value is off by one then."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    wanted = eval_transform(64, 0.875)(pixels).permute(1, 2, 0).numpy()
    assert (square(pixels, 64, 0.875) != wanted).mean() < 0.03
    squashed = ToSquare(64, keep_aspect=False)(pixels).permute(1, 2, 0).numpy()
    assert (square(pixels, 64, 1.0, "squash") != squashed).mean() < 0.03
