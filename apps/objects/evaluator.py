"""From a head's answers on squares to COCO's entries in pixels of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from apps.objects.coco_metrics import DetectionEvaluation
from apps.objects.transforms import ToSquare

Output = tuple[Tensor, Tensor, Tensor]  # boxes on the square, scores, labels


def as_evaluation(
    outputs: Sequence[Output], targets: Sequence[Any], paths: tuple[str, ...], classes: Sequence[str],
    square: ToSquare,
) -> DetectionEvaluation:
    """Detections beside the truth; images and categories are numbered from 1 in their order."""
    results: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    images = []
    for number, (result, target) in enumerate(zip(outputs, targets, strict=True), start=1):
        boxes, labels, ignored, size, areas = target
        width, height = size.tolist()
        images.append({"id": number, "width": int(width), "height": int(height)})
        for box, label, crowd, area in zip(
            boxes.tolist(), labels.tolist(), ignored.tolist(), areas.tolist(), strict=True
        ):
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "bbox": sides(box),
                "area": area, "iscrowd": crowd,
            })
        back = square.back(result[0], width, height).tolist()
        for box, score, label in zip(back, result[1].tolist(), result[2].tolist(), strict=True):
            results.append({
                "image_id": number, "category_id": label + 1, "bbox": sides(box), "score": score
            })
    categories = [{"id": n, "name": name} for n, name in enumerate(classes, start=1)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    return DetectionEvaluation(truth, results, paths)


def sides(box: Sequence[float]) -> list[float]:
    """(x1, y1, x2, y2) as COCO writes it: x, y, width, height."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def cornered(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    """COCO's x, y, width, height as (x1, y1, x2, y2)."""
    x, y, width, height = bbox
    return x, y, x + width, y + height
