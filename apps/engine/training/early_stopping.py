"""The best epoch by a named figure, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class EarlyStopping:
    """The best value of a figure so far; of equal ones the first.

    Args:
        metric: its name among the figures.
        higher_is_better: as the application's table of metrics says.

    Attributes:
        value: the best value; None before the first finite one.
        epoch: its epoch.
        waited: epochs noted since then.
    """

    def __init__(self, metric: str, *, higher_is_better: bool) -> None:
        self.metric, self.higher_is_better = metric, higher_is_better
        self.value: float | None = None
        self.epoch: int | None = None
        self.waited = 0

    def improved(self, figures: Mapping[str, float | None], epoch: int) -> bool:
        """Note the figures of an epoch; whether they are the best so far. What is not finite never is.

        Raises:
            ValueError: the figure is not among them.
        """
        if self.metric not in figures:
            raise ValueError(f"there is no figure {self.metric!r}; there are: {', '.join(sorted(figures))}")
        given = figures[self.metric]
        value = math.nan if given is None else float(given)  # None: not defined on these images
        sign = 1 if self.higher_is_better else -1
        better = math.isfinite(value) and (self.value is None or sign * value > sign * self.value)
        if better:
            self.value, self.epoch, self.waited = value, epoch, 0
        else:
            self.waited += 1
        return better

    def exhausted(self, patience: int | None) -> bool:
        """Whether ``patience`` epochs or more went by without a better one; None waits for ever."""
        return patience is not None and self.waited >= patience

    def state_dict(self) -> dict[str, Any]:
        """Plain types, to be kept with the training state."""
        return {"metric": self.metric, "value": self.value, "epoch": self.epoch, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            ValueError: it is of another figure.
        """
        if state["metric"] != self.metric:
            raise ValueError(
                f"the run was started with the best epoch by {state['metric']!r}, not {self.metric!r}; "
                "give the same, or another --out"
            )
        self.value, self.epoch, self.waited = state["value"], state["epoch"], state["waited"]
