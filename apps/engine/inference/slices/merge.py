"""One answer from those of many tiles: no object twice, and none of which a tile's border shows a part."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.engine.inference.decode.overlap import area, box_iou, nms

MOST = 10_000  # boxes of a photo that are compared, the best ones
BORDER = 0.02  # of a tile's side: a box that ends so near to a border inside of the photo is cut by it
SAME_PART = 0.7  # IoU of a cut box and what its tile shows of a larger one: they are one object
LARGER = 1.1  # times the area of the cut box
Floats = NDArray[np.float64]


class Boxes(NamedTuple):
    """Objects of several tiles, in pixels of the photo.

    Shape:
        boxes: (N, 4), x1, y1, x2, y2.
        scores: (N,), 0 to 1.
        labels: (N,).
        tiles: (N, 4), in which each was seen.
    """

    boxes: Floats
    scores: Floats
    labels: NDArray[np.int64]
    tiles: Floats

    def at(self, rows: Any) -> Boxes:
        """Some of them, by numbers, by a slice or by truth values."""
        return Boxes(*(column[rows] for column in self))


def merged(seen: Boxes, size: tuple[int, int], nms_thresh: float) -> Boxes:
    """The objects of a photo, best first, class by class.

    A box that a tile's border cuts is dropped where a larger box of its class shows the same in that tile;
    the larger one gets the score of its part, if that is higher. Of boxes that overlap the best one stays.

    Args:
        seen: by all tiles.
        size: (width, height) of the photo.
        nms_thresh: intersection over union, 0 to 1.
    """
    seen = seen.at(np.argsort(-seen.scores, kind="stable")[:MOST])
    kept = [seen.at(slice(0))]
    for label in np.unique(seen.labels):
        some = without_parts(seen.at(seen.labels == label), size)
        kept.append(some.at(nms(some.boxes, some.scores, nms_thresh)))
    every = Boxes(*(np.concatenate(column) for column in zip(*kept, strict=True)))
    return every.at(np.argsort(-every.scores, kind="stable"))


def cut_by_border(seen: Boxes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) whether a box ends at a border of its tile that lies inside of the photo."""
    boxes, tiles = seen.boxes, seen.tiles
    near = BORDER * (tiles[:, 2:] - tiles[:, :2])
    first = (boxes[:, :2] < tiles[:, :2] + near) & (tiles[:, :2] > 0)
    last = (boxes[:, 2:] > tiles[:, 2:] - near) & (tiles[:, 2:] < np.array(size))
    return np.asarray((first | last).any(1))


def without_parts(seen: Boxes, size: tuple[int, int]) -> Boxes:
    """Boxes of one class, best first, without those of which another tile shows more."""
    scores, areas, rows = seen.scores.copy(), area(seen.boxes), np.flatnonzero(cut_by_border(seen, size))
    stays = np.ones(len(scores), bool)
    for row in rows[np.argsort(areas[rows], kind="stable")]:  # the smallest first: a whole one gets all
        shown = np.clip(seen.boxes, np.tile(seen.tiles[row, :2], 2), np.tile(seen.tiles[row, 2:], 2))
        same = box_iou(seen.boxes[row], shown) >= SAME_PART
        larger = np.flatnonzero(same & (areas > LARGER * areas[row]))
        if len(larger):
            whole = larger[scores[larger].argmax()]
            scores[whole], stays[row] = max(scores[whole], scores[row]), False
    kept = seen._replace(scores=scores).at(stays)
    return kept.at(np.argsort(-kept.scores, kind="stable"))
