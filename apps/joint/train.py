"""``joint``: several tasks' images in, a run a task out, all with one backbone."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.engine.core import run_dir
from apps.engine.core.console import Console
from apps.engine.core.distributed import World
from apps.engine.core.files import (
    json_line,
    only_process,
    read_object,
    remove_unused,
    write_json,
    write_text,
)
from apps.engine.core.metrics import MetricTable
from apps.engine.core.registry import load_task
from apps.engine.core.settings import flag_name, local, shareable
from apps.engine.reporting.markdown import aligned
from apps.engine.training.finalize import finalize
from apps.engine.training.finetune import CHANGEABLE, claim_run, discard_failed, finetune
from apps.engine.training.fit import fit
from apps.joint.settings import SEPARATE, JointSettings, TaskSpec
from apps.joint.setup import begin_joint, prepare_joint
from backbone.weights import locate_weights
from datasets.outside import one_line

TASKS_FILE, SUMMARY = "tasks.json", "joint.json"


def joint(
    tasks: Sequence[TaskSpec], given: Mapping[str, Any], *, out: Path, resume: bool = False,
    stop_after: int | None = None, compare: bool = False, console: Console,
) -> dict[str, Any]:
    """Train several heads on one backbone, and write a run a task.

    Args:
        tasks: two or more; with ``resume`` none will do, they are those that the run was started with.
        given: the settings of all tasks that the user gave; see :class:`JointSettings`.
        out: folder for the whole; ``out/NAME`` becomes the run of the task NAME.
        resume: go on with what is in ``out``.
        stop_after: end after that many of the planned epochs, to be resumed.
        compare: then train each task alone, too, into ``out/separate/NAME``, and compare.
        console: where words and progress go.

    Returns:
        ``{"app": "joint", "run", "tasks": {NAME: {"app", "run", "metrics"}}, "metrics", "fingerprint",
        "seconds", "skipped"}``, and ``"compare"`` where it was asked for; ``"fingerprint"`` is None where
        batch-norm was kept apart.

    Raises:
        OSError: ``out`` cannot be written, or data or weights are missing.
        ValueError: a setting, the data or the weights do not fit; or several processes were started.
        FloatingPointError: the loss was not finite.
        Stopped: a signal asked for it; what was learned is kept.
    """
    start = time.perf_counter()
    if not resume and (out / TASKS_FILE).exists():
        raise FileExistsError(f"{out} holds a joint run already; give another --out, or --resume")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("joint runs in one process; start it without torchrun")
    tasks, kept = _beginning(tasks, given, out, resume=resume)
    given = {name: local(value) if isinstance(value, str) else value for name, value in kept.items()}
    if given.get("weights") is not None:
        locate_weights(given["weights"])
    with only_process(claim_run(out, resume=resume)):
        write_json(out / TASKS_FILE, {"tasks": [task.to_dict() for task in tasks], "settings": _plain(given)})
        try:
            if JointSettings(**given).freeze:
                answer = _alone(tasks, given, out, console, freeze=True, stop_after=stop_after)
            else:
                answer = _together(tasks, given, out, console, resume=resume, stop_after=stop_after)
        except BaseException:
            _discard_unbegun(out)
            raise
        if compare and "epochs_done" not in answer:
            alone = _alone(tasks, {**given, "freeze": False}, out / SEPARATE, console)
            answer["compare"] = compared(answer["tasks"], alone["tasks"])
            console.say(table(answer["compare"], {task.name: load_task(task.app).metrics for task in tasks}))
        answer = {"app": "joint", "run": str(out), **answer, "seconds": round(time.perf_counter() - start, 1)}
        write_json(out / SUMMARY, shareable(answer))
        return answer


def _beginning(
    tasks: Sequence[TaskSpec], given: Mapping[str, Any], out: Path, *, resume: bool
) -> tuple[list[TaskSpec], dict[str, Any]]:
    """Tasks and settings: as given, or as the run was started with.

    Raises:
        FileNotFoundError: there is nothing to resume.
        ValueError: the run was started with other tasks or settings.
    """
    if not resume:
        return list(tasks), dict(given)
    path = out / TASKS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, so there is nothing to resume; leave --resume out")
    kept = read_object(path)
    with one_line(path, "restore it, or train into another --out", "is damaged"):
        begun = [TaskSpec(**task) for task in kept["tasks"]]
        JointSettings(**kept["settings"])
    if tasks and [task.to_dict() for task in tasks] != kept["tasks"]:
        raise ValueError("the run was started with other tasks or data; leave them out with --resume")
    changes = {name: value for name, value in given.items() if name in CHANGEABLE - {"epochs"}}
    for name, value in _plain(given).items():
        if name not in changes and value != kept["settings"].get(name):
            raise ValueError(
                f"the run was started with {flag_name(name)} {kept['settings'].get(name)}, not {value}; "
                f"leave {flag_name(name)} out, or start another run with another --out"
            )
    return begun, kept["settings"] | changes


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    return dict(shareable(dict(given)))


def _together(
    tasks: Sequence[TaskSpec], given: Mapping[str, Any], out: Path, console: Console, *, resume: bool,
    stop_after: int | None,
) -> dict[str, Any]:
    """One training for all tasks, and the run of each."""
    start = time.perf_counter()
    setup, joint_task = prepare_joint(
        tasks, given, out, console, World().on(JointSettings(**given).device)
    )
    discard_failed(out, resume=resume)
    saved = None
    if resume and (out / run_dir.TRAINING).exists():
        saved = run_dir.load_training_state(out)
    state = begin_joint(setup, joint_task, saved)
    if not fit(setup, state, joint_task, stop_after=stop_after):
        done = f"{state.epoch} of {setup.settings.epochs} epochs"
        console.say(f"stopped after {done}; --resume --out {out} goes on")
        return {"tasks": {}, "metrics": {}, "epochs_done": state.epoch}
    result, prints = {}, set()
    for name, part in joint_task.parts.items():
        item = part.setup
        item.run.mkdir(exist_ok=True)
        write_text(item.run / run_dir.METRICS, "".join(
            json_line(row) + "\n" for row in rows_of(name, run_dir.read_metrics(out))
        ))
        raw = joint_task.evaluate_part(name)
        metrics = finalize(item, part.task, raw, seconds=time.perf_counter() - start)
        result[name] = {"app": item.name, "run": str(item.run), "metrics": metrics}
        prints.add(item.backbone.fingerprint())
    run_dir.finish_progress(out)
    if len(prints) > 1:
        console.warn("batch-norm is kept apart, so the tasks' backbones differ: no one pass serves them all")
    parts = (setup, *(part.setup for part in joint_task.parts.values()))
    return _answer(result, prints, sum(len(entry.skipped.reasons) for entry in parts))


def _discard_unbegun(out: Path) -> None:
    """Leave no trace of a training that was refused before anything was learned."""
    begun = (run_dir.PROGRESS, run_dir.CONFIG)
    if any((folder / name).exists() for folder in (out, *out.iterdir()) for name in begun):
        return
    (out / TASKS_FILE).unlink(missing_ok=True)
    remove_unused(out)


def _alone(
    tasks: Sequence[TaskSpec], given: Mapping[str, Any], out: Path, console: Console, **changes: Any
) -> dict[str, Any]:
    """A run a task, each trained alone; those that are finished stay."""
    stop_after = changes.pop("stop_after", None)
    results: dict[str, Any] = {}
    prints, skipped = set(), 0
    for task in tasks:
        run = out / task.name
        if not (run / run_dir.CONFIG).exists():
            console.say(f"{task.name}, alone:")
            begun = bool(run_dir.read_progress(run))
            reported = {} if begun else task.settings(given) | changes
            done = finetune(
                task.app, reported, out=run, resume=begun, stop_after=stop_after, console=console
            ) or {}
            if "epochs_done" in done:
                return {"tasks": {}, "metrics": {}, "epochs_done": done["epochs_done"]}
        config = run_dir.read_config(run, app=task.app)
        skipped += len(config.data.get("skipped", ()))
        prints.add(config.fingerprint)
        results[task.name] = {"app": task.app, "run": str(run), "metrics": config.metrics}
    return _answer(results, prints, skipped)


def _answer(tasks: Mapping[str, Any], prints: set[str], skipped: int) -> dict[str, Any]:
    """What ``joint`` answers; a fingerprint where the tasks have one backbone."""
    fingerprint = next(iter(prints)) if len(prints) == 1 else None
    return {"tasks": tasks, "metrics": flat(tasks), "fingerprint": fingerprint, "skipped": skipped}


def flat(tasks: Mapping[str, Any]) -> dict[str, float]:
    """The figures of all tasks by ``TASK/FIGURE``."""
    return {f"{name}/{key}": value for name, task in tasks.items() for key, value in task["metrics"].items()}


def rows_of(name: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` as one task's: its own figures without its name, and what all share."""
    shared = ("epoch", "lr", "seconds", "photos_per_second", "fp32_repeats")
    results = []
    for row in rows:
        custom = {key: row[key] for key in shared if key in row}
        terms = {}
        for split in ("train", "val"):
            start = f"{split}/{name}/"
            custom |= {
                f"{split}/{key.removeprefix(start)}": value
                for key, value in row.items() if key.startswith(start)
            }
        terms = {key: value for key, value in custom.items() if key.startswith("train/")}
        results.append(custom | {"train/loss": sum(terms.values())})
    return results


def compared(joint_tasks: Mapping[str, Any], alone: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Each figure of each task that is defined in both, [trained jointly, trained alone]."""
    return {
        name: {
            key: [value, alone[name]["metrics"][key]]
            for key, value in task["metrics"].items()
            if value is not None and alone[name]["metrics"].get(key) is not None
        }
        for name, task in joint_tasks.items()
    }


def table(figures: Mapping[str, Mapping[str, Sequence[float]]], tables: Mapping[str, MetricTable]) -> str:
    """The comparison as lines of text, with what the joint training made of each metric.

    Args:
        figures: of :func:`compared`.
        tables: of metrics, by task.
    """
    rows = [("task", "figure", "joint", "separate", "difference", "joint is")]
    for name, figure in figures.items():
        rows += [
            (name, key, f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}", _verdict(a - b, tables[name].direction(key)))
            for key, (a, b) in figure.items()
        ]
    return "\n".join(aligned(rows, left=(0, 1, 5)))


def _verdict(difference: float, higher_is_better: bool | None) -> str:
    """A word on a difference, of chance apart; nothing where neither side is better."""
    if higher_is_better is None or not difference:
        return ""
    return "better" if (difference > 0) == higher_is_better else "worse"
