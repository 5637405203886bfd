"""Small objects on large photos: a detector with and without slices, on photos made of many small ones."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

WIDTH, HEIGHT = 4000, 3000  # 12 megapixels
GREY = (128, 128, 128)
NAMES = ("ap50", "ap", "ap_small", "ap_medium", "ap_large")
ANNOTATIONS = Path("annotations") / "instances_val2017.json"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", type=Path, required=True, help="COCO's layout, of which val2017 is taken")
    parser.add_argument("--weights", required=True, help="with a detector: a path or a name")
    parser.add_argument("--photos", type=int, default=4, help="large photos that are made")
    parser.add_argument("--sizes", default="0,600", help="sides of tiles in pixels; 0 is the detector's own")
    parser.add_argument("--engine", default="auto", help="as `detect` has it")
    parser.add_argument("--seed", type=int, default=0, help="of which photos lie where")


def run(options: argparse.Namespace) -> None:
    """Write a table in Markdown: without slices, with each size of tiles, and the small photos themselves."""
    from apps.engine.inference.slices.tiles import Slices
    from benchmarks.tables import table

    if options.photos < 1:
        raise ValueError(f"--photos must be 1 or more, got {options.photos}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        count = mosaics(options.data, folder, options.photos, options.seed)
        ways: list[tuple[str, Path, Slices | None]] = [("large photos, no slices", folder, None)]
        for size in map(int, options.sizes.split(",")):
            name = f"--slices --slice-size {size}" if size else "--slices"
            ways.append((f"large photos, `{name}`", folder, Slices(size or None)))
        ways.append(("the small photos one by one", options.data, None))
        rows = []
        for name, data, slices in ways:
            metrics, seconds, photos = measured(options.weights, data, slices, options.engine)
            figures = [f"{metrics.get(key, 0):.3f}" for key in NAMES]
            rows.append([name, str(photos), *figures, f"{seconds:.2f}"])
    head = ("", "photos", *(key.replace("_", " ").upper() for key in NAMES), "CPU s a photo")
    sys.stdout.write("\n".join(table(head, rows)) + f"\n\n{count} boxes on the large photos\n")


def mosaics(data: Path, folder: Path, photos: int, seed: int) -> int:
    """Write large photos of small ones at their own size, with the boxes moved along; returns the boxes.

    Raises:
        FileNotFoundError: there are no such annotations.
    """
    given = json.loads((data / ANNOTATIONS).read_text(encoding="utf-8"))
    marked: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in given["images"]}
    for item in given["annotations"]:
        marked[item["image_id"]].append(item)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "val2017").mkdir()
    for number in range(1, photos + 1):
        canvas, name = Image.new("RGB", (WIDTH, HEIGHT), GREY), f"{number:03d}.jpg"
        for image, (left, top) in laid_out(given["images"], random.Random(f"{seed} {number}")):
            with Image.open(data / "val2017" / image["file_name"]) as small:
                canvas.paste(small.convert("RGB"), (left, top))
            for item in marked[image["id"]]:
                x, y, *sides = item["bbox"]
                annotations.append({key: item[key] for key in ("category_id", "area", "iscrowd")} | {
                    "id": len(annotations) + 1, "image_id": number, "bbox": [x + left, y + top, *sides],
                })
        canvas.save(folder / "val2017" / name, quality=95)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
    (folder / "annotations").mkdir()
    (folder / ANNOTATIONS).write_text(json.dumps(
        {"images": images, "annotations": annotations, "categories": given["categories"]}
    ), encoding="utf-8")
    return len(annotations)


def laid_out(
    images: Sequence[dict[str, Any]], draw: random.Random
) -> list[tuple[dict[str, Any], tuple[int, int]]]:
    """Photos in a random order, in rows, until one has no room; each with its upper left corner."""
    placed = []
    left = top = row = 0
    for image in draw.sample(list(images), len(images)):
        if left + image["width"] > WIDTH:
            left, top, row = 0, top + row, 0
        if top + image["height"] > HEIGHT:
            break
        placed.append((image, (left, top)))
        left, row = left + image["width"], max(row, image["height"])
    return placed


def measured(weights: str, data: Path, slices: Any, engine: str) -> tuple[dict[str, float], float, int]:
    """COCO's figures on a split, the CPU seconds a photo, reading included, and the number of photos."""
    from apps.engine.evaluation.forward import as_kept
    from apps.engine.inference.predictor import load
    from apps.objects.evaluator import as_evaluation
    from apps.objects.transforms import ToSquare
    from datasets.detection.base import DetectionDataset
    from datasets.detection.layouts import read_split

    predictor = load(weights, engine=engine, slices=slices, threads=1, app="objects")
    (head,) = predictor.heads
    photos = DetectionDataset(read_split(data, "val"), head.classes)
    paths = [photo.path for photo in photos.photos]
    predictor.computed(paths[:1])  # what is loaded late is loaded now
    start = time.process_time()
    outputs = [raw for raw, _ in (predictor.computed([path])[0] for path in paths)]
    seconds = (time.process_time() - start) / len(paths)
    square = ToSquare(head.extra["size"], keep_aspect=head.extra["resize"] == "pad")
    evaluation = as_evaluation(
        [as_kept(head, raw)[0] for raw in outputs], [photos_target(photos, n) for n in range(len(paths))],
        tuple(map(str, paths)), head.classes, square,
    )
    return evaluation.metrics(), seconds, len(paths)


def photos_target(photos: Any, index: int) -> tuple[Any, ...]:
    """The boxes of a photo as evaluators take them."""
    import torch

    return tuple(torch.from_numpy(part) for part in photos.target(index))
