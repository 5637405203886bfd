"""The page of a detector: figures, precision against recall, confusion, best and worst photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from apps.engine.core.files import write_bytes
from apps.engine.reporting import html, plots
from apps.engine.reporting.html import Column, Html, Section, tag
from apps.engine.reporting.plots import Row, Theme
from apps.objects.coco_metrics import FIGURES, Judged
from apps.objects.errors import SEEN, Matched, grouped
from apps.objects.evaluator import cornered
from apps.objects.plots import FOUND, TRUE, drawn, history_figure, recall_figure
from datasets.image_io import read_photo

SHOWN, TILE_PX = 6, 480
MATRIX_CLASSES = 13  # with the others and nothing 15: then each cell carries its number
ERRORS = {
    "right": "on an object of its class", "class": "on an object of another class",
    "twice": "on an object that is found already", "place": "near an object of its class, badly placed",
    "both": "near an object of another class, badly placed", "background": "near no object",
    "missed": "an object that no detection is right on",
}


def write_objects_report(
    folder: Path, title: str, judged: Judged, facts: Mapping[str, str | float], *,
    history: Sequence[Row] = (),
) -> list[Path]:
    """``report.html`` and its plots; returns the files, the page first.

    Args:
        folder: is made if it is missing.
        title: of the page.
        judged: what was found beside what is there.
        facts: settings and provenance.
        history: rows of ``metrics.jsonl``; none for results without a training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        name: (plots.png(draw(plots.LIGHT)), plots.png(draw(plots.DARK)))
        for name, draw in _drawings(judged, history).items()
    }
    page = html.page(
        title, _lead(judged), _sections(judged, found, facts),
        footer="This page is one file: it needs no network and runs no script.",
    )
    files = {"report.html": page.encode("utf-8", "replace")}
    files |= {f"{name}.png": light for name, (light, _) in found.items()}
    return [write_bytes(folder / name, content) for name, content in files.items()]


def _drawings(judged: Judged, history: Sequence[Row]) -> dict[str, Callable[[Theme], Figure]]:
    part = judged.confusion.largest(MATRIX_CLASSES)
    names = (*part.names, "nothing")
    drawings: dict[str, Callable[[Theme], Figure]] = {
        "precision-recall": lambda theme: recall_figure(judged, theme),
        "confusion": lambda theme: plots.confusion_figure(part.matrix, names, theme),
    }
    if history:
        drawings["training"] = lambda theme: history_figure(history, theme)
    return drawings


def _lead(judged: Judged) -> Html:
    figures, spread = judged.figures, judged.spread
    objects, classes = int(judged.confusion.matrix[:-1].sum()), len(judged.confusion.names)
    kinds = "1 class" if classes == 1 else f"{classes} classes"
    words = (
        f"Right on {figures['errors/right']:,.0f} of {objects:,} objects of {kinds} on {len(judged.paths):,} "
        f"photos, at scores of {SEEN} and more."
    )
    titles = (("ap50", "AP50"), ("ap", "AP"), ("ap75", "AP75"))
    items = []
    for name, shown in titles:
        if name in figures:
            between = spread.get(name)
            note = "{:.3f} to {:.3f}, 95 %".format(*between) if between else ""
            items.append((shown, f"{figures[name]:.3f}", note))
    return html.join([html.paragraph(words, kind="lead"), html.numbers(items)])


def _sections(
    judged: Judged, found: Mapping[str, tuple[bytes, bytes]], facts: Mapping[str, str | float]
) -> list[Section]:
    figures = judged.figures
    told = [(name, f"{figures[name]:.3f}") for name in FIGURES if name in figures]
    errors = [(kind, said, f"{figures[f'errors/{kind}']:.0f}") for kind, said in ERRORS.items()]
    settings = [(name, str(value)) for name, value in facts.items()]
    best, worst = _ranked(judged.matched)
    sections = []
    if "training" in found:
        words = "Terms of the loss, and what the photos held back say after each epoch."
        sections.append(Section("Training", html.plot(*found["training"], "loss by epoch", words, wide=True)))
    return [
        *sections,
        Section("Figures", _table("COCO's figures", ("figure", "value"), told)),
        Section("Precision and recall", html.plot(
            *found["precision-recall"], "precision against recall",
            "Before each name its average precision: the mean of the curve.", wide=True,
        )),
        Section("Class by class", _classes(judged)),
        Section("Errors", html.table(
            f"Detections at scores of {SEEN} and more, and objects missed",
            [Column("kind"), Column("what"), Column("count", numeric=True)], errors,
        )),
        Section("Confusion", html.plot(*found["confusion"], "confusion matrix", (
            f"Objects by what they are and what was said of them, at IoU 0.5 and scores of {SEEN} and more. "
            "Said nothing: missed. Was nothing: a detection without an object of its own."
        ), wide=True)),
        Section("Best photos", _photos(judged, best)), Section("Worst photos", _photos(judged, worst)),
        Section("How it was made", _table("Settings", ("what", "value"), settings)),
    ]


