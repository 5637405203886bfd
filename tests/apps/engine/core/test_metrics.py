"""One table of metrics an application: every metric that is reported is in it, with its better side."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from math import inf, isfinite
from pathlib import Path

import pytest
from task_table import CASES

from apps.engine.core.metrics import Metric, MetricTable, UnknownMetricError, joint_table
from apps.engine.core.registry import TASKS, load_task
from apps.objects.coco_metrics import FIGURES
from apps.objects.errors import KINDS

TABLE = MetricTable("birds", (
    Metric("songs", True, "count", (0, inf)), Metric("noise", False), Metric("share/*", True),
    Metric("share/all", False), Metric("weight_*", None),
), primary="songs")


def test_every_application_has_an_evaluation_here() -> None:
    assert CASES.keys() == TASKS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_of_an_evaluation_is_in_the_table_and_inside_its_bounds(name: str) -> None:
    app, metrics = load_task(name), CASES[name].example()
    assert metrics
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
    assert app.metrics.monitors
    for metric in app.metrics.monitors:
        assert isinstance(app.metrics.higher_is_better(metric), bool)
    assert app.primary_metric.name in CASES[name].example()
    assert app.metrics.higher_is_better("val/loss") is False
    assert app.metrics.higher_is_better("train/loss") is False
    assert app.metrics.higher_is_better("train/any_term_of_a_head") is False
    with pytest.raises(UnknownMetricError, match="'goodness' is not among the metrics of"):
        app.metrics["goodness"]


def test_the_metrics_of_the_objects_are_all_twelve_and_every_kind_of_error() -> None:
    table, metrics = load_task("objects").metrics, CASES["objects"].example()
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
