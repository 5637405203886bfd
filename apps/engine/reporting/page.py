"""A report of an application: one page and its plots as files of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from apps.engine.core.files import write_bytes
from apps.engine.reporting import plots
from apps.engine.reporting.html import data_uri, render

Drawings = dict[str, Callable[[plots.Theme], Figure]]


def write_page(folder: Path, template: Path, drawings: Drawings, **values: Any) -> list[Path]:
    """Write ``report.html`` and each drawing as ``NAME.png``.

    Args:
        folder: made if it is missing; files of the same names are replaced.
        template: of the page; it draws a plot by ``plot(NAME, ...)``.
        drawings: figures by name, drawn once for light pages and once for dark ones.
        values: what the template names beside them.

    Returns:
        The files written, the page first.
    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        name: tuple(plots.png(draw(theme)) for theme in (plots.LIGHT, plots.DARK))
        for name, draw in drawings.items()
    }
    addresses = {name: [data_uri(png, "image/png") for png in both] for name, both in drawn.items()}
    page = render(template, plots=addresses, **values)
    files = {"report.html": page.encode("utf-8", "replace")}
    files |= {f"{name}.png": light for name, (light, _) in drawn.items()}
    return [write_bytes(folder / name, content) for name, content in files.items()]
