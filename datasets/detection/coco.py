"""COCO's layout: annotations/instances_SPLIT2017.json beside SPLIT2017/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets.detection.base import (
    LARGEST_SIDE,
    BoxedPhoto,
    Category,
    Found,
    Marked,
    a_file,
    as_shown,
    existing,
    inside,
    left_out,
)
from datasets.validation import entries, finite, four, read_json, short, text, whole

NAMES = ("instances_{}2017.json", "instances_{}2014.json", "instances_{}.json", "{}.json")


def is_coco(root: Path) -> bool:
    """Whether the folder has COCO's ``annotations/`` with a JSON."""
    return any((root / "annotations").glob("*.json"))


def read_coco(root: Path, split: str) -> Found:
    """The images of ``train`` or ``val``.

    Args:
        root: folder of ``annotations/`` and the photos' folders.
        split: ``train`` or ``val``.

    Raises:
        FileNotFoundError: the annotations, or an image that they name, are missing.
        ValueError: the JSON is damaged, or breaks COCO's rules.
    """
    files = [root / "annotations" / name.format(split) for name in NAMES]
    path = next((file for file in files if file.is_file()), files[0])
    data = read_json(existing(path, "COCO's annotations of this split"))
    folder = next((root / d for d in (path.stem.split("_")[-1], split) if (root / d).is_dir()), root)
    return from_coco(data, path, folder)


def from_coco(data: Any, path: Path, folder: Path) -> Found:
    """Photos and boxes of a loaded COCO file; ``path`` is for messages."""
    if not isinstance(data, dict) or not {"images", "annotations", "categories"} <= data.keys():
        raise ValueError(f"{path} is no COCO file: it needs images, annotations and categories")
    categories = _categories(data, path)
    labels = {category.number: label for label, category in enumerate(categories)}
    images: dict[int, Any] = {}
    for n, image in enumerate(entries(data, "images", path)):
        number_of = _checked_image(image, f"{path}: image {image.get('id', f'at place {n}')}")
        if number_of in images:
            raise ValueError(f"{path}: image id {number_of} comes twice; ids must differ")
        images[number_of] = image
    objects: dict[int, list[Marked]] = {item: [] for item in images}
    outside = 0
    seen: set[int] = set()
    for entry in entries(data, "annotations", path):
        marked = _marked(entry, images, labels, path)
        if entry.get("id") in seen:
            raise ValueError(f"{path}: annotation id {entry['id']} comes twice; ids must differ")
        seen.update({entry["id"]} if "id" in entry else ())
        outside += marked is None
        if marked is not None:
            objects[entry["image_id"]].append(marked)
    photos = [_photo(image, folder, objects[number_of]) for number_of, image in images.items()]
    return Found(photos, categories, left_out(path, outside))


def _categories(data: Any, path: Path) -> list[Category]:
    """The classes by their numbers."""
    results: dict[int, Category] = {}
    for entry in entries(data, "categories", path):
        where = f"{path}: category {short(entry.get('id'))}"
        key = whole(entry.get("id"), f"{where}: id")
        if key in results:
            raise ValueError(f"{path}: category id {key} comes twice; ids must differ")
        results[key] = Category(key, text(entry.get("name"), f"{where}: name"))
    return [results[key] for key in sorted(results)]


def _checked_image(image: dict[str, Any], where: str) -> int:
    """The number of an image, all of whose values are as they should be."""
    text(image.get("file_name"), f"{where}: file_name")
    for side in ("width", "height"):
        whole(image.get(side), f"{where}: {side}", 1, LARGEST_SIDE)
    return whole(image.get("id"), f"{where}: id")


def _marked(
    results: dict[str, Any], images: dict[int, Any], labels: dict[int, int], path: Path
) -> Marked | None:
    where = f"{path}: annotation {short(results.get('id'))}"
    if "id" in results:
        whole(results["id"], f"{where}: id")
    category = whole(results.get("category_id"), f"{where}: category_id")
    if category not in labels:
        raise ValueError(f"{where} is of category {category}, which is not in the list")
    image_id = whole(results.get("image_id"), f"{where}: image_id")
    if image_id not in images:
        raise ValueError(f"{where} is of image {image_id}, which is not in the list")
    image = images[image_id]
    x, y, width, height = four(results.get("bbox"), f"{where}: bbox")
    crowd = whole(
        int(results["iscrowd"]) if results.get("iscrowd") in (True, False) else results.get("iscrowd", 0),
        f"{where}: iscrowd",
        0,
        1,
    )
    area = None if results.get("area") is None else finite(results["area"], f"{where}: area", 0)
    box = inside((x, y, x + width, y + height), image["width"], image["height"], where)
    return None if box is None else Marked(box, labels[category], bool(crowd), area)


def _photo(image: Any, folder: Path, objects: list[Marked]) -> BoxedPhoto:
    path = a_file(folder / image["file_name"], f"the photo of image id {image['id']}")
    return as_shown(BoxedPhoto(
        path, 0, objects=tuple(objects), width=image["width"], height=image["height"], image_id=image["id"]
    ))
