"""The study of Table 12: students of attributes by width and resolution, trained by a teacher or by labels.

It resumes: what is finished in ``--out`` is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from apps.cost.count import network_cost
from apps.cost.paper_tables import TABLE_12, Network
from apps.engine.core.files import write_bytes
from apps.engine.core.run_dir import CONFIG
from apps.engine.reporting.markdown import markdown_table
from backbone.storage import MIRROR_VARIABLE
from benchmarks.studies import trained
from datasets.described.label_tables import IMAGE, find_table

WEIGHTS = {
    1.0: "mobilenetv1_1.0_224.safetensors", 0.5: "mobilenetv1_0.5_160.safetensors",
    0.25: "mobilenetv1_0.25_128.safetensors",
}
FACES = "faces_mobilenetv1_1.0_224.safetensors"
# The cheap ones and the two ends of the paper's table come first: whatever stops it, they are there.
STUDENTS = (
    (0.25, 128, "teacher"), (0.25, 128, "labels"), (0.5, 128, "teacher"), (1.0, 128, "teacher"),
    (0.25, 224, "teacher"), (1.0, 224, "teacher"), (0.5, 224, "teacher"), (1.0, 224, "labels"),
)


def student_name(student: tuple[float, int, str]) -> str:
    """As its folder is called: ``0.25-128-teacher``."""
    width, resolution, source = student
    return f"{width:g}-{resolution}-{source}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m benchmarks attributes``."""
    parser.add_argument("--data", type=Path, required=True, help="photos with a table of attributes")
    mirror = os.environ.get(MIRROR_VARIABLE)
    parser.add_argument(
        "--weights", type=Path, default=None if mirror is None else Path(mirror),
        help=f"folder with ImageNet and face weights  [default: that of {MIRROR_VARIABLE}]",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench/attributes"),
        help="folder of the runs and of study.json  [default: %(default)s]",
    )
    parser.add_argument("--names", default="Male,Smiling", help="attributes  [default: Male,Smiling]")
    parser.add_argument("--photos", type=int, default=4000, help="of whole people  [default: 4000]")
    parser.add_argument("--epochs", type=int, default=5, help="of each student  [default: 5]")
    parser.add_argument(
        "--only", default=",".join(map(student_name, STUDENTS)),
        help="students to train  [default: %(default)s]",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw and the trainings  [default: 0]")


def run(options: argparse.Namespace) -> None:
    """Train what is missing, write ``study.json`` after each run, and print the table.

    Raises:
        FileNotFoundError: no folder of weights is given, or one of them is not in it.
    """
    check_folder(options.weights, chosen(options.only))
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "photos.csv"
    if not table.is_file():
        drawn_table(options.data, table, options.photos, options.seed)
    common = {
        "data": options.data, "table": table, "names": options.names, "val_share": 0.3, "seed": options.seed,
    }
    teacher = options.out / "teacher"
    trained("attributes", teacher, common | {"weights": str(options.weights / FACES), "freeze": True})
    results = [row("labels, backbone frozen", 1.0, 224, teacher)]
    for student in chosen(options.only):
        width, resolution, source = student
        folder = options.out / student_name(student)
        given = common | {
            "weights": str(options.weights / WEIGHTS[width]), "resolution": resolution,
            "train_resolution": resolution, "epochs": options.epochs, "lr": 1e-3, "backbone_lr": 0.5,
            "warmup_epochs": 0.5, "preset": "paper",
        }
        trained("attributes", folder, given | ({"teacher": str(teacher)} if source == "teacher" else {}))
        results.append(row(source, width, resolution, folder) | {"emulation": emulated(folder, teacher)})
        write_bytes(options.out / "study.json", json.dumps(results, indent=1).encode())
    sys.stdout.write("\n".join(markdown(results)) + "\n")


def check_folder(folder: Path | None, students: Sequence[tuple[float, int, str]]) -> None:
    """Refuse a folder that lacks weights of a student or of the teacher.

    Raises:
        FileNotFoundError: the message names the first that is missing.
    """
    if folder is None:
        raise FileNotFoundError(f"no weights: give --weights DIR, or set {MIRROR_VARIABLE} to the folder")
    for name in (FACES, *(WEIGHTS[width] for width, _, _ in students)):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: --weights is the folder that holds it")


def chosen(only: str) -> list[tuple[float, int, str]]:
    """The students that are named.

    Raises:
        ValueError: there is no such student.
    """
    known = {student_name(student): student for student in STUDENTS}
    names = [name.strip() for name in only.split(",")]
    strange = [name for name in names if name not in known]
    if strange:
        raise ValueError(f"--only knows no {strange[0]!r}; it knows {', '.join(known)}")
    return [value for name, value in known.items() if name in names]


def drawn_table(data: Path, table: Path, photos: int, seed: int) -> None:
    """The rows of people drawn until there are so many photos."""
    source = find_table(data)
    if source is None:
        raise FileNotFoundError(f"{data} has no table of attributes, such as attributes.csv")
    every = pa.csv.read_csv(source)
    people: dict[str, list[int]] = {}
    for number, image in enumerate(every[IMAGE].to_pylist()):
        people.setdefault(str(Path(image).parent), []).append(number)
    order = sorted(people)
    chosen: list[int] = []
    random.Random(seed).shuffle(order)
    for person in order:
        chosen += people[person] if len(chosen) < photos else []
    pa.csv.write_csv(every.take(sorted(chosen)), table)


def emulated(folder: Path, teacher: Path) -> dict[str, float | None]:
    """How well a student repeats the teacher on the validation photos; kept in ``emulation.json``."""
    from apps.attributes.evaluate import evaluate_run
    from apps.engine.core.console import Console

    kept = folder / "emulation.json"
    if not kept.is_file():
        reported = evaluate_run(folder, teacher=str(teacher), console=Console())["teacher"]
        write_bytes(kept, json.dumps(reported, indent=1).encode())
    results: dict[str, float | None] = json.loads(kept.read_text())
    return results


def row(source: str, width: float, resolution: int, folder: Path) -> dict[str, Any]:
    """What a finished run gives to the table, with its cost and the paper's figure."""
    config = json.loads((folder / CONFIG).read_text())
    total = network_cost(Network(width=width, resolution=resolution, classes=len(config["classes"])))
    kept = ("mean_ap", "ap", "balanced_accuracy", "balanced_accuracy@chosen", "ece")
    return {
        "source": source, "width": width, "resolution": resolution, "mult_adds": total.mult_adds,
        "parameters": total.parameters, "interval": config["intervals"]["mean_ap"],
        "metrics": {k: v for k, v in config["metrics"].items() if k.split("/")[0] in kept},
        "photos": {k: v for k, v in config["data"].items() if k != "skipped"}, "seconds": config["seconds"],
        "paper_mean_ap": None if source != "teacher" else printed(width, resolution),
    }


def printed(width: float, resolution: int) -> float | None:
    """The paper's mean average precision of a student."""
    wanted = Network(width=width, resolution=resolution)
    return next(
        (item.accuracy["mean_ap"] for item in TABLE_12.rows if item.network is not None
         and (item.network.width, item.network.resolution) == (wanted.width, wanted.resolution)), None,
    )


def markdown(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The rows as a table, percents."""
    cells = []
    for row in rows:
        each = ", ".join(f"{k[3:]} {_percent(v)}" for k, v in row["metrics"].items() if k.startswith("ap/"))
        low, high = row["interval"]
        nats = row.get("emulation", {}).get("cross_entropy")
        cells.append((
            f"{row['width']:g}-{row['resolution']}", row["source"], f"{row['mult_adds'] / 1e6:.1f}",
            f"{row['parameters'] / 1e6:.2f}",
            f"{_percent(row['metrics']['mean_ap'])} ({_percent(low)} to {_percent(high)})",
            _percent(row["paper_mean_ap"]), each, "-" if nats is None else f"{nats:.3f}",
        ))
    head = (
        "network", "trained by", "M mult-adds", "M parameters", "mean AP (95 %)", "paper", "AP each", "nats"
    )
    return markdown_table(head, cells)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
