"""The runs under a folder: found, read without torch, put in order and compared."""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from apps.engine.core.live import main_figure
from apps.engine.core.metrics import MetricTable, best_of
from apps.engine.core.process import is_alive, this_machine
from apps.engine.tracking.loggers import METRICS, read_rows
from apps.engine.tracking.run_metrics import sorting_direction, table_of
from datasets.outside import whole_file, words_of

MODEL, CONFIG, TRAINING, PROGRESS = "model.safetensors", "config.json", "training.pt", "progress.json"
JOINT = "joint.json"  # of several tasks trained together; their runs are in folders of their own
SKIPPED = {"tensorboard", "mlruns", "wandb", "__pycache__", "node_modules"}
FINISHED, STOPPED, RUNNING, INTERRUPTED, DAMAGED = "finished", "stopped", "running", "interrupted", "damaged"
PERHAPS = "running?"  # nothing here can tell
FRESH_SECONDS = 600  # a training that wrote so lately may still run
COLUMNS = ("run", "app", "state", "backbone", "resolution", "photos", "epochs_done", "seconds", "date")


@dataclass(frozen=True)
class Run:
    """One run's folder, as far as it could be read.

    Args:
        run: its path, as given.
        state: ``finished``, ``stopped``, ``running``, ``interrupted`` (its process died), ``running?``
            (no telling) or ``damaged``; ``note`` says why.
        epochs_done: with a row in ``metrics.jsonl``; ``epochs`` are planned.
        best: ``metric``, ``value`` and ``epoch`` of the best epoch.
        metrics: of the finished model; before that those of the last epoch, without ``val/``.
        seconds: of training, the sum over the epochs.
        date: when the folder was last written, local time, ISO 8601.
        settings: as resolved.
        intervals: 95 % [lower, upper] of some of the metrics.
        data: which images, in words and counts.
    """

    run: str
    state: str
    note: str = ""
    app: str | None = None
    backbone: str | None = None
    resolution: int | None = None
    photos: int | None = None
    epochs_done: int | None = None
    epochs: int | None = None
    best: dict[str, Any] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    date: str = ""
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    intervals: dict[str, list[float]] = field(default_factory=dict, repr=False)
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """A line of JSON; settings and intervals are for comparing, not for listing."""
        hidden = ("settings", "intervals", "data")
        return {name: value for name, value in vars(self).items() if name not in hidden}


