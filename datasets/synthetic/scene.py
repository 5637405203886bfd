"""Where a drawn dog stands: five places and a screen of noise, things that lie about, things in front."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from datasets.synthetic.shapes import Colour, Pen, Rng, Shape, array, darker, ellipse, jitter, mix, spline
from datasets.synthetic.things import (
    HORIZON,
    ball,
    bone,
    bowl,
    box,
    bush,
    cloud,
    crate,
    fence,
    fir,
    flowers,
    plant,
    post,
    stone,
    tree,
    tuft,
)

# A place is a unit square: x 0 to 1, y 0 at the top to 1 at the bottom.


def paint_scene(size_px: int, rng: Rng) -> Image.Image:
    """A place with a few things in it, without a dog.

    Args:
        size_px: side of the square picture.
        rng: decides everything.
    """
    place = PLACES[rng.integers(len(PLACES))]
    canvas, things = place(size_px, rng)
    pen = unit_pen(canvas)
    for _ in range(rng.integers(0, 4)):
        thing = things[rng.integers(len(things))]
        pen.group(thing(rng.uniform(0.02, 0.98), rng.uniform(0.55, 0.95), rng.uniform(0.7, 1.4), rng))
    return canvas


def paint_in_front(canvas: Image.Image, rng: Rng) -> None:
    """Something that hides a part of the dog: a tuft, a stone, a bush, a post or a ball at the lower edge."""
    thing = IN_FRONT[rng.integers(len(IN_FRONT))]
    unit_pen(canvas).group(
        thing(rng.uniform(0.08, 0.92), rng.uniform(0.97, 1.03), rng.uniform(1.0, 1.6), rng)
    )


def unit_pen(canvas: Image.Image) -> Pen:
    """A pen whose unit is the width of the canvas."""
    return Pen(ImageDraw.Draw(canvas), np.eye(2) * canvas.width, np.zeros(2), ink=(60, 56, 52), ink_px=0.0)


def _gradient(size_px: int, top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, size_px)[:, None, None]
    column = Image.fromarray((np.array(top) * (1 - share) + np.array(bottom) * share).astype(np.uint8))
    return column.resize((size_px, size_px), Image.Resampling.NEAREST)


def _ground(y: float, bumps: float, colour: Colour, rng: Rng) -> Shape:
    x = np.linspace(-0.05, 1.05, 9)
    ridge = spline(np.column_stack([x, y + rng.uniform(-bumps, bumps, 9)]), closed=False, steps=4)
    return Shape(np.vstack([ridge, array([(1.05, 1.05), (-0.05, 1.05)])]), colour)


Thing = Callable[[float, float, float, Rng], list[Shape]]
Place = Callable[[int, Rng], tuple[Image.Image, tuple[Thing, ...]]]


def _meadow(size_px: int, rng: Rng) -> tuple[Image.Image, tuple[Thing, ...]]:
    sky = jitter((150, 196, 228), rng, 24)
    canvas = _gradient(size_px, sky, mix(sky, (255, 255, 255), 0.6))
    green = jitter((112, 156, 84), rng, 30)
    y = HORIZON + rng.uniform(-0.15, 0.1)
    shapes = [cloud(rng.uniform(0, 1), rng.uniform(0.06, 0.25), rng.uniform(0.6, 1.2), rng) for _ in range(2)]
    flat = [s for shape in shapes for s in shape]
    flat += [_ground(y - 0.07, 0.05, mix(green, sky, 0.45), rng), _ground(y, 0.02, green, rng)]
    for x, depth in rng.uniform(0, 1, (16, 2)):
        foot = y + 0.04 + depth * (1 - y)
        blade = array([(x, foot), (x + 0.012, foot - 0.035), (x + 0.02, foot)])
        flat.append(Shape(blade, darker(green, rng.uniform(0.78, 1.18))))
    unit_pen(canvas).group(flat)
    return canvas, (bush, fence, ball, flowers, stone, tree)


def _room(size_px: int, rng: Rng) -> tuple[Image.Image, tuple[Thing, ...]]:
    wall = jitter(
        _pick(rng, (216, 202, 180), (178, 190, 196), (206, 180, 172), (190, 200, 172), (120, 112, 118)), rng
    )
    floor = jitter(_pick(rng, (168, 126, 88), (128, 100, 82), (186, 178, 168), (108, 108, 116)), rng)
    canvas = _gradient(size_px, wall, darker(wall, 0.9))
    y = HORIZON + rng.uniform(-0.1, 0.15)
    shapes = [Shape(box(0, y, 1, 1), floor)]
    for share in np.linspace(0.15, 0.9, 5) ** 1.5:
        row = y + share * (1 - y)
        shapes.append(Shape(array([(0, row), (1, row)]), darker(floor, 0.88), line=0.006))
    shapes.append(Shape(box(0, y - 0.035, 1, y), mix(wall, (255, 255, 255), 0.5)))
    if rng.random() < 0.7:
        x, side = rng.uniform(0.05, 0.65), rng.uniform(0.16, 0.3)
        shapes.append(Shape(box(x, 0.08, x + side, 0.08 + side), darker(wall, 0.6)))
        inside = jitter((150, 180, 196), rng, 50)
        shapes.append(Shape(box(x + 0.02, 0.1, x + side - 0.02, 0.06 + side), inside))
    if rng.random() < 0.6:
        rug = ellipse(rng.uniform(0.3, 0.7), 0.88, 0.42, 0.1)
        colour = jitter((150, 90, 90), rng, 60)
        shapes += [
            Shape(rug, colour),
            Shape((rug - rug.mean(0)) * 0.8 + rug.mean(0), mix(colour, (240, 230, 210), 0.4)),
        ]
    unit_pen(canvas).group(shapes)
    return canvas, (ball, bowl, crate, bone, plant)


def _beach(size_px: int, rng: Rng) -> tuple[Image.Image, tuple[Thing, ...]]:
    sky = jitter((176, 208, 226), rng, 24)
    canvas = _gradient(size_px, sky, mix(sky, (255, 240, 220), 0.6))
    sea, sand = jitter((70, 134, 160), rng, 24), jitter((222, 200, 156), rng, 16)
    y = HORIZON + rng.uniform(-0.15, 0.05)
    shapes = [Shape(box(0, y - 0.16, 1, 1), sea)]
    for row in rng.uniform(y - 0.14, y - 0.02, 7):
        x = rng.uniform(0, 0.9)
        shapes.append(
            Shape(
                array([(x, row), (x + rng.uniform(0.05, 0.2), row)]),
                mix(sea, (255, 255, 255), 0.4),
                line=0.006,
            )
        )
    shapes += [_ground(y - 0.012, 0.012, (240, 244, 242), rng), _ground(y + 0.01, 0.012, sand, rng)]
    shapes += [
        Shape(ellipse(x, y + 0.05 + d * 0.5, 0.006, 0.004, corners=8), darker(sand, 0.82))
        for x, d in rng.random((12, 2))
    ]
    unit_pen(canvas).group(shapes)
    return canvas, (ball, stone, crate, bone, fence)


def _snow(size_px: int, rng: Rng) -> tuple[Image.Image, tuple[Thing, ...]]:
    sky = jitter((188, 200, 214), rng, 20)
    canvas = _gradient(size_px, darker(sky, 0.85), sky)
    white = jitter((236, 240, 246), rng, 8)
    y = HORIZON + rng.uniform(-0.12, 0.08)
    shapes = [_ground(y - 0.06, 0.05, mix(white, sky, 0.5), rng)]
    for x in rng.uniform(0, 1, rng.integers(1, 5)):
        shapes += fir(x, y, rng.uniform(0.6, 1.3), rng)
    shapes.append(_ground(y, 0.025, white, rng))
    shapes += [Shape(ellipse(x, d, 0.007, 0.007, corners=8), (252, 252, 255)) for x, d in rng.random((20, 2))]
    unit_pen(canvas).group(shapes)
    return canvas, (stone, fence, fir, ball, tree)


def _street(size_px: int, rng: Rng) -> tuple[Image.Image, tuple[Thing, ...]]:
    wall = jitter(_pick(rng, (172, 104, 84), (190, 176, 156), (128, 132, 138), (206, 190, 140)), rng)
    canvas = _gradient(size_px, wall, darker(wall, 0.85))
    y = HORIZON + rng.uniform(0.0, 0.16)
    paving = jitter((150, 148, 146), rng)
    shapes: list[Shape] = []
    for number, row in enumerate(np.arange(0.03, y, 0.07)):
        shapes.append(Shape(array([(0, row), (1, row)]), darker(wall, 0.86), line=0.007))
        for x in np.arange(0.04 + 0.08 * (number % 2), 1, 0.16):
            shapes.append(Shape(array([(x, row), (x, row + 0.07)]), darker(wall, 0.86), line=0.007))
    shapes.append(Shape(box(0, y, 1, 1), paving))
    shapes.append(Shape(box(0, y, 1, y + 0.03), mix(paving, (255, 255, 255), 0.35)))
    unit_pen(canvas).group(shapes)
    return canvas, (ball, crate, plant, bowl, bush)


def _studio(size_px: int, rng: Rng) -> tuple[Image.Image, tuple[Thing, ...]]:
    coarse = rng.uniform(-30, 30, (6, 6, 3)) + rng.uniform(60, 215, 3)
    small = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    return small.resize((size_px, size_px), Image.Resampling.BICUBIC), (ball, crate, bone, bowl)


def _pick(rng: Rng, *colours: Colour) -> Colour:
    return colours[rng.integers(len(colours))]


PLACES: tuple[Place, ...] = (_meadow, _room, _beach, _snow, _street, _studio)
IN_FRONT: tuple[Thing, ...] = (tuft, stone, bush, post, ball)
