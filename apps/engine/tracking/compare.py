"""Runs side by side: settings that differ, figures, and whether they differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Any

from apps.engine.core.metrics import UnknownMetricError
from apps.engine.tracking.run_metrics import shared_direction
from apps.engine.tracking.runs import Run, is_number, metric_table

SHARES = ("top1", "top5", "accuracy", "rank1")  # of images that are right: n alone gives their interval
NOT_A_SETTING = ("app", "backbone", "resolution", "photos")


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """The first run beside the others.

    Two figures differ by more than chance where their difference is larger than both halves of the
    95 % intervals put together as independent ones: the root of the sum of their squares. Evaluated on the
    same images, two runs err together, so the true bound is lower: what passes here passes there.

    Args:
        runs: two or more, none of them damaged.

    Returns:
        ``runs`` as they are listed; ``settings``, name -> a value a run, of those that differ;
        ``metrics``, name -> ``values``, ``differences`` from the first run, ``beyond_chance`` (None where
        no interval is known) and ``better`` (None where equal, where neither side is better, or where no
        application of these runs is known here).

    Raises:
        ValueError: there are fewer than two, or one is damaged.
        UnknownMetricError: one has a metric that is not in the table of its application.
    """
    if len(runs) < 2:
        raise ValueError(f"comparing takes two runs or more, got {len(runs)}")
    for run in runs:
        if run.state == "damaged":
            raise ValueError(f"{run.run} cannot be compared: {run.note}")
        _check_names(run)
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return {
        "runs": [run.to_dict() for run in runs], "settings": _differing(runs),
        "metrics": {name: _beside(runs, name) for name in names},
    }


def _check_names(run: Run) -> None:
    """Raise UnknownMetricError where the table of a run's application lacks one of its metrics."""
    table = metric_table(run)
    if table is None:
        return
    for name in run.metrics:
        try:
            table[name]
        except UnknownMetricError as err:
            raise UnknownMetricError(f"{run.run} cannot be compared: {err}") from err


def _differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    results = [{name: getattr(run, name) for name in NOT_A_SETTING} | _compared(run) for run in runs]
    names = dict.fromkeys(name for item in results for name in item)
    rows = {name: [item.get(name) for item in results] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row[1:])}


def _compared(run: Run) -> dict[str, Any]:
    """The settings, with that of the name ``backbone`` left to what was really built."""
    return {name: value for name, value in run.settings.items() if name not in NOT_A_SETTING}


def _beside(runs: Sequence[Run], name: str) -> dict[str, Any]:
    """One figure of each run against that of the first."""
    values = [run.metrics.get(name) for run in runs]
    first, higher = values[0], shared_direction(name, map(metric_table, runs))
    differences = [None if v is None or first is None else round(v - first, 6) for v in values]
    beyond: list[bool | None] = [None]
    better: list[bool | None] = [None]
    for run, difference in zip(runs[1:], differences[1:], strict=True):
        noise = _noise(runs[0], run, name)
        beyond.append(None if noise is None or difference is None else abs(difference) > noise)
        better.append((difference > 0) == higher if difference and higher is not None else None)
    return {"values": values, "differences": differences, "beyond_chance": beyond, "better": better}


def _noise(first: Run, second: Run, name: str) -> float | None:
    halves = [_half(run, name) for run in (first, second)]
    return None if None in halves else hypot(*(half for half in halves if half is not None))


def _half(run: Run, name: str) -> float | None:
    """Half of the 95 % interval of a figure: the run's own, or Wilson's for a share of its val images."""
    bounds = run.intervals.get(name)
    if isinstance(bounds, list) and len(bounds) == 2 and all(map(is_number, bounds)):
        return (bounds[1] - bounds[0]) / 2
    n, share = run.data.get("val"), run.metrics.get(name)
    if name not in SHARES or not isinstance(n, int) or n < 1 or share is None or not 0 <= share <= 1:
        return None
    from apps.engine.evaluation.classification import wilson_interval

    low, high = wilson_interval(round(share * n), n)
    return (high - low) / 2
