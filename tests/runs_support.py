"""A tiny finished run of every task, on drawn images, made by the real command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from support import Cli
from task_table import CASES

FAST = ("--width", 0.25, "--resolution", 32, "--epochs", 1, "--batch-size", 8, "--workers", 0)


def make_runs(cli: Cli, root: Path, names: Iterable[str] = tuple(CASES)) -> dict[str, Path]:
    """Name of the task -> its run."""
    runs = {}
    for name in names:
        case, run = CASES[name], root / "runs" / name
        answer = cli("finetune", name, "--data", case.data(root / name), *FAST, *case.options, "--out", run)
        assert answer.code == 0, (name, answer.err)
        runs[name] = run
    return runs
