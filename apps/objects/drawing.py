"""Images with the objects on them framed and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from apps.engine.reporting.labels import label

Colour = tuple[int, int, int]
FOUND, TRUE = (214, 48, 32), (24, 128, 56)


def drawn(
    image: Image.Image, objects: Sequence[dict[str, Any]], colour: Colour = FOUND, *, below: bool = False
) -> Image.Image:
    """The picture with a frame and a name for each object, the best object on top.

    Args:
        image: any picture.
        objects: ``name``, ``box`` as (x1, y1, x2, y2) pixels of the picture and, if there is one, ``score``.
        colour: of frames; names stand in white on it.
        below: names at the lower ends of the frames, so that two kinds of frames do not hide each other's.
    """
    canvas = image.convert("RGB")
    pen, width = ImageDraw.Draw(canvas), max(2, round(min(canvas.size) / 200))
    size = max(12, round(min(canvas.size) / 32))
    for item in sorted(objects, key=lambda entry: entry.get("score", 1.0)):
        pen.rectangle(item["box"], outline=colour, width=width)
    for item in sorted(objects, key=lambda entry: entry.get("score", 1.0)):
        name = label(item["name"])
        words = f"{name} {item['score']:.2f}" if "score" in item else name
        _named(pen, canvas.size, item["box"], words, size, colour, below)
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
