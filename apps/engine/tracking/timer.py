"""Wall time by stage of a training: waiting for data, forward, backward and so on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

IN_A_STEP = ("data", "float", "forward", "loss", "exchange", "backward", "optimizer")
OTHER = "other"

Item = TypeVar("Item")


class _Stage:
    """One stage's clock, to be entered again and again."""

    __slots__ = ("began", "count", "seconds", "timer")

    def __init__(self, timer: StageTimer) -> None:
        self.timer, self.seconds, self.count, self.began = timer, 0.0, 0, 0.0

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.add(time.perf_counter() - self.began)

    def add(self, seconds: float) -> None:
        """Count a stretch of time, unless the timer is paused."""
        if not self.timer.paused:
            self.seconds += seconds
            self.count += 1


class StageTimer:
    """Wall time by stage, cheap enough to be always on: two readings of the clock a stage.

    ``with timer("forward"): ...``. Stages do not nest. The names of a step are in :data:`IN_A_STEP`.
    """

    def __init__(self) -> None:
        self.stages: dict[str, _Stage] = {}
        self.paused = False
        self.on_other_stage: Callable[[], None] | None = None
        self.began, self.left_out, self._paused_at = time.perf_counter(), 0.0, 0.0

    def __call__(self, name: str) -> _Stage:
        """The stage of that name, as a context."""
        if self.on_other_stage is not None and name not in IN_A_STEP:
            self.on_other_stage()
        result = self.stages.get(name)
        if result is None:
            result = self.stages[name] = _Stage(self)
        return result

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with the wait for each counted to a stage."""
        waiting, began = self(name), time.perf_counter()
        for item in items:
            waiting.add(time.perf_counter() - began)
            yield item
            began = time.perf_counter()

    def reset(self) -> None:
        """Forget what was measured so far."""
        for stage in self.stages.values():
            stage.seconds, stage.count = 0.0, 0
        self.began, self.left_out = time.perf_counter(), 0.0

    def pause(self) -> None:
        """Count nothing until :meth:`go_on`, as steps that are looked at closely are slow."""
        self.paused, self._paused_at = True, time.perf_counter()

    def go_on(self) -> None:
        """Count again."""
        self.paused, self.left_out = False, self.left_out + time.perf_counter() - self._paused_at

    def shares(self) -> dict[str, dict[str, float]]:
        """``seconds``, ``share`` of the wall time, and ``count`` of each stage; ``other`` is the rest."""
        paused = time.perf_counter() - self._paused_at if self.paused else 0.0
        wall = max(time.perf_counter() - self.began - self.left_out - paused, 1e-9)
        rows = {name: (stage.seconds, stage.count) for name, stage in self.stages.items() if stage.count}
        rows[OTHER] = (max(wall - sum(seconds for seconds, _ in rows.values()), 0.0), 0)
        return {
            name: {"seconds": round(seconds, 6), "share": round(seconds / wall, 6), "count": count}
            for name, (seconds, count) in rows.items()
        }
