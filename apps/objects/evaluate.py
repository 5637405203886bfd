"""``evaluate objects``: a run, or a COCO result file of any system, on the images of a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.console import Console
from apps.engine.core.files import writable_file, writable_folder, write_bytes
from apps.engine.core.run_dir import RunConfig
from apps.engine.core.task import AnyTask
from apps.engine.evaluation.evaluate import evaluate
from apps.engine.reporting.tolerant import METRICS_COMPLETE, try_report
from apps.engine.results.coco import coco_dataset
from apps.engine.scale.parts import lines_of
from apps.objects.coco_metrics import DetectionEvaluation, check_results, doubts
from apps.objects.evaluator import cornered, sides
from apps.objects.report import write_objects_report
from apps.objects.whole_files import is_whole_file, results_of
from datasets.detection.base import DetectionDataset, a_file, turned, turned_back
from datasets.detection.layouts import read_split
from datasets.image_io import BadImageError, image_size
from datasets.validation import read_json


def evaluate_detector(*, results: Path | None = None, **how: Any) -> dict[str, Any]:
    """The figures of a run, or of weights that bring a detector.

    Args:
        results: file for the answers in COCO's form, with the numbers that the layout gives the images.
        how: as of :func:`apps.engine.evaluation.evaluate.evaluate`.

    Raises:
        OSError: data, run or weights are missing, or a file cannot be written.
        ValueError: the run is damaged, there is no detector or no data, or the classes do not fit.
    """
    if results is None:
        return evaluate("objects", **how)
    writable_file(results, "--write-predictions")

    def keep(task: AnyTask, config: RunConfig, evaluation: DetectionEvaluation) -> None:
        photos = task.dataset(how["split"], classes=config.classes)
        write_bytes(results, json.dumps(numbered(evaluation, photos), allow_nan=False).encode())

    return evaluate("objects", keep=keep, **how)


def evaluate_predictions(
    path: Path, *, data: Path, split: str, report: Path | None, console: Console
) -> dict[str, Any]:
    """The figures of a COCO result file, a whole COCO data set with scores, or parts of ``detect --out``.

    Raises:
        OSError: data or results are missing, or the report cannot be written.
        ValueError: the file is cut off, no result file, or of other images.
    """
    if not path.is_dir():
        a_file(path, "a COCO result file")
    every = DetectionDataset(read_split(data, split))
    for note in every.notes:
        console.warn(note)
    photos, damaged = without_damaged(every, console)
    truth = truth_of(photos)
    given = _of_parts(path) if path.is_dir() else read_json(path)
    if is_whole_file(given):
        given = results_of(given, every, path, console)
    results = check_results(_of_photos(given, every, console), truth_of(every), str(path))
    results = as_photos_are_shown([result for result in results if result["image_id"] not in damaged], photos)
    for note in doubts(results, truth):
        console.warn(note)
    evaluation = DetectionEvaluation(truth, results, tuple(str(image.path) for image in photos.photos))
    if report is not None:
        writable_folder(report, "--report")
        title = f"objects: {path.name} on {data}"
        try_report(lambda: write_objects_report(
            report, title, evaluation, {"results": str(path)}
        ), console, METRICS_COMPLETE)
    return answer(evaluation) | {"skipped": len(damaged) + len(every.missing)}


def _of_parts(folder: Path) -> dict[str, Any]:
    lines = [line for line in lines_of(folder) if "error" not in line]
    if not lines or any("objects" not in line for line in lines):
        raise ValueError(f"{folder} holds no boxes; give parts of detect --out")
    return coco_dataset(lines, (), folder.name)


def _of_photos(results: Any, photos: DetectionDataset, console: Console) -> Any:
    """Results without those for photos that are annotated and missing."""
    if not photos.missing or not isinstance(results, list):
        return results
    kept = [
        result for result in results
        if not (isinstance(result, dict) and isinstance(number := result.get("image_id"), int)
                and number in photos.missing)
    ]
    if len(kept) < len(results):
        console.warn(f"{len(results) - len(kept)} results are for photos that are missing: left out")
    return kept


def without_damaged(photos: DetectionDataset, console: Console) -> tuple[DetectionDataset, set[int]]:
    """The images whose size is known, and the numbers of the others, each of which is named once."""
    every: Any = photos.photos
    damaged = {result.image_id: result.path for result in every if not result.width}
    for path in damaged.values():
        try:
            image_size(path)
        except BadImageError as err:
            console.warn(f"skipped: {err}")
    if not damaged:
        return photos, set()
    return photos.subset(n for n, result in enumerate(every) if result.width), set(damaged)


def answer(evaluation: DetectionEvaluation) -> dict[str, Any]:
    """What the command prints."""
    return {
        "app": "objects",
        "n": len(evaluation.paths),
        "metrics": evaluation.figures,
        "intervals": evaluation.spread,
    }


def truth_of(photos: DetectionDataset) -> dict[str, Any]:
    """The marked objects in COCO's form, with the numbers that the layout gives them."""
    every: Any = photos.photos
    numbers = {category.name: category.number for category in photos.categories}
    annotations: list[dict[str, Any]] = []
    for index, photo in enumerate(every):
        boxes, labels, ignored, _, areas = photos.target(index)
        corners = np.asarray(boxes, float).tolist()
        for box, label, crowd, area in zip(corners, labels, ignored, areas, strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": photo.image_id, "bbox": sides(box),
                "category_id": numbers[photos.classes[label]], "area": float(area), "iscrowd": int(crowd),
            })
    return {
        "images": [
            {"id": result.image_id, "width": result.width, "height": result.height} for result in every
        ],
        "categories": [{"id": category.number, "name": category.name} for category in photos.categories],
        "annotations": annotations,
    }


def numbered(evaluation: DetectionEvaluation, photos: DetectionDataset) -> list[dict[str, Any]]:
    """Results with the numbers of images and categories that the layout gives them."""
    every: Any = photos.photos
    of_path = {str(item.path): item for item in every}
    numbers = {category.name: category.number for category in photos.categories}
    results = []
    for result in evaluation.results:
        name, photo = (
            photos.classes[result["category_id"] - 1],
            of_path[evaluation.paths[result["image_id"] - 1]],
        )
        if name in numbers:
            box = sides(turned_back(cornered(result["bbox"]), photo))
            results.append(result | {"image_id": photo.image_id, "category_id": numbers[name], "bbox": box})
    return results


def as_photos_are_shown(results: list[dict[str, Any]], photos: DetectionDataset) -> list[dict[str, Any]]:
    """Results of a file, which has boxes where the annotations have them, on the images as shown."""
    every: Any = photos.photos
    laid = {result.image_id: result for result in every if result.turn != 1}

    def upright(item: dict[str, Any]) -> dict[str, Any]:
        photo = laid.get(item["image_id"])
        if photo is None:
            return item
        box = turned(cornered(item["bbox"]), photo.turn, photo.height, photo.width)
        return item | {"bbox": sides(box)}

    return [upright(result) for result in results]
