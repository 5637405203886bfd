"""``finetune``: photos and settings in, a run's folder out."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from apps.engine import checkpoint
from apps.engine.files import writable_folder
from apps.finish import finish
from apps.job import prepare
from apps.progress import Screen
from apps.registry import load_app
from apps.settings import Settings, flag_name
from apps.training import restore, train_all, train_frozen

CHANGEABLE = {"epochs", "workers"}  # what a resumed run may be told anew


def finetune(
    name: str, given: dict[str, Any], *, out: Path, resume: bool = False, stop_after: int | None = None,
    screen: Screen,
) -> dict[str, Any]:
    """Train an application and write its run.

    Args:
        name: of the application.
        given: the settings that the user gave; the others are chosen here.
        out: the run's folder; made where it is missing.
        resume: go on with the run in ``out``.
        stop_after: end after that many of the planned epochs, to be resumed.
        screen: where words and progress go.

    Returns:
        ``{"app", "run", "metrics", "seconds"}``, and ``"skipped"``, the number of unreadable photos.

    Raises:
        OSError: ``out`` cannot be written, or data or weights are missing.
        ValueError: a setting, the data or the weights do not fit; the message says how to mend it.
        FloatingPointError: the loss was not finite.
    """
    start = time.perf_counter()
    kind = load_app(name)
    saved = checkpoint.load_training_state(out) if resume else None
    if saved is None:
        settings = kind.Settings(**given)
    else:
        settings = _resumed_settings(kind.Settings, saved, given, screen)
    new = not out.exists()
    _claim(out, resume=resume)
    try:
        job = prepare(name, settings, out, screen)
    except BaseException:
        if new:
            out.rmdir()  # nothing is in it yet
        raise
    if job.settings.freeze:
        train_frozen(job)
    else:
        begun = restore(job, saved) if saved is not None else 0
        if begun >= job.settings.epochs:
            screen.say(f"all {begun} epochs are done: judging and reporting again")
        done = train_all(job, saved, start=begun, stop_after=stop_after)
        if done < job.settings.epochs:
            screen.say(f"stopped after {done} of {job.settings.epochs} epochs; --resume --out {out} goes on")
            part = {"app": name, "run": str(out), "metrics": {}, "seconds": _since(start)}
            return part | {"epochs_done": done}
    metrics = finish(job, seconds=_since(start))
    return {
        "app": name, "run": str(out), "metrics": metrics, "seconds": _since(start), "skipped": len(job.bad),
    }


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 1)


def _claim(out: Path, *, resume: bool) -> None:
    """Make the run's folder; never write over a run that is there."""
    writable_folder(out)
    if not resume and any((out / name).exists() for name in (checkpoint.CONFIG, checkpoint.TRAINING)):
        raise FileExistsError(f"{out} holds a run already; give another --out, or --resume to go on with it")


def _resumed_settings(
    kind: type[Settings], saved: dict[str, Any], given: dict[str, Any], screen: Screen
) -> Settings:
    """The settings that the run was started with; flags that say something else are refused."""
    kept: dict[str, Any] = json.loads(saved["settings"])
    plain = kind(**given).to_dict()
    for name in given:
        if name not in CHANGEABLE and plain[name] != kept.get(name):
            raise ValueError(
                f"the run was started with {flag_name(name)} {kept.get(name)}, not {plain[name]}; "
                f"leave {flag_name(name)} out, or start another run with another --out"
            )
    names = {one.name for one in fields(kind)}
    changes = {name: value for name, value in given.items() if name in CHANGEABLE}
    if changes.get("epochs", kept["epochs"]) != kept["epochs"]:
        screen.warn(
            f"planned for {kept['epochs']} epochs, now for {changes['epochs']}: the rate follows the new "
            "plan from here on, so the result is not that of a run planned so from its start"
        )
    return kind(**({key: value for key, value in kept.items() if key in names} | changes))
