"""The tables of metrics of runs that are read from disk, of applications known here or not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import chain
from pathlib import Path

from apps.engine.core.files import read_object
from apps.engine.core.metrics import Metric, MetricTable, UnknownMetricError, joint_table

JOINT, TASKS_FILE = "joint", "tasks.json"


def table_of(app: str | None, run: Path) -> MetricTable | None:
    """The table of a run's application; None where this version does not know the application.

    Args:
        app: its name; None where the run does not say it.
        run: the folder, which names the tasks of a joint training.
    """
    return _joint(run / TASKS_FILE) if app == JOINT else _registered(app)


@cache
def _registered(app: str | None) -> MetricTable | None:
    from apps.engine.core.registry import load_task, targets

    if app not in targets():
        return None
    try:
        return load_task(app).metrics
    except (ImportError, AttributeError, ValueError):  # its package was removed, or has an older contract
        return None


def _joint(listing: Path) -> MetricTable | None:
    try:
        tasks = read_object(listing)["tasks"]
        tables = {str(task["name"]): _registered(task["app"]) for task in tasks}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    unknown = MetricTable("joint", (Metric("*", None),), "loss")  # of a task that is not here
    return joint_table({name: table or unknown for name, table in tables.items()})


def shared_direction(name: str, tables: Iterable[MetricTable | None]) -> bool | None:
    """Whether more of a metric is better, as all tables that know it say; None where none knows it."""
    known = {table.direction(name) for table in tables if table is not None} - {None}
    return known.pop() if len(known) == 1 else None


def sorting_direction(name: str, tables: Iterable[MetricTable | None]) -> bool:
    """The same for a metric that runs are put in order by.

    Args:
        name: of the metric.
        tables: of the runs that have it.

    Raises:
        UnknownMetricError: no table says which way it is better, or two say the contrary.
    """
    there = list(tables)
    direction = shared_direction(name, there)
    if direction is None:
        names = {table.app: table.directed() for table in there if table is not None}
        raise UnknownMetricError(
            f"cannot sort by {name!r}: which way it is better is not said by "
            + (f"the metrics of {', '.join(names)}; sort by one of "
               f"{', '.join(dict.fromkeys(chain(*names.values())))}" if names
               else "any application that this version knows")
        )
    return direction
