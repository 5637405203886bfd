"""The two face detectors on folders of photos: faces found, boxes that both have, landmarks, time."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.inference.decode.overlap import box_iou

MATCH = 0.3  # least intersection over union of two boxes of one face
NAMES = ("mtcnn", "ssd")


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--photos DIR ...``, ``--rounds N``."""
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="photos, and folders of them")
    parser.add_argument("--rounds", type=int, default=1, help="times that each photo is looked at")


def run(options: argparse.Namespace) -> None:
    """A line a detector for each of the places, as a table in Markdown."""
    import torch

    from apps.faces.extraction.extractor import make_detector

    torch.set_num_threads(1)
    finders = (make_detector("mtcnn"), make_detector("ssd"))
    titles = ("photos", "detector", "face in the centre", "boxes", "of both", "ms CPU a photo", "slowest")
    sys.stdout.write(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n")
    for place in options.photos:
        _compare(place, finders, max(options.rounds, 1))


def _compare(place: Path, finders: Sequence[Any], rounds: int) -> None:
    from datasets.image_io import list_photos, read_image

    paths = list_photos([place])
    looks: list[list[list[Any]]] = [[], []]
    milliseconds: list[list[float]] = [[], []]
    first = read_image(paths[0])
    for finder in finders:
        finder.detect(first)  # loaded now
    centres = [0, 0]
    for path in paths:
        image = read_image(path)
        for number, finder in enumerate(finders):
            began = time.process_time()
            for _ in range(rounds):
                faces = finder.detect(image)
            milliseconds[number].append(1000 * (time.process_time() - began) / rounds)
            looks[number].append(faces)
            centres[number] += any(_holds(face.box, image.width / 2, image.height / 2) for face in faces)
    pairs = [pair for both in zip(*looks, strict=True) for pair in _pairs(*both)]
    for number, name in enumerate(NAMES):
        boxes = sum(map(len, looks[number]))
        spent = milliseconds[number]
        sys.stdout.write(
            f"| {place.name} ({len(paths)}) | {name} | {centres[number]} | {boxes} | {len(pairs)} | "
            f"{statistics.mean(spent):.1f} | {max(spent):.1f} |\n"
        )
    apart = [_apart(*pair) for pair in pairs]
    if apart:
        sys.stdout.write(
            f"| | landmarks apart, of the distance of the eyes | median {statistics.median(apart):.3f}, "
            f"95 % below {np.quantile(apart, 0.95):.3f} | | | | |\n"
        )
    sys.stdout.flush()


def _holds(box: Any, x: float, y: float) -> bool:
    return bool(box[0] < x < box[2] and box[1] < y < box[3])


def _pairs(ours: list[Any], theirs: list[Any]) -> list[tuple[Any, Any]]:
    """Boxes of one face, the best first, each once."""
    every = [(float(box_iou(a.box, b.box)), i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs)]
    pairs: dict[int, int] = {}
    for share, i, j in sorted(every, reverse=True):
        if share >= MATCH and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return [(ours[i], theirs[j]) for i, j in pairs.items()]


def _apart(mtcnn: Any, ssd: Any) -> float:
    eyes = np.linalg.norm(mtcnn.landmarks[1] - mtcnn.landmarks[0])
    return float(np.linalg.norm(mtcnn.landmarks - ssd.landmarks, axis=1).mean() / max(eyes, 1.0))
