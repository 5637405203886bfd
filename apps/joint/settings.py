"""What ``joint`` can be given: the options that all tasks share, and those of one task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from apps.engine.core.registry import load_task
from apps.engine.core.settings import Settings, flag_name, local, option, shareable

SEPARATE = "separate"  # folder of the runs that --compare trains
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
# Never a single task's.
OF_ALL = ("monitor", "keep", "patience", "accumulate", "log", "profile")
OF_ONE = ("data", "teacher")  # never all tasks'


@dataclass(frozen=True)
class JointSettings(Settings):
    """The options of ``joint`` that hold for all tasks; those of :class:`Settings` reach every task."""

    refused: ClassVar[Mapping[str, str]] = {}  # each task refuses what it must
    fits_head: ClassVar[bool] = True

    accumulate: int = option(0, "batches whose gradients make one update; 0: one a task", low=0)
    bn: str = option(
        "auto",
        "batch-norm statistics: frozen (those of the weights), trained by all tasks, or apart by task; "
        "auto: frozen with weights, else apart",
        choices=("auto", "frozen", "train", "apart"),
    )
    task_sampling: str = option(
        "balanced", "batches of each task: as many, by --share, or by the size of its data",
        choices=("balanced", "weighted", "size"),
    )
    loss_weights: str = option(
        "fixed", "of the tasks: fixed (--weight), or learned from their uncertainty",
        choices=("fixed", "learned"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bn == "apart" and self.ema:
            raise ValueError("--ema averages one set of statistics, --bn apart has several; give one")


@dataclass(frozen=True)
class TaskSpec:
    """One task: an application with its data.

    Args:
        name: of its run's folder and of its figures.
        app: the application.
        data: folder of its images.
        share: of the batches, relative to the others', with ``--task-sampling weighted``.
        weight: of its loss, with ``--loss-weights fixed``.
        given: options of the application that only this task has.

    Raises:
        ValueError: the name is no plain word, or share or weight are not above 0.
    """

    name: str
    app: str
    data: Path | None = None
    share: float = 1.0
    weight: float = 1.0
    given: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name == SEPARATE:
            raise ValueError(
                f"{self.name!r} is no name of a task: small letters, digits, - and _, and not {SEPARATE!r}"
            )
        for flag, value in (("--share", self.share), ("--weight", self.weight)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{flag} {self.name}={value:g} must be above 0 and finite")
        if self.data is not None:
            object.__setattr__(self, "data", Path(local(str(self.data))).absolute())
        results = {k: v.absolute() if isinstance(v, Path) else v for k, v in self.given.items()}
        object.__setattr__(self, "given", results)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return dict(shareable(asdict(self)))

    def settings(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """What the user gave for this task: the options of all tasks that it knows, then its own."""
        known = {field_.name for field_ in fields(load_task(self.app).Settings)}
        shared = {k: v for k, v in common.items() if k in known and k not in (*OF_ALL, *OF_ONE)}
        if shared.get("bn") == "apart":
            shared["bn"] = "train"
        return shared | ({} if self.data is None else {"data": self.data}) | self.given


def make_tasks(
    words: Sequence[str], *, data: Mapping[str, Any], share: Mapping[str, float],
    weight: Mapping[str, float], given: Mapping[str, dict[str, Any]],
) -> list[TaskSpec]:
    """The tasks that the words name, ``APP`` or ``NAME=APP``, with what was said of each by name.

    Raises:
        ValueError: two tasks have one name, there is but one, an option names a task that is not there, or
            some tasks have data and others none.
        KeyError: there is no such application.
    """
    pairs = [(left, right or left) for left, _, right in (word.partition("=") for word in words)]
    names = [name for name, _ in pairs]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"joint wants two tasks or more, each with a name of its own, got {', '.join(names) or 'none'}; "
            "two of one application are named so: terriers=dogs hounds=dogs"
        )
    for flag, reported in (("data", data), ("share", share), ("weight", weight), ("set", given)):
        strange = sorted(set(reported) - set(names))
        if strange:
            raise ValueError(f"{flag_name(flag)} {strange[0]}: there is no such task; {', '.join(names)}")
    without = [name for name in names if name not in data]
    if data and without:  # without any, applications that have one take their sample
        raise ValueError(f"task {without[0]} has no data; give --data {without[0]}=DIR")
    for _, app in pairs:
        load_task(app)
    return [
        TaskSpec(name, app, data.get(name), share.get(name, 1.0), weight.get(name, 1.0), given.get(name, {}))
        for name, app in pairs
    ]
