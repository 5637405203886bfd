"""``evaluate objects``: a run, or a COCO result file of any system, on the photos of a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.console import Screen
from apps.engine.core.files import writable_folder, write_bytes
from apps.engine.core.machine import choose_precision
from apps.engine.core.model import answering, load_run
from apps.engine.core.run_dir import read_metrics
from apps.engine.evaluation.evaluate import judge
from apps.engine.training.finalize import facts
from apps.objects.coco_metrics import Judged, check_results, doubts
from apps.objects.evaluator import cornered, sides
from apps.objects.layouts import read_boxes
from apps.objects.report import write_objects_report
from datasets.detection.base import BoxedPhotos, a_file, turned, turned_back
from datasets.image_io import BadPhotoError, photo_size
from datasets.validation import read_json


def evaluate_run(
    run: Path, *, data: Path | None, split: str, report: Path | None, results: Path | None,
    workers: int | None, precision: str, screen: Screen,
) -> dict[str, Any]:
    """The figures of a run; see ``evaluate objects --help``.

    Raises:
        OSError: data or run are missing, or a file cannot be written.
        ValueError: the run is damaged, or the classes do not fit.
    """
    app, model, config = load_run(run, app="objects", **({} if data is None else {"data": data}))
    if report is not None:
        writable_folder(report, "--report")
    forward, head = answering(model, "objects", choose_precision(precision)), model.heads["objects"]
    judged, skipped = judge(
        app, lambda images: app.postprocess(head, forward(images)), config, split, workers, screen
    )
    if results is not None:
        photos: Any = app.dataset(split, classes=config.classes)
        write_bytes(results, json.dumps(numbered(judged, photos)).encode())
    if report is not None:
        write_objects_report(
            report, f"objects: {run.name} on {app.settings.data}", judged, facts(config),
            history=read_metrics(run),
        )
    return answer(judged) | {"skipped": skipped}


def evaluate_predictions(
    path: Path, *, data: Path, split: str, report: Path | None, screen: Screen
) -> dict[str, Any]:
    """The figures of a COCO result file.

    Raises:
        OSError: data or results are missing, or the report cannot be written.
        ValueError: the file is cut off, no result file, or of other images.
    """
    a_file(path, "a COCO result file")
    every = BoxedPhotos(read_boxes(data, split))
    photos, damaged = without_damaged(every, screen)
    truth = truth_of(photos)
    results = check_results(read_json(path), truth_of(every), str(path))
    results = as_photos_are_shown([one for one in results if one["image_id"] not in damaged], photos)
    for note in doubts(results, truth):
        screen.warn(note)
    judged = Judged(truth, results, tuple(str(one.path) for one in photos.photos))
    if report is not None:
        writable_folder(report, "--report")
        write_objects_report(report, f"objects: {path.name} on {data}", judged, {"results": str(path)})
    return answer(judged) | {"skipped": len(damaged)}


def without_damaged(photos: BoxedPhotos, screen: Screen) -> tuple[BoxedPhotos, set[int]]:
    """The photos whose size is known, and the numbers of the others, each of which is named once."""
    every: Any = photos.photos
    damaged = {one.image_id: one.path for one in every if not one.width}
    for path in damaged.values():
        try:
            photo_size(path)
        except BadPhotoError as err:
            screen.warn(f"skipped: {err}")
    if not damaged:
        return photos, set()
    return photos.subset(n for n, one in enumerate(every) if one.width), set(damaged)


def answer(judged: Judged) -> dict[str, Any]:
    """What the command prints."""
    return {
        "app": "objects", "n": len(judged.paths), "metrics": judged.figures, "intervals": judged.spread,
    }


def truth_of(photos: BoxedPhotos) -> dict[str, Any]:
    """The marked objects in COCO's form, with the numbers that the layout gives them."""
    every: Any = photos.photos
    numbers = {one.name: one.number for one in photos.categories}
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
        "images": [{"id": one.image_id, "width": one.width, "height": one.height} for one in every],
        "categories": [{"id": one.number, "name": one.name} for one in photos.categories],
        "annotations": annotations,
    }


def numbered(judged: Judged, photos: BoxedPhotos) -> list[dict[str, Any]]:
    """Results with the numbers of images and categories that the layout gives them."""
    every: Any = photos.photos
    of_path = {str(one.path): one for one in every}
    numbers = {one.name: one.number for one in photos.categories}
    told = []
    for one in judged.results:
        name, photo = photos.classes[one["category_id"] - 1], of_path[judged.paths[one["image_id"] - 1]]
        if name in numbers:
            box = sides(turned_back(cornered(one["bbox"]), photo))
            told.append(one | {"image_id": photo.image_id, "category_id": numbers[name], "bbox": box})
    return told


def as_photos_are_shown(results: list[dict[str, Any]], photos: BoxedPhotos) -> list[dict[str, Any]]:
    """Results of a file, which has boxes where the annotations have them, on the photos as shown."""
    every: Any = photos.photos
    laid = {one.image_id: one for one in every if one.turn != 1}

    def upright(one: dict[str, Any]) -> dict[str, Any]:
        photo = laid.get(one["image_id"])
        if photo is None:
            return one
        box = turned(cornered(one["bbox"]), photo.turn, photo.height, photo.width)
        return one | {"bbox": sides(box)}

    return [upright(one) for one in results]
