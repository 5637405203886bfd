"""Five-point alignment: the transform, the warp, and how a picture of a face is rated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from apps.faces.extraction.align import (
    TEMPLATE,
    align_face,
    pose,
    sharpness,
    similarity_transform,
    square_crop,
)


def moved(points: np.ndarray, scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + np.array(shift)


@given(
    scale=st.floats(0.05, 50), angle=st.floats(-np.pi, np.pi), x=st.floats(-500, 500), y=st.floats(-500, 500)
)
@settings(deadline=None, max_examples=60)
def test_any_turn_scale_and_shift_is_found_again(scale: float, angle: float, x: float, y: float) -> None:
    source = moved(TEMPLATE, scale, angle, (x, y))
    found = similarity_transform(source, TEMPLATE)
    np.testing.assert_allclose(source @ found[:, :2].T + found[:, 2], TEMPLATE, atol=1e-6)


def test_a_mirrored_face_is_never_mirrored_back() -> None:
    """The least squares solution without Umeyama's sign would be a reflection."""
    mirrored = TEMPLATE * np.array([-1.0, 1.0])
    found = similarity_transform(mirrored, TEMPLATE)
    assert np.linalg.det(found[:, :2]) > 0


def test_no_other_similarity_is_closer_than_the_one_found() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))

    def error(matrix: np.ndarray) -> float:
        return float(((source @ matrix[:, :2].T + matrix[:, 2] - target) ** 2).sum())

    best = similarity_transform(source, target)
    a, b = best[0, 0], best[1, 0]
    for _ in range(200):
        da, db, dx, dy = rng.normal(scale=0.05, size=4)
        other = np.array([[a + da, -(b + db), best[0, 2] + dx], [b + db, a + da, best[1, 2] + dy]])
        assert error(other) >= error(best) - 1e-12


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((5, 2)), "all landmarks are in one point"),
        (np.full((5, 2), np.nan), "must be finite numbers"),
    ],
)
def test_landmarks_that_say_nothing_are_refused(points: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        similarity_transform(points, TEMPLATE)


@pytest.mark.parametrize("scale", [60.0, 150.0, 900.0])
def test_landmarks_land_where_the_template_says_at_any_size_of_face(scale: float) -> None:
    points = moved(TEMPLATE, scale, 0.3, (scale, scale / 2))
    image = Image.new("RGB", (int(3 * scale), int(3 * scale)), "black")
    draw = ImageDraw.Draw(image)
    for (x, y), colour in zip(points, ("red", "lime", "blue", "yellow", "white"), strict=True):
        radius = max(1.5, scale / 25)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    crop = np.asarray(align_face(image, points, 112)).astype(int)
    assert crop.shape == (112, 112, 3)
    for (x, y), want in zip(
        TEMPLATE * 112, ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)), strict=True
    ):
        seen = crop[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean(axis=(0, 1))
        assert tuple((seen > 110).astype(int)) == want, (x, y, seen)


def test_a_large_face_is_shrunk_by_area_and_not_by_skipping_pixels() -> None:
    """Stripes one pixel wide must come out grey; a plain warp would give a pattern."""
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = np.asarray(align_face(Image.fromarray(stripes), TEMPLATE * 1100 + 50, 112)).astype(float)
    assert crop[10:-10, 10:-10].std() < 12


def test_sharpness_falls_when_a_picture_is_blurred() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (150, 150, 3)).astype(np.uint8)
    sharp = Image.fromarray(noise)
    assert sharpness(sharp) > 3 * sharpness(sharp.filter(ImageFilter.GaussianBlur(3)))
    assert sharpness(Image.new("RGB", (50, 50), "grey")) == 0.0
    crop = Image.fromarray(np.random.default_rng(1).integers(0, 255, (112, 112, 3)).astype(np.uint8))
    grey = np.asarray(crop.convert("L"), float)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    assert sharpness(crop) == pytest.approx((around - 4 * grey[1:-1, 1:-1]).std(), rel=1e-12)


def test_pose_is_0_from_the_front_and_has_the_sign_of_the_turn() -> None:
    frontal = np.array([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]])
    assert pose(frontal) == 0
    left, right = frontal.copy(), frontal.copy()
    left[2, 0], right[2, 0] = 35, 65
    assert pose(left) == pytest.approx(-0.75)
    assert pose(right) == pytest.approx(0.75)
    assert pose(np.zeros((5, 2))) == 0.0
    assert pose(moved(right, 2, 0.5, (3, 4))) == pytest.approx(0.75)


def test_a_ready_crop_keeps_its_content_at_the_new_size() -> None:
    assert square_crop(Image.new("RGB", (10, 20), "red"), 64).getpixel((63, 63)) == (255, 0, 0)
