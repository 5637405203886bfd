"""The page of a detector: figures, precision against recall, confusion, best and worst photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from apps.engine.files import write_bytes
from apps.objects.detect import drawn
from apps.objects.figures import FIGURES, SEEN, Judged, confusion, error_counts, grouped
from apps.report import html, plots
from apps.report.html import Column, Html, Section
from datasets.images import read_photo

SHOWN, SIDE_PX = 6, 320
TRUE = (40, 140, 60)


def write_objects_report(
    folder: Path, title: str, judged: Judged, facts: dict[str, str | float]
) -> list[Path]:
    """``report.html`` and ``precision-recall.png``; returns the files, the page first."""
    light, dark = (plots.png(_curve(judged, theme)) for theme in (plots.LIGHT, plots.DARK))
    figures = judged.figures
    told = [(name, f"{figures[name]:.3f}") for name in FIGURES if name in figures]
    classes = sorted(((k[3:], v) for k, v in figures.items() if k.startswith("ap/")), key=lambda one: -one[1])
    errors = [(k.removeprefix("errors/"), f"{v:.0f}") for k, v in figures.items() if k.startswith("errors/")]
    best, worst = _ranked(judged)
    plot = html.plot(light, dark, "precision against recall", "IoU 0.5, all classes.")
    by_class = [(name, f"{value:.3f}") for name, value in classes]
    settings = [(name, str(value)) for name, value in facts.items()]
    sections = [
        Section("Figures", _table("COCO's figures", ("figure", "value"), told)),
        Section("Precision and recall", plot),
        Section("By class", _table("Average precision", ("class", "ap"), by_class)),
        Section("Errors", _table(f"At scores of {SEEN} and more", ("kind", "count"), errors)),
        Section("Confusion", _confusion(judged)),
        Section("Best photos", _photos(judged, best)), Section("Worst photos", _photos(judged, worst)),
        Section("How it was made", _table("Settings", ("what", "value"), settings)),
    ]
    lead = html.paragraph(f"{len(judged.paths):,} photos: AP50 {figures.get('ap50', 0):.3f}.", kind="lead")
    footer = "This page is one file: it needs no network and runs no script."
    page = html.page(title, lead, sections, footer=footer)
    files = {"report.html": page.encode("utf-8", "replace"), "precision-recall.png": light}
    return [write_bytes(folder / name, content) for name, content in files.items()]


def _table(caption: str, names: tuple[str, str], rows: Any) -> Html:
    return html.table(caption, [Column(names[0]), Column(names[1], numeric=True)], rows)


def _curve(judged: Judged, theme: plots.Theme) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained", facecolor=theme.page)
    axes = figure.subplots()
    plots.dress(axes, theme)
    axes.plot(np.linspace(0, 1, 101), judged.curve(), color=theme.first)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xlabel("recall", color=theme.soft)
    axes.set_ylabel("precision", color=theme.soft)
    return figure


def _confusion(judged: Judged) -> Html:
    rows = [(f"{true} called {said}", str(count)) for (true, said), count in confusion(judged)[:20]]
    return _table("Objects of one class found as another", ("what", "count"), rows)


def _ranked(judged: Judged) -> tuple[list[int], list[int]]:
    """Positions of the photos with the largest and with the smallest share of right boxes."""
    marks, found = grouped(judged.truth["annotations"]), grouped(judged.results)
    shares = []
    for place, image in enumerate(judged.truth["images"]):
        one = {"images": [image], "annotations": marks.get(image["id"], [])}
        counts = error_counts(one, found.get(image["id"], []))
        total = sum(counts.values())
        shares.append((counts["right"] / total if total else 1.0, place))
    order = [place for _, place in sorted(shares)]
    return order[::-1][:SHOWN], order[:SHOWN]


def _photos(judged: Judged, places: list[int]) -> Html:
    marks, found = grouped(judged.truth["annotations"]), grouped(judged.results)
    names = {one["id"]: one["name"] for one in judged.truth["categories"]}

    def told(entries: Any) -> list[dict[str, Any]]:
        return [
            {"name": names[one["category_id"]], "box": _corners(one["bbox"])}
            | ({"score": one["score"]} if "score" in one else {})
            for one in entries if one.get("score", 1) >= SEEN
        ]

    def tile(place: int) -> tuple[Html, object]:
        number, path = judged.truth["images"][place]["id"], judged.paths[place]
        image = html.thumbnail_or_grey(read_photo, path)
        image = drawn(drawn(image, told(marks.get(number, ())), TRUE), told(found.get(number, ())))
        side = max(image.size)
        square = Image.new("RGB", (side, side), (128, 128, 128))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return html.picture(square, Path(path).name, SIDE_PX), f"{Path(path).name}: green true, red found"

    return html.gallery(map(tile, places), wide=True)


def _corners(box: list[float]) -> list[float]:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]
