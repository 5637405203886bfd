"""Sex and age by the face network as it is, on portraits with known sex and birthday, by group."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

TAKEN = date(2013, 7, 1)
BANDS = (0, 40, 50, 60, 70, 120)  # years


@dataclass(frozen=True)
class Portrait:
    """A face with what is known and what is answered.

    Args:
        age: in years when the photo was taken.
        male_probability: as answered, 0 to 1.
        age_answer: in years.
    """

    male: bool
    age: float
    male_probability: float
    age_answer: float

    @property
    def right(self) -> bool:
        """Whether the sex is answered as it is."""
        return (self.male_probability >= 0.5) == self.male


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--weights", default="faces_mobilenetv1_1.0_224", help="the face network")
    parser.add_argument("--data", type=Path, required=True, help="labels.csv (image,Male,birthday), images/")
    parser.add_argument("--taken", type=date.fromisoformat, default=TAKEN, help="day of the photos")


def run(options: argparse.Namespace) -> None:
    """Write one JSON object: accuracy of sex and error of age, over all and by group."""
    from apps.faces.extraction.crops import predict_faces

    with (options.data / "labels.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["image"]: row for row in csv.DictReader(file)}
    portraits, without = [], 0
    paths = [options.data / "images" / name for name in labels]
    for line in predict_faces(paths, checkpoint=Path(options.weights), app="attributes", precision="fp32"):
        if "error" in line:
            without += 1
        elif line["face"] == 0:  # the largest
            row = labels[Path(line["path"]).name]
            born = date.fromisoformat(row["birthday"])
            age = (options.taken - born).days / 365.25
            male = line["attributes"]["Male"]["probability"]
            portraits.append(Portrait(row["Male"] == "1", age, male, line["values"]["age"]))
    results = {"photos": len(labels), "without_face": without, **by_group(portraits)}
    sys.stdout.write(json.dumps(results) + "\n")


def by_group(portraits: list[Portrait]) -> dict[str, Any]:
    """The figures of all, of men and women, and of bands of age."""
    groups: dict[str, Callable[[Portrait], bool]] = {
        "all": lambda _: True, "men": lambda p: p.male, "women": lambda p: not p.male,
    }
    results = {}
    for name, belongs in groups.items():
        for low, high in ((BANDS[0], BANDS[-1]), *pairwise(BANDS)):
            part = [p for p in portraits if belongs(p) and low <= p.age < high]
            whole = (low, high) == (BANDS[0], BANDS[-1])
            if part:
                results[name if whole else f"{name} {low}-{high}"] = figures(part)
    return results


def figures(portraits: list[Portrait]) -> dict[str, float]:
    """Share of right sexes, mean error of age and its mean with sign, in years."""
    off = [p.age_answer - p.age for p in portraits]
    return {
        "n": len(portraits), "sex_right": round(sum(p.right for p in portraits) / len(portraits), 4),
        "age_error": round(sum(map(abs, off)) / len(off), 2), "age_bias": round(sum(off) / len(off), 2),
    }
