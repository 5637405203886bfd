"""Images with the objects on them framed and named, cut out, or made unrecognisable."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from apps.engine.reporting.labels import label

Colour = tuple[int, int, int]
DETECTED, TRUE = (214, 48, 32), (24, 128, 56)
GOLDEN = 0.618034  # of a turn between the hues of two classes: neighbours differ, and no two are equal
CONTRAST = 4.5  # of white words on a plate, at least: WCAG 2.2, level AA
TILES = 4  # pixels of a pixelated object along its longer side
MARGIN = 0.1  # of its sides, added around it


def class_colours(names: Sequence[str]) -> dict[str, Colour]:
    """A colour a class, the same for every image and dark enough for white words."""
    return {name: _dark(index * GOLDEN % 1) for index, name in enumerate(names)}


def _dark(hue: float) -> Colour:
    """The lightest strong colour of a hue (0 to 1) on which white can be read."""
    lightness = 0.5
    while True:
        red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, 0.8))
        if 1.05 / (luminance((red, green, blue)) + 0.05) >= CONTRAST:
            return red, green, blue
        lightness -= 0.01


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def pixelated(image: Image.Image, boxes: Iterable[Sequence[float]]) -> Image.Image:
    """A copy of which nothing in the boxes can be recognised: four tiles along the longer side are left.

    Args:
        image: any picture.
        boxes: (x1, y1, x2, y2) pixels; a tenth of their sides is added around them, and parts outside the
            picture are ignored.
    """
    canvas = image.convert("RGB")
    for x1, y1, x2, y2 in boxes:
        aside, above = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
        whole = _pixels((x1 - aside, y1 - above, x2 + aside, y2 + above), canvas.size)
        if whole is None:
            continue
        part = canvas.crop(whole)
        longest = max(part.size)
        few = tuple(max(1, round(side * TILES / longest)) for side in part.size)
        tiles = part.resize((few[0], few[1]), Image.Resampling.BOX)
        canvas.paste(tiles.resize(part.size, Image.Resampling.NEAREST), whole[:2])
    return canvas


def cut_out(image: Image.Image, box: Sequence[float]) -> Image.Image | None:
    """The part of a picture in a box of (x1, y1, x2, y2) pixels; None where it holds no pixel."""
    whole = _pixels(box, image.size)
    return None if whole is None else image.crop(whole).convert("RGB")


def _pixels(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The pixels that a box touches."""
    x1, y1 = (max(0, math.floor(value)) for value in box[:2])
    x2, y2 = (min(side, math.ceil(value)) for value, side in zip(box[2:], size, strict=True))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def drawn(
    image: Image.Image, objects: Sequence[dict[str, Any]],
    colour: Colour | Mapping[str, Colour] = DETECTED, *, below: bool = False,
) -> Image.Image:
    """The picture with a frame and a name for each object, the best object on top.

    Args:
        image: any picture.
        objects: ``name``, ``box`` as (x1, y1, x2, y2) pixels of the picture; ``score`` and ``id``, where they
            have them.
        colour: of frames, or one for each class; names stand in white on it.
        below: names at the lower ends of the frames, so that two kinds of frames do not hide each other's.
    """
    canvas = image.convert("RGB")
    pen, width = ImageDraw.Draw(canvas), max(2, round(min(canvas.size) / 200))
    size = max(12, round(min(canvas.size) / 32))
    ranked = sorted(objects, key=lambda entry: entry.get("score", 1.0))
    colours = [colour[item["name"]] if isinstance(colour, Mapping) else colour for item in ranked]
    for item, ink in zip(ranked, colours, strict=True):
        pen.rectangle(item["box"], outline=ink, width=width)
    for item, ink in zip(ranked, colours, strict=True):
        name = f"#{item['id']} {label(item['name'])}" if "id" in item else label(item["name"])
        words = f"{name} {item['score']:.2f}" if "score" in item else name
        _named(pen, canvas.size, item["box"], words, size, ink, below)
    return canvas


def _named(
    pen: ImageDraw.ImageDraw, canvas: tuple[int, int], box: Sequence[float], words: str, size: int,
    colour: Colour, below: bool,
) -> None:
    """The words on a plate outside the frame, or in it where there is no room; always within the picture."""
    x1, y1, x2, y2 = pen.textbbox((0, 0), words, font_size=size)
    width, height = x2 - x1 + 6, y2 - y1 + 6
    left = max(min(box[0], canvas[0] - width), 0)
    if below:
        top = box[3] if box[3] + height <= canvas[1] else box[3] - height
    else:
        top = box[1] - height if box[1] >= height else box[1]
    top = max(min(top, canvas[1] - height), 0)
    pen.rectangle((left, top, left + width, top + height), fill=colour)
    pen.text((left + 3 - x1, top + 3 - y1), words, fill=(255, 255, 255), font_size=size)
