"""Breeds by an ImageNet classifier as it is: how many dogs are missed, how many other photos called a dog."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from datasets.image_io import find_images

SHARES = (0.2, 0.5, 0.7)  # of the breeds, the thresholds that are in use


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--weights", default="mobilenetv1_1.0_224", help="with a classifier of ImageNet")
    parser.add_argument("--data", type=Path, required=True, help="photos of dogs, as val/WNID/*.JPEG")
    parser.add_argument(
        "--photos", type=Path, nargs="+", required=True,
        help="folders without dogs; of COCO's layout those are left out that annotations/ has a dog on",
    )


def run(options: argparse.Namespace) -> None:
    """Write one JSON object: for each folder the share of photos that are called a dog."""
    from apps.engine.core.model import load_pretrained

    rule = load_pretrained(options.weights, app="dogs")[2].calibration["unknown"]
    thresholds = sorted({*SHARES, rule["threshold"]})
    results: dict[str, Any] = {"weights": Path(options.weights).stem, "threshold": rule["threshold"]}
    for folder in (options.data / "val", *options.photos):
        photos = [path for path in find_images([folder]) if str(path) not in with_dogs(folder)]
        shares = breed_shares(options.weights, photos)
        name = options.data.name if folder == options.data / "val" else folder.name
        called = {str(least): round(sum(share >= least for share in shares) / len(shares), 4)
                  for least in thresholds}
        results[name] = {"photos": len(shares), "called_dogs": called}
    sys.stdout.write(json.dumps(results) + "\n")


def breed_shares(weights: str, photos: list[Path]) -> list[float]:
    """The probability of all breeds together on each photo."""
    from apps.engine.evaluation.calibration import known_share
    from apps.engine.inference.predictor import load
    from apps.engine.inference.preprocess import read_square

    engine = load(weights, app="dogs", device="cpu").loaded
    spec, shares = engine.spec, []
    for path in photos:
        pixels, _ = read_square(path, spec.resolution, spec.crop, spec.resize)
        shares += known_share(engine.run(pixels[None])[0], 1.0).tolist()
    return shares


def with_dogs(folder: Path) -> set[str]:
    """Paths of the photos that COCO's annotations beside them have a dog on; none without annotations."""
    paths: set[str] = set()
    for file in sorted((folder / "annotations").glob("instances_*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        dogs = {category["id"] for category in content["categories"] if category["name"] == "dog"}
        shown = {item["image_id"] for item in content["annotations"] if item["category_id"] in dogs}
        split = folder / file.stem.removeprefix("instances_")
        paths |= {str(split / image["file_name"]) for image in content["images"] if image["id"] in shown}
    return paths
