"""A training of several tasks in the making: one setup a task, and the one that teaches them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

from torch import Tensor, nn

from apps.engine.core.console import Screen
from apps.engine.core.distributed import World
from apps.engine.core.metric_table import joint_table
from apps.engine.core.registry import load_app
from apps.engine.training.fit import OneHead, predict_val
from apps.engine.training.frozen.cached_features import fit_head, pools
from apps.engine.training.setup import TrainSetup, prepare
from apps.engine.training.state import TrainState, restore_state, start_state
from apps.joint.model import JointModel
from apps.joint.sampler import JointLoader, TaskAccumulator, batches_of
from apps.joint.settings import JointSettings, TaskSpec
from heads import MultiHead

MEAN = "mean"
UNCERTAINTY_LR = 1e-2  # of the log variances, which are no weights of a network: about 1 in 100 updates


class JointApp:
    """Stands where an application stood: the figures of all tasks by ``TASK/FIGURE``, and their mean."""

    name: ClassVar[str] = "joint"
    monitor: ClassVar[str] = MEAN

    def __init__(self, tasks: Mapping[str, TrainSetup], model: JointModel) -> None:
        self.tasks, self.model = tasks, model
        self.metric_table = joint_table({name: setup.app.metric_table for name, setup in tasks.items()})

    def metrics(self, predictions: Mapping[str, Any]) -> dict[str, Any]:
        """The figures of each task, and ``mean``, that of the figures which the tasks are watched by.

        One that is undefined on the photos at hand is None, and does not count.
        """
        own = {name: setup.app.metrics(predictions[name]) for name, setup in self.tasks.items()}
        watched = watched_tasks(self.tasks)
        told = {name: own[name][self.tasks[name].app.monitor] for name in watched}
        shares = [
            value / _greatest(self.tasks[name].app)
            for name, value in told.items() if value is not None  # None is undefined on these photos
        ]
        flat = {f"{name}/{key}": value for name, figures in own.items() for key, value in figures.items()}
        return ({MEAN: mean(shares) if shares else None} if watched else {}) | flat

    def log_dict(self, figures: Mapping[str, float]) -> dict[str, float]:
        """What a line of ``metrics.jsonl`` tells: the tasks' rows, their mean and their weights."""
        found = {} if figures.get(MEAN) is None else {f"val/{MEAN}": figures[MEAN]}
        for name, setup in self.tasks.items():
            start = f"{name}/"
            own = {key.removeprefix(start): v for key, v in figures.items() if key.startswith(start)}
            row = setup.app.log_dict(own)
            found |= {f"val/{name}/{key.removeprefix('val/')}": value for key, value in row.items()}
        return found | {f"weight/{name}": value for name, value in self.model.told_weights().items()}


def _greatest(app: Any) -> float:
    """What the metric that an application is watched by can reach; 1 where it has no upper bound."""
    greatest: float = app.metric_table[app.monitor].bounds[1]
    return greatest if isfinite(greatest) else 1.0


def watched_tasks(tasks: Mapping[str, TrainSetup]) -> list[str]:
    """The tasks whose metric of the best epoch is better high, so that it goes into the mean."""
    return [name for name, setup in tasks.items() if setup.app.metric_table.direction(setup.app.monitor)]


@dataclass
class JointSetup(TrainSetup):
    """The setup that teaches the tasks together; each of ``tasks`` judges and is kept by itself."""

    tasks: dict[str, TrainSetup] = field(default_factory=dict)

    def judged(self) -> dict[str, Any]:
        """The answers of each task on its validation photos."""
        model: Any = self.model
        found = {}
        for name, setup in self.tasks.items():
            model.switch(name)
            found[name] = predict_val(setup)
        return found

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
    app = JointApp(setups, model)
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
    made.judge, made.regroup = made.judged, made.regrouped
    for setup in setups.values():
        setup.signals, setup.timer = made.signals, made.timer
    return made


def _resolved(joint: JointSettings, first: Any, count: int, *, pretrained: bool) -> JointSettings:
    """The settings of all tasks with every None as the first task chose it."""
    plain = {k: getattr(first, k) for k, v in vars(joint).items() if v is None and hasattr(first, k)}
    plain |= {name: getattr(joint, name) for name in ("data", "teacher", "monitor", "keep", "patience")}
    norm = joint.batch_norm if joint.batch_norm != "auto" else "still" if pretrained else "apart"
    return replace(joint, **plain | {"accumulate": joint.accumulate or count, "batch_norm": norm})


def _check_monitor(settings: JointSettings, app: JointApp) -> None:
    """Refuse a figure to watch that is not there or that is better low."""
    known = [
        f"{name}/{figure}" for name, setup in app.tasks.items() for figure in setup.app.figures
        if setup.app.metric_table.direction(figure)
    ]
    if watched_tasks(app.tasks):
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
