"""Training a setup: the head alone on cached features, or every layer, epoch by epoch."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn

from apps.engine.core import run_dir
from apps.engine.core.model import SingleHead
from apps.engine.core.task import AnyTask, Evaluation, Trainable
from apps.engine.data.collate import all_finite
from apps.engine.data.loader import reading_deaths
from apps.engine.inference.tta import tta_logits
from apps.engine.tracking.monitor import Watching, watching
from apps.engine.training.frozen.cached_features import FeatureLoader, fit_head, pools, with_cached_features
from apps.engine.training.loop import MetricAccumulator, rate, run_model, train_epoch
from apps.engine.training.optim.layer_decay import apply_unfreezing, learning_layers, unfrozen_at
from apps.engine.training.setup import BatchSource, TrainSetup
from apps.engine.training.signals import Stopped
from apps.engine.training.state import (
    TrainState,
    restore_state,
    save_state,
    seed_update,
    shared_module,
    start_state,
    tell_progress,
)


def fit(setup: TrainSetup, state: TrainState, task: Trainable, *, stop_after: int | None = None) -> bool:
    """Run the epochs that are left; whether that is the end, with the weights to keep in the model.

    Args:
        setup: the training, which is not changed.
        state: where it stands, from :func:`begin`; it is moved on and saved.
        task: what is learned.
        stop_after: end after this many epochs more.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        FloatingPointError: the loss was not finite.
    """
    s = setup.settings
    last = s.epochs if stop_after is None else min(s.epochs, state.epoch + stop_after)
    if state.epoch >= s.epochs:
        setup.console.say(f"all {state.epoch} epochs are done: evaluating and reporting again")
    with setup.signals.listening(), reading_deaths(), watching(setup, state, task) as watch:
        save_state(setup, state, must=True)
        try:
            while state.epoch < last and not state.best.exhausted(s.patience):
                one_epoch(setup, state, watch)
                end_epoch(setup, state, task, watch)
        except FloatingPointError:
            tell_progress(setup, state, "failed")
            raise
        except Stopped as err:
            save_state(setup, state, must=True)
            tell_progress(setup, state, "stopped")
            raise Stopped(err.code - 128, _where(setup, state)) from err
    if state.epoch < s.epochs and not state.best.exhausted(s.patience):
        tell_progress(setup, state, "stopped")
        return False
    load_best(setup, state)
    tell_progress(setup, state, "running")  # until it is evaluated
    return True


def _where(setup: TrainSetup, state: TrainState) -> str:
    place = f"update {state.step} of {state.steps} of epoch {state.epoch + 1} of {setup.settings.epochs}"
    return f"stopped after {place}; everything is kept: --resume --out {setup.run} goes on"


def begin(
    setup: TrainSetup, task: AnyTask, saved: dict[str, Any] | None, *, any_world: bool = False
) -> TrainState:
    """The state from which to train: the head's start and a fresh optimiser, or all as it was saved.

    Args:
        setup: the training.
        task: what is learned.
        saved: the state to go on from.
        any_world: go on with another number of processes.

    Raises:
        ValueError: what was saved is of other images, classes or processes.
    """
    s = setup.settings
    if s.freeze:
        setup.backbone.freeze()
    elif saved is None and s.weights is not None and pools(setup):
        fit_head(setup, task)  # a head that fits first: a random one would shake good features
        setup.backbone.unfreeze()
    module: nn.Module = SingleHead(setup.model, setup.name)
    train, features = setup.train, None
    if s.freeze and s.cached_features:
        train, features = with_cached_features(setup)
        module = setup.head
    state = start_state(
        setup, task, module, train=train, evaluate=partial(predict_val, setup, task, features)
    )
    if saved is not None:
        restore_state(setup, state, saved, any_world=any_world)
    setup.world.broadcast_state(setup.model)
    return state


def one_epoch(setup: TrainSetup, state: TrainState, watch: Watching) -> None:
    """The updates of an epoch that are left; everything random in one depends on its place alone."""
    s = setup.settings
    setup.model.train()
    if s.unfreeze_every is not None:
        stages = learning_layers(setup.backbone, coarse=True)
        apply_unfreezing(setup.backbone, unfrozen_at(state.epoch, every=s.unfreeze_every, stages=stages))
    state.train_step.model = shared_module(setup, state.module)

    def on_step(done: int, totals: MetricAccumulator) -> None:
        state.step, state.totals = done, totals
        watch.step(done, totals)
        if time.monotonic() - state.saved_at >= s.save_every:
            save_state(setup, state, must=False)

    train_epoch(
        state.train_step, state.train.epoch(state.epoch, start=state.step * s.accumulate),
        accumulate=s.accumulate, totals=state.totals, done=state.step,
        epoch_start=state.epoch * state.steps, on_step=on_step,
        seed=lambda done: seed_update(s.seed, state.epoch, done, setup.world.rank),
    )


def end_epoch(setup: TrainSetup, state: TrainState, task: Trainable, watch: Watching) -> None:
    """Evaluate what the epoch gave, write its row, and keep the state of its end."""
    save_state(setup, state, must=False)  # evaluating can be done again
    for bad in setup.world.gather(state.totals.bad):
        setup.skipped.note(bad)
    with averaged_weights(setup, state):
        metrics = state.evaluate().metrics()
        better = state.best.improved(metrics, state.epoch + 1)
        if better and keeps_best(setup.settings) and setup.world.is_main:
            keep_best(setup)
    watched: float | None = metrics[state.best.metric]
    state.schedule.epoch_end(float("nan") if watched is None else watched)
    for note in setup.reading.cache.notes() if setup.reading.cache else ():
        setup.console.warn(note)
    totals = state.totals
    row = {
        "epoch": state.epoch + 1, **{f"train/{k}": v for k, v in totals.means().items()},
        **task.log_dict(metrics), "lr": state.train_step.optimizer.param_groups[-1]["lr"],
        "seconds": round(totals.seconds, 2), "photos_per_second": round(totals.photos / totals.seconds, 2),
        **({} if state.train_step.in_fp32 is None else {"fp32_repeats": totals.fp32_repeats}),
    }
    if setup.world.is_main:
        run_dir.append_metrics(setup.run, row)
        watch.epoch(row)
    state.epoch, state.step, state.totals = state.epoch + 1, 0, type(totals)()
    save_state(setup, state, must=False)


def keeps_best(settings: Any) -> bool:
    """Whether the best epoch's weights are kept, not the last one's."""
    return settings.keep == "best" or (settings.keep is None and settings.patience is not None)


def keep_best(setup: TrainSetup) -> None:
    """Keep the weights under evaluation as the best ones; the state of before is whole if that fails."""
    try:
        run_dir.save_best(setup.run, setup.model.state_dict())
    except OSError as err:
        raise OSError(
            f"cannot write {setup.run / run_dir.BEST} ({err.strerror}); make room, then go on with --resume "
            f"--out {setup.run}"
        ) from err


def averaged_weights(setup: TrainSetup, state: TrainState) -> AbstractContextManager[Any]:
    """The averaged weights in place of the raw ones, where there are some."""
    return state.ema.swapped(setup.model) if state.ema else nullcontext()


def load_best(setup: TrainSetup, state: TrainState) -> None:
    """Leave the weights in the model that the run is to keep: the best epoch's, the average, or the last."""
    if keeps_best(setup.settings):
        if setup.world.is_main:
            run_dir.load_best(setup.run, setup.model)
        setup.console.say(f"kept: epoch {state.best.epoch}, {state.best.metric} {state.best.value:.4f}")
    elif state.ema is not None:
        state.ema.copy_to(setup.model)
    setup.world.broadcast_state(setup.model)