def find_runs(root: Path) -> list[Run]:
    """All runs in and under a folder, by path.

    Raises:
        FileNotFoundError: there is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; give the folder that holds your runs")
    results = [run for folder, names in _folders(root) if (run := read_run(folder, names)) is not None]
    if not results:
        raise FileNotFoundError(f"there is no run in {root}; `finetune APP --out {root}/NAME` makes one")
    return sorted(results, key=lambda item: item.run)


def _folders(root: Path) -> Iterator[tuple[Path, set[str] | OSError]]:
    """Every folder with the names of its files; a folder that cannot be listed with the error."""
    failed: list[OSError] = []
    for folder, inside, names in os.walk(root, onerror=failed.append):
        inside[:] = sorted(item for item in inside if item not in SKIPPED and not item.startswith("."))
        yield Path(folder), set(names)
    yield from ((Path(error.filename), error) for error in failed)


def read_run(folder: Path, names: set[str] | OSError | None = None) -> Run | None:
    """What is known of one folder; None where it is no run's.

    Args:
        folder: perhaps of a run.
        names: of the files in it, or why they cannot be listed; looked up where they are not given.
    """
    if names is None:
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if isinstance(names, OSError):
        return Run(str(folder), DAMAGED, f"cannot be read: {names.strerror}")
    marks = names & {TRAINING, METRICS, PROGRESS}
    if not marks and CONFIG not in names:
        return None
    try:
        config = _object(folder / CONFIG) if CONFIG in names else {}
        if not marks and MODEL not in names and "app" not in config:
            return None  # somebody else's config.json
        return _described(folder, names, config)
    except OSError as err:
        return Run(str(folder), DAMAGED, f"cannot be read: {err.strerror or err}", date=_date(folder, names))
    except Exception as err:  # one damaged run is a line of the list, whatever is wrong with it
        return Run(str(folder), DAMAGED, words_of(err), date=_date(folder, names))


def _object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(whole_file(path))
    except RecursionError as err:
        raise ValueError(f"{path.name} is no JSON of ours: it is nested too deep") from err
    except ValueError as err:
        raise ValueError(f"{path.name} is no JSON: cut off or overwritten") from err
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} holds no object")
    return values


def _described(folder: Path, names: set[str], config: dict[str, Any]) -> Run:
    """A run from its files.

    Raises:
        ValueError: they do not fit together; the message says which.
    """
    progress = _object(folder / PROGRESS) if PROGRESS in names else {}
    rows, complaints = read_rows(folder) if METRICS in names else ([], [])
    if config and MODEL not in names:
        raise ValueError(f"{MODEL} is missing beside {CONFIG}")
    if config:
        _check(config)
    results = {"app": str, "backbone": str, "resolution": int, "photos": int}
    run = Run(
        str(folder), *_state(folder, names, config, progress), date=_date(folder, names),
        **{name: progress[name] for name, kind in results.items() if isinstance(progress.get(name), kind)},
    )
    run = _with_epochs(run, config, progress, rows)
    notes = [run.note, f"{len(complaints)} damaged lines in {METRICS}" if complaints else ""]
    run = replace(run, note="; ".join(filter(None, notes)))
    if not config:
        return run
    settings, backbone, data = config["settings"], config.get("backbone", {}), config.get("data", {})
    return replace(
        run, app=config["app"], backbone=backbone.get("name"), resolution=_whole(settings.get("resolution")),
        photos=_whole(data.get("train")), settings=settings, data=data,
        intervals=config.get("intervals", {}),
    )


def _check(config: dict[str, Any]) -> None:
    for name, kind in (("app", str), ("settings", dict)):
        if not isinstance(config.get(name), kind):
            raise ValueError(f"{CONFIG} lacks {name!r}")
    for name in ("metrics", "backbone", "data", "intervals"):
        if not isinstance(config.get(name, {}), dict):
            raise ValueError(f"{name!r} in {CONFIG} is no table")
    if not isinstance(config.get("backbone", {}).get("name", ""), str):
        raise ValueError(f"the name of the backbone in {CONFIG} is no text")


def _with_epochs(
    run: Run, config: dict[str, Any], progress: dict[str, Any], rows: list[dict[str, Any]]
) -> Run:
    """Epochs, figures and time; the finished model's figures win over those of its last epoch."""
    done = [row["epoch"] for row in rows if _whole(row.get("epoch")) is not None]
    metrics = {
        name.removeprefix("val/"): value for name, value in (rows[-1] if rows else {}).items()
        if name.startswith("val/") and is_number(value)
    }
    final = {name: value for name, value in config.get("metrics", {}).items() if is_number(value)}
    if final and (run.state == FINISHED or not metrics):
        metrics = final
    seconds = [row["seconds"] for row in rows if is_number(row.get("seconds"))]
    planned = progress.get("epochs", config.get("settings", {}).get("epochs") if done else None)
    return replace(
        run, epochs_done=max(done) if done else _whole(progress.get("epoch")), epochs=_whole(planned),
        metrics=metrics, best=_best(rows, run, config, progress),
        seconds=round(sum(seconds), 1) if seconds else None,
    )


