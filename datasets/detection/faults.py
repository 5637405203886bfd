"""What is odd about the boxes of a data set, noted while a reader reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

OUT_PX = 1.0  # that a box may reach out of its photo without a word
UNIT = 1.5  # px: no photo has all its boxes within so much of its corner
OFTEN = 0.2  # share of boxes that reach out from which on another meaning of the numbers is looked for
LEAST = 3  # boxes that tell of all
NAMED = 3  # places that a sentence names


@dataclass
class Tally:
    """Boxes as a reader met them.

    Args:
        lenient: boxes that break the rules are noted and left out, where readers refuse them otherwise.

    Attributes:
        boxes: all of them.
        in_unit: those whose four numbers would do as shares of their photo.
        as_corners: those whose width and height, or distances from the middle, would do as the second corner.
        outside: a line on each that reaches out of its photo.
        swapped: a line on each with a negative side.
        other_size: a line on each photo whose annotated size is another than the file's.
        unlabelled: photos without a file of labels, where each has one of its own.
        labels_only: files of labels without a photo.
    """

    lenient: bool = False
    boxes: int = 0
    in_unit: int = 0
    as_corners: int = 0
    outside: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    other_size: list[str] = field(default_factory=list)
    unlabelled: list[Path] = field(default_factory=list)
    labels_only: list[Path] = field(default_factory=list)

    def add(self, box: tuple[float, ...], width: float, height: float, where: str) -> None:
        """Note a box (x1, y1, x2, y2) as it is written, before it is cut to its photo."""
        x1, y1, x2, y2 = box
        self.boxes += 1
        self.in_unit += max(map(abs, box)) <= UNIT < min(width, height)
        sides, middles = (x1, y1, x2 - x1, y2 - y1), ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        self.as_corners += any(
            c > a >= 0 and d > b >= 0 and c <= width + OUT_PX and d <= height + OUT_PX
            for a, b, c, d in (sides, middles)
        )
        if x1 < -OUT_PX or y1 < -OUT_PX or x2 > width + OUT_PX or y2 > height + OUT_PX:
            spot = f"({x1:.5g}, {y1:.5g}, {x2:.5g}, {y2:.5g}) on {width:g} x {height:g} pixels"
            self.outside.append(f"{where}: {spot}")

    def add_swapped(self, box: tuple[float, ...], where: str) -> None:
        """Note a box with a negative side."""
        self.boxes += 1
        self.swapped.append(f"{where}: ({', '.join(f'{number:.5g}' for number in box)})")

    def units(self) -> list[str]:
        """A sentence on numbers that seem to mean something else, if they do."""
        if self.boxes and self.in_unit == self.boxes:
            return [
                f"all {self.boxes} boxes lie within {UNIT:g} pixels of the corner of their photos: they seem "
                "to be shares of the photo, from 0 to 1; multiply them by its width and height in pixels"
            ]
        if (
            self.boxes >= LEAST and self.as_corners == self.boxes and len(self.outside) >= OFTEN * self.boxes
        ):
            return [
                f"{len(self.outside)} of {self.boxes} boxes reach out of their photos, and all would do as "
                "corners: x1, y1, x2, y2 seem to stand where this format has a width and a height"
            ]
        return []

    def notes(self) -> list[str]:
        """A sentence on each kind of oddity."""
        units = self.units()
        outside = [] if units or not self.outside else [
            f"{len(self.outside)} of {self.boxes} boxes reach out of their photos and are cut: "
            f"{_some(self.outside)}"
        ]
        several: dict[str, list[str] | list[Path]] = {
            "photos have another size than their annotations say; boxes are scaled to them": self.other_size,
            "photos have no file of labels and are read as showing nothing": self.unlabelled,
            "files of labels have no photo": self.labels_only,
        }
        return [
            *units, *outside,
            *(f"{len(items)} {words}: {_some(items)}" for words, items in several.items() if items),
        ]


def _some(items: list[str] | list[Path]) -> str:
    return "; ".join(map(str, items[:NAMED])) + ("; ..." if len(items) > NAMED else "")


_now: ContextVar[Tally | None] = ContextVar("tally", default=None)


def tally_now() -> Tally:
    """What notes the boxes that are being read; one that is thrown away where nobody asked."""
    return _now.get() or Tally()


@contextmanager
def tallied(*, lenient: bool = False) -> Iterator[Tally]:
    """Note all that readers meet meanwhile."""
    tally = Tally(lenient)
    token = _now.set(tally)
    try:
        yield tally
    finally:
        _now.reset(token)
