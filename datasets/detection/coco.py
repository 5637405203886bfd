"""COCO's files: annotations/instances_SPLIT2017.json beside SPLIT2017/, and what other tools export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.detection.base import (
    LARGEST_SIDE,
    Annotations,
    BoxedPhoto,
    Category,
    Marked,
    as_shown,
    existing,
    inside,
    left_out,
    names_of,
    same_names,
    size_in_file,
)
from datasets.names import NamedPhotos, missing_photos
from datasets.tables import clean_name
from datasets.validation import entries, finite, four, plain_numbers, read_json, short, text, whole

NAMES = (
    "instances_{}2017.json", "instances_{}2014.json", "instances_{}.json", "{}.json", "{}_annotations.json",
)
NUMBERS = {
    "images": ("id", "width", "height"), "categories": ("id",),
    "annotations": ("id", "image_id", "category_id", "iscrowd"),
}
ROBOFLOW = "_annotations.coco.json"
WHOLE = ("annotations/instances_default.json", "result.json", "labels.json", "annotations.json")


def coco_splits(root: Path) -> set[str]:
    """The splits of a folder with COCO's files; none where there are no such files."""
    splits = {split for split in ("train", "val") if _listing(root, split)}
    return splits or ({"train"} if _whole(root) else set())


def read_coco(root: Path, split: str) -> Annotations:
    """The images of ``train`` or ``val``.

    Args:
        root: folder of ``annotations/`` and the photos' folders; or of ``train/_annotations.coco.json`` and
            ``valid/`` beside the photos, as Roboflow writes; or of one file with ``images/``, as CVAT, Label
            Studio and FiftyOne write.
        split: ``train`` or ``val``.

    Raises:
        FileNotFoundError: the annotations, or all photos that they name, are missing.
        ValueError: the JSON is damaged, or breaks COCO's rules.
    """
    path = _listing(root, split) or (_whole(root) if split == "train" else None)
    wanted = root / "annotations" / NAMES[0].format(split)
    path = path or existing(wanted, "COCO's annotations of this split")
    others = {_listing(root, name) for name in ("train", "val")} - {path, None}
    data, notes = _without_roots(_read(path), [other for other in others if other is not None])
    result = from_coco(data, path, *_folders(root, path, split))
    return replace(result, notes=[*result.notes, *notes])


def _read(path: Path) -> Any:
    """What a COCO file holds, with numbers where some tools write texts."""
    data = read_json(path)
    if not isinstance(data, dict):
        return data
    return data | {
        key: [plain_numbers(item, names) if isinstance(item, dict) else item for item in data[key]]
        for key, names in NUMBERS.items() if isinstance(data.get(key), list)
    }


def _listing(root: Path, split: str) -> Path | None:
    """The annotations of a split."""
    listed = {path.name.lower(): path for path in sorted((root / "annotations").glob("*.json"), reverse=True)}
    for name in names_of(split):
        files = [root / "annotations" / item.format(name) for item in NAMES]
        known = next((path for path in files if path.is_file()), None)
        known = known or next((listed[path.name] for path in files if path.name in listed), None)  # Train
        if known is not None or (root / name / ROBOFLOW).is_file():
            return known or root / name / ROBOFLOW
    return None


def _whole(root: Path) -> Path | None:
    """The annotations of a folder without splits."""
    known = next((root / name for name in WHOLE if (root / name).is_file()), None)
    others = [*sorted((root / "annotations").glob("*.json")), *sorted(root.glob("*.coco.json"))]
    return known or (others[0] if len(others) == 1 else None)


def _folders(root: Path, path: Path, split: str) -> list[Path]:
    """Where the names of photos may start from, the likeliest first."""
    names = (path.stem.split("_")[-1], *names_of(split))
    beside = [path.parent] if path.name == ROBOFLOW else []
    places = [*beside, *(root / name for name in names), *(root / "images" / name for name in names)]
    every = [*places, root / "images", root / "data", root]
    return [folder for folder in dict.fromkeys(every) if folder.is_dir()]


def from_coco(data: Any, path: Path, *folders: Path) -> Annotations:
    """Photos and boxes of a loaded COCO file.

    Args:
        data: what the file holds.
        path: the file, for messages.
        folders: where the names of photos start from.

    Raises:
        FileNotFoundError: all photos are missing.
        ValueError: it breaks COCO's rules.
    """
    if not isinstance(data, dict) or not {"images", "annotations", "categories"} <= data.keys():
        raise ValueError(f"{path} is no COCO file: it needs images, annotations and categories")
    every = _categories(data, path)
    firsts: dict[str, Category] = {}
    for item in every:
        firsts.setdefault(item.name, item)
    categories = list(firsts.values())
    places = {category.name: label for label, category in enumerate(categories)}
    labels = {category.number: places[category.name] for category in every}
    images = _images(data, path)
    files = _files(images, NamedPhotos(*folders))
    objects: dict[int, list[Marked]] = {item: [] for item in images}
    outside = 0
    seen: set[int] = set()
    for entry in entries(data, "annotations", path):
        marked = _marked(entry, images, labels, path)
        if entry.get("id") in seen:
            raise ValueError(f"{path}: annotation id {entry['id']} comes twice; ids must differ")
        seen.update({entry["id"]} if "id" in entry else ())
        outside += marked is None and bool(images[entry["image_id"]]["width"])
        if marked is not None:
            objects[entry["image_id"]].append(marked)
    photos = [_photo(images[number], file, objects[number]) for number, file in files.items()]
    missing = [number for number in images if number not in files]
    notes = missing_photos(path, [images[number]["file_name"] for number in missing], len(images))
    notes = [*same_names([item.name for item in every], path), *left_out(path, outside), *notes]
    return Annotations(photos, categories, notes, frozenset(missing))


