"""A training of several tasks in the making: one setup a task, and the one that trains them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from torch import Tensor, nn

from apps.engine.core.console import Console
from apps.engine.core.distributed import World
from apps.engine.core.metrics import Intervals, Metric, Metrics, MetricTable, joint_table, logged
from apps.engine.core.model import SingleHead
from apps.engine.core.registry import load_task
from apps.engine.core.task import AnyTask, Evaluation
from apps.engine.training.fit import predict_val
from apps.engine.training.frozen.cached_features import fit_head, pools
from apps.engine.training.setup import SkippedImages, TrainSetup, prepare
from apps.engine.training.state import Groups, TrainState, restore_state, start_state
from apps.joint.model import JointModel
from apps.joint.sampler import JointLoader, TaskAccumulator, batches_of
from apps.joint.settings import JointSettings, TaskSpec
from heads import MultiHead

JOINT, MEAN = "joint", "mean"
V = TypeVar("V")
UNCERTAINTY_LR = 1e-2  # of the log variances, which are no weights of a network: about 1 in 100 updates


@dataclass(frozen=True)
class JointEvaluation:
    """The evaluations of several tasks.

    Args:
        parts: of each task.
        tables: of metrics, by task.
    """

    parts: Mapping[str, Evaluation]
    tables: Mapping[str, MetricTable]

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def metrics(self) -> Metrics:
        """Those of each task as ``TASK/METRIC``, and ``mean``, that of the tasks' primary metrics.

        One that is undefined on the images at hand is None, and does not count.
        """
        parts = {name: part.metrics() for name, part in self.parts.items()}
        watched = watched_tasks(self.tables)
        values = {name: parts[name][self.tables[name].primary] for name in watched}
        shares = [
            value / _greatest(self.tables[name].primary_metric)
            for name, value in values.items() if value is not None
        ]
        return ({MEAN: mean(shares) if shares else None} if watched else {}) | _flat(parts)

    def intervals(self) -> Intervals:
        """Those of each task as ``TASK/METRIC``."""
        return _flat({name: part.intervals() for name, part in self.parts.items()})


def _flat(parts: Mapping[str, Mapping[str, V]]) -> dict[str, V]:
    return {f"{name}/{key}": value for name, part in parts.items() for key, value in part.items()}


@dataclass(frozen=True)
class Part:
    """One task of a joint training: what it is trained from, and the task itself."""

    setup: TrainSetup
    task: AnyTask


class JointTask:
    """Several tasks as one: their metrics by ``TASK/METRIC``, and the mean of their primary ones.

    Args:
        parts: the tasks by name.
        model: their heads on one backbone.
    """

    name = JOINT

    def __init__(self, parts: Mapping[str, Part], model: JointModel) -> None:
        self.parts, self.model = dict(parts), model
        self.tables = {name: part.task.metrics for name, part in parts.items()}
        self.metrics = joint_table(self.tables)
        self.primary_metric = self.metrics.primary_metric
        self.views = {name: SingleHead(model, name) for name in parts}

    def evaluate(self) -> JointEvaluation:
        """The evaluation of each task on its validation images."""
        return JointEvaluation({name: self.evaluate_part(name) for name in self.parts}, self.tables)

    def evaluate_part(self, name: str) -> Evaluation:
        """That of one task, with its batch-norm statistics, which stay in the backbone."""
        self.model.switch(name)
        return predict_val(self.parts[name].setup, self.parts[name].task)

    def losses(self, images: Tensor, _module: nn.Module, targets: tuple[str, Any]) -> dict[str, Tensor]:
        """The weighted losses of a batch, whose targets are (task, that task's targets)."""
        name, own_targets = targets
        return self.model.weigh(name, self.parts[name].setup.losses(images, self.views[name], own_targets))

    def regrouped(self, groups: Groups) -> Groups:
        """The optimiser's groups with the learned loss weights in one of their own, which comes first."""
        learned = list(self.model.log_variance.values())
        if not learned:
            return groups
        ids = {id(weight) for weight in learned}
        rest = [group | {"params": [p for p in group["params"] if id(p) not in ids]} for group in groups]
        first = {"params": learned, "lr": UNCERTAINTY_LR, "weight_decay": 0.0, "name": "loss weights"}
        return [first, *(group for group in rest if group["params"])]

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """What a line of ``metrics.jsonl`` tells: the tasks' rows, their mean and their weights."""
        result = logged(metrics, (MEAN,))
        for name, part in self.parts.items():
            start = f"{name}/"
            results = {key.removeprefix(start): v for key, v in metrics.items() if key.startswith(start)}
            row = part.task.log_dict(results)
            result |= {f"val/{name}/{key.removeprefix('val/')}": value for key, value in row.items()}
        return result | {f"weight/{name}": value for name, value in self.model.current_weights().items()}


def _greatest(metric: Metric) -> float:
    """What a metric can reach; 1 where it has no upper bound."""
    greatest = metric.bounds[1]
    return greatest if isfinite(greatest) else 1.0


def watched_tasks(tables: Mapping[str, MetricTable]) -> list[str]:
    """The tasks whose primary metric is better high, so that it goes into the mean."""
    return [name for name, table in tables.items() if table.primary_metric.higher_is_better]


def prepare_joint(
    tasks: Sequence[TaskSpec], given: Mapping[str, Any], run: Path, console: Console, world: World
) -> tuple[TrainSetup, JointTask]:
    """The tasks on one backbone, and what trains them together.

    Raises:
        OSError: data or weights are missing.
        ValueError: settings, data or weights do not fit.
    """
    joint = JointSettings(**given)
    prepared: dict[str, Part] = {}
    for spec in tasks:
        console.say(f"{spec.name}:")
        settings = load_task(spec.app).Settings(**spec.settings(given))
        prepared[spec.name] = Part(*prepare(spec.app, settings, run / spec.name, console, world))
    first = next(iter(prepared.values())).setup
    chosen = _resolved(joint, first.settings, len(prepared), pretrained=joint.weights is not None)
    model = JointModel(
        first.backbone, {name: part.setup.head for name, part in prepared.items()},
        weights={spec.name: spec.weight for spec in tasks},
        learned=chosen.loss_weights == "learned", apart=chosen.bn == "apart",
    )
    model.backbone_dtype = first.model.backbone_dtype
    parts = {name: Part(_on(first, part.setup), part.task) for name, part in prepared.items()}
    task = JointTask(parts, model)
    _check_monitor(chosen, task)
    sources = {name: part.setup.train for name, part in parts.items()}
    counts = batches_of(
        {name: len(source) for name, source in sources.items()}, chosen.task_sampling,
        {spec.name: spec.share for spec in tasks},
    )
    console.say("batches an epoch: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    loader = JointLoader(sources, counts)
    joined_photos: Any = loader.photos
    setup = replace(
        first, name=JOINT, settings=chosen, run=run, model=model.to(world.device),
        classes=tuple(f"{name}/{word}" for name, part in parts.items() for word in part.setup.classes),
        photos=joined_photos, train=loader, losses=task.losses, skipped=SkippedImages(console),
    )
    return setup, task


def _on(first: TrainSetup, setup: TrainSetup) -> TrainSetup:
    """A task's setup with the backbone, the signals and the timer of the first one."""
    model = MultiHead(first.backbone, {setup.name: setup.head})
    model.backbone_dtype = first.model.backbone_dtype
    return replace(
        setup, backbone=first.backbone, model=model, signals=first.signals, timer=first.timer
    )


def _resolved(joint: JointSettings, first: Any, count: int, *, pretrained: bool) -> JointSettings:
    """The settings of all tasks with every None as the first task chose it."""
    given, chosen = vars(joint), vars(first)
    plain = {name: chosen[name] for name, value in given.items() if value is None and name in chosen}
    plain |= {name: given[name] for name in ("data", "teacher", "monitor", "keep", "patience")}
    norm = joint.bn if joint.bn != "auto" else "frozen" if pretrained else "apart"
    return replace(joint, **plain | {"accumulate": joint.accumulate or count, "bn": norm})


def _check_monitor(settings: JointSettings, app: JointTask) -> None:
    """Refuse a figure to watch that is not there or that is better low."""
    known = [
        f"{name}/{metric}" for name, table in app.tables.items() for metric in table.monitors
        if table.direction(metric)
    ]
    if watched_tasks(app.tables):
        known.insert(0, MEAN)
    asked = settings.monitor or MEAN
    if asked not in known:
        raise ValueError(f"--monitor {asked}: these tasks can be watched by {', '.join(known)}")


def begin_joint(setup: TrainSetup, task: JointTask, saved: dict[str, Any] | None) -> TrainState:
    """The state from which to train: the heads' starts and a fresh optimiser, or all as it was saved."""
    if saved is None and setup.settings.weights is not None:
        for part in task.parts.values():
            if pools(part.setup):
                fit_head(part.setup, part.task)
        setup.backbone.unfreeze()
    state = start_state(
        setup, task, setup.model, train=setup.train, evaluate=task.evaluate, regroup=task.regrouped
    )
    state.totals = TaskAccumulator()
    if saved is not None:
        restore_state(setup, state, saved, any_world=False)
    return state
