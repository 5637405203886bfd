"""Which of the known layouts a folder of boxes has, and its splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from datasets.described.layouts import near_miss
from datasets.detection.base import Annotations
from datasets.detection.boxes_csv import csv_splits, read_boxes_csv
from datasets.detection.coco import coco_splits, read_coco
from datasets.detection.faults import tallied
from datasets.detection.imagefolder import imagefolder_splits, read_imagefolder
from datasets.detection.splits import draw_val
from datasets.detection.voc import read_voc, voc_splits
from datasets.detection.yolo import read_yolo, yolo_splits

Splits = Callable[[Path], set[str]]
Read = Callable[[Path, str], Annotations]
LAYOUTS: tuple[tuple[Splits, Read], ...] = (
    (coco_splits, read_coco), (voc_splits, read_voc), (yolo_splits, read_yolo), (csv_splits, read_boxes_csv),
    (imagefolder_splits, read_imagefolder),
)


def read_boxes(root: Path, split: str) -> Annotations:
    """The images of a split with their boxes.

    Raises:
        FileNotFoundError: the folder has none of the layouts, or no such split.
    """
    return _layout(root)[1](root, split)


def read_split(root: Path, split: str, seed: int = 0, *, lenient: bool = False) -> Annotations:
    """The photos of ``train`` or ``val``; where a folder has no val, a part of train is drawn for it.

    Args:
        root: the folder.
        split: ``train`` or ``val``.
        seed: of the draw; the same photos with the same seed.
        lenient: leave boxes out that break the rules, and tell of them in ``tally``.

    Raises:
        FileNotFoundError: the folder has none of the layouts, or no such split.
        ValueError: a box breaks the rules, or all are in other units than the layout has.
    """
    splits, read = _layout(root)
    drawn = splits == {"train"} and split in ("train", "val")
    with tallied(lenient=lenient) as tally:
        boxes = read(root, "train" if drawn else split)
    if tally.in_unit and tally.in_unit == tally.boxes and not lenient:
        raise ValueError(f"{root}: {tally.units()[0]}")
    boxes = replace(boxes, notes=[*boxes.notes, *tally.notes()], tally=tally)
    return draw_val(boxes, split, seed, str(root)) if drawn else boxes


def _layout(root: Path) -> tuple[set[str], Read]:
    for splits_of, read in LAYOUTS:
        if splits := splits_of(root):
            return splits, read
    near = near_miss(root)
    raise FileNotFoundError(
        f"{root} has no boxes in a known layout: COCO's annotations/*.json, VOC's Annotations/ and "
        "ImageSets/Main/, YOLO's images/ and labels/ or data.yaml, train.csv and val.csv, metadata.jsonl, "
        f"Parquet files with images, or tar shards; {near + '; ' if near else ''}see docs/data.md"
    )
