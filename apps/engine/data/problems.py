"""What is wrong with a data set: a problem an image or a place, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.engine.core.console import Console
    from datasets.base import ImageDataset

LEAVE_OUT, MOVE = "leave-out", "move"
ACTIONS = (LEAVE_OUT, MOVE)
HOW = "no weights look at the photos; give --weights W, or --fetch to get the default ones"
ALL = "all"  # the split of what has none
Corners = tuple[float, float, float, float]
Problems = dict[str, list["Problem"]]


@dataclass(frozen=True)
class Move:
    """What a training is to do with an image.

    Args:
        path: of the image.
        action: one of :data:`ACTIONS`.
        name: of the class or person that it moves to; empty where it is left out.
    """

    path: Path
    action: str
    name: str = ""


@dataclass(frozen=True)
class Problem:
    """One thing that looks wrong.

    Args:
        text: a sentence: what and where.
        paths: the images that show it, the first in question.
        captions: of the images, as many, or none.
        moves: what mends it, where that is clear.
        score: how sure it is; a list is shown from the highest down.
        boxes: on the first image, (x1, y1, x2, y2) pixels, to be drawn.
        count: of the things that it tells of together.
    """

    text: str
    paths: tuple[Path, ...] = ()
    captions: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    score: float = 0.0
    boxes: tuple[Corners, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class Survey:
    """What a task's own checks look at.

    Args:
        splits: the images by the name of their split.
        copies: groups of places (split, index) that show the same picture.
        weights: by task, those that look at images.
        console: where words and progress go.
        unlooked: takes a sentence on what was not looked for.
    """

    splits: Mapping[str, ImageDataset]
    copies: Sequence[Sequence[tuple[str, int]]]
    weights: Mapping[str, str]
    console: Console
    unlooked: list[str]


def counted(problems: Sequence[Problem]) -> int:
    """The things that some problems tell of."""
    return sum(problem.count for problem in problems)


def sorted_by_score(problems: Sequence[Problem]) -> list[Problem]:
    """The surest first; equal ones in their order."""
    return sorted(problems, key=lambda problem: -problem.score)
