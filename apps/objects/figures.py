"""COCO's figures of detections, their intervals, and what kinds of errors there are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

FIGURES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small",
    "ar_medium", "ar_large",
)
DRAWS = 100  # of the bootstrap
SEEN = 0.3  # least score of a detection in the table of errors
RIGHT, NEAR = 0.5, 0.1  # intersection over union


@dataclass(frozen=True)
class Judged:
    """Detections beside the truth, in COCO's own form.

    Args:
        truth: ``images``, ``annotations`` and ``categories``.
        results: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height) and ``score`` each.
        paths: of the photos, in the order of the images.
    """

    truth: dict[str, Any]
    results: list[dict[str, Any]]
    paths: tuple[str, ...]

    @cached_property
    def figures(self) -> dict[str, float]:
        """The twelve figures, ``ap/NAME`` a class, and counts of errors; undefined ones are left out."""
        evaluated = evaluate_coco(self.truth, self.results)
        found = dict(zip(FIGURES, map(float, evaluated.stats[:12]), strict=True))
        precision = evaluated.eval["precision"][:, :, :, 0, -1]
        for number, one in enumerate(sorted(self.truth["categories"], key=lambda c: c["id"])):
            found[f"ap/{one['name']}"] = mean_of(precision[:, :, number])
        return {k: v for k, v in found.items() if v > -1} | self.errors

    @cached_property
    def errors(self) -> dict[str, float]:
        """Counts by kind, at scores of 0.3 and more."""
        counts = error_counts(self.truth, self.results)
        return {f"errors/{kind}": float(count) for kind, count in counts.items()}

    def curve(self) -> NDArray[np.float64]:
        """Precision at 101 recalls, IoU 0.5, the mean over classes."""
        precision = evaluate_coco(self.truth, self.results).eval["precision"][0, :, :, 0, -1]
        told: NDArray[np.float64] = precision[:, (precision > -1).all(0)]
        return told.mean(1) if told.shape[1] else np.zeros(101)

    def intervals(self, draws: int = DRAWS, seed: int = 0) -> dict[str, list[float]]:
        """95 % bootstrap intervals of ``ap`` and ``ap50`` over photos."""
        rng, ids = np.random.default_rng(seed), [one["id"] for one in self.truth["images"]]
        drawn = []
        for _ in range(draws):
            chosen = rng.choice(ids, len(ids)).tolist()
            stats = evaluate_coco(*resampled(self.truth, self.results, chosen)).stats
            drawn.append([stats[0], stats[1]])
        rows = np.asarray(drawn)
        rows = rows[rows[:, 0] > -1]
        if not len(rows):
            return {}
        low, high = np.quantile(rows, [0.025, 0.975], axis=0)
        return {name: [float(low[n]), float(high[n])] for n, name in enumerate(("ap", "ap50"))}


def evaluate_coco(truth: dict[str, Any], results: list[dict[str, Any]]) -> Any:
    """COCO's evaluator over a truth and results: its ``stats`` and ``eval``."""
    from faster_coco_eval import COCO, COCOeval_faster

    found = [
        dict(one, id=number, area=one["bbox"][2] * one["bbox"][3], iscrowd=0)
        for number, one in enumerate(results, start=1)
    ]
    evaluator = COCOeval_faster(
        COCO(truth), COCO(dict(truth, annotations=found)), "bbox", print_function=lambda *_: None
    )
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator


def mean_of(precision: NDArray[np.float64]) -> float:
    """The mean of the defined entries; -1 where there is none."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0


def resampled(
    truth: dict[str, Any], results: list[dict[str, Any]], ids: Sequence[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Truth and results with these images, which may come several times, under new numbers."""
    marks, found = grouped(truth["annotations"]), grouped(results)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for number, old in enumerate(map(int, ids), start=1):
        images.append({"id": number})
        for one in marks.get(old, ()):
            annotations.append(dict(one, image_id=number, id=len(annotations) + 1))
        answers += [dict(one, image_id=number) for one in found.get(old, ())]
    return dict(truth, images=images, annotations=annotations), answers


