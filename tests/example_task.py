"""A task of another package on nothing but the contract's defaults: several tags an image; an example."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from apps.engine.core.metrics import Metric, MetricTable
from apps.engine.core.run_dir import Calibration
from apps.engine.core.settings import Settings
from apps.engine.defaults import TaskDefaults
from apps.engine.evaluation.binary import average_precision
from apps.engine.evaluation.collecting import CollectingEvaluator
from datasets.base import ImageDataset, Photo
from heads import MultiLabelClassifier


class Tagged(ImageDataset):
    """Images with a row of 0 and 1, one a tag."""

    single_label = False
    rows: tuple[Any, ...] = ()

    def target(self, index: int) -> Any:
        return self.rows[index]


@dataclass(frozen=True)
class Averages:
    """Average precision of each tag."""

    ap: Mapping[str, float | None]
    count: int

    def __len__(self) -> int:
        return self.count

    def metrics(self) -> Mapping[str, float | None]:
        known = [value for value in self.ap.values() if value is not None]
        each = {f"ap/{name}": value for name, value in self.ap.items()}
        return {"mean_ap": float(np.mean(known)) if known else None} | each

    def intervals(self) -> Mapping[str, list[float]]:
        return {}


@dataclass(frozen=True)
class ExampleSettings(Settings):
    """Those of every task."""


class Example(TaskDefaults[ExampleSettings, MultiLabelClassifier]):
    """Images to tags."""

    name: ClassVar[str] = "example"
    Settings: ClassVar[type[Settings]] = ExampleSettings
    metrics: ClassVar[MetricTable] = MetricTable(
        "example", (Metric("mean_ap", True), Metric("ap/*", True)), primary="mean_ap"
    )

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> Tagged:
        lines = list(csv.DictReader((self.data / f"{split}.csv").open()))
        tags = tuple(classes or [name for name in lines[0] if name != "path"])
        images = Tagged([Photo(self.data / line["path"], 0) for line in lines], tags)
        images.rows = tuple(np.array([float(line[tag]) for tag in tags], np.float32) for line in lines)
        return images

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> MultiLabelClassifier:
        return MultiLabelClassifier(channels[max(channels)], tuple(classes), stride=max(channels))

    def evaluator(
        self, images: Tagged, classes: Sequence[str], calibration: Calibration | None = None
    ) -> CollectingEvaluator[Tensor, Tensor, Averages]:
        def averages(logits: Tensor, targets: Tensor, indices: list[int]) -> Averages:
            columns = zip(classes, logits.T.double().numpy(), targets.T.double().numpy(), strict=True)
            ap = {name: average_precision(scores, true) for name, scores, true in columns}
            return Averages(ap, len(indices))

        return CollectingEvaluator(averages)
