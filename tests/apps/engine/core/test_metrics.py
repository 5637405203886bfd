"""One table of metrics an application: every metric that is reported is in it, with its better side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.attributes.evaluator import AttributeEvaluation
from apps.engine.core.metrics import Metric, MetricTable, UnknownMetricError, joint_table
from apps.engine.core.registry import TASKS, load_task
from apps.engine.evaluation.classification import Predictions, classification_metrics
from apps.faces.evaluator import FaceEvaluation
from apps.faces.verification.evaluate import beside
from apps.objects.coco_metrics import FIGURES, DetectionEvaluation
from apps.objects.errors import KINDS
from apps.places.cells.partition import Limits, build
from apps.places.evaluator import PlaceEvaluation

TABLE = MetricTable("birds", (
    Metric("songs", True, "count", (0, inf)), Metric("noise", False), Metric("share/*", True),
    Metric("share/all", False), Metric("weight_*", None),
), primary="songs")


def one_label() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return classification_metrics(Predictions(
        rng.normal(size=(20, 7)).astype(np.float32), rng.integers(0, 7, 20), ("x",) * 20, tuple("abcdefg")
    ))


def attributes() -> dict[str, Any]:
    """With chosen thresholds, a group such as an age, and what calibration adds."""
    rng = np.random.default_rng(0)
    judged = AttributeEvaluation(
        rng.random((40, 2)), rng.integers(0, 2, (40, 2)).astype(float), ("Smiling", "a/b"),
        tuple(f"p{n // 4}/{n}.jpg" for n in range(40)),
        values={"age": (rng.random(40) * 9, rng.integers(0, 9, 40).astype(float))},
    )
    chosen = replace(judged, thresholds=judged.chosen_thresholds())
    return chosen.metrics() | judged.crossed()


def faces() -> dict[str, Any]:
    """With shares of a teacher's rates; half of ``evaluate faces`` is in it, too."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(12), 4)
    vectors = rng.normal(size=(12, 16))[people] + 0.3 * rng.normal(size=(48, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    embedded = FaceEvaluation(vectors, people, tuple(map(str, range(48))))
    one = embedded.verification("student")
    return embedded.metrics() | beside(one, one).metrics()


def places() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    towns = np.array([(48.8, 2.3), (52.5, 13.4), (-33.9, 151.2)])
    lat, lon = (towns[rng.integers(0, 3, 300)] + rng.normal(0, 0.5, (300, 2))).T
    grid = build(lat, lon, Limits(60, 1))[0]
    logs = np.log(rng.dirichlet(np.ones(len(grid)), 30)).astype(np.float32)
    return PlaceEvaluation(logs, None, lat[:30], lon[:30], ("x",) * 30, grid).metrics()


def objects() -> dict[str, Any]:
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


EVALUATIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "dogs": one_label, "imagenet": one_label, "attributes": attributes, "faces": faces, "places": places,
    "objects": objects,
}


def test_every_application_has_an_evaluation_here() -> None:
    assert EVALUATIONS.keys() == TASKS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_of_an_evaluation_is_in_the_table_and_inside_its_bounds(name: str) -> None:
    app, metrics = load_task(name), EVALUATIONS[name]()
    assert len(metrics) >= 4
    for key, value in metrics.items():
        metric = app.metrics[key]
        if value is not None and isfinite(value):
            low, high = metric.bounds
            assert low - 1e-9 <= value <= high + 1e-9, (key, value)
    rows = app(None).log_dict(metrics)
    assert rows
    assert all(app.metrics.find(key) is not None for key in rows), rows.keys()


@pytest.mark.parametrize("name", TASKS)
def test_what_a_training_is_watched_by_has_a_better_side(name: str) -> None:
    app = load_task(name)
    assert app.primary_metric is app.metrics[app.metrics.primary]
    assert len(app.metrics.monitors) >= 3
    for metric in app.metrics.monitors:
        assert isinstance(app.metrics.higher_is_better(metric), bool)
    assert app.primary_metric.name in EVALUATIONS[name]()
    assert app.metrics.higher_is_better("val/loss") is False
    assert app.metrics.higher_is_better("train/loss") is False
    assert app.metrics.higher_is_better("train/any_term_of_a_head") is False
    with pytest.raises(UnknownMetricError, match="'goodness' is not among the metrics of"):
        app.metrics["goodness"]


def test_the_metrics_of_the_objects_are_all_twelve_and_every_kind_of_error() -> None:
    table, metrics = load_task("objects").metrics, objects()
    assert {*FIGURES, "ap/cat", "ap/dog/wolf", *(f"errors/{kind}" for kind in KINDS)} == metrics.keys()
    assert [table.higher_is_better(f"errors/{kind}") for kind in KINDS] == [True] + [False] * 6


def test_a_real_run_has_no_metric_that_is_not_in_the_table(colour_run: Path) -> None:
    table = load_task("dogs").metrics
    for key in json.loads((colour_run / "config.json").read_text())["metrics"]:
        assert isinstance(table.higher_is_better(key), bool)
    rows = [json.loads(line) for line in (colour_run / "metrics.jsonl").read_text().splitlines()]
    keys = {key for row in rows for key in row if key.startswith(("train/", "val/"))}
    assert {"train/loss", "val/loss", "val/top1"} <= keys
    assert all(table.find(key) is not None for key in keys)


def test_a_name_goes_before_a_family_and_a_split_is_no_part_of_it() -> None:
    assert TABLE["share/all"].higher_is_better is False
    assert TABLE["share/some/other"] is TABLE["val/share/some/other"]
    assert TABLE.higher_is_better("val/songs") is TABLE.higher_is_better("train/songs") is True
    assert TABLE.higher_is_better("train/share/x") is False, "a term of the loss, whatever it is called"


def test_what_is_not_in_the_table_raises_and_what_has_no_better_side_too() -> None:
    assert TABLE.direction("weight_1") is None
    assert TABLE.direction("feathers") is None
    with pytest.raises(UnknownMetricError, match="neither better high nor better low"):
        TABLE.higher_is_better("weight_1")
    message = "'feathers' is not among the metrics of birds; there are songs, noise, share"
    with pytest.raises(UnknownMetricError, match=message):
        TABLE.higher_is_better("feathers")
    assert issubclass(UnknownMetricError, ValueError)


def test_a_metric_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TABLE["songs"].higher_is_better = False  # type: ignore[misc]


def test_the_table_of_several_tasks_is_theirs_and_their_mean() -> None:
    joint = joint_table({"x": TABLE, "where": load_task("places").metrics})
    assert joint.higher_is_better("val/mean")
    assert joint.higher_is_better("x/songs")
    assert joint.higher_is_better("val/where/median_km") is False
    assert joint.higher_is_better("val/x/loss") is False
    assert joint.direction("weight/x") is None
    assert joint.find("y/songs") is None
    assert "where/median_km" in joint.names()