def _roots(data: Any) -> set[Any]:
    """The numbers of categories that only group others: no box is of them, and others name them.

    Roboflow writes such a one, number 0, into every file.
    """
    keys = ("categories", "annotations")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in keys):
        return set()
    known = [entry for entry in data["categories"] if isinstance(entry, dict)]
    return {
        entry["id"] for n, entry in enumerate(known)
        if isinstance(entry.get("id"), int) and isinstance(entry.get("name"), str)
        and any(other.get("supercategory") == entry["name"] for m, other in enumerate(known) if m != n)
    } - {entry.get("category_id") for entry in data["annotations"] if isinstance(entry, dict)
         and isinstance(entry.get("category_id"), int)}


def _without_roots(data: Any, others: list[Path]) -> tuple[Any, list[str]]:
    """The data without categories that only group others in every split, and a sentence on them."""
    roots = _roots(data)
    for other in others:
        if roots:
            marks = _read(other).get("annotations", ())
            roots -= {entry.get("category_id") for entry in marks if isinstance(entry, dict)}
    if not roots or len(roots) == len(data["categories"]):
        return data, []
    names = ", ".join(repr(entry["name"]) for entry in data["categories"] if entry["id"] in roots)
    rest = [entry for entry in data["categories"] if entry["id"] not in roots]
    note = f"category {names} only groups others and has no box: it is no class"
    return data | {"categories": rest}, [note]


def _categories(data: Any, path: Path) -> list[Category]:
    """The classes by their numbers."""
    results: dict[int, Category] = {}
    for entry in entries(data, "categories", path):
        where = f"{path}: category {short(entry.get('id'))}"
        key = whole(entry.get("id"), f"{where}: id")
        if key in results:
            raise ValueError(f"{path}: category id {key} comes twice; ids must differ")
        results[key] = Category(key, clean_name(text(entry.get("name"), f"{where}: name")))
    return [results[key] for key in sorted(results)]


def _images(data: Any, path: Path) -> dict[int, dict[str, Any]]:
    """The images by their numbers, all of whose values are as they should be; a size may be 0."""
    images: dict[int, dict[str, Any]] = {}
    for n, image in enumerate(entries(data, "images", path)):
        where = f"{path}: image {image.get('id', f'at place {n}')}"
        text(image.get("file_name"), f"{where}: file_name")
        sides = {
            side: whole(image.get(side) or 0, f"{where}: {side}", 0, LARGEST_SIDE)
            for side in ("width", "height")
        }
        number_of = whole(image.get("id"), f"{where}: id")
        if number_of in images:
            raise ValueError(f"{path}: image id {number_of} comes twice; ids must differ")
        images[number_of] = image | sides
    return images


def _files(images: dict[int, dict[str, Any]], named: NamedPhotos) -> dict[int, Path]:
    """The files of the images that are there; a size that the annotations lack is taken from them."""
    files: dict[int, Path] = {}
    for number, image in images.items():
        path = named.find(image["file_name"])
        if path is not None:
            files[number] = path
            if not image["width"] or not image["height"]:
                image["width"], image["height"] = size_in_file(path)
    return files


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
    x, y, width, height = _bbox(results, where)
    crowd = whole(
        int(results["iscrowd"]) if results.get("iscrowd") in (True, False) else results.get("iscrowd", 0),
        f"{where}: iscrowd",
        0,
        1,
    )
    area = None if results.get("area") is None else finite(results["area"], f"{where}: area", 0)
    if not image["width"]:  # a damaged or missing photo whose size nothing tells
        return None
    box = inside((x, y, x + width, y + height), image["width"], image["height"], where)
    return None if box is None else Marked(box, labels[category], bool(crowd), area)


def _bbox(results: dict[str, Any], where: str) -> list[float]:
    """Left, top, width and height; of an annotation with a mask alone, those of the box around it."""
    polygons = results.get("segmentation")
    if results.get("bbox") in (None, []) and isinstance(polygons, dict):
        return _around(polygons, f"{where}: segmentation")
    if results.get("bbox") in (None, []) and isinstance(polygons, list) and polygons and all(polygons):
        flat = [finite(value, f"{where}: segmentation") for polygon in polygons for value in polygon]
        left, top = min(flat[::2]), min(flat[1::2])
        return [left, top, max(flat[::2]) - left, max(flat[1::2]) - top]
    return four(results.get("bbox"), f"{where}: bbox")


def _around(mask: dict[str, Any], where: str) -> list[float]:
    """The box around a mask in runs of pixels, counted down the columns."""
    from faster_coco_eval.core import mask as masks

    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError(f"{where}: size must be a height and a width, got {short(size)}")
    height, width = (whole(side, f"{where}: size", 1, LARGEST_SIDE) for side in size)
    if isinstance(counts, list):
        for run in counts:
            whole(run, f"{where}: counts", 0, height * width)
        if sum(counts) != height * width:
            raise ValueError(f"{where}: counts make {sum(counts)} pixels of {height} x {width}; mend it")
        mask = masks.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    else:
        mask = {"size": [height, width], "counts": text(counts, f"{where}: counts")}
    return [float(side) for side in masks.toBbox(mask)]


def _photo(image: Any, path: Path, objects: list[Marked]) -> BoxedPhoto:
    return as_shown(BoxedPhoto(
        path, 0, objects=tuple(objects), width=image["width"], height=image["height"], image_id=image["id"]
    ))
