"""``finetune``: images and settings in, a run's folder out."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

from apps.engine.core import run_dir
from apps.engine.core.console import Console
from apps.engine.core.distributed import World, joined
from apps.engine.core.files import LOCK, only_process, remove_unused, writable_folder
from apps.engine.core.registry import load_task
from apps.engine.core.run_values import EXPORTED
from apps.engine.core.settings import Settings, flag_name
from apps.engine.core.task import AnyTask, Evaluation
from apps.engine.scale.local_data import present, with_local_data
from apps.engine.training.finalize import finalize
from apps.engine.training.fit import begin, fit, predict_val
from apps.engine.training.frozen.cached_features import fit_head
from apps.engine.training.setup import TrainSetup, prepare
from backbone.schema import parse_json, short
from datasets.base import ImageDataset

# What a resumed run may be given anew; of these only epochs changes the weights, and says so.
CHANGEABLE = {"epochs", "workers", "cache", "cache_gb", "save_every", "log", "profile", "export",
              "device"}


def finetune(
    name: str, given: dict[str, Any], *, out: Path, resume: bool = False, stop_after: int | None = None,
    any_world: bool = False, console: Console,
) -> dict[str, Any] | None:
    """Train an application and write its run.

    Args:
        name: of the application.
        given: the settings that the user gave; the others are chosen here. ``data`` may be an address.
        out: the run's folder; made where it is missing.
        resume: go on with the run in ``out``; begin it where nothing is there yet and settings are given.
        stop_after: end after that many of the planned epochs, to be resumed.
        any_world: let a run go on with another number of processes.
        console: where words and progress go.

    Returns:
        ``{"app", "run", "metrics", "seconds"}``, and ``"skipped"``, the number of unreadable images;
        None in all processes but the first.

    Raises:
        OSError: ``out`` cannot be written, or data or weights are missing.
        ValueError: a setting, the data or the weights do not fit; the message says how to mend it.
        FloatingPointError: the loss was not finite.
        Stopped: a signal asked for it; what was learned is kept.
    """
    start = time.perf_counter()
    with joined() as processes:
        console = console if processes.is_main else Console(quiet=True)
        resume = resume or (processes.restarts > 0 and bool(run_dir.read_progress(out)))
        given = with_local_data(given, console)
        saved, settings = _beginning(load_task(name).Settings, given, out, resume=resume, console=console)
        if settings.data is not None:
            present(settings.data, console)
        world = processes.on(settings.device)
        claim = only_process(claim_run(out, resume=resume)) if world.is_main else nullcontext()
        with claim:
            setup, task = _prepared(name, settings, out, console, world)
            if world.is_main:
                discard_failed(out, resume=resume)
            raw, epochs = _trained(setup, task, saved, stop_after=stop_after, any_world=any_world)
            answer = {"app": name, "run": str(out), "metrics": {}, "seconds": _since(start)}
            if raw is None:
                return answer | {"epochs_done": epochs} if world.is_main else None
            metrics = finalize(setup, task, raw, seconds=_since(start))
            answer |= {"metrics": metrics, "seconds": _since(start), "skipped": len(setup.skipped.reasons)}
            if settings.fix is not None:
                answer |= {"fixed": _fixed(setup.photos, setup.val.photos)}
            return answer if world.is_main else None


def _trained(
    setup: TrainSetup, task: AnyTask, saved: dict[str, Any] | None, *, stop_after: int | None, any_world: bool
) -> tuple[Evaluation | None, int]:
    """Train as the settings say; the evaluation, None if epochs are left to do, and the epochs done."""
    if setup.fits_head:
        fit_head(setup, task)
        return predict_val(setup, task), 0
    state = begin(setup, task, saved, any_world=any_world)
    if fit(setup, state, task, stop_after=stop_after):
        return state.evaluate(), state.epoch
    setup.console.say(
        f"stopped after {state.epoch} of {setup.settings.epochs} epochs; --resume --out {setup.run} goes on"
    )
    return None, state.epoch


def _fixed(*splits: ImageDataset) -> dict[str, int]:
    """Images that ``--fix`` moved, and those that it left out."""
    return {key: sum(part.fixed.get(key, 0) for part in splits) for key in ("moved", "left_out")}


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 1)


def _prepared(
    name: str, settings: Settings, out: Path, console: Console, world: World
) -> tuple[TrainSetup, AnyTask]:
    """The setup; a run's folder in which nothing has begun is taken away again where that fails."""
    try:
        return prepare(name, settings, out, console, world)
    except BaseException:
        if world.is_main and not run_dir.read_progress(out):
            remove_unused(out)
        raise