def grouped(entries: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Entries by their ``image_id``."""
    found: dict[int, list[dict[str, Any]]] = {}
    for one in entries:
        found.setdefault(one["image_id"], []).append(one)
    return found


def error_counts(truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, int]:
    """How many detections are right, of which kind the others are, and how many objects are missed.

    In the order of the scores, a detection is ``right`` on a free object of its class (IoU 0.5 up), else
    ``class`` on an object of another class (0.5 up), ``twice`` on a taken one of its own, ``place`` near one
    of its own (0.1 up), else ``background``. Crowds are left out.
    """
    counts = dict.fromkeys(("right", "class", "twice", "place", "background", "missed"), 0)
    marks, found = grouped(truth["annotations"]), grouped(results)
    for image in truth["images"]:
        objects = [one for one in marks.get(image["id"], ()) if not one["iscrowd"]]
        answers = [one for one in found.get(image["id"], ()) if one["score"] >= SEEN]
        _count(objects, sorted(answers, key=lambda one: -one["score"]), counts)
    return counts


def _count(objects: list[dict[str, Any]], answers: list[dict[str, Any]], counts: dict[str, int]) -> None:
    overlaps = box_iou(corners(answers), corners(objects)).numpy() if objects and answers else None
    own = np.asarray([one["category_id"] for one in objects])
    free = np.ones(len(objects), bool)
    for row, answer in enumerate(answers):
        if overlaps is None:
            counts["background"] += 1
            continue
        same, over = own == answer["category_id"], overlaps[row]
        best = int(np.where(same & free, over, -1).argmax())
        if same[best] and free[best] and over[best] >= RIGHT:
            free[best] = False
            counts["right"] += 1
        else:
            counts[_kind(over, same)] += 1
    counts["missed"] += int(free.sum())


def _kind(over: NDArray[np.float32], same: NDArray[np.bool_]) -> str:
    own, other = (float(over[mask].max(initial=0.0)) for mask in (same, ~same))
    if own >= RIGHT:
        return "twice"
    if other >= RIGHT:
        return "class"
    return "place" if own >= NEAR else "background"


def confusion(judged: Judged) -> list[tuple[tuple[str, str], int]]:
    """((true name, name said), how often), most often first, at IoU 0.5 and scores of 0.3 up."""
    names = {one["id"]: one["name"] for one in judged.truth["categories"]}
    marks, counts = grouped(judged.truth["annotations"]), Counter[tuple[str, str]]()
    for number, answers in grouped([one for one in judged.results if one["score"] >= SEEN]).items():
        objects = [one for one in marks.get(number, ()) if not one["iscrowd"]]
        if not objects:
            continue
        over, nearest = box_iou(corners(answers), corners(objects)).max(1)
        for answer, share, place in zip(answers, over.tolist(), nearest.tolist(), strict=True):
            true, said = objects[place]["category_id"], answer["category_id"]
            if share >= RIGHT and true != said:
                counts[names[true], names[said]] += 1
    return counts.most_common()


def corners(entries: Sequence[dict[str, Any]]) -> torch.Tensor:
    """(N, 4) corners of COCO entries."""
    boxes = torch.tensor([one["bbox"] for one in entries], dtype=torch.float32).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def check_results(results: Any, truth: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Results of any system, held against the images and categories that are judged.

    Raises:
        ValueError: it is no list of COCO results, or it is of other images or categories.
    """
    wanted = {"image_id", "category_id", "bbox", "score"}
    if not isinstance(results, list) or not all(isinstance(o, dict) and wanted <= o.keys() for o in results):
        raise ValueError(f"{where} is no COCO result file: a list of {', '.join(sorted(wanted))}")
    for kind, key in (("images", "image_id"), ("categories", "category_id")):
        known = {one["id"] for one in truth[kind]}
        strange = sorted({one[key] for one in results} - known)
        if strange:
            raise ValueError(
                f"{where} has results for {len(strange)} {kind} that are not in the data, such as "
                f"{strange[0]}; give the results of these {len(known)} {kind}"
            )
    for one in results:
        if len(one["bbox"]) != 4 or not all(map(math.isfinite, one["bbox"])) or min(one["bbox"][2:]) < 0:
            raise ValueError(
                f"{where}: bbox is x, y, width, height with sides of 0 or more, got {one['bbox']}"
            )
    return results
