"""Where the time of a training goes: by stage, by operator, by kind of layer."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from apps.engine.core.files import write_json, write_text, write_whole
from apps.engine.tracking.profiler_tables import profile_text
from apps.engine.tracking.timer import StageTimer

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler talks on stderr

PROFILE, TEXT, TRACE = "profile.json", "profile.txt", "trace.json.gz"
OPERATORS_SHOWN = 20

__all__ = ["LayerTimes", "Profiler", "StageTimer", "layer_kind"]


def layer_kind(name: str, module: nn.Module) -> str | None:
    """Which kind of layer a module is timed as; None for one that holds others.

    Args:
        name: dotted, as in ``named_modules``; what stands right below ``heads`` is a head.
        module: of that name.
    """
    parts = name.split(".")
    if "heads" in parts[:-1]:
        return "head" if parts[-2] == "heads" else None
    if isinstance(module, _ConvNd):
        stride = max(module.stride)
        if module.in_channels == 3:
            return "stem"
        if module.groups == module.in_channels > 1:
            return f"depthwise, stride {stride}"
        return "pointwise" if max(module.kernel_size) == 1 else "other convolution"
    if isinstance(module, _BatchNorm):
        return "batch-norm"
    holds_others = isinstance(module, nn.Identity) or any(True for _ in module.children())
    return None if holds_others or not name else "other layer"


@dataclass
class LayerTimes:
    """Forward time by kind of layer, measured by hooks while it is entered."""

    model: nn.Module
    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    _hooks: list[Any] = field(default_factory=list)

    def __enter__(self) -> LayerTimes:
        for name, module in self.model.named_modules():
            kind = layer_kind(name, module)
            if kind is not None:
                self._watch(module, kind)
        return self

    def _watch(self, module: nn.Module, kind: str) -> None:
        began = 0.0

        def before(_module: nn.Module, _inputs: Any) -> None:
            nonlocal began
            began = time.perf_counter()

        def after(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - began
            self.calls[kind] = self.calls.get(kind, 0) + 1

        self._hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()


class Profiler:
    """Looks closely at a handful of steps after a warm-up, and writes what it saw into the run's folder.

    First ``warmup`` steps that count nowhere; from there on the timer counts stages, to the end of the
    training; after ``plain`` more steps, ``steps`` steps with hooks on the layers and ``steps`` under
    torch's profiler. As both slow a step down, the timer leaves them out. A look ends early where
    validation or another stage that is no part of a step begins. Results of the training do not change.

    Args:
        run: the run's folder; it must be there.
        model: whose layers are timed.
        timer: the loop's.
        warmup, plain, steps: numbers of steps, 1 up.
    """

    def __init__(
        self, run: Path, model: nn.Module, timer: StageTimer, *, warmup: int = 5, plain: int = 10,
        steps: int = 5,
    ) -> None:
        if min(warmup, plain, steps) < 1:
            raise ValueError(f"warmup, plain and steps must be 1 or more, got {warmup}, {plain} and {steps}")
        self.run, self.timer, self.model = run, timer, model
        self.warmup, self.looks_at, self.steps = warmup, warmup + plain, steps
        self.seen = 0
        self.to_look_at = ["layers", "operators"]
        self.looked = {"layers": 0, "operators": 0}  # steps of each look
        self.layers = LayerTimes(model)
        self.operators: list[dict[str, Any]] = []
        self.shapes: list[dict[str, Any]] = []
        self._look: LayerTimes | torch.profiler.profile | None = None
        self._steps = 0  # of the look that goes on

    def __enter__(self) -> Profiler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_look()
        self.write()

    def step(self) -> None:
        """Call it after each training step; it turns the looks on and off."""
        self.seen += 1
        if self.seen == self.warmup:
            self.timer.reset()
        if self._look is not None:
            self._steps += 1
            if self._steps == self.steps:
                self._end_look()
        if self._look is None and self.to_look_at and self.seen >= self.looks_at:
            self._begin_look()

    def _begin_look(self) -> None:
        self.timer.pause()
        self.timer.on_other_stage = self._end_look
        self._steps = 0
        if self.to_look_at[0] == "layers":
            self._look = self.layers = LayerTimes(self.model)
        else:
            kinds = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                kinds.append(torch.profiler.ProfilerActivity.CUDA)
            self._look = torch.profiler.profile(activities=kinds, record_shapes=True)
        self._look.__enter__()

    def _end_look(self) -> None:
        """Stop a look that goes on and keep what it saw; one that saw no step is made again later."""
        look, self._look = self._look, None
        if look is None:
            return
        self.timer.on_other_stage = None
        look.__exit__(None, None, None)
        if self._steps:
            self.looked[self.to_look_at.pop(0)] = self._steps
            if isinstance(look, torch.profiler.profile):
                self.operators = _operators(look, self._steps, by_shape=False)
                self.shapes = _operators(look, self._steps, by_shape=True)
                write_whole(self.run / TRACE, lambda path: look.export_chrome_trace(str(path)))
            self.write()
        self.timer.go_on()

    def results(self) -> dict[str, Any]:
        """What ``profile.json`` holds; seconds are of wall time, those of operators and layers a step."""
        return {
            "threads": torch.get_num_threads(), "torch": torch.__version__,
            "steps": max(self.seen - self.warmup - sum(self.looked.values()), 0),
            "stages": self.timer.shares(), "layer_steps": self.looked["layers"],
            "layers": {
                kind: {
                    "seconds": round(seconds / max(self.looked["layers"], 1), 6),
                    "share": round(seconds / max(sum(self.layers.seconds.values()), 1e-9), 6),
                    "calls": self.layers.calls[kind] / max(self.looked["layers"], 1),
                } for kind, seconds in sorted(self.layers.seconds.items(), key=lambda item: -item[1])
            },
            "operator_steps": self.looked["operators"],
            "operators": self.operators, "operators_by_shape": self.shapes,
        }

    def write(self) -> None:
        """Write ``profile.json`` and ``profile.txt``, each whole."""
        results = self.results()
        write_json(self.run / PROFILE, results)
        write_text(self.run / TEXT, profile_text(results))


def _operators(done: Any, steps: int, *, by_shape: bool) -> list[dict[str, Any]]:
    """The dearest operators by their own CPU time, those of unlike shapes apart or together."""
    events = [
        average
        for average in done.key_averages(group_by_input_shape=by_shape)
        if average.self_cpu_time_total > 0
    ]
    whole = sum(item.self_cpu_time_total for item in events)
    events.sort(key=lambda item: -item.self_cpu_time_total)
    rows = []
    for event in events[:OPERATORS_SHOWN]:
        row = {
            "name": event.key, "seconds": round(event.self_cpu_time_total / 1e6 / steps, 6),
            "share": round(event.self_cpu_time_total / whole, 6), "calls": round(event.count / steps, 2),
        }
        shapes = [shape for shape in event.input_shapes if shape][:2]
        rows.append(row | ({"shapes": shapes} if by_shape else {}))
    return rows
