"""Small pieces of a self-contained HTML page; plain text goes in, every piece escapes it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

THUMBNAIL_PX = 128
STYLE = Path(__file__).with_name("style.css")
# No script, no network: the browser itself holds what the page promises.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Html(str):
    """Markup that is made already; any other string is text and gets escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """A value as markup: escaped, unless it is :class:`Html`."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, *children: object, **attributes: str | int) -> Html:
    """``<name ...>children</name>``; ``class_`` is written class, ``aria_label`` aria-label, "" left out."""
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value != "")
    head = "".join(f' {key}="{text(value)}"' for key, value in given)
    return Html(f"<{name}{head}>{''.join(text(child) for child in children)}</{name}>")


def join(parts: Iterable[object], between: str = "\n") -> Html:
    """Pieces one after the other."""
    return Html(between.join(text(part) for part in parts))


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it; ``title`` is plain text and shows in the page's contents."""

    title: str
    body: Html


def page(title: str, lead: object, sections: Sequence[Section], *, footer: object = "") -> Html:
    """A whole document: light or dark as the reader's device wants, readable on a phone."""
    links = (tag("a", s.title, href=f"#part-{i}") for i, s in enumerate(sections, 1))
    blocks = (
        tag("section", tag("h2", s.title, id=f"title-{i}"), "\n", s.body,
            id=f"part-{i}", aria_labelledby=f"title-{i}")
        for i, s in enumerate(sections, 1)
    )
    body = [
        tag("header", tag("h1", title), "\n", lead),
        tag("nav", *links, aria_label="Contents"),
        tag("main", *(Html(f"\n{block}") for block in blocks)),
        tag("footer", tag("p", footer)) if footer else Html(),
    ]
    return Html(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{tag('title', title)}\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        f"{tag('div', join(body), class_='wrap')}\n</body>\n</html>\n"
    )


def paragraph(*parts: object, kind: str = "") -> Html:
    """A paragraph; ``kind`` is a class of the style sheet, such as ``soft``."""
    return tag("p", *parts, class_=kind)


def numbers(items: Iterable[tuple[str, str, str]]) -> Html:
    """Large figures side by side, each (name, value, note)."""
    cells = (
        tag("div", tag("dt", name), tag("dd", value, class_="value"), tag("dd", note, class_="note"))
        for name, value, note in items
    )
    return tag("dl", *cells, class_="numbers")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: its header.
        numeric: aligned to the right.
        optional: left out on a phone.
    """

    title: str
    numeric: bool = False
    optional: bool = False

    @property
    def kind(self) -> str:
        """Its classes in the style sheet."""
        return " ".join(name for name, on in (("number", self.numeric), ("optional", self.optional)) if on)


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Html:
    """A table whose first column names the row; long ones scroll."""
    head = tag("tr", *(tag("th", c.title, scope="col", class_=c.kind) for c in columns))
    body = tag("tbody", *(Html(f"\n{_row(columns, row)}") for row in rows))
    whole = tag("table", tag("caption", caption), tag("thead", head), body)
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _row(columns: Sequence[Column], values: Sequence[object]) -> Html:
    pairs = list(zip(columns, values, strict=True))
    first = tag("th", pairs[0][1], scope="row", class_=pairs[0][0].kind)
    return tag("tr", first, *(tag("td", value, class_=column.kind) for column, value in pairs[1:]))


def bar(share: float | None, low: float = 0.0, high: float = 0.0) -> Html:
    """A bar from 0 to 1 with a whisker from ``low`` to ``high``; None draws nothing.

    It repeats numbers that stand beside it, so a screen reader skips it.
    """
    if share is None:
        return Html()
    whisker = tag("b", style=f"left:{low:.1%};width:{high - low:.1%}") if high > low else ""
    return tag("div", tag("i", style=f"width:{share:.1%}"), whisker, class_="bar", aria_hidden="true")


def percent(share: float | None, high: float | None = None) -> str:
    """A fraction of one for a reader: ``94.3 %``, ``91.1 to 96.4 %`` for two, a dash for None."""
    if share is None:
        return "\u2013"
    return f"{100 * share:.1f}\u00a0%" if high is None else f"{100 * share:.1f} to {100 * high:.1f}\u00a0%"


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


def picture(image: Image.Image, alt: str, side_px: int = THUMBNAIL_PX) -> Html:
    """A photo inside the page."""
    uri = data_uri(jpeg(_square(image), side_px), "image/jpeg")
    return Html(f'<img src="{uri}" alt="{text(alt)}" width="{side_px}" height="{side_px}">')


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def thumbnail_or_grey(load: Callable[[str], Image.Image], path: str) -> Image.Image:
    """The photo, or a grey tile when it can no longer be read."""
    try:
        return load(path)
    except (ValueError, OSError):
        return Image.new("RGB", (THUMBNAIL_PX, THUMBNAIL_PX), (150, 150, 150))


def gallery(tiles: Iterable[tuple[Html, object]], *, wide: bool = False) -> Html:
    """Pictures with captions, as many side by side as there is room."""
    items = (
        tag("li", tag("figure", image, tag("figcaption", caption))) for image, caption in tiles
    )
    return tag("ul", *(Html(f"\n{item}") for item in items), class_="gallery wide" if wide else "gallery")


def plot(light: bytes, dark: bytes, alt: str, caption: object, *, wide: bool = False) -> Html:
    """A PNG in two dresses, for light and dark pages; on a phone a ``wide`` one scrolls sideways."""
    uri, night = data_uri(light, "image/png"), data_uri(dark, "image/png")
    image = Html(
        f'<picture><source srcset="{night}" media="(prefers-color-scheme: dark)">'
        f'<img src="{uri}" alt="{text(alt)}"></picture>'
    )
    return tag("figure", image, tag("figcaption", caption), class_="plot wide" if wide else "plot")