def _table(caption: str, names: tuple[str, str], rows: Any) -> Html:
    return html.table(caption, [Column(names[0]), Column(names[1], numeric=True)], rows)


def _classes(judged: Judged) -> Html:
    """Average precision of each class that has objects, the best first."""
    confusion, figures = judged.confusion, judged.figures
    rows = [
        (name, int(confusion.matrix[n].sum()), int(confusion.matrix[n, n]), figures[f"ap/{name}"])
        for n, name in enumerate(confusion.names) if f"ap/{name}" in figures
    ]
    lines = [
        (name, objects, right, html.bar(ap), f"{ap:.3f}")
        for name, objects, right, ap in sorted(rows, key=lambda row: (-row[3], row[0]))
    ]
    columns = [
        Column("class"), Column("objects", numeric=True), Column("found", numeric=True),
        Column("", optional=True), Column("AP", numeric=True),
    ]
    return html.table(f"Found: at IoU 0.5 and scores of {SEEN} and more", columns, lines)


def _ranked(photos: Sequence[Matched]) -> tuple[list[int], list[int]]:
    """Positions of the photos with the largest and with the smallest share of right boxes.

    Where shares are alike, the photo with more to tell is further out. No photo is in both.
    """
    ranks = []
    for place, one in enumerate(photos):
        total = sum(one.counts.values())
        if total:
            right = one.counts["right"]
            ranks.append((right / total, right, right - total, place))
    best = [row[-1] for row in sorted(ranks, reverse=True) if row[1]][:SHOWN]
    worst = [row[-1] for row in sorted(ranks, key=lambda row: (row[0], row[2]))
             if row[2] and row[-1] not in best]
    return best, worst[:SHOWN]


def _photos(judged: Judged, places: Sequence[int]) -> Html:
    if not places:
        return html.paragraph("There is none to show.")
    marks, found = grouped(judged.truth["annotations"]), grouped(judged.results)
    names = {one["id"]: one["name"] for one in judged.truth["categories"]}
    words = f"Green: marked objects. Red: detections at scores of {SEEN} and more."
    tiles = (tag("li", _tile(judged, place, names, marks, found)) for place in places)
    return html.join([html.paragraph(words, kind="soft"), tag("ul", *tiles, class_="pairs")])


def _tile(
    judged: Judged, place: int, names: Mapping[int, str], marks: Mapping[int, Any], found: Mapping[int, Any]
) -> Html:
    image, path = judged.truth["images"][place], judged.paths[place]
    photo = html.thumbnail_or_grey(lambda name: read_photo(name, min_side=TILE_PX), path)
    photo.thumbnail((TILE_PX, TILE_PX))
    x, y = photo.width / max(image["width"], 1), photo.height / max(image["height"], 1)

    def told(entries: Any) -> list[dict[str, Any]]:
        """The entries on the small picture."""
        return [
            {
                **({"score": one["score"]} if "score" in one else {}), "name": names[one["category_id"]],
                "box": [side * by for side, by in zip(cornered(one["bbox"]), (x, y, x, y), strict=True)],
            } for one in entries if one.get("score", 1) >= SEEN
        ]

    photo = drawn(photo, told(marks.get(image["id"], ())), TRUE, below=True)
    photo = drawn(photo, told(found.get(image["id"], ())), FOUND)
    counts = judged.matched[place].counts
    wrong = sum(counts.values()) - counts["right"] - counts["missed"]
    said = f"{counts['right']} right, {wrong} wrong, {counts['missed']} missed"
    uri = html.data_uri(html.jpeg(photo, TILE_PX), "image/jpeg")
    alt = html.text(f"{Path(path).name}: {said}")
    img = Html(f'<img src="{uri}" alt="{alt}" style="object-fit:contain">')
    return tag("figure", img, tag("figcaption", tag("span", Path(path).name, class_="file"), said))
