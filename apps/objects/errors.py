"""What kind of error each detection is, and which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_area, box_iou

SEEN = 0.3  # least score of a detection that is looked at
RIGHT, NEAR = 0.5, 0.1  # intersection over union
KINDS = ("right", "class", "twice", "place", "both", "background", "missed")
Entry = dict[str, Any]


@dataclass
class Matched:
    """What became of the objects and of the detections of one image.

    Args:
        counts: of each of :data:`KINDS`.
        pairs: (true category, category said), None for no object or no detection; each object once.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    pairs: list[tuple[int | None, int | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Confusion:
    """Objects by their class (rows) and by the class that was said (columns); the last are "nothing".

    Shape:
        matrix: (K + 1, K + 1); a row sums to the objects of a class, a column to the detections of it.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.int64]

    def largest(self, most: int) -> Confusion:
        """The classes that occur; above ``most``, those that occur least are one row and one column."""
        weight = self.matrix[:-1].sum(1) + self.matrix[:, :-1].sum(0)
        order = [n for n in np.argsort(-weight, kind="stable").tolist() if weight[n]]
        shown, rest = sorted(order[:most]), order[most:]
        groups = [[n] for n in shown] + [rest] * bool(rest) + [[len(self.names)]]
        matrix = [[int(self.matrix[np.ix_(rows, columns)].sum()) for columns in groups] for rows in groups]
        others = (f"{len(rest)} others",) * bool(rest)
        return Confusion((*(self.names[n] for n in shown), *others), np.asarray(matrix, np.int64))


def matched(truth: dict[str, Any], results: Sequence[Entry]) -> list[Matched]:
    """The kind of every detection of 0.3 and more, and the objects that are missed, image by image.

    In the order of the scores, a detection is ``right`` on a free object of its class (IoU 0.5 up, the
    largest first: COCO's rule). Others that lie on a crowd of their class (half of the detection) are left
    out, as by COCO. Else it is ``twice`` on a taken object of its class (0.5 up), ``class`` on one of another
    class (0.5 up), ``place`` near one of its class (0.1 up), ``both`` near one of another, or ``background``.
    Objects that no detection is right on are ``missed``, whatever lies near them.

    Source: Bolya et al. 2020, "TIDE", section 2.2; there, objects that another error covers are not missed.
    """
    marks = grouped(truth["annotations"])
    result = grouped([item for item in results if item["score"] >= SEEN])
    return [
        _of_photo(marks.get(image["id"], []), sorted(result.get(image["id"], []), key=lambda r: -r["score"]))
        for image in truth["images"]
    ]


def _of_photo(marks: list[Entry], answers: list[Entry]) -> Matched:
    objects, crowds = ([mark for mark in marks if bool(mark["iscrowd"]) == kind] for kind in (False, True))
    overlaps = box_iou(corners(answers), corners(objects)).numpy()
    on_crowd = _covered(answers, crowds)
    custom = np.asarray([item["category_id"] for item in objects], np.int64)
    reported, reply, taken = Matched(), [None] * len(objects), np.zeros(len(objects), bool)
    others: list[int] = []
    for row, answer in enumerate(answers):
        same, over = custom == answer["category_id"], overlaps[row]
        fits = same & ~taken & (over >= RIGHT)
        if fits.any():
            best = int(np.where(fits, over, -1).argmax())
            taken[best], reply[best] = True, answer["category_id"]
            reported.counts["right"] += 1
        elif not on_crowd[row]:
            reported.counts[_kind(over, same)] += 1
            others.append(row)
    reported.counts["missed"] = int((~taken).sum())
    for row in others:
        _confused(answers[row]["category_id"], custom, overlaps[row], reply, reported)
    reported.pairs += list(zip(custom.tolist(), reply, strict=True))
    return reported


def _kind(over: NDArray[np.float32], same: NDArray[np.bool_]) -> str:
    custom, other = (float(over[mask].max(initial=0.0)) for mask in (same, ~same))
    if custom >= RIGHT:
        return "twice"
    if other >= RIGHT:
        return "class"
    if custom >= NEAR:
        return "place"
    return "both" if other >= NEAR else "background"


def _confused(
    category: int, array: NDArray[np.int64], over: NDArray[np.float32], values: list[Any], reported: Matched
) -> None:
    """Give a wrong detection the object of another class that it lies on best and that has none yet."""
    free = np.asarray([item is None for item in values], bool) & (array != category) & (over >= RIGHT)
    if free.any():
        values[int(np.where(free, over, -1).argmax())] = category
    else:
        reported.pairs.append((None, category))


def _covered(answers: list[Entry], crowds: list[Entry]) -> NDArray[np.bool_]:
    """Which detections lie at least by half in a crowd of their class."""
    first, second = corners(answers), corners(crowds)
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clamp(min=0).prod(2)
    share = common / box_area(first).clamp(min=1e-9)[:, None]
    classes = [[answer["category_id"] == crowd["category_id"] for crowd in crowds] for answer in answers]
    same = torch.tensor(classes, dtype=torch.bool).reshape(len(answers), len(crowds))
    covered: NDArray[np.bool_] = ((share >= RIGHT) & same).any(1).numpy()
    return covered


def confusion(categories: Sequence[Entry], photos: Sequence[Matched]) -> Confusion:
    """The pairs of all images as one matrix, classes in the order of their numbers."""
    order = sorted(categories, key=lambda item: item["id"])
    places: dict[int | None, int] = {item["id"]: n for n, item in enumerate(order)} | {None: len(order)}
    matrix = np.zeros((len(order) + 1,) * 2, np.int64)
    for photo in photos:
        for true, answer in photo.pairs:
            matrix[places[true], places[answer]] += 1
    return Confusion(tuple(item["name"] for item in order), matrix)


def grouped(entries: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Entries by their ``image_id``."""
    results: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        results.setdefault(entry["image_id"], []).append(entry)
    return results


def corners(entries: Sequence[dict[str, Any]]) -> torch.Tensor:
    """(N, 4) corners of COCO entries."""
    boxes = torch.tensor([entry["bbox"] for entry in entries], dtype=torch.float32).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
