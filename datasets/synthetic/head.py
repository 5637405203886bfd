"""The head of a drawn dog, from the side and from the front: ears and muzzle are the breed's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.synthetic.breeds import Breed
from datasets.synthetic.shapes import (
    Colour,
    Points,
    Rng,
    Shape,
    array,
    cut,
    darker,
    ellipse,
    furry,
    lightness,
    mix,
    spline,
    turned,
)

RADIUS = 0.27  # of the skull; the body is about 1 long

MUZZLE = {"short": 0.18, "medium": 0.72, "long": 1.4}  # beyond the skull, in radii of the skull

DARK: Colour = (34, 28, 28)
PINK: Colour = (214, 150, 142)

# Outlines in radii of the skull; the base is at (0, 0), up is -y, the back of the head is -x.
EARS: dict[str, tuple[tuple[tuple[float, float], ...], bool]] = {
    "upright": (((-0.36, 0.2), (-0.27, -0.4), (-0.04, -1.08), (0.2, -0.5), (0.34, 0.2)), False),
    "bat": (((-0.3, 0.25), (-0.62, -0.55), (-0.48, -1.2), (-0.05, -1.42), (0.34, -0.95), (0.34, 0.2)), True),
    "drop": (
        ((-0.28, -0.2), (0.15, -0.26), (0.36, 0.3), (0.3, 1.05), (0.0, 1.42), (-0.34, 1.1), (-0.42, 0.4)),
        True,
    ),
    "folded": (((-0.36, 0.2), (-0.34, -0.42), (-0.06, -0.6), (0.2, -0.48), (0.34, 0.15)), False),
    "rose": (((0.28, 0.18), (0.1, -0.3), (-0.4, -0.42), (-0.98, -0.12), (-0.5, 0.12), (-0.2, 0.28)), True),
}
EAR_SIZE = 1.15
LIPS = ((-0.26, 0.3), (-0.12, 0.38), (0, 0.26), (0.12, 0.38), (0.26, 0.3))  # below the nose, from the front
FLAP = ((-0.34, -0.44), (-0.02, -0.64), (0.24, -0.52), (0.74, 0.14), (0.3, 0.0))  # of the folded ear


@dataclass(frozen=True)
class Head:
    """Groups of shapes around the middle of the skull, back to front."""

    groups: list[list[Shape]]

    def placed(
        self, at: tuple[float, float], tilt_deg: float, *, mirrored: bool = False
    ) -> list[list[Shape]]:
        """The head on its neck: turned, perhaps mirrored, and moved to ``at``."""
        flip = np.array([-1.0 if mirrored else 1.0, 1.0])

        def moved(points: Points) -> Points:
            return turned(points * flip, tilt_deg) + at

        return [[Shape(moved(s.points), s.colour, s.line, s.edged) for s in group] for group in self.groups]


@dataclass(frozen=True)
class _Tone:
    fur: Colour
    ear: Colour
    mask: Colour | None


def _tone(breed: Breed, fur: Colour, mark: Colour, ears_marked: bool) -> _Tone:
    ear = mark if ears_marked else darker(fur, 0.86)
    return _Tone(fur, ear, mark if breed.marking == "mask" else None)


def _ear(breed: Breed, colour: Colour, tilt_deg: float, coat: str, rng: Rng) -> list[Shape]:
    corners, rounded = EARS[breed.ear]
    outline = array(corners) * EAR_SIZE
    outline = spline(outline) if rounded else outline
    inner = mix(colour, PINK, 0.6)
    shapes = [Shape(furry(outline * RADIUS, coat, rng, 0.3), colour)]
    if breed.ear in ("upright", "bat"):
        shapes.append(Shape((outline * [0.58, 0.7] + [0, -0.06]) * RADIUS, inner, edged=False))
    if breed.ear == "rose":
        shapes.append(
            Shape((outline * [0.6, 0.42] + [-0.12, -0.02]) * RADIUS, darker(inner, 0.8), edged=False)
        )
    if breed.ear == "folded":
        shapes.append(Shape(array(FLAP) * RADIUS * EAR_SIZE, darker(colour, 0.82)))
    return [Shape(turned(s.points, tilt_deg), s.colour, s.line, s.edged) for s in shapes]


def _moved(shapes: list[Shape], x: float, y: float, *, flip: bool = False) -> list[Shape]:
    scale = np.array([-1.0 if flip else 1.0, 1.0])
    at = np.array([x, y]) * RADIUS
    return [Shape(s.points * scale + at, s.colour, s.line, s.edged) for s in shapes]


def _eye(x: float, y: float, fur: Colour) -> list[Shape]:
    r = RADIUS
    rim = mix(fur, (255, 255, 255), 0.75) if lightness(fur) < 110 else mix(fur, (255, 255, 255), 0.4)
    return [
        Shape(ellipse(x * r, y * r, 0.17 * r, 0.18 * r, corners=16), rim, edged=False),
        Shape(ellipse(x * r, y * r, 0.12 * r, 0.14 * r, corners=14), DARK, edged=False),
        Shape(
            ellipse((x + 0.04) * r, (y - 0.05) * r, 0.04 * r, 0.04 * r, corners=8),
            (250, 250, 250),
            edged=False,
        ),
    ]


def profile_head(breed: Breed, fur: Colour, mark: Colour, ears_marked: bool, rng: Rng) -> Head:
    """A head that looks to the right."""
    tone = _tone(breed, fur, mark, ears_marked)
    m = MUZZLE[breed.muzzle] * rng.uniform(0.9, 1.1)
    blunt = 0.62 if breed.muzzle == "short" else 0.5 if breed.muzzle == "medium" else 0.36
    corners = [
        (-1.0, 0.05), (-0.78, -0.66), (-0.1, -0.98), (0.55, -0.74), (0.84, -0.3), (0.8 + 0.55 * m, -0.2),
        (0.86 + m, -0.13), (0.95 + m, 0.12), (0.78 + m, blunt), (0.62 + 0.4 * m, 0.62), (0.3, 0.78),
        (-0.4, 0.86), (-0.88, 0.6),
    ]
    skull = furry(spline(array(corners)) * RADIUS, breed.coat, rng, 0.45)
    face = [Shape(skull, tone.fur)]
    if tone.mask:
        face.append(Shape(cut(skull, (0.42 * RADIUS, 0.0), 15, ripple=0.015), tone.mask, edged=False))
    mouth = array([(0.86 + m, 0.2), (0.74 + 0.8 * m, 0.36), (0.6 + 0.3 * m, 0.42), (0.5, 0.34)]) * RADIUS
    nose = ellipse((0.86 + m) * RADIUS, -0.02 * RADIUS, 0.17 * RADIUS, 0.14 * RADIUS, corners=16)
    line = _line_on(tone.mask or fur)
    face += [Shape(spline(mouth, closed=False, steps=4), line, line=0.016), Shape(nose, DARK, edged=False)]
    face += _eye(0.36, -0.26, fur)
    tilt = rng.uniform(-14, 10)
    far = _moved(_ear(breed, darker(tone.ear, 0.8), tilt + 8, breed.coat, rng), *_root(breed, far=True))
    near = _moved(_ear(breed, tone.ear, tilt, breed.coat, rng), *_root(breed, far=False))
    if rng.random() < 0.2:
        tongue = ellipse(
            (0.66 + 0.6 * m) * RADIUS, 0.62 * RADIUS, 0.13 * RADIUS, 0.3 * RADIUS, 10, corners=14
        )
        far = [*far, Shape(tongue, (222, 104, 112))]
    return Head([far, face, near])


def _root(breed: Breed, *, far: bool) -> tuple[float, float]:
    if breed.ear == "drop":
        return (0.0, -0.5) if far else (-0.42, -0.45)
    return (0.16, -0.84) if far else (-0.36, -0.74)


def front_head(breed: Breed, fur: Colour, mark: Colour, ears_marked: bool, rng: Rng) -> Head:
    """A head that looks at the viewer."""
    tone = _tone(breed, fur, mark, ears_marked)
    long = {"short": 0.0, "medium": 0.5, "long": 1.0}[breed.muzzle]
    jaw = 0.72 - 0.14 * long
    corners = [
        (-0.95, 0.0), (-0.7, -0.72), (0, -0.95), (0.7, -0.72), (0.95, 0.0), (jaw, 0.62), (0, 0.86),
        (-jaw, 0.62),
    ]
    skull = furry(spline(array(corners)) * RADIUS, breed.coat, rng, 0.45)
    face = [Shape(skull, tone.fur)]
    if tone.mask:
        face.append(Shape(cut(skull, (0.0, -0.1 * RADIUS), 90, ripple=0.012), tone.mask, edged=False))
    face += _snout(long, tone.mask or mix(fur, (255, 255, 255), 0.18))
    face += [*_eye(-0.4, -0.16, fur), *_eye(0.4, -0.16, fur)]
    ears = _pair_of_ears(breed, tone.ear, rng)
    return Head([face, ears] if breed.ear in ("drop", "folded", "rose") else [ears, face])


def _snout(long: float, colour: Colour) -> list[Shape]:
    r = RADIUS
    wide, tall, low = 0.66 - 0.24 * long, 0.4 + 0.2 * long, 0.38 + 0.34 * long
    nose_y = low + 0.3 * tall * long - 0.42 * tall * (1 - long)
    corners = [(x, y + nose_y) for x, y in LIPS]
    lips = spline(array(corners) * r, closed=False)
    return [
        Shape(ellipse(0, low * r, wide * r, tall * r), colour),
        Shape(ellipse(0, nose_y * r, (0.24 - 0.05 * long) * r, 0.15 * r, corners=16), DARK, edged=False),
        Shape(lips, _line_on(colour), line=0.014),
    ]


def _pair_of_ears(breed: Breed, colour: Colour, rng: Rng) -> list[Shape]:
    tilt = rng.uniform(-8, 8) - (0 if breed.ear in ("drop", "folded") else 16)
    aside, height = (0.74, -0.38) if breed.ear == "drop" else (0.55, -0.66)
    ear = _ear(breed, colour, tilt, breed.coat, rng)
    if breed.ear == "folded":  # its flap falls outwards
        ear = [Shape(s.points * [-1.0, 1.0], s.colour, s.line, s.edged) for s in ear]
    return [*_moved(ear, -aside, height), *_moved(ear, aside, height, flip=True)]


def _line_on(colour: Colour) -> Colour:
    return DARK if lightness(colour) > 60 else (120, 104, 100)