def claim_run(out: Path, *, resume: bool) -> Path:
    """Make the run's folder; never write over a run that is there."""
    writable_folder(out)
    marks = (run_dir.CONFIG,) if _learned_nothing(out) else (run_dir.CONFIG, run_dir.TRAINING)
    if not resume and any((out / name).exists() for name in marks):
        raise FileExistsError(f"{out} holds a run already; give another --out, or --resume to go on with it")
    begun = any((out / name).exists() for name in (run_dir.CONFIG, run_dir.TRAINING))
    if (out / EXPORTED).exists() and not begun:
        raise FileExistsError(f"{out} holds a {EXPORTED} that is no run's, as pages do; give another --out")
    return out


def discard_failed(out: Path, *, resume: bool) -> None:
    """Remove the state of a run that failed in its first epoch, once another is ready to take its place."""
    if not resume and _learned_nothing(out):
        (out / run_dir.TRAINING).unlink(missing_ok=True)


def _learned_nothing(out: Path) -> bool:
    progress = run_dir.read_progress(out)
    return progress.get("state") == "failed" and not progress.get("epoch")


def _beginning(
    kind: type[Settings], given: dict[str, Any], out: Path, *, resume: bool, console: Console
) -> tuple[dict[str, Any] | None, Settings]:
    """The state to go on from, if there is one, and the settings.

    A run that died before its first checkpoint goes on from nothing, with the settings it was given.
    """
    if not resume:
        return None, kind(**given)
    if given.keys() - CHANGEABLE and not _holds_something(out):  # else a run that is there is meant
        console.say(f"nothing is in {out} yet: the run begins")
        return None, kind(**given)
    begun = run_dir.read_progress(out).get("settings")
    if begun is not None and not (out / run_dir.TRAINING).exists():
        console.say(f"{out} has no checkpoint yet: the run starts from its beginning, with its settings")
        return None, _resumed_settings(kind, begun, given, console)
    saved = run_dir.load_training_state(out)
    kept = parse_json(saved["settings"], out / run_dir.TRAINING)
    return saved, _resumed_settings(kind, kept, given, console)


def _holds_something(out: Path) -> bool:
    """Whether a folder has anything in it but a lock."""
    return out.is_dir() and any(entry.name != LOCK for entry in out.iterdir())


def check_same(kind: type[Settings], kept: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse flags that say something else than the settings of a run that is there.

    Raises:
        ValueError: one does; the message names it.
    """
    plain = kind(**given).to_dict()
    for name in given:
        if name not in CHANGEABLE and plain[name] != kept.get(name):
            raise ValueError(
                f"the run was started with {flag_name(name)} {kept.get(name)}, not {plain[name]}; "
                f"leave {flag_name(name)} out, or start another run with another --out"
            )


def _resumed_settings(
    kind: type[Settings], kept: dict[str, Any], given: dict[str, Any], console: Console
) -> Settings:
    """The settings that the run was started with; flags that say something else are refused."""
    if not isinstance(kept, dict) or "epochs" not in kept:
        raise ValueError(f"the settings that the run was started with are damaged: {short(kept)}")
    check_same(kind, kept, given)
    names = {field.name for field in fields(kind)}
    changes = {name: value for name, value in given.items() if name in CHANGEABLE}
    if kept["epochs"] is not None and changes.get("epochs", kept["epochs"]) != kept["epochs"]:
        console.warn(
            f"planned for {kept['epochs']} epochs, now for {changes['epochs']}: the rate follows the new "
            "plan from here on, so the result is not that of a run planned so from its start"
        )
    return kind(**({key: value for key, value in kept.items() if key in names} | changes))
