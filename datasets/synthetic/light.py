"""Light, lens and camera: what happens to a drawing on its way to a picture."""

from __future__ import annotations

import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFilter

from datasets.synthetic.shapes import Rng

Pixels = npt.NDArray[np.float32]  # (H, W, 3), 0 to 255


def shade(pixels: Pixels, alpha: Image.Image, rng: Rng) -> Pixels:
    """The dog rounded by light from a random side above."""
    width = alpha.width
    angle, strength = rng.uniform(-2.6, -0.5), rng.uniform(0.12, 0.34)
    step = 0.045 * width
    dx, dy = round(step * math.cos(angle)), round(step * math.sin(angle))
    inside = alpha.filter(ImageFilter.BoxBlur(0.05 * width))
    lit = ImageChops.subtract(
        ImageChops.offset(inside, dx, dy), ImageChops.offset(inside, -dx, -dy), 2.0, 128
    )
    slope = (128 - np.asarray(lit, dtype=np.float32)) / 80  # 0 in the middle, above 0 away from the light
    factor = (1 - strength * np.clip(slope, -0.7, 1)).astype(np.float32)
    return pixels * factor[..., None]


def out_of_focus(scene: Image.Image, rng: Rng) -> Image.Image:
    """The place behind the dog: a little soft, a little hazy."""
    soft = scene.filter(ImageFilter.BoxBlur(rng.uniform(0.5, 2.0) * scene.width / 160))
    haze = Image.new("RGB", scene.size, soft.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    return Image.blend(soft, haze, rng.uniform(0.2, 0.55))


def cast_shadow(pixels: Pixels, alpha: Image.Image, foot_y: float, rng: Rng) -> Pixels:
    """The ground darkened where the dog takes the light: its shape, flattened at its feet.

    Args:
        pixels: the scene.
        alpha: the dog, same size.
        foot_y: row of its feet, pixels.
        rng: decides the slant and the depth.
    """
    width, height = alpha.size
    flat, slant = rng.uniform(0.1, 0.3), rng.uniform(-1.2, 1.2)
    small = alpha.resize((width // 4, height // 4))
    matrix = (1.0, slant / flat, -slant / flat * foot_y / 4, 0.0, -1 / flat, (1 + 1 / flat) * foot_y / 4)
    if rng.random() < 0.7:  # behind the dog rather than before it
        matrix = (1.0, slant / flat, -slant / flat * foot_y / 4, 0.0, 1 / flat, (1 - 1 / flat) * foot_y / 4)
    fallen = small.transform(small.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    soft = fallen.filter(ImageFilter.BoxBlur(0.8)).resize((width, height), Image.Resampling.BILINEAR)
    shadow = np.asarray(soft, dtype=np.float32) * np.float32(rng.uniform(0.15, 0.5) / 255)
    return pixels * (1 - shadow)[..., None]


def expose(pixels: Pixels, rng: Rng) -> Pixels:
    """Brightness, contrast, saturation, a tint, and a light that falls off to one side."""
    size = pixels.shape[0]
    colour, contrast = rng.uniform(0.55, 1.25), rng.uniform(0.85, 1.15)
    mixing = contrast * (colour * np.eye(3) + (1 - colour) / 3)  # saturation and contrast in one product
    offset = 128 * (1 - contrast) + rng.uniform(-18, 14)
    pixels = pixels @ mixing.astype(np.float32) + np.float32(offset)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    angle, fall = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.22)
    light = 1 + fall * (math.cos(angle) * ramp[None, :, None] + math.sin(angle) * ramp[:, None, None])
    tint = rng.uniform(0.85, 1.1, 3) * rng.uniform(0.8, 1.08)
    lit: Pixels = pixels * light.astype(np.float32) * tint.astype(np.float32)
    return lit


def develop(pixels: Pixels, rng: Rng) -> Image.Image:
    """Grain, a lens that may be out of focus, and a JPEG file that may be poor."""
    if rng.random() < 0.35:
        pixels = pixels + rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32) * np.float32(
            rng.uniform(2, 6)
        )
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8) * picture.width / 160))
    if rng.random() < 0.3:
        buffer = io.BytesIO()
        picture.save(buffer, "jpeg", quality=int(rng.integers(35, 80)))
        picture = Image.open(buffer).convert("RGB")
    return picture