def _best(
    rows: Sequence[dict[str, Any]], run: Run, config: dict[str, Any], progress: dict[str, Any]
) -> dict[str, Any] | None:
    """The best epoch by the metric that the run was watched by, or by what else was evaluated.

    None where no table says which way that metric is better.
    """
    app = config.get("app", run.app)
    table = table_of(app if isinstance(app, str) else None, Path(run.run))
    settings = config.get("settings") or progress.get("settings") or {}
    monitor = settings.get("monitor") or (table.primary if table else "top1")
    name = main_figure(rows[-1], f"val/{monitor}") if rows else None
    evaluated = [row for row in rows if is_number(row.get(name or ""))]
    higher = table.direction(name) if table and name else None
    if name is None or higher is None or not evaluated:
        return None
    at = best_of([row[name] for row in evaluated], name, higher_is_better=higher)
    best = evaluated[at]
    return {"metric": name.removeprefix("val/"), "value": best[name], "epoch": best.get("epoch")}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_number(value: Any) -> bool:
    """Whether a value of a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _state(
    folder: Path, names: set[str], config: dict[str, Any], progress: dict[str, Any]
) -> tuple[str, str]:
    """The state and a note on it; what the training itself has written goes before what can be guessed."""
    answer = progress.get("state")
    resumable = "" if TRAINING in names or config else "no checkpoint to go on from"
    if answer == RUNNING:
        return _process(progress, resumable)
    if isinstance(answer, str) and answer and answer != FINISHED:
        return answer, resumable
    if config:
        return FINISHED, ""
    if answer == FINISHED and JOINT in names:
        return FINISHED, "a run a task in its folders"
    if answer == FINISHED:
        raise ValueError(f"{PROGRESS} says finished, but {CONFIG} is missing")
    written = max((folder / name).stat().st_mtime for name in names & {TRAINING, METRICS})
    lately = datetime.now().timestamp() - written < FRESH_SECONDS
    return (PERHAPS, "written to lately") if lately else (STOPPED, resumable)


def _process(progress: dict[str, Any], resumable: str) -> tuple[str, str]:
    """Whether the process that a progress file names still works on it."""
    pid, host = progress.get("pid"), progress.get("host")
    if progress.get("machine", this_machine()) != this_machine():
        return PERHAPS, "on another machine, which cannot be asked from here"
    if "machine" not in progress and host != socket.gethostname():  # an older run
        return PERHAPS, f"on {host}, which cannot be asked from here"
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 1:
        raise ValueError(f"{PROGRESS} says running, but its process id is {pid!r}")
    if sys.platform == "win32":
        return PERHAPS, f"process {pid}"
    reported = progress.get("time")
    if is_alive(pid, reported if is_number(reported) else None):
        return RUNNING, f"process {pid}"
    return INTERRUPTED, "; ".join(filter(None, (f"process {pid} is gone", resumable)))


def _date(folder: Path, names: set[str]) -> str:
    times = [
        (folder / name).stat().st_mtime for name in names & {CONFIG, TRAINING, METRICS, PROGRESS}
        if (folder / name).exists()
    ]
    return datetime.fromtimestamp(max(times)).isoformat(timespec="seconds") if times else ""


def metric_table(run: Run) -> MetricTable | None:
    """The table of a run's application; None where this version does not know it."""
    return table_of(run.app, Path(run.run))


def ordered(runs: Sequence[Run], by: str) -> list[Run]:
    """The runs with the best first; those without the figure come last.

    Args:
        runs: in any order.
        by: a figure, with or without ``val/``, or one of :data:`COLUMNS`; numbers there go up, dates down.

    Raises:
        ValueError: no run has it, or it is not known which way it is better.
    """
    name = by.removeprefix("val/")
    pick: Callable[[Run], Any] = lambda run: getattr(run, name) if name in COLUMNS else run.metrics.get(name)  # noqa: E731
    having = [run for run in runs if pick(run) not in (None, "")]
    if not having:
        there = sorted({metric for run in runs for metric in run.metrics})
        raise ValueError(f"no run has {by!r} to sort by; there are {', '.join([*there, *COLUMNS])}")
    rest = [run for run in runs if pick(run) in (None, "")]
    down = name == "date" if name in COLUMNS else sorting_direction(name, map(metric_table, having))
    return [*sorted(having, key=pick, reverse=down), *rest]
