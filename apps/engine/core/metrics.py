"""The metrics of a task: better side, unit and bounds; the best of some values, and how one is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

Metrics = Mapping[str, float | None]  # by the names of a task's table; None is undefined on these images
Intervals = Mapping[str, list[float]]  # 95 %, [lower, upper]
SHARE, ANY, POSITIVE = (0.0, 1.0), (-math.inf, math.inf), (0.0, math.inf)


class UnknownMetricError(ValueError):
    """A metric is not in the table of its application, or has no better side."""


@dataclass(frozen=True)
class Metric:
    """A metric, or a family of metrics.

    Args:
        name: as it is reported, without ``val/``; a ``*`` in it stands for anything, as in ``ap/*``.
        higher_is_better: None for what is neither, such as a threshold or the share of a class.
        unit: ``fraction``, ``nats``, ``km``, ``km2``, ``points``, ``count`` or ``cosine``.
        bounds: least and greatest value that it can take, in its unit.
    """

    name: str
    higher_is_better: bool | None
    unit: str = "fraction"
    bounds: tuple[float, float] = SHARE


LOSS = Metric("loss", False, "nats", ANY)  # a sum of terms, of which some may fall below 0
TERM = Metric("train/*", False, "nats", ANY)


@dataclass(frozen=True)
class MetricTable:
    """All metrics that an application reports; the losses of a training are in every table.

    Args:
        app: name of the application, for messages.
        metrics: of which the ones with a full name go before families.
        primary: name of the one that tells the best epoch unless the user names another.
        watchable: the other names that ``--monitor`` may give; each is in every evaluation and has a better
            side.
        parts: tables of tasks; ``TASK/METRIC`` is looked up in the task's.
    """

    app: str
    metrics: tuple[Metric, ...]
    primary: str
    watchable: tuple[str, ...] = ()
    parts: Mapping[str, MetricTable] = field(default_factory=dict)

    @property
    def primary_metric(self) -> Metric:
        """The metric that tells the best epoch."""
        return self[self.primary]

    @property
    def monitors(self) -> tuple[str, ...]:
        """The names that ``--monitor`` may give, the primary one first."""
        return (self.primary, *self.watchable)

    def find(self, name: str) -> Metric | None:
        """The metric of a name, with or without ``train/`` or ``val/``; None where it is in no table.

        A term of a training's loss has a name of its head's; each is better low.
        """
        split, _, rest = name.partition("/")
        if split == "train":
            return self._exact(rest) or TERM
        return self._named(rest if split == "val" else name)

    def __getitem__(self, name: str) -> Metric:
        """The metric of a name.

        Raises:
            UnknownMetricError: it is in no table.
        """
        metric = self.find(name)
        if metric is None:
            raise UnknownMetricError(
                f"{name!r} is not among the metrics of {self.app}; there are {', '.join(self.names())}"
            )
        return metric

    def higher_is_better(self, name: str) -> bool:
        """Whether more of a metric is better.

        Raises:
            UnknownMetricError: it is in no table, or is neither better high nor low.
        """
        direction = self[name].higher_is_better
        if direction is None:
            raise UnknownMetricError(f"{name!r} of {self.app} is neither better high nor better low")
        return direction

    def direction(self, name: str) -> bool | None:
        """Whether more of a metric is better; None where that is not known or it is neither."""
        metric = self.find(name)
        return None if metric is None else metric.higher_is_better

    def names(self) -> list[str]:
        """The names and families in the table, those of tasks by ``TASK/METRIC``."""
        tasks = [f"{task}/{name}" for task, table in self.parts.items() for name in table.names()]
        return [metric.name for metric in self.metrics] + tasks

    def directed(self) -> list[str]:
        """Of :meth:`names` those of which more is better, or less."""
        return [name for name in self.names() if self.direction(name) is not None]

    def _exact(self, name: str) -> Metric | None:
        known = {metric.name: metric for metric in (LOSS, *self.metrics)}
        return known.get(name)

    def _named(self, name: str) -> Metric | None:
        task, _, rest = name.partition("/")
        if task in self.parts:
            return self.parts[task].find(rest)
        families = (metric for metric in self.metrics if "*" in metric.name)
        return self._exact(name) or next(
            (family for family in families if fnmatchcase(name, family.name)), None
        )


def joint_table(parts: Mapping[str, MetricTable]) -> MetricTable:
    """The table of several tasks trained together: theirs, ``mean``, and the weights of their losses.

    Args:
        parts: table of each task by its name.
    """
    metrics = (Metric("mean", True), Metric("weight/*", None, "factor", POSITIVE))
    return MetricTable("joint", metrics, "mean", parts=dict(parts))


def logged(metrics: Metrics, names: Mapping[str, str] | Iterable[str]) -> dict[str, float]:
    """The metrics that a line of ``metrics.jsonl`` has, as ``val/NAME``, without those that are undefined.

    Args:
        metrics: of an evaluation; it need not have all of them.
        names: of the metrics, or what each is called in the line.
    """
    called = names if isinstance(names, Mapping) else {name: name for name in names}
    values = {short: metrics.get(name) for name, short in called.items()}
    return {f"val/{short}": value for short, value in values.items() if value is not None}


def best_of(values: list[float], name: str, *, higher_is_better: bool) -> int:
    """The position of the best value; of equals the first. Values that are no number are never the best.

    Args:
        values: one or more.
        name: of the metric, for the message.
        higher_is_better: as its table says.

    Raises:
        ValueError: there is no number among the values.
    """
    numbers = [at for at, value in enumerate(values) if not math.isnan(value)]
    if not numbers:
        raise ValueError(f"there is no number among the {len(values)} values of {name}")
    sign = -1 if higher_is_better else 1
    return min(numbers, key=lambda at: (sign * values[at], at))


def written(value: float) -> str:
    """A figure in few characters: 0.874, 12.35, 1240, 1.2e-05."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0 or 1e-3 <= size < 10:
        return f"{value:.3f}"
    return f"{value:.4g}" if size < 10_000 else f"{value:.0f}"
