"""A training of several tasks in the making: one setup a task, and the one that teaches them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from apps.engine.core.console import Screen
from apps.engine.core.distributed import World
from apps.engine.core.metrics import Metric, MetricTable, joint_table
from apps.engine.core.registry import load_app
from apps.engine.core.task import Evaluation
from apps.engine.training.fit import OneHead, predict_val
from apps.engine.training.frozen.cached_features import fit_head, pools
from apps.engine.training.setup import TrainSetup, prepare
from apps.engine.training.state import TrainState, restore_state, start_state
from apps.joint.model import JointModel
from apps.joint.sampler import JointLoader, TaskAccumulator, batches_of
from apps.joint.settings import JointSettings, TaskSpec
from heads import MultiHead

MEAN = "mean"
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

    def metrics(self) -> dict[str, Any]:
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

    def intervals(self) -> dict[str, list[float]]:
        """Those of each task as ``TASK/METRIC``."""
        return _flat({name: part.intervals() for name, part in self.parts.items()})


def _flat(parts: Mapping[str, Mapping[str, V]]) -> dict[str, V]:
    return {f"{name}/{key}": value for name, part in parts.items() for key, value in part.items()}


class JointTask:
    """Several tasks as one: their metrics by ``TASK/METRIC``, and the mean of their primary ones."""

    name: ClassVar[str] = "joint"

    def __init__(self, tasks: Mapping[str, TrainSetup], model: JointModel) -> None:
        self.tasks, self.model = tasks, model
        self.tables = {name: setup.app.metrics for name, setup in tasks.items()}
        self.metrics = joint_table(self.tables)
        self.primary_metric = self.metrics.primary_metric

    def log_dict(self, figures: Mapping[str, float]) -> dict[str, float]:
        """What a line of ``metrics.jsonl`` tells: the tasks' rows, their mean and their weights."""
        found = {} if figures.get(MEAN) is None else {f"val/{MEAN}": figures[MEAN]}
        for name, setup in self.tasks.items():
            start = f"{name}/"
            own = {key.removeprefix(start): v for key, v in figures.items() if key.startswith(start)}
            row = setup.app.log_dict(own)
            found |= {f"val/{name}/{key.removeprefix('val/')}": value for key, value in row.items()}
        return found | {f"weight/{name}": value for name, value in self.model.told_weights().items()}


def _greatest(metric: Metric) -> float:
    """What a metric can reach; 1 where it has no upper bound."""
    greatest = metric.bounds[1]
    return greatest if isfinite(greatest) else 1.0


def watched_tasks(tables: Mapping[str, MetricTable]) -> list[str]:
    """The tasks whose primary metric is better high, so that it goes into the mean."""
    return [name for name, table in tables.items() if table.primary_metric.higher_is_better]


