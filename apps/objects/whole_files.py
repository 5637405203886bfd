"""Results that come as a whole COCO data set, as ``detect --format coco`` writes, found by file names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.engine.core.console import Console
from apps.objects.evaluator import cornered, sides
from datasets.detection.base import BoxedPhoto, DetectionDataset, turned_back
from datasets.names import path_tails
from datasets.validation import entries, four, text, whole


def is_whole_file(data: Any) -> bool:
    """Whether results are not a list, but a data set with images of its own."""
    return isinstance(data, dict) and {"images", "annotations", "categories"} <= data.keys()


def results_of(data: Any, photos: DetectionDataset, path: Path, console: Console) -> list[dict[str, Any]]:
    """Its annotations as COCO's results, with the numbers that a data set gives images and categories.

    Args:
        data: the file's content.
        photos: the data set; images are those of the same name, categories those of the same name.
        path: of the file, for messages.
        console: says how many images and results are of others.

    Raises:
        ValueError: the file is damaged, an annotation has no score, or no image is one of the data set.
    """
    every: Any = photos.photos
    of_number = {photo.image_id: photo for photo in every}
    images = _images(data, every, path)
    if not images:
        raise ValueError(
            f"{path} names none of the {len(every)} photos that are evaluated on; give their answers"
        )
    numbers = {category.name: category.number for category in photos.categories}
    names = {
        whole(entry.get("id"), f"{path}: category id"): text(entry.get("name"), f"{path}: category name")
        for entry in entries(data, "categories", path)
    }
    results, left = [], 0
    for entry in entries(data, "annotations", path):
        where = f"{path}: annotation {entry.get('id')}"
        image = images.get(whole(entry.get("image_id"), f"{where}: image_id"))
        name = names.get(whole(entry.get("category_id"), f"{where}: category_id"))
        if "score" not in entry:
            raise ValueError(f"{where} has no score: these are labels, not answers of a detector")
        if image is None or name not in numbers:
            left += 1
            continue
        number, upright = image
        box = four(entry.get("bbox"), f"{where}: bbox")
        if upright:
            box = sides(turned_back(cornered(box), of_number[number]))
        results.append({
            "image_id": number, "category_id": numbers[name], "bbox": list(box), "score": entry["score"]
        })
    if left:
        console.warn(f"{path}: {left} results are of images or classes that the data does not have: left out")
    return results


def _images(data: Any, photos: list[BoxedPhoto], path: Path) -> dict[int, tuple[int, bool]]:
    """Number in the file -> number in the data set, and whether its boxes lie on the image as shown."""
    tails = Counter(tail for photo in photos for tail in _tails(str(photo.path)))
    by_tail: Mapping[str, BoxedPhoto] = {
        tail: photo for photo in photos for tail in _tails(str(photo.path)) if tails[tail] == 1
    }
    result: dict[int, tuple[int, bool]] = {}
    for entry in entries(data, "images", path):
        where = f"{path}: image {entry.get('id')}"
        name = text(entry.get("file_name"), f"{where}: file_name")
        photo = next((by_tail[tail] for tail in _tails(name) if tail in by_tail), None)
        if photo is not None:
            shown = (entry.get("width"), entry.get("height")) == (photo.width, photo.height)
            result[whole(entry.get("id"), f"{where}: id")] = photo.image_id, shown and photo.turn != 1
    return result


def _tails(name: str) -> list[str]:
    return ["/".join(parts) for parts in path_tails(name)]
