"""Things that lie about in a drawing; each stands on (x, y) of the unit square, ``size`` times the usual."""

from __future__ import annotations

import numpy as np

from datasets.synthetic.shapes import (
    Colour,
    Points,
    Rng,
    Shape,
    array,
    darker,
    ellipse,
    furry,
    jitter,
    mix,
    spline,
)

HORIZON = 0.55


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """The corners of an upright rectangle."""
    return array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _lively(rng: Rng) -> Colour:
    r, g, b = (int(v) for v in rng.integers(40, 235, 3))
    return r, g, b


def ball(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A ball with a stripe."""
    r, colour = 0.055 * size, _lively(rng)
    stripe = ellipse(x, y - r, r, 0.35 * r, float(rng.uniform(0, 180)))
    glint = ellipse(x - 0.35 * r, y - 1.4 * r, 0.25 * r, 0.2 * r, corners=10)
    return [
        Shape(ellipse(x, y - r, r, r), colour),
        Shape(stripe, mix(colour, (255, 255, 255), 0.7)),
        Shape(glint, (255, 255, 255)),
    ]


def bush(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A round bush."""
    green = jitter((84, 128, 72), rng, 28)
    crown = furry(ellipse(x, y - 0.08 * size, 0.13 * size, 0.1 * size), "wavy", rng, 0.8)
    top = furry(ellipse(x - 0.02, y - 0.11 * size, 0.08 * size, 0.055 * size), "wavy", rng, 0.5)
    return [Shape(crown, green), Shape(top, mix(green, (255, 255, 210), 0.22))]


def tree(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A tree that stands at the horizon."""
    foot = min(y, HORIZON + 0.1)
    trunk = box(x - 0.025 * size, foot - 0.3 * size, x + 0.025 * size, foot)
    return [Shape(trunk, jitter((112, 84, 62), rng)), *bush(x, foot - 0.22 * size, 1.5 * size, rng)]


def fir(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A fir that stands at the horizon."""
    green = jitter((70, 104, 92), rng, 20)
    foot = min(y, HORIZON + 0.12)
    return [
        Shape(
            array(
                [
                    (x - w * size, foot - h * size),
                    (x, foot - (h + 0.15) * size),
                    (x + w * size, foot - h * size),
                ]
            ),
            green,
        )
        for w, h in ((0.1, 0.0), (0.08, 0.08), (0.06, 0.16))
    ]


def fence(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A fence across the whole picture."""
    wood, foot = jitter((186, 158, 124), rng, 30), min(y, 0.78)
    tall = 0.2 * size
    rails = [
        Shape(box(-0.02, foot - share * tall, 1.02, foot - share * tall + 0.025), darker(wood, 0.88))
        for share in (0.8, 0.4)
    ]
    posts = [
        Shape(box(p - 0.018, foot - tall, p + 0.018, foot), wood) for p in np.arange(x % 0.16, 1.05, 0.16)
    ]
    return rails + posts


def post(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A post."""
    wood = jitter((150, 120, 92), rng, 30)
    return [
        Shape(box(x - 0.025 * size, 0.45, x + 0.025 * size, y), wood),
        Shape(box(x - 0.035 * size, 0.43, x + 0.035 * size, 0.46), darker(wood, 0.8)),
    ]


def stone(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A stone."""
    grey = jitter((142, 140, 138), rng, 18)
    around = ellipse(x, y - 0.035 * size, 0.085 * size, 0.05 * size, corners=9)
    return [
        Shape(spline(around + rng.uniform(-0.008, 0.008, around.shape), steps=4), grey),
        Shape(
            ellipse(x - 0.02 * size, y - 0.055 * size, 0.04 * size, 0.016 * size),
            mix(grey, (255, 255, 255), 0.3),
        ),
    ]


def bone(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A bone."""
    white, long, r = jitter((240, 234, 218), rng, 8), 0.05 * size, 0.018 * size
    knobs = [
        Shape(ellipse(x + s * long, y + t * r, r, r, corners=12), white) for s in (-1, 1) for t in (-0.7, 0.7)
    ]
    return [*knobs, Shape(box(x - long, y - 0.6 * r, x + long, y + 0.6 * r), white)]


def bowl(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A bowl of food."""
    colour, w = _lively(rng), 0.08 * size
    sides = array([(x - 0.75 * w, y - 0.55 * w), (x + 0.75 * w, y - 0.55 * w), (x + w, y), (x - w, y)])
    return [Shape(sides, colour), Shape(ellipse(x, y - 0.55 * w, 0.75 * w, 0.2 * w), darker(colour, 0.6))]


def crate(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A cardboard box."""
    card, w = jitter((186, 148, 104), rng, 40), 0.1 * size
    return [
        Shape(box(x - w, y - 1.5 * w, x + w, y), card),
        Shape(box(x - w, y - 1.5 * w, x + w, y - 1.25 * w), darker(card, 0.85)),
        Shape(box(x - 0.15 * w, y - 1.5 * w, x + 0.15 * w, y), mix(card, (255, 255, 255), 0.25)),
    ]


def plant(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A plant in a pot."""
    foot, green = min(y, 0.8), jitter((86, 132, 88), rng, 26)
    leaves = [
        Shape(
            ellipse(
                x + 0.05 * size * np.sin(a),
                foot - 0.12 * size - 0.05 * size * np.cos(a),
                0.02 * size,
                0.07 * size,
                np.degrees(a),
            ),
            darker(green, b),
        )
        for a, b in zip(np.linspace(-1.1, 1.1, 5), (0.8, 0.95, 1.1, 0.95, 0.8), strict=True)
    ]
    pot = array(
        [
            (x - 0.05 * size, foot - 0.09 * size),
            (x + 0.05 * size, foot - 0.09 * size),
            (x + 0.036 * size, foot),
            (x - 0.036 * size, foot),
        ]
    )
    return [*leaves, Shape(pot, jitter((178, 110, 84), rng, 24))]


def flowers(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """Five flowers."""
    colour = _lively(rng)
    shapes = []
    for dx, dy in rng.uniform(-0.1, 0.1, (5, 2)) * size:
        shapes += [
            Shape(ellipse(x + dx, y + 0.4 * dy, 0.014 * size, 0.014 * size, corners=10), colour),
            Shape(ellipse(x + dx, y + 0.4 * dy, 0.005 * size, 0.005 * size, corners=8), (250, 220, 120)),
        ]
    return shapes


def tuft(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A tuft of grass."""
    green = jitter((104, 146, 82), rng, 34)
    blades = []
    for dx, lean in zip(np.linspace(-0.12, 0.12, 11) * size, rng.uniform(-0.05, 0.05, 11), strict=True):
        top = y - size * rng.uniform(0.1, 0.2)
        blades.append(
            Shape(
                array([(x + dx - 0.014, y), (x + dx + lean, top), (x + dx + 0.014, y)]),
                darker(green, rng.uniform(0.8, 1.15)),
            )
        )
    return blades


def cloud(x: float, y: float, size: float, rng: Rng) -> list[Shape]:
    """A cloud."""
    white = jitter((246, 248, 250), rng, 5)
    return [
        Shape(ellipse(x + dx * size, y + dy * size, r * size, 0.6 * r * size), white)
        for dx, dy, r in ((-0.08, 0.01, 0.06), (0.0, -0.01, 0.08), (0.08, 0.01, 0.055))
    ]
