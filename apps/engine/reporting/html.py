"""Self-contained HTML pages from Jinja2 templates; every value is escaped on its way into a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from apps.engine.core.settings import portable

THUMBNAIL_PX = 128
SHARED = Path(__file__).with_name("templates")


def render(template: Path, **values: Any) -> str:
    """A page from a template that extends ``base.html`` and may use ``macros.html``.

    Args:
        template: the file; what it extends or imports is looked for in ``templates/`` beside this module.
        values: what the template names; ``title`` is the page's. Text is escaped, also text like markup.
    """
    page = _environment(template.parent).get_template(template.name)
    return page.render(contents=[], **values)


@lru_cache(maxsize=8)
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, SHARED]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"], finalize=_nobodys,
    )
    environment.filters |= {
        "percent": percent, "count": "{:,}".format, "value": _value, "square": square, "whole": whole,
        "named": _named,
    }
    return environment


def _nobodys(value: Any) -> Any:
    """A text without the user's home folder, as pages are shown to others."""
    if isinstance(value, Path):
        return portable(str(value))
    return type(value)(portable(value)) if isinstance(value, str) else value  # also what is escaped already


def percent(share: float | None, high: float | None = None) -> str:
    """A fraction of one for a reader: ``94.3 %``, ``91.1 to 96.4 %`` for two, a dash for None."""
    if share is None:
        return "\u2013"
    return f"{100 * share:.1f}\u00a0%" if high is None else f"{100 * share:.1f} to {100 * high:.1f}\u00a0%"


def _value(value: object) -> str:
    """A setting as it is written: a float without needless digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _named(values: Sequence[object], columns: Sequence[object]) -> list[tuple[object, object]]:
    """Each value of a row beside its column; ValueError where there are more or fewer."""
    return list(zip(columns, values, strict=True))


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a ``data:`` address; ``kind`` such as ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def jpeg(image: Image.Image, side_px: int = THUMBNAIL_PX) -> bytes:
    """A JPEG of which the short side has ``side_px`` pixels at most."""
    small = image.convert("RGB")
    scale = side_px / min(small.size)
    if scale < 1:
        size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
        small = small.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def whole(image: Image.Image, side_px: int = THUMBNAIL_PX) -> str:
    """An image as a ``data:`` address, ``side_px`` pixels on its short side at most."""
    return data_uri(jpeg(image, side_px), "image/jpeg")


def square(image: Image.Image, side_px: int = THUMBNAIL_PX) -> str:
    """The middle square of an image as a ``data:`` address."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return whole(image.crop((left, top, left + side, top + side)), side_px)


def thumbnail_or_grey(load: Callable[[str], Image.Image], path: str) -> Image.Image:
    """The image, or a grey tile when it can no longer be read."""
    try:
        return load(path)
    except (ValueError, OSError):
        return Image.new("RGB", (THUMBNAIL_PX, THUMBNAIL_PX), (150, 150, 150))
