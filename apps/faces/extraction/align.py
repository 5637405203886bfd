"""Faces brought to one position by five landmarks, and how good a picture of a face is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[np.float64]

# Left eye, right eye, nose, left and right corner of the mouth, in a square of side 1: where the face
# recognition literature puts them (Deng et al. 2019, ArcFace: 112 px crops).
TEMPLATE: Array = np.array([
    (0.34192, 0.46157), (0.65653, 0.45983), (0.50022, 0.64051), (0.37097, 0.82469), (0.63152, 0.82325),
])
SHARPNESS_PX = 112  # sharpness is compared between faces, so it is measured on crops of one size


@dataclass(frozen=True)
class Quality:
    """How good a picture of a face is.

    Args:
        size_px: shorter side of its box, in pixels of the photo.
        sharpness: standard deviation of the Laplacian of the grey crop, 0 (flat) upwards; below 5 is blurred.
        pose: how far the nose is from the middle between the eyes, -1 to 1; 0 looks at the camera.
    """

    size_px: float
    sharpness: float
    pose: float


def similarity_transform(source: Array, target: Array) -> Array:
    """The turn, scale and shift that bring ``source`` closest to ``target`` in the least squares sense.

    Args:
        source: (N, 2) points, N of 2 or more.
        target: (N, 2) points.

    Returns:
        (2, 3): a source point (x, y, 1) times this is its place in the target; never a mirror image.

    Raises:
        ValueError: the source points are all one point, or not finite.

    Source: Umeyama 1991, "Least-squares estimation of transformation parameters", in the plane, where his
    decomposition into singular values has a closed form.
    """
    if not np.isfinite(source).all():
        raise ValueError("landmarks must be finite numbers")
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - from_mean
    variance = (centred**2).sum() / len(source)
    if variance < 1e-6:
        raise ValueError("all landmarks are in one point, so nothing says how the face is turned")
    (x, y), (to_x, to_y) = centred.T, (target - to_mean).T
    total = variance * len(source)  # points as complex numbers: the slope of a regression
    cosine, sine = float((x * to_x + y * to_y).sum() / total), float((x * to_y - y * to_x).sum() / total)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = to_mean - turn @ from_mean
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def align_face(image: Image.Image, landmarks: Array, size: int) -> Image.Image:
    """A face as a square of ``size`` pixels with its landmarks where :data:`TEMPLATE` puts them.

    Args:
        image: RGB.
        landmarks: (5, 2) pixels of the image: left and right eye as seen, nose, corners of the mouth.
        size: side of the crop in pixels; what lies outside the image comes out black.

    Raises:
        ValueError: the landmarks give no transform.
    """
    forward = similarity_transform(landmarks, TEMPLATE * size)
    factor = int(1 / np.hypot(forward[0, 0], forward[1, 0]))
    if 1 < factor <= min(image.size):  # a plain warp would skip pixels: shrink by area first
        image = image.reduce(factor)
        forward = similarity_transform(landmarks / factor, TEMPLATE * size)
    turn, shift = forward[:, :2], forward[:, 2]
    back = turn.T / (turn[0] ** 2).sum()  # the inverse of a turn and a scale
    start = -back @ shift
    return image.transform(
        (size, size), Image.Transform.AFFINE, (*back[0], start[0], *back[1], start[1]),
        Image.Resampling.BICUBIC,
    )


def square_crop(image: Image.Image, size: int) -> Image.Image:
    """A ready crop, such as of a data set of faces, at ``size`` x ``size`` pixels.

    Of one that is not square, such as CelebA's, the middle is taken, as training and judging see it.
    """
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def sharpness(crop: Image.Image) -> float:
    """Standard deviation of the Laplacian of a crop in grey, at a fixed size."""
    grey = crop.convert("L").resize((SHARPNESS_PX, SHARPNESS_PX), Image.Resampling.BILINEAR)
    values = np.asarray(grey, dtype=np.int16)  # four neighbours less four times 255 fit in
    inner = values[1:-1, 1:-1]
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    laplacian = (around - 4 * inner).ravel().astype(np.float64)
    mean = laplacian.sum() / laplacian.size
    return float(np.sqrt(max((laplacian * laplacian).sum() / laplacian.size - mean**2, 0.0)))


def pose(landmarks: Array) -> float:
    """How far the nose is from the middle between the eyes, along their line, -1 to 1; 0 is frontal."""
    eyes = landmarks[1] - landmarks[0]
    length = float(np.hypot(*eyes))
    if length < 1e-6:
        return 0.0
    along = float((landmarks[2] - landmarks[:2].mean(axis=0)) @ eyes) / length**2
    return float(np.clip(2 * along, -1.0, 1.0))
