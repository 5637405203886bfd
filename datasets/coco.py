"""COCO's layout: annotations/instances_SPLIT2017.json beside SPLIT2017/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets.boxed_photos import BoxedPhoto, Category, Found, Marked, existing, inside

NAMES = ("instances_{}2017.json", "instances_{}2014.json", "instances_{}.json", "{}.json")


def is_coco(root: Path) -> bool:
    """Whether the folder has COCO's ``annotations/`` with a JSON."""
    return any((root / "annotations").glob("*.json"))


def read_coco(root: Path, split: str) -> Found:
    """The photos of ``train`` or ``val``.

    Args:
        root: folder of ``annotations/`` and the photos' folders.
        split: ``train`` or ``val``.

    Raises:
        FileNotFoundError: the annotations, or a photo that they name, are missing.
        ValueError: the JSON is damaged, or breaks COCO's rules.
    """
    files = [root / "annotations" / name.format(split) for name in NAMES]
    path = next((one for one in files if one.is_file()), files[0])
    data = read_json(existing(path, "COCO's annotations of this split"))
    folder = next((root / d for d in (path.stem.split("_")[-1], split) if (root / d).is_dir()), root)
    return from_coco(data, path, folder)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: it is no JSON, for example cut off.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise ValueError(f"{path} is no whole JSON file ({err}); fetch or write it again") from err


def from_coco(data: Any, path: Path, folder: Path) -> Found:
    """Photos and boxes of a loaded COCO file; ``path`` is for messages."""
    if not isinstance(data, dict) or not {"images", "annotations", "categories"} <= data.keys():
        raise ValueError(f"{path} is no COCO file: it needs images, annotations and categories")
    listed = (Category(one["id"], one["name"]) for one in data["categories"])
    categories = sorted(listed, key=lambda one: one.number)
    labels = {one.number: label for label, one in enumerate(categories)}
    images: dict[int, Any] = {}
    for image in data["images"]:
        if image["id"] in images:
            raise ValueError(f"{path}: image id {image['id']} comes twice; ids must differ")
        images[image["id"]] = image
    objects: dict[int, list[Marked]] = {number: [] for number in images}
    outside = 0
    for one in data["annotations"]:
        marked = _marked(one, images, labels, path)
        outside += marked is None
        if marked is not None:
            objects[one["image_id"]].append(marked)
    photos = [_photo(image, folder, objects[number]) for number, image in images.items()]
    notes = [f"{path}: {outside} boxes lie outside their photo or have no area, and are left out"]
    return Found(photos, categories, notes if outside else [])


def _marked(one: Any, images: dict[int, Any], labels: dict[int, int], path: Path) -> Marked | None:
    where = f"{path}: annotation {one.get('id')}"
    if one.get("category_id") not in labels:
        raise ValueError(f"{where} is of category {one.get('category_id')}, which is not in the list")
    if one.get("image_id") not in images:
        raise ValueError(f"{where} is of image {one.get('image_id')}, which is not in the list")
    image = images[one["image_id"]]
    x, y, width, height = one["bbox"]
    box = inside((x, y, x + width, y + height), image["width"], image["height"], where)
    label = labels[one["category_id"]]
    return None if box is None else Marked(box, label, bool(one.get("iscrowd", 0)), one.get("area"))


def _photo(image: Any, folder: Path, objects: list[Marked]) -> BoxedPhoto:
    path = existing(folder / image["file_name"], f"the photo of image id {image['id']}")
    return BoxedPhoto(
        path, 0, objects=tuple(objects), width=image["width"], height=image["height"], image_id=image["id"]
    )