@dataclass
class JointSetup(TrainSetup):
    """The setup that teaches the tasks together; each of ``tasks`` judges and is kept by itself."""

    tasks: dict[str, TrainSetup] = field(default_factory=dict)

    def evaluated(self) -> JointEvaluation:
        """The evaluation of each task on its validation images."""
        model: Any = self.model
        found = {}
        for name, setup in self.tasks.items():
            model.switch(name)
            found[name] = predict_val(setup)
        return JointEvaluation(found, {name: setup.app.metrics for name, setup in self.tasks.items()})

    def regrouped(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The optimiser's groups with the learned loss weights in one of their own, which comes first."""
        model: Any = self.model
        learned = list(model.log_variance.values())
        if not learned:
            return groups
        ids = {id(one) for one in learned}
        rest = [one | {"params": [p for p in one["params"] if id(p) not in ids]} for one in groups]
        own = {"params": learned, "lr": UNCERTAINTY_LR, "weight_decay": 0.0, "name": "loss weights"}
        return [own, *(one for one in rest if one["params"])]


def prepare_joint(
    tasks: Sequence[TaskSpec], given: Mapping[str, Any], run: Path, screen: Screen, world: World
) -> JointSetup:
    """A setup a task on one backbone, and the one that teaches them together.

    Raises:
        OSError: data or weights are missing.
        ValueError: settings, data or weights do not fit.
    """
    joint = JointSettings(**given)
    setups: dict[str, TrainSetup] = {}
    for task in tasks:
        screen.say(f"{task.name}:")
        settings = load_app(task.app).Settings(**task.settings(given))
        setups[task.name] = prepare(task.app, settings, run / task.name, screen, world)
    first = next(iter(setups.values()))
    trained_in = first.model.backbone_dtype
    chosen = _resolved(joint, first.settings, len(setups), pretrained=joint.weights is not None)
    heads: dict[str, Any] = {}
    for name, setup in setups.items():
        heads[name] = setup.model.heads[setup.app.name]
        setup.backbone = first.backbone
        setup.model = MultiHead(first.backbone, {setup.app.name: heads[name]})
        setup.model.backbone_dtype = trained_in
    model = JointModel(
        first.backbone, heads, weights={task.name: task.weight for task in tasks},
        learned=chosen.loss_weights == "learned", apart=chosen.batch_norm == "apart",
    )
    model.backbone_dtype = trained_in
    app = JointTask(setups, model)
    _check_monitor(chosen, app)
    sources = {name: setup.train for name, setup in setups.items()}
    counts = batches_of(
        {name: len(source) for name, source in sources.items()}, chosen.task_sampling,
        {task.name: task.share for task in tasks},
    )
    screen.say("batches an epoch: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    loader: Any = JointLoader(sources, counts)
    stands_for_app: Any = app
    classes = tuple(f"{name}/{one}" for name, setup in setups.items() for one in setup.classes)
    made = JointSetup(
        stands_for_app, chosen, run, screen, model.to(world.device), first.backbone, first.info, classes,
        loader.photos, train=loader, still=first.still, val=first.val, reading=first.reading, world=world,
        terms=_terms(setups, model), precision=first.precision, tasks=setups,
    )
    made.judge, made.regroup = made.evaluated, made.regrouped
    for setup in setups.values():
        setup.signals, setup.timer = made.signals, made.timer
    return made


def _resolved(joint: JointSettings, first: Any, count: int, *, pretrained: bool) -> JointSettings:
    """The settings of all tasks with every None as the first task chose it."""
    given, chosen = vars(joint), vars(first)
    plain = {name: chosen[name] for name, value in given.items() if value is None and name in chosen}
    plain |= {name: given[name] for name in ("data", "teacher", "monitor", "keep", "patience")}
    norm = joint.batch_norm if joint.batch_norm != "auto" else "still" if pretrained else "apart"
    return replace(joint, **plain | {"accumulate": joint.accumulate or count, "batch_norm": norm})


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


def _terms(setups: Mapping[str, TrainSetup], model: JointModel) -> Any:
    """(images, module, (task, targets)) -> that task's terms, weighed."""
    views = {name: OneHead(model, name) for name in setups}

    def terms(images: Tensor, _module: nn.Module, targets: tuple[str, Any]) -> dict[str, Tensor]:
        name, own = targets
        return model.weigh(name, setups[name].terms(images, views[name], own))

    return terms


def begin_joint(
    setup: TrainSetup, saved: dict[str, Any] | None, *, any_world: bool = False
) -> tuple[TrainState, nn.Module]:
    """The heads' starts and the state, all as they were saved where they were."""
    tasks: dict[str, TrainSetup] = setup.tasks  # type: ignore[attr-defined]
    if saved is None and setup.settings.weights is not None:
        for one in tasks.values():
            if pools(one):
                fit_head(one)
        setup.backbone.unfreeze()
    state = start_state(setup, setup.model)
    state.totals = TaskAccumulator()
    if saved is not None:
        restore_state(setup, state, saved, any_world=any_world)
    return state, setup.model
