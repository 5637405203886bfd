"""Outlines as arrays of points, furry edges, and the pen that fills them: what drawings are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

Points = npt.NDArray[np.float64]  # (N, 2): x to the right, y down
Colour = tuple[int, int, int]  # red, green, blue, 0 to 255
Rng = np.random.Generator

CAP = np.array([(math.cos(a), math.sin(a)) for a in np.linspace(0, math.pi, 7)[1:-1].tolist()])  # a round end


@dataclass(frozen=True)
class Shape:
    """An area, or a line where ``line`` is above 0.

    Args:
        points: (N, 2) corners, in the units of the drawing.
        colour: red, green, blue, 0 to 255.
        line: width of an open line, in the same units; 0 fills the area.
        edged: the pen may put ink around the area.
    """

    points: Points
    colour: Colour
    line: float = 0.0
    edged: bool = True


def array(points: Sequence[Sequence[float]]) -> Points:
    """A list of pairs as (N, 2) numbers."""
    return np.asarray(points, dtype=np.float64)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """``share`` 0 gives the one colour, 1 the other."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(colour, other, strict=True))
    return min(max(r, 0), 255), min(max(g, 0), 255), min(max(b, 0), 255)


def darker(colour: Colour, factor: float) -> Colour:
    """The colour times ``factor``, 0 to 1."""
    return mix((0, 0, 0), colour, factor)


def lightness(colour: Colour) -> float:
    """Luma of Rec. 601, 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def jitter(colour: Colour, rng: Rng, amount: float = 14) -> Colour:
    """The colour, each channel moved by up to ``amount``."""
    r, g, b = (min(max(int(c + d), 0), 255) for c, d in zip(colour, _uniform3(rng, amount), strict=True))
    return r, g, b


def _uniform3(rng: Rng, amount: float) -> list[float]:
    values: list[float] = rng.uniform(-amount, amount, 3).tolist()
    return values


@lru_cache
def _basis(steps: int) -> Points:
    t = np.arange(steps, dtype=np.float64)[:, None] / steps
    return 0.5 * np.hstack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    )


def spline(points: Points, *, closed: bool = True, steps: int = 8) -> Points:
    """A smooth curve through the points (Catmull-Rom), ``steps`` points for each."""
    if closed:
        padded = np.vstack([points[-1:], points, points[:2]])
    else:
        padded = np.vstack([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)
    curve = np.einsum("sk,nkd->nsd", _basis(steps), windows).reshape(-1, 2)
    return curve if closed else np.vstack([curve, points[-1:]])


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0, *, corners: int = 28) -> Points:
    """Corners of an ellipse around (x, y), turned by ``degrees``."""
    around = _circle(corners) * (rx, ry)
    return (turned(around, degrees) if degrees else around) + (x, y)


@lru_cache
def _circle(corners: int) -> Points:
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def turned(points: Points, degrees: float) -> Points:
    """The points turned about the origin, clockwise as seen (y points down)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return points @ array([[c, s], [-s, c]])


def normals(curve: Points) -> Points:
    """Unit normals of a curve, to the right of its direction as seen."""
    across = np.empty_like(curve)
    x, y = curve[:, 0], curve[:, 1]
    across[1:-1, 0], across[1:-1, 1] = y[:-2] - y[2:], x[2:] - x[:-2]
    for end, item, other in ((0, 0, 1), (-1, -2, -1)):
        across[end] = y[item] - y[other], x[other] - x[item]
    across /= np.maximum(np.hypot(across[:, 0], across[:, 1]), 1e-9)[:, None]
    return across


def limb(path: Sequence[Sequence[float]], radii: Sequence[float], *, steps: int = 6) -> Points:
    """The outline of a tube along ``path`` with a radius at each of its points and round ends."""
    centre = spline(array(path), closed=False, steps=steps)
    at = np.arange(len(centre)) / (len(centre) - 1) * (len(radii) - 1)
    across = normals(centre) * np.interp(at, np.arange(len(radii)), radii)[:, None]
    ends = centre[-1] + CAP @ _sides(across[-1]), centre[0] + CAP @ _sides(-across[0])
    return np.vstack([centre + across, ends[0], (centre - across)[::-1], ends[1]])


def _sides(side: Points) -> Points:
    return np.stack([side, side[::-1] * (1, -1)])


