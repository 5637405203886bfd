"""Answers as tasks of Label Studio, to be corrected there, and the labelling config that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from apps.engine.results.images import Line, common_folder, good_lines, is_frame, relative_name, size_of

FROM_NAME, TO_NAME = "label", "image"
LOCAL_FILES = "/data/local-files/?d="


def document_root(lines: Sequence[Line]) -> Path:
    """The folder that Label Studio is to serve: above that of the images, which is to be a storage in it."""
    return common_folder(good_lines(lines, "label-studio")).parent


def tasks(lines: Sequence[Line], model: str) -> list[dict[str, Any]]:
    """A task an image, with its answer as a prediction.

    Args:
        lines: of ``detect``, or of ``predict`` with classes.
        model: what answered.

    Raises:
        ValueError: the answers are neither boxes nor classes, or of frames of videos.
    """
    good = good_lines(lines, "label-studio")
    if any(is_frame(line) for line in good):
        raise ValueError("--format label-studio is for photos: frames of videos are no files; take csv")
    if any("objects" not in line and "predictions" not in line for line in good):
        raise ValueError("--format label-studio is for objects and classes; take csv or json")
    root = document_root(lines)
    return [
        {
            "data": {TO_NAME: LOCAL_FILES + quote(relative_name(line, root))},
            "predictions": [{"model_version": model, **_prediction(line)}],
        }
        for line in good
    ]


def _prediction(line: Line) -> dict[str, Any]:
    width, height = size_of(line)
    place = {
        "from_name": FROM_NAME, "to_name": TO_NAME, "original_width": width, "original_height": height,
        "image_rotation": 0,
    }
    if "objects" in line:
        marks = [
            {"id": f"box{at}", "type": "rectanglelabels", **place, "score": item["score"],
             "value": _percent(item["box"], width, height) | {"rectanglelabels": [item["name"]]}}
            for at, item in enumerate(line["objects"])
        ]
        scores = [item["score"] for item in line["objects"]]
        return {"score": round(sum(scores) / len(scores), 4) if scores else 0.0, "result": marks}
    best = line["predictions"][0]
    choice = {
        "id": "class", "type": "choices", **place, "score": best["probability"],
        "value": {"choices": [best["name"]]},
    }
    return {"score": best["probability"], "result": [] if line.get("unknown") else [choice]}


def _percent(box: Sequence[float], width: int, height: int) -> dict[str, float]:
    """Corners in pixels as Label Studio has boxes: percent of the image's sides."""
    x1, y1, x2, y2 = box
    return {
        "x": 100 * x1 / width, "y": 100 * y1 / height, "width": 100 * (x2 - x1) / width,
        "height": 100 * (y2 - y1) / height, "rotation": 0.0,
    }


def labelling_config(classes: Sequence[str], *, boxes: bool) -> str:
    """The XML that a project of Label Studio wants for such tasks.

    Args:
        classes: that can be chosen.
        boxes: rectangles; else one choice an image.
    """
    tag, item = ("RectangleLabels", "Label") if boxes else ("Choices", "Choice")
    single = "" if boxes else ' choice="single"'
    rows = [f"    <{item} value={quoteattr(name)}/>" for name in classes]
    return "\n".join([
        "<View>", f'  <Image name="{TO_NAME}" value="${TO_NAME}"/>',
        f'  <{tag} name="{FROM_NAME}" toName="{TO_NAME}"{single}>', *rows, f"  </{tag}>", "</View>", "",
    ])
