"""The study of Table 14: students of faces by width and resolution, and what each ingredient of theirs gives.

It resumes: what is finished in ``--out`` is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.cost.paper_tables import TABLE_14
from apps.engine.core.console import Console
from apps.engine.core.files import write_bytes
from apps.engine.reporting.markdown import markdown_table
from benchmarks.studies import trained

FACES = "faces_mobilenetv1_1.0_224.safetensors"
# What all students share; a row changes some of it.
RECIPE = {"relational": 10.0, "ema": 0.995, "erase": 0.2, "batch_size": 64}
FROM_FACES = {"lr": 5e-4, "backbone_lr": 0.5}
FROM_OTHERS = {"lr": 2e-3, "backbone_lr": 1.0, "bn": "train"}
FARS = ("1e-2", "1e-3", "1e-4")


@dataclass(frozen=True)
class Student:
    """A row: a network, what it starts from, and what its training changes of the recipe."""

    width: float
    resolution: int
    weights: str | None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, folder: Path) -> dict[str, Any]:
        """What ``finetune faces`` is given, without data, teacher and epochs."""
        start = {"width": self.width} if self.weights is None else {"weights": str(folder / self.weights)}
        rates = FROM_FACES if self.weights == FACES else FROM_OTHERS
        return RECIPE | rates | start | {"resolution": self.resolution} | dict(self.changes)


SMALL = (0.25, 128, "mobilenetv1_0.25_128.safetensors")
STUDENTS = {
    "0.25-128": Student(*SMALL),
    "0.25-128 each view": Student(*SMALL, {"each_view": True}),
    "0.25-128 not relational": Student(*SMALL, {"relational": 0.0}),
    "0.25-128 nothing erased": Student(*SMALL, {"erase": 0.0}),
    "0.25-128 not averaged": Student(*SMALL, {"ema": 0.0}),
    "0.25-128 at random": Student(0.25, 128, None),
    "1.0-128": Student(1.0, 128, FACES),
    "1.0-128 each view": Student(1.0, 128, FACES, {"each_view": True}),
    "1.0-128 at random": Student(1.0, 128, None),
    "0.75-128": Student(0.75, 128, None),
    "1.0-160": Student(1.0, 160, FACES),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m benchmarks students``."""
    parser.add_argument("--data", type=Path, required=True, help="face crops, a folder a person")
    parser.add_argument("--test", type=Path, required=True, help="faces of other people, with pairs.txt")
    parser.add_argument("--teacher", required=True, help="the network that teaches, as --teacher of finetune")
    parser.add_argument("--teacher-vectors", type=Path, help="its vectors of --test, .npz")
    parser.add_argument("--weights-folder", type=Path, required=True, help="with the weights to start from")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench/students"),
        help="folder of the runs and of study.json  [default: %(default)s]",
    )
    parser.add_argument("--epochs", type=int, default=6, help="of each student  [default: 6]")
    parser.add_argument(
        "--only", action="append", choices=tuple(STUDENTS), help="a student; may be repeated  [default: all]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the trainings  [default: 0]")
    parser.add_argument("--workers", type=int, default=1, help="processes that read images  [default: 1]")


def run(options: argparse.Namespace) -> None:
    """Train what is missing, write ``study.json`` after each run, and print the table."""
    from apps.faces.verification.evaluate import evaluate_faces

    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in options.only or STUDENTS:
        student, folder = STUDENTS[name], options.out / name.replace(" ", "-")
        trained("faces", folder, student.settings(options.weights_folder) | {
            "data": options.data, "teacher": options.teacher, "epochs": options.epochs, "seed": options.seed,
            "workers": options.workers, "cache": options.out / "cache",
        })
        kept = folder / "test.json"
        if not kept.is_file():
            lines = evaluate_faces(
                options.test, checkpoints=[folder], teacher=options.teacher_vectors, console=Console()
            )
            write_bytes(kept, json.dumps(lines, indent=1).encode())
        rows.append(row(name, student, json.loads(kept.read_text())))
        write_bytes(options.out / "study.json", json.dumps(rows, indent=1).encode())
    sys.stdout.write("\n".join(markdown(rows)) + "\n")


def row(name: str, student: Student, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What an evaluated student, beside its teacher, gives to the table."""
    (first, *_) = lines
    metrics = first["metrics"]
    return {
        "student": name, "width": student.width, "resolution": student.resolution,
        "cost": first["cost"], "accuracy": metrics["accuracy"], "accuracy_se": metrics["accuracy_se"],
        "rank1": metrics["rank1"],
        "tar": {far: metrics.get(f"tar@far={far}") for far in FARS},  # None: too few photos for so rare ones
        "interval": first["intervals"].get("tar@far=1e-4", (None, None)),
        "share": metrics.get("teacher_share@far=1e-4"), "paper": printed(student.width, student.resolution),
    }


def printed(width: float, resolution: int) -> float | None:
    """The paper's TAR at FAR 1e-4 of a student, as a share."""
    return next(
        (next(iter(item.accuracy.values())) for item in TABLE_14.rows if item.network is not None
         and (item.network.width, item.network.resolution) == (width, resolution)), None,
    )


def markdown(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The rows as a table, percents."""
    cells = []
    for line in rows:
        low, high = line["interval"]
        cost = line["cost"]
        cells.append((
            line["student"], f"{cost['mult_adds'] / 1e6:.1f}", f"{cost['parameters'] / 1e6:.2f}",
            f"{_percent(line['accuracy'])} +- {_percent(line['accuracy_se'])}",
            " / ".join(_percent(line["tar"][far]) for far in FARS),
            f"{_percent(low)} to {_percent(high)}", _percent(line["share"]), _percent(line["rank1"]),
            _percent(line["paper"]),
        ))
    head = (
        "student", "M mult-adds", "M parameters", "accuracy", "TAR at FAR 1e-2 / 1e-3 / 1e-4",
        "95 % at 1e-4", "of the teacher's", "rank-1", "paper's TAR",
    )
    return markdown_table(head, cells)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
