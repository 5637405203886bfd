"""Detectors that learn real photos and are evaluated on them and on others: does the whole chain work?

It resumes: what is finished in ``--out`` is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from apps.engine.core.files import write_bytes
from apps.engine.core.run_dir import CONFIG
from apps.engine.reporting.markdown import markdown_table
from benchmarks.studies import trained
from datasets.validation import read_json

BOXES = (1, 6)  # that a photo of the few has
COMMON: dict[str, Any] = {
    "batch_size": 8, "backbone_lr": 0.5, "clip_norm": 10.0, "weight_decay": 0.0, "keep": "last",
}
RECIPES: dict[str, dict[str, Any]] = {
    "ssd300": {"epochs": 150, "lr": 3e-3, "bn": "train"},
    "frcnn300": {"epochs": 80, "lr": 1e-3},
    "frcnn600": {"epochs": 140, "lr": 1e-3, "batch_size": 4},
    "frcnn-fpn": {"epochs": 80, "lr": 1e-3},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", type=Path, required=True, help="COCO's layout with train2017 and val2017")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of detectors.json")
    parser.add_argument("--heads", default=",".join(RECIPES), help="[default: %(default)s]")
    parser.add_argument(
        "--photos", type=int, default=16, help="to learn, of 1 to 6 boxes; 0 is all of train  [default: 16]"
    )
    parser.add_argument("--augment", default="none", help="as of finetune objects  [default: none]")
    parser.add_argument("--epochs", type=int, help="in place of the recipe's")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings  [default: 0]")


def run(options: argparse.Namespace) -> None:
    """Train what is missing and print a table; figures are those of COCO.

    Raises:
        OSError: data or weights are missing.
        ValueError: a head is not known.
    """
    heads = [name.strip() for name in options.heads.split(",")]
    strange = [name for name in heads if name not in RECIPES]
    if strange:
        raise ValueError(f"--heads knows no {strange[0]!r}; it knows {', '.join(RECIPES)}")
    data = options.data if options.photos == 0 else few(options.data, options.out / "photos", options.photos)
    rows = []
    for name in heads:
        folder = options.out / name
        given = COMMON | RECIPES[name] | {
            "data": data, "weights": str(options.weights), "head": name, "augment": options.augment,
            "seed": options.seed,
        }
        trained("objects", folder, given | ({} if options.epochs is None else {"epochs": options.epochs}))
        rows.append(row(name, folder, ("train",) if options.photos else ("train", "val")))
        write_bytes(options.out / "detectors.json", json.dumps(rows, indent=1).encode())
    sys.stdout.write("\n".join(markdown(rows)) + "\n")


def few(data: Path, folder: Path, count: int) -> Path:
    """A COCO folder with the first photos of train that have one to six boxes; val is the same photos.

    Raises:
        FileNotFoundError: ``data`` has no COCO annotations.
        ValueError: there are fewer such photos.
    """
    reported = read_json(data / "annotations" / "instances_train2017.json")
    boxes: dict[int, list[Any]] = {}
    for annotation in reported["annotations"]:
        boxes.setdefault(annotation["image_id"], []).append(annotation)
    low, high = BOXES
    images = [image for image in reported["images"] if low <= len(boxes.get(image["id"], [])) <= high][:count]
    if len(images) < count:
        raise ValueError(f"{data} has {len(images)} photos with {low} to {high} boxes, not {count}")
    kept = reported | {
        "images": images,
        "annotations": [box for image in images for box in boxes[image["id"]]],
    }
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split in ("train2017", "val2017"):
        write_bytes(folder / "annotations" / f"instances_{split}.json", json.dumps(kept).encode())
        (folder / split).mkdir(exist_ok=True)
        for annotation in images:
            source = data / "train2017" / annotation["file_name"]
            write_bytes(folder / split / annotation["file_name"], source.read_bytes())
    return folder


def row(head: str, folder: Path, splits: Iterable[str]) -> dict[str, Any]:
    """What a finished run is worth on some splits."""
    from apps.engine.core.console import Console
    from apps.objects.evaluate import evaluate_detector

    config = json.loads((folder / CONFIG).read_text())
    figures = {}
    for split in splits:
        reported = evaluate_detector(
            checkpoint=folder, split=split, report=folder / f"report-{split}", console=Console()
        )
        figures[split] = {name: reported["metrics"][name] for name in ("ap", "ap50", "ap75")}
    return {
        "head": head, "weights": config["backbone"]["name"], "epochs": config["settings"]["epochs"],
        "photos": config["data"]["train"], "figures": figures, "seconds": config["seconds"],
    }


def markdown(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The rows as a table."""
    cells = [
        (f"`{row['head']}`", row["photos"], row["epochs"], split, f"{part['ap50']:.3f}", f"{part['ap']:.3f}")
        for row in rows for split, part in row["figures"].items()
    ]
    return markdown_table(("head", "photos", "epochs", "evaluated on", "AP50", "AP"), cells)
