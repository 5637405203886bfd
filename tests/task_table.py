"""One table of all tasks for the tests: adding a task adds a case here, and a line in the registry.

mypy holds each class against the contract in ``apps/engine/core/task.py``: its dataset, head, targets,
outputs and evaluation must fit each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from faces_support import draw_crops
from PIL import Image, ImageDraw
from support import COLOURS, save_colour

from apps.attributes.evaluator import AttributeEvaluation
from apps.attributes.task import Attributes
from apps.dogs import Dogs
from apps.engine.core.metrics import Metrics
from apps.engine.core.settings import Settings
from apps.engine.core.task import AnyTask, Evaluation, Task
from apps.engine.evaluation.classification import Predictions, classification_metrics
from apps.faces.evaluator import FaceEvaluation
from apps.faces.task import Faces
from apps.faces.verification.evaluate import beside
from apps.imagenet import ImageNet
from apps.objects.coco_metrics import DetectionEvaluation
from apps.objects.task import Objects
from apps.places.cells.partition import Limits, build
from apps.places.evaluator import PlaceEvaluation
from apps.places.task import Places
from datasets.base import ImageDataset
from heads import Head

S = TypeVar("S", bound=Settings)
H = TypeVar("H", bound=Head)
D = TypeVar("D", bound=ImageDataset)
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")
K = TypeVar("K")
E = TypeVar("E", bound=Evaluation)


@dataclass(frozen=True)
class TaskCase:
    """A task as the tests use it.

    Args:
        task: its class.
        evaluation: what its evaluator computes.
        data: makes a small data set in a folder, and returns what ``--data`` names.
        options: of ``finetune`` beside the usual ones.
        answer: the key of its answers in a line of ``predict``.
        example: metrics as an evaluation has them, all that there may be.
    """

    task: type[AnyTask]
    evaluation: type[Evaluation]
    data: Callable[[Path], Path]
    options: tuple[object, ...]
    answer: str
    example: Callable[[], Metrics]


def case(
    task: type[Task[S, H, D, O, T, K, E]], evaluation: type[E], *, data: Callable[[Path], Path],
    options: tuple[object, ...] = (), answer: str, example: Callable[[], Metrics],
) -> TaskCase:
    """A case whose class keeps the contract, as mypy sees it."""
    return TaskCase(task, evaluation, data, options, answer, example)


CITIES = {"red": (48.8, 2.3), "green": (40.7, -74.0), "blue": (-33.8, 151.2)}
WNIDS = ("n02111889", "n02088364")


def class_folders(root: Path, names: tuple[str, ...]) -> Path:
    """Folders of photos by class, for training and for evaluation."""
    for split, count in (("train", 6), ("val", 4)):
        for name, colour in zip(names, COLOURS.values(), strict=False):
            for number in range(count):
                save_colour(root / split / name / f"{number}.png", colour, seed=number)
    return root


def attribute_crops(root: Path) -> Path:
    """Crops of twelve people with one attribute each."""
    rows = ["image,Red"]
    for number in range(24):
        name = f"p{number // 2}/{number}.png"
        save_colour(root / "images" / name, COLOURS["red" if number % 4 < 2 else "blue"], seed=number)
        rows.append(f"{name},{int(number % 4 < 2)}")
    (root / "attributes.csv").write_text("\n".join(rows) + "\n")
    return root


def people(root: Path) -> Path:
    """Crops by person."""
    draw_crops(root, people=8, each=3)
    return root


def boxes(root: Path) -> Path:
    """Photos with a red box each."""
    root.mkdir(parents=True)
    for split, count in (("train", 8), ("val", 3)):
        rows = ["path,x1,y1,x2,y2,class"]
        for number in range(count):
            image = Image.new("RGB", (120, 90), (90, 120, 30 * number))
            ImageDraw.Draw(image).rectangle((10, 15, 49, 59), fill=(220, 30, 30))
            image.save(root / f"{split}{number}.png")
            rows.append(f"{split}{number}.png,10,15,50,60,red")
        (root / f"{split}.csv").write_text("\n".join(rows))
    return root


def positions(root: Path) -> Path:
    """A table of photos in three cities."""
    rows = ["path,lat,lon"]
    for name, (lat, lon) in CITIES.items():
        for number in range(8):
            save_colour(root / f"{name}{number}.png", COLOURS[name], seed=number)
            rows.append(f"{name}{number}.png,{lat + 0.1 * number},{lon}")
    (root / "photos.csv").write_text("\n".join(rows) + "\n")
    return root / "photos.csv"


def classification_example() -> Metrics:
    rng = np.random.default_rng(0)
    return classification_metrics(Predictions(
        rng.normal(size=(20, 7)).astype(np.float32), rng.integers(0, 7, 20), ("x",) * 20, tuple("abcdefg")
    ))


def attribute_example() -> Metrics:
    """With chosen thresholds, a group such as an age, and what calibration adds."""
    rng = np.random.default_rng(0)
    judged = AttributeEvaluation(
        rng.random((40, 2)), rng.integers(0, 2, (40, 2)).astype(float), ("Smiling", "a/b"),
        tuple(f"p{n // 4}/{n}.jpg" for n in range(40)),
        values={"age": (rng.random(40) * 9, rng.integers(0, 9, 40).astype(float))},
    )
    chosen = replace(judged, thresholds=judged.chosen_thresholds())
    return chosen.metrics() | judged.crossed()


def face_example() -> Metrics:
    """With shares of a teacher's rates; half of ``evaluate faces`` is in it, too."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(12), 4)
    vectors = rng.normal(size=(12, 16))[people] + 0.3 * rng.normal(size=(48, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    embedded = FaceEvaluation(vectors, people, tuple(map(str, range(48))))
    one = embedded.verification("student")
    return embedded.metrics() | beside(one, one).metrics()


def place_example() -> Metrics:
    rng = np.random.default_rng(0)
    towns = np.array([(48.8, 2.3), (52.5, 13.4), (-33.9, 151.2)])
    lat, lon = (towns[rng.integers(0, 3, 300)] + rng.normal(0, 0.5, (300, 2))).T
    grid = build(lat, lon, Limits(60, 1))[0]
    logs = np.log(rng.dirichlet(np.ones(len(grid)), 30)).astype(np.float32)
    return PlaceEvaluation(logs, None, lat[:30], lon[:30], ("x",) * 30, grid).metrics()


def object_example() -> Metrics:
    """Small, middling and large objects of two classes, found and missed."""
    boxes = [[10.0, 10.0, side, side] for side in (20.0, 60.0, 150.0)]
    truth = {
        "images": [{"id": 1, "width": 400, "height": 300}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog/wolf"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1 + n % 2, "bbox": box, "area": box[2] ** 2, "iscrowd": 0}
            for n, box in enumerate(boxes + boxes, start=1)
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1 + n % 2, "bbox": box, "score": 0.9}
        for n, box in enumerate(boxes, start=1)
    ]
    return DetectionEvaluation(truth, results, ("x",)).figures


CASES = {
    "attributes": case(
        Attributes, AttributeEvaluation, data=attribute_crops, options=("--names", "Red"),
        answer="attributes", example=attribute_example,
    ),
    "dogs": case(
        Dogs, Predictions, data=lambda root: class_folders(root, tuple(COLOURS)), answer="predictions",
        example=classification_example,
    ),
    "faces": case(
        Faces, FaceEvaluation, data=people, options=("--margin-loss", "arcface", "--val-share", 0.5),
        answer="embedding", example=face_example,
    ),
    "imagenet": case(
        ImageNet, Predictions, data=lambda root: class_folders(root, WNIDS), answer="predictions",
        example=classification_example,
    ),
    "objects": case(
        Objects, DetectionEvaluation, data=boxes, options=("--resolution", 64, "--precision", "fp32"),
        answer="objects", example=object_example,
    ),
    "places": case(
        Places, PlaceEvaluation, data=positions,
        options=("--t-max", 10, "--t-min", 1, "--split-km", 0.5, "--val-share", 0.3), answer="cells",
        example=place_example,
    ),
}
