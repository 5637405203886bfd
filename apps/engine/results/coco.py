"""Objects as a whole COCO data set: images, categories, and annotations that have a score each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.engine.results.images import Line, common_folder, good_lines, is_frame, relative_name, size_of


def coco_dataset(lines: Sequence[Line], classes: Sequence[str], model: str) -> dict[str, Any]:
    """What CVAT, FiftyOne and pycocotools open; its ``annotations`` are COCO's results, too.

    Args:
        lines: of ``detect``.
        classes: of the model, whose categories are numbered from 1; where empty, those that were seen.
        model: what answered.

    Raises:
        ValueError: the answers have no boxes, or there are none.
    """
    good = good_lines(lines, "coco")
    if any("objects" not in line for line in good):
        raise ValueError("--format coco is for objects, which have boxes; take label-studio, csv or json")
    names = list(classes) or sorted({item["name"] for line in good for item in line["objects"]})
    numbers = {name: number for number, name in enumerate(names, start=1)}
    folder, videos = common_folder(good), {line["path"] for line in good if is_frame(line)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for line in good:
        width, height = size_of(line)
        name = relative_name(line, folder)
        image = {"id": len(images) + 1, "file_name": name, "width": width, "height": height}
        if is_frame(line):  # CVAT calls the frames of a video so
            stem = "" if len(videos) == 1 else f"{name}/"
            file = f"{stem}frame_{line['frame']:06d}.png"
            image |= {"file_name": file, "video": name, "time": line["time"]}
        images.append(image)
        for item in line["objects"]:
            x1, y1, x2, y2 = item["box"]
            sides = [x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)]
            annotations.append({
                "id": len(annotations) + 1, "image_id": image["id"], "category_id": numbers[item["name"]],
                "bbox": sides, "area": round(sides[2] * sides[3], 2), "iscrowd": 0, "segmentation": [],
                "score": item["score"],
            } | ({"track_id": item["id"]} if "id" in item else {}))
    return {
        "info": {"description": f"answers of {model}"}, "licenses": [], "images": images,
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()],
        "annotations": annotations,
    }