def resampled(outline: Points, spacing: float) -> Points:
    """The closed outline with corners every ``spacing``."""
    ring = np.vstack([outline, outline[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    at = np.linspace(0, along[-1], max(int(along[-1] / spacing), 12), endpoint=False)
    return np.column_stack([np.interp(at, along, ring[:, 0]), np.interp(at, along, ring[:, 1])])


def _outward(outline: Points) -> Points:
    ring = np.vstack([outline[-1:], outline, outline[:1]])
    across = normals(ring)[1:-1]
    area = float(np.dot(ring[:-1, 0], ring[1:, 1]) - np.dot(ring[:-1, 1], ring[1:, 0]))
    return -across if area > 0 else across


def furry(outline: Points, coat: str, rng: Rng, amount: float = 1.0) -> Points:
    """The outline with the edge of a coat: waves, bristles or hanging tufts.

    Args:
        outline: (N, 2), closed; the body of a dog is about 1 long.
        coat: ``smooth``, ``wavy``, ``wiry`` or ``shaggy``.
        rng: the source of the irregularities.
        amount: 1 for a body, less for finer parts.
    """
    if coat == "smooth" or amount <= 0:
        return outline
    points = resampled(outline, 0.012)
    n = np.arange(len(points)) * 0.012 + rng.uniform(0, 1)
    out = _outward(points)
    if coat == "wavy":
        scallops = np.abs(np.sin(math.pi * n / 0.1 + 0.6 * np.sin(7 * n)))
        return _pushed(points, out, 0.055 * amount * scallops - 0.014 * amount)
    if coat == "wiry":
        bristles = (np.arange(len(points)) % 2) * rng.uniform(0.25, 1.0, len(points))
        return _pushed(points, out, 0.055 * amount * bristles - 0.008 * amount)
    period = 0.125 * (1 + 0.25 * np.sin(5 * n))
    tufts = (n / period) % 1.0
    under = 0.55 + 0.45 * np.clip(out[:, 1], 0, 1)
    return _pushed(points, out + np.array([0.0, 0.75]), 0.125 * amount * tufts**1.5 * under)


def _pushed(points: Points, direction: Points, by: Points) -> Points:
    moved: Points = points + direction * by[:, None]
    return moved


def cut(outline: Points, at: Sequence[float], towards_deg: float, *, ripple: float = 0.0) -> Points:
    """The part of a roundish outline beyond the line through ``at`` that faces ``towards_deg``.

    Args:
        outline: (N, 2), closed.
        at: a point of the cutting line.
        towards_deg: direction of the part that stays, 0 right, 90 down.
        ripple: height of the waves of the cutting line.
    """
    a = math.radians(towards_deg)
    facing, along = np.array([math.cos(a), math.sin(a)]), np.array([-math.sin(a), math.cos(a)])
    offset = outline - np.asarray(at, dtype=np.float64)
    depth = offset @ facing - ripple * np.sin(offset @ along * 22)
    moved: Points = outline - np.minimum(depth, 0)[:, None] * facing
    return moved


@dataclass(frozen=True)
class Pen:
    """Draws shapes through an affine map onto a canvas.

    Args:
        draw: the canvas.
        matrix: (2, 2), units of the drawing to pixels.
        origin: (2,) pixels of the drawing's (0, 0).
        ink: colour of the edges.
        ink_px: width of the edges, pixels; 0 for none.
    """

    draw: ImageDraw.ImageDraw
    matrix: Points
    origin: Points
    ink: Colour = (30, 24, 22)
    ink_px: float = 0.0

    def group(self, shapes: Iterable[Shape]) -> None:
        """Ink of all the areas first, then the areas: no seams where the parts of a body meet."""
        placed = [(shape, self._place(shape.points)) for shape in shapes]
        if self.ink_px > 0:
            for shape, corners in placed:
                if shape.edged and shape.line == 0:
                    self.draw.line(
                        [*corners, *corners[:2]], fill=self.ink, width=max(round(2 * self.ink_px), 1)
                    )
        (a, b), (c, d) = self.matrix.tolist()
        scale = math.sqrt(abs(a * d - b * c))
        for shape, corners in placed:
            if shape.line > 0:
                self.draw.line(corners, fill=shape.colour, width=max(round(shape.line * scale), 1))
            else:
                self.draw.polygon(corners, fill=shape.colour)

    def _place(self, points: Points) -> list[float]:
        flat: list[float] = (points @ self.matrix.T + self.origin).ravel().tolist()
        return flat
