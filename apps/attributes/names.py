"""Names of attributes, and of groups such as ``age:100``, and the columns that they have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """Which columns a head, a teacher or a table of probabilities has.

    Args:
        names: of the yes/no attributes, a column each.
        groups: name -> classes of each group, a column a class, behind those.
    """

    names: tuple[str, ...]
    groups: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, classes: Iterable[str]) -> Layout:
        """From names as a checkpoint keeps them: ``Male``, ``age:100``.

        Raises:
            ValueError: what stands behind a colon is no number of classes.
        """
        names, groups = [], {}
        for class_name in classes:
            name, colon, count = class_name.partition(":")
            if not colon:
                names.append(class_name)
            elif count.isdecimal() and len(count) < 9 and int(count) > 1 and name:
                groups[name] = int(count)
            else:
                raise ValueError(
                    f"a group of classes is named NAME:CLASSES, as in age:100, got {class_name!r}"
                )
        return cls(tuple(names), groups)

    @classmethod
    def of_columns(cls, columns: Iterable[str]) -> Layout:
        """From the columns of a table of probabilities, where a group's are ``age=0``, ``age=1``, ..."""
        names: list[str] = []
        groups: dict[str, int] = {}
        for column in columns:
            name, equals, _ = column.partition("=")
            if equals:
                groups[name] = groups.get(name, 0) + 1
            else:
                names.append(column)
        return cls(tuple(names), groups)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names as a checkpoint keeps them."""
        return (*self.names, *(f"{name}:{count}" for name, count in self.groups.items()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The name of each column."""
        return (*self.names, *(f"{name}={n}" for name, count in self.groups.items() for n in range(count)))

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.columns)

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """A column a name and a group as a column a name and a class: classes become rows with one 1."""
        parts = [values[:, : len(self.names)]]
        for place, count in enumerate(self.groups.values(), len(self.names)):
            held = values[:, place, None]
            parts.append(np.where(np.isnan(held), np.nan, held == np.arange(count)).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def taken(self, result: NDArray[np.float32], other: Layout, whose: str) -> NDArray[np.float32]:
        """The columns of another layout in this one's order; NaN for what the other lacks.

        Raises:
            ValueError: it has none of them.
        """
        places = {column: n for n, column in enumerate(other.columns)}
        sized = [n for n, count in self.groups.items() if other.groups.get(n, count) != count]
        if sized:
            item = sized[0]
            raise ValueError(f"{whose} has {other.groups[item]} classes of {item}, not {self.groups[item]}")
        for name in self.names:
            if name in other.groups:
                raise ValueError(
                    f"{whose} knows {name} as a class of {other.groups[name]}, not as yes and no: name it "
                    f"{name}:{other.groups[name]}"
                )
        if not set(places) & set(self.columns):
            raise ValueError(f"{whose} knows {listed(other.classes)}, and none of {listed(self.classes)}")
        moved = np.full((len(result), self.width), np.nan, np.float32)
        for n, column in enumerate(self.columns):
            if column in places:
                moved[:, n] = result[:, places[column]]
        return moved


def listed(names: Sequence[str], most: int = 5) -> str:
    """A few names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def weights_of(text: str | None, names: Sequence[str]) -> list[float]:
    """The weight of each attribute in the loss, from ``Smiling=2,Sad=5``; the others weigh 1.

    Raises:
        ValueError: a part is not NAME=WEIGHT, or no such attribute is learned.
    """
    result = dict.fromkeys(names, 1.0)
    for part in (text or "").split(",") if text else []:
        name, _, weight = part.partition("=")
        try:
            value = float(weight)
        except ValueError:
            value = -1.0
        if name not in result or not 0 <= value < float("inf"):
            raise ValueError(
                f"--weights-of takes NAME=WEIGHT of 0 or more for {listed(tuple(names))}, got {part!r}"
            )
        result[name] = value
    if result and not any(result.values()):
        raise ValueError(f"--weights-of gives all of {listed(tuple(names))} no weight; give one more than 0")
    return list(result.values())