def predict_val(setup: TrainSetup, task: AnyTask, features: FeatureLoader | None = None) -> Evaluation:
    """The evaluation on the validation images, averaged over views where the settings say so.

    Args:
        setup: the training.
        task: what is learned.
        features: that stand for the validation images, where the backbone is frozen.
    """
    setup.model.eval()
    known = features is not None and task.tta == "none"
    source: BatchSource = features if features is not None and known else setup.val
    network: Any = setup.head if known else setup.eval_forward()

    finite: list[bool] = []

    def forward(images: Tensor) -> Any:
        outputs = task.postprocess(setup.head, tta_logits(network, images, task.tta))
        finite.append(all_finite(outputs))
        return outputs

    evaluator = task.evaluator(setup.val.photos, setup.classes)
    with setup.console.track("validation", len(source)) as update, setup.timer("validation"):
        bad = run_model(
            forward, source.epoch(0), evaluator, world=setup.world, signals=setup.signals,
            on_step=lambda n, totals: update(n, rate(totals)),
        )
    setup.skipped.note(bad)
    if not all(map(all, setup.world.gather(finite))):
        raise FloatingPointError(
            "the network's answers are not finite: lower --lr or --clip-norm, and train into another --out"
        )
    evaluation: Evaluation = evaluator.compute()
    return evaluation
