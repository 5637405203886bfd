"""Which of the known layouts a folder of boxes has."""

from __future__ import annotations

from pathlib import Path

from datasets.detection.base import Found
from datasets.detection.boxes_csv import is_boxes_csv, read_boxes_csv
from datasets.detection.coco import is_coco, read_coco
from datasets.detection.voc import is_voc, read_voc
from datasets.detection.yolo import is_yolo, read_yolo

LAYOUTS = ((is_coco, read_coco), (is_voc, read_voc), (is_yolo, read_yolo), (is_boxes_csv, read_boxes_csv))


def read_boxes(root: Path, split: str) -> Found:
    """The images of a split with their boxes.

    Raises:
        FileNotFoundError: the folder has none of the layouts.
    """
    for fits, read in LAYOUTS:
        if fits(root):
            return read(root, split)
    raise FileNotFoundError(
        f"{root} has no boxes in a known layout: COCO's annotations/*.json, VOC's Annotations/ and "
        f"ImageSets/Main/, YOLO's images/ and labels/, or train.csv and val.csv"
    )
