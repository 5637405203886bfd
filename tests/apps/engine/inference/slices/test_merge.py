"""What tiles see becomes one answer: no parts, nothing twice, and neighbours stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apps.engine.inference.decode import overlap
from apps.engine.inference.slices.merge import MOST, Boxes, merged

SIZE = (1000, 1000)
A, B, LARGE = (0, 0, 300, 300), (225, 0, 525, 300), (0, 0, 600, 600)


def boxes(*rows: tuple[Any, ...]) -> Boxes:
    """Of rows (box, score, label, tile)."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return Boxes(
        np.array(columns[0], float).reshape(-1, 4), np.array(columns[1], float),
        np.array(columns[2], np.int64), np.array(columns[3], float).reshape(-1, 4),
    )


def kept(*rows: tuple[Any, ...], nms_thresh: float = 0.6) -> list[tuple[list[float], float, int]]:
    result = merged(boxes(*rows), SIZE, nms_thresh)
    return list(zip(result.boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True))


def test_a_part_that_a_border_cuts_gives_its_score_to_the_whole() -> None:
    """Though the whole scored less, and little of it lies in the tile of the part."""
    assert kept(
        ((270, 50, 299, 90), 0.9, 0, A), ((270, 50, 340, 90), 0.4, 0, B)
    ) == [([270, 50, 340, 90], 0.9, 0)]


def test_parts_of_parts_give_their_scores_to_the_whole() -> None:
    part, more, whole = (270, 50, 299, 90), (270, 50, 524, 90), (270, 50, 560, 90)
    assert kept((part, 0.9, 0, A), (more, 0.5, 0, B), (whole, 0.3, 0, LARGE)) == [([*whole], 0.9, 0)]


@pytest.mark.parametrize(("small", "tile"), [
    ((100, 100, 150, 150), A),  # no border cuts it
    ((250, 100, 299, 150), A),  # a border does, but the large one would reach further in that tile
])
def test_a_small_object_within_a_large_one_stays(small: tuple[int, ...], tile: tuple[int, ...]) -> None:
    large = (20, 20, 500, 500)
    assert kept((small, 0.5, 0, tile), (large, 0.6, 0, LARGE)) == [([*large], 0.6, 0), ([*small], 0.5, 0)]


def test_other_classes_and_a_border_of_the_photo_cut_nothing() -> None:
    one, other = (270, 50, 299, 90), (270, 50, 340, 90)
    assert len(kept((one, 0.9, 0, A), (other, 0.4, 1, B))) == 2
    edge, inner = (0, 50, 20, 90), (0, 50, 80, 90)
    assert len(kept((edge, 0.9, 0, A), (inner, 0.4, 0, LARGE))) == 2


def test_of_boxes_of_one_object_from_tiles_of_two_sizes_the_best_stays() -> None:
    assert kept(
        ((100, 100, 200, 200), 0.5, 3, A), ((103, 98, 205, 203), 0.8, 3, LARGE),
        ((400, 400, 450, 450), 0.6, 3, LARGE),
    ) == [([103, 98, 205, 203], 0.8, 3), ([400, 400, 450, 450], 0.6, 3)]


def test_suppression_is_that_of_torchvision() -> None:
    import torch
    from torchvision.ops import nms

    draw = np.random.default_rng(0)
    corners = draw.uniform(0, 100, (300, 2))
    many = np.concatenate([corners, corners + draw.uniform(5, 60, (300, 2))], 1)
    scores = -np.sort(-draw.random(300))
    wanted = nms(torch.from_numpy(many), torch.from_numpy(scores), 0.5).tolist()
    assert overlap.nms(many, scores, 0.5).tolist() == wanted
    assert 20 < len(wanted) < 280


def test_nothing_is_nothing_and_the_best_of_very_many_are_compared() -> None:
    assert kept() == []
    count = MOST + 50
    corners = np.stack([np.arange(count) * 3.0, np.zeros(count)], 1)
    many = Boxes(
        np.concatenate([corners, corners + 2], 1), np.linspace(0.1, 0.9, count), np.arange(count) % 50,
        np.tile(np.array([0.0, 0, 1e6, 1e6]), (count, 1)),
    )
    result = merged(many, (10**6, 10**6), 0.5)
    assert len(result.scores) == MOST and result.scores[-1] == pytest.approx(many.scores[50])
