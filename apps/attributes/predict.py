"""``predict`` with a run of attributes: faces are found on photos first, a line a face."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apps.engine.machine import choose_precision
from apps.faces.look import NO_FACE, Looked, Looker, in_order
from apps.faces.sources import find_sources
from apps.model import answering, load_run

PHOTOS = 16  # looked at before their faces are answered for


def predict_faces(
    paths: Iterable[Path], *, checkpoint: Path, crops: bool = False, workers: int | None = None,
    precision: str = "auto",
) -> Iterator[dict[str, Any]]:
    """The attributes of each face, in the order of the photos, the largest face of a photo first.

    Args:
        paths: photos, and folders that are searched for photos.
        checkpoint: a run of ``finetune attributes``.
        crops: the photos are face crops already, like those that the run learned from.
        workers: threads that look for faces; None for one.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Returns:
        ``{"path", "face", "box", "attributes", "values"}`` a face, box as (x1, y1, x2, y2) pixels of the
        photo; ``{"path", "error"}`` for a photo that cannot be read or shows no face.

    Raises:
        FileNotFoundError: a path or the run is missing.
        ValueError: the run is of another application, or the folders hold no photo.
    """
    app, model, config = load_run(checkpoint, app="attributes")
    sources = find_sources(map(str, paths), sys.stdin)
    if not sources:
        raise ValueError(f"no photo in {', '.join(map(str, paths))}; give photos or folders that hold some")
    side = config.backbone.preprocessing.resolution
    looker = Looker(side, align="none" if crops else "five-point")
    forward, head = answering(model, app.name, choose_precision(precision)), model.heads[app.name]
    looked = in_order(looker, sources, max(workers or 1, 1))
    while photos := list(islice(looked, PHOTOS)):
        yield from _lines(photos, app, head, forward, config)


@torch.inference_mode()
def _lines(photos: Iterable[Looked], app: Any, head: Any, forward: Any, config: Any) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    images: list[Any] = []
    for photo in photos:
        path = str(photo.source.path)
        if not photo.images:
            lines.append({"path": path, "error": photo.problem or NO_FACE})
        for number, (crop, image) in enumerate(zip(photo.crops, photo.images, strict=True)):
            box = [round(float(v), 1) for v in crop.face.box]
            lines.append({"path": path, "face": number, "box": box})
            images.append(np.asarray(image))
    if images:
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(torch.float32).div_(255)
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        answers = iter(app.answers(head, forward(pixels), config, sizes))
        lines = [line if "error" in line else line | next(answers) for line in lines]
    return lines
