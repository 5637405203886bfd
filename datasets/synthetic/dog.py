"""A cartoon dog as groups of shapes: body, legs and tail; the breed decides the parts, chance the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from datasets.synthetic.breeds import Breed
from datasets.synthetic.head import front_head, profile_head
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
    jitter,
    lightness,
    limb,
    mix,
    spline,
    turned,
)

Group = list[Shape]

LEG = {"short": 0.20, "medium": 0.40, "long": 0.64}  # ground to belly; the body is about 1 long

NECK = 0.36  # from withers to skull

FURS: tuple[Colour, ...] = (
    (236, 224, 200), (214, 176, 120), (186, 128, 72), (150, 84, 44), (104, 66, 44), (66, 50, 44),
    (52, 54, 62), (112, 116, 124), (168, 170, 172), (244, 242, 236), (204, 148, 96), (132, 112, 96),
    (190, 96, 56), (90, 104, 124),
)


@dataclass(frozen=True)
class Look:
    """Chance of one drawing: colours and build, none of which depends on the breed."""

    fur: Colour
    mark: Colour
    pale: Colour
    girth: float
    socks: bool
    bib: bool
    collar: Colour | None
    ears_marked: bool

    @property
    def far(self) -> Colour:
        """The fur on the side away from the light."""
        return darker(self.fur, 0.78)


@dataclass(frozen=True)
class _Body:
    """A dog without neck and head, in one pose."""

    withers: tuple[float, float]
    lean_deg: float  # of the neck: -90 up, 0 forward
    trunk: Group
    far: Group
    near: Group
    details: Group
    tail: Group
    over: list[Group]  # what lies before all that


def random_look(rng: Rng) -> Look:
    """Two furs that can be told apart, a build, and whether there are socks, a bib and a collar."""
    fur = jitter(FURS[rng.integers(len(FURS))], rng)
    others = [c for c in FURS if abs(lightness(c) - lightness(fur)) > 70]
    hue = rng.integers(0, 256, 3)
    return Look(
        fur=fur,
        mark=jitter(others[rng.integers(len(others))], rng),
        pale=mix(fur, (250, 246, 238), rng.uniform(0.35, 0.8)),
        girth=float(rng.uniform(0.92, 1.12)),
        socks=bool(rng.random() < 0.3),
        bib=bool(rng.random() < 0.3),
        collar=(int(hue[0]), int(hue[1]), int(hue[2])) if rng.random() < 0.4 else None,
        ears_marked=bool(rng.random() < 0.35),
    )


def dog(breed: Breed, rng: Rng) -> list[Group]:
    """Groups of shapes, back to front, of a dog that looks to the right; y is 0 on the ground."""
    look = random_look(rng)
    pose = _sitting if rng.random() < 0.22 else _standing
    return pose(breed, look, rng)


def _standing(breed: Breed, look: Look, rng: Rng) -> list[Group]:
    leg = LEG[breed.legs] * rng.uniform(0.92, 1.08)
    deep = 0.36 * look.girth
    top = -leg - deep
    back = spline(array([
        (-0.47, top + 0.09), (-0.36, top + 0.01), (-0.05, top + 0.03), (0.26, top - 0.02), (0.44, top + 0.06),
        (0.5, top + 0.5 * deep), (0.4, -leg - 0.03), (0.15, -leg + 0.01), (-0.12, -leg - 0.04),
        (-0.34, -leg - 0.1 * deep), (-0.5, top + 0.55 * deep),
    ]))
    body = furry(back, breed.coat, rng)
    stride = rng.uniform(-0.13, 0.13, 4) * (leg + 0.1)
    far = [
        *_foreleg(0.36, top + 0.55 * deep, stride[0], breed, look, rng, far=True),
        *_hindleg(-0.24, top + 0.5 * deep, stride[1], breed, look, rng, far=True),
    ]
    near = [
        *_foreleg(0.27, top + 0.55 * deep, stride[2], breed, look, rng),
        *_hindleg(-0.34, top + 0.5 * deep, stride[3], breed, look, rng),
    ]
    details = _coat_details(breed, look, (-0.02, top + 0.5 * deep), 0.0, deep, body, rng)
    tail = _tail(breed, (-0.45, top + 0.09), rng.uniform(-12, 25), look, rng)
    lean = rng.choice([-38.0, -12.0, 58.0], p=[0.5, 0.4, 0.1]) + rng.uniform(-12, 12)
    whole = _Body((0.36, top + 0.14), float(lean), [Shape(body, look.fur)], far, near, details, tail, [])
    return _assemble(whole, breed, look, rng)


def _sitting(breed: Breed, look: Look, rng: Rng) -> list[Group]:
    leg = LEG[breed.legs] * rng.uniform(0.92, 1.08)
    chest, hip = (0.24, -leg - 0.2), (-0.27, -0.22)
    wide = look.girth
    bulge = (0.5 * (chest[0] + hip[0]) - 0.03, 0.5 * (chest[1] + hip[1]) - 0.02)
    body = furry(limb([hip, bulge, chest], [0.21 * wide, 0.22 * wide, 0.18 * wide]), breed.coat, rng)
    slope = math.degrees(math.atan2(chest[1] - hip[1], chest[0] - hip[0]))
    thigh = furry(ellipse(-0.2, -0.18, 0.2, 0.18, -20), breed.coat, rng, 0.5)
    paw = limb([(-0.2, -0.05), (0.02, -0.04)], [0.055, 0.045])
    far = _foreleg(0.36, chest[1] + 0.06, 0.03, breed, look, rng, far=True)
    near = _foreleg(0.27, chest[1] + 0.06, 0.0, breed, look, rng)
    details = _coat_details(breed, look, bulge, slope, 0.4 * wide, body, rng)
    haunch = [Shape(paw, look.pale if look.socks else look.fur), Shape(thigh, darker(look.fur, 0.94))]
    tail = _tail(breed, (-0.43, -0.12), rng.uniform(-5, 25), look, rng)
    lean = float(rng.choice([-50.0, -20.0]) + rng.uniform(-12, 12))
    withers = (chest[0] + 0.02, chest[1] - 0.03)
    whole = _Body(withers, lean, [Shape(body, look.fur)], far, near, details, tail, [haunch])
    return _assemble(whole, breed, look, rng)


def _assemble(body: _Body, breed: Breed, look: Look, rng: Rng) -> list[Group]:
    (x, y), a = body.withers, math.radians(body.lean_deg)
    skull = (x + NECK * math.cos(a), y + NECK * math.sin(a))
    neck = furry(limb([(x - 0.06, y + 0.06), skull], [0.2 * look.girth, 0.15]), breed.coat, rng, 0.7)
    dressed: Group = []
    if look.bib:
        dressed.append(Shape(ellipse(x + 0.07, y + 0.13, 0.06, 0.14, -15), look.pale, edged=False))
    if look.collar:
        along, across = np.array([math.cos(a), math.sin(a)]), np.array([-math.sin(a), math.cos(a)])
        share = np.linspace(-1, 1, 5)[:, None]
        ring = (x, y) + 0.145 * share * across + (0.14 + 0.03 * (1 - share**2)) * along
        dressed.append(Shape(ring, look.collar, line=0.055))
    trunk = [*body.trunk, Shape(neck, look.fur), *body.near, *body.details, *dressed]
    return [body.far, body.tail, trunk, *body.over, *_head(skull, body.lean_deg, breed, look, rng)]


def _head(
    skull: tuple[float, float], lean_deg: float, breed: Breed, look: Look, rng: Rng
) -> list[Group]:
    chance = rng.random()
    if chance < 0.18:
        head = front_head(breed, look.fur, look.mark, look.ears_marked, rng)
        return head.placed(skull, rng.uniform(-12, 12), mirrored=bool(rng.random() < 0.5))
    head = profile_head(breed, look.fur, look.mark, look.ears_marked, rng)
    tilt = 0.45 * (lean_deg + 25) + rng.uniform(-14, 10)
    backwards = lean_deg < 10 and chance > 0.94
    return head.placed(skull, -tilt if backwards else tilt, mirrored=backwards)


def _foreleg(
    x: float, top: float, swing: float, breed: Breed, look: Look, rng: Rng, *, far: bool = False
) -> Group:
    colour = look.far if far else look.fur
    bend = rng.uniform(-0.02, 0.03)
    path = [(x, top), (x + 0.4 * swing + bend, top * 0.45), (x + swing, -0.045)]
    fur = furry(limb(path, [0.11, 0.07, 0.058]), breed.coat, rng, 0.45)
    return [Shape(fur, colour), _paw(x + swing + 0.02, colour, look, far=far)]


def _hindleg(
    x: float, top: float, swing: float, breed: Breed, look: Look, rng: Rng, *, far: bool = False
) -> Group:
    colour = look.far if far else look.fur
    foot = x + swing - 0.03
    path = [(x, top), (x + 0.05 + 0.3 * swing, top * 0.55), (foot - 0.05, top * 0.3), (foot, -0.045)]
    fur = furry(limb(path, [0.16, 0.1, 0.062, 0.056]), breed.coat, rng, 0.45)
    return [Shape(fur, colour), _paw(foot + 0.02, colour, look, far=far)]


def _paw(x: float, colour: Colour, look: Look, *, far: bool) -> Shape:
    if look.socks:
        colour = darker(look.pale, 0.8) if far else look.pale
    return Shape(ellipse(x, -0.045, 0.075, 0.048, corners=16), colour)


def _coat_details(
    breed: Breed, look: Look, middle: tuple[float, float], slope_deg: float, deep: float, body: Points,
    rng: Rng,
) -> Group:
    centre = np.asarray(middle)
    shapes: Group = []
    if breed.marking == "saddle":
        rise = turned(array([(0.0, 0.14 * deep)]), slope_deg)[0] + centre
        patch = cut(body, rise, slope_deg - 90, ripple=0.025)
        for shift, facing in ((-0.36, slope_deg), (0.29, slope_deg + 180)):
            edge = turned(array([(shift * rng.uniform(0.85, 1.1), 0.0)]), slope_deg)[0] + centre
            patch = cut(patch, edge, facing, ripple=0.012)
        shapes.append(Shape(patch, look.mark, edged=False))
    if breed.marking == "spots":
        for x, y in (turned(_scattered(13, rng) * [0.4, 0.42 * deep], slope_deg) + centre).tolist():
            rx = rng.uniform(0.04, 0.068)
            shapes.append(
                Shape(ellipse(x, y, rx, rx * rng.uniform(0.7, 1), corners=14), look.mark, edged=False)
            )
    return shapes + _strokes(breed.coat, look, centre, slope_deg, deep, rng)


def _scattered(count: int, rng: Rng) -> Points:
    """Points of the unit disc that keep away from one another."""
    kept: list[complex] = []
    for x, y in rng.uniform(-1, 1, (count * 6, 2)).tolist():
        if abs(complex(x, y)) < 1 and all(abs(complex(x, y) - k) > 0.36 for k in kept):
            kept.append(complex(x, y))
    return array([(k.real, k.imag) for k in kept[:count]])


def _strokes(coat: str, look: Look, centre: Points, slope_deg: float, deep: float, rng: Rng) -> Group:
    if coat == "smooth":
        return []
    tint = darker(look.fur, 0.66) if lightness(look.fur) > 75 else mix(look.fur, (255, 255, 255), 0.26)
    t = np.linspace(0, 1, 7)
    if coat == "wavy":
        curve = np.column_stack([0.1 * t, 0.022 * np.sin(2 * math.pi * t)])
    elif coat == "wiry":
        curve = array([(0, 0), (0.05, 0)])
    else:
        curve = np.column_stack([-0.02 * np.sin(3 * t), 0.13 * t])
    starts = turned(rng.uniform(-1, 1, (20, 2)) * [0.38, 0.36 * deep], slope_deg) + centre
    turns = rng.uniform(0, 180, len(starts)) if coat == "wiry" else np.zeros(len(starts))
    return [
        Shape((turned(curve, turn) if turn else curve) + start, tint, line=0.016)
        for start, turn in zip(starts, turns.tolist(), strict=True)
    ]


def _tail(breed: Breed, base: tuple[float, float], raised_deg: float, look: Look, rng: Rng) -> Group:
    colour = darker(look.fur, 0.9)
    x, y = base
    if breed.tail == "docked":
        stub = turned(array([(0.06, 0), (-0.04, 0), (-0.12, -0.02)]), raised_deg + 15) + base
        return [Shape(furry(limb(stub.tolist(), [0.06, 0.055, 0.045]), breed.coat, rng, 0.4), colour)]
    if breed.tail == "curled":
        r = 0.165 * rng.uniform(0.9, 1.1)
        turn = np.radians(np.linspace(70, 70 + 395, 14))
        radius = np.linspace(r, 0.4 * r, 14)
        path = np.column_stack([x - 0.03 + radius * np.cos(turn), y - 0.8 * r + radius * np.sin(turn)])
        return [
            Shape(furry(limb(path.tolist(), [0.06, 0.055, 0.035], steps=3), breed.coat, rng, 0.25), colour)
        ]
    curve = array([(0.06, 0), (-0.1, 0.0), (-0.26, -0.03), (-0.4, -0.1)])
    if breed.tail == "straight":
        path = turned(curve * [1.1, rng.uniform(0.2, 1.2)], raised_deg) + base
        return [Shape(furry(limb(path.tolist(), [0.06, 0.052, 0.04, 0.02]), breed.coat, rng, 0.35), colour)]
    path = turned(curve * [1.1, 1.6], raised_deg + 12) + base
    plume = furry(limb(path.tolist(), [0.06, 0.09, 0.15, 0.03]), "shaggy", rng, 0.8)
    return [Shape(plume, colour)]
