"""The page of a check: each kind of problem with its images, the surest first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageOps

from apps.engine.checking.kinds import title_of, words_of
from apps.engine.checking.moves import folder_of
from apps.engine.core.files import made_folder, write_text
from apps.engine.data.problems import Problem, Problems, counted
from apps.engine.reporting.html import render
from datasets.image_io import BadImageError, read_image

TEMPLATE = Path(__file__).with_name("check.html")
MOST_TILES, MOST_LINES = 48, 100  # of a kind
EACH = 4  # images of a problem
SIDE = 320  # px of the long side while a page is made
GREY, RED, YELLOW = (150, 150, 150), (220, 40, 40), (255, 210, 60)


class Part(NamedTuple):
    """The section of one kind."""

    title: str
    words: str
    number: int
    shown: int
    more: bool
    tiles: list[tuple[Image.Image, str, str]]
    lines: list[str]


def write_check_page(
    folder: Path, app: str, data: Path, answer: Mapping[str, Any], problems: Problems
) -> Path:
    """Write ``report.html``; returns its path.

    Args:
        folder: made if it is missing.
        app: name of the application.
        data: what was checked.
        answer: what the command prints.
        problems: by kind.

    Raises:
        OSError: it cannot be written.
    """
    order = sorted(problems, key=lambda kind: (not problems[kind], list(problems).index(kind)))
    total, base = sum(map(counted, problems.values())), f"{folder_of(data)}{os.sep}"
    answer = {**answer, "notes": [note.replace(base, "") for note in answer["notes"]]}
    page = render(
        TEMPLATE, title=f"check {app}: {data.name}", app=app, answer=answer, total=total,
        heads=[(split, f"{count:,}", "photos") for split, count in answer["splits"].items()],
        rows=[(title_of(kind), f"{counted(problems[kind]):,}", words_of(kind)) for kind in order],
        parts=[_part(kind, problems[kind], base) for kind in order if problems[kind]],
    )
    made_folder(folder)
    path = folder / "report.html"
    write_text(path, page)
    return path


def _part(kind: str, problems: list[Problem], base: str) -> Part:
    """The section of a kind; its lines name files from the data's folder, not from where that lies."""
    pictured = any(problem.paths for problem in problems)
    tiles: list[tuple[Image.Image, str, str]] = []
    shown = 0
    for problem in problems:
        if not pictured or len(tiles) >= MOST_TILES:
            break
        tiles += _tiles(problem)
        shown += 1
    lines = [problem.text.replace(base, "") for problem in problems[:MOST_LINES]]
    shown = max(shown, len(lines))
    return Part(
        title_of(kind), words_of(kind), len(problems), shown, shown < len(problems), tiles, lines
    )


def _tiles(problem: Problem) -> Iterator[tuple[Image.Image, str, str]]:
    """(image, words for those who do not see it, caption) of the images of a problem."""
    captions = problem.captions or tuple(path.name for path in problem.paths)
    for number, (path, caption) in enumerate(zip(problem.paths[:EACH], captions, strict=False)):
        image = _thumbnail(path, problem.boxes if number == 0 else ())
        yield image, f"Photo {path.name}", caption


def _thumbnail(path: Path, boxes: tuple[tuple[float, float, float, float], ...]) -> Image.Image:
    """A small copy, whole and square where boxes are drawn on it; grey where the image cannot be read."""
    try:
        image = read_image(path, min_side=None if boxes else SIDE)
    except BadImageError:
        return Image.new("RGB", (SIDE, SIDE), GREY)
    if boxes:
        draw, width = ImageDraw.Draw(image), max(2, max(image.size) // 120)
        for number, (x1, y1, x2, y2) in enumerate(boxes):
            if x2 > x1 and y2 > y1:
                around = (x1 - width, y1 - width, x2 + width, y2 + width)  # also of a tiny one
                draw.rectangle(around, outline=YELLOW if number else RED, width=width)
        return ImageOps.pad(image, (SIDE, SIDE), color="white")
    image.thumbnail((SIDE, SIDE))
    return image
