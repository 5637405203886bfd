"""Trainings in processes of their own, forked from one that has imported all that they need."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["apps.cli.main", "apps.engine.training.finetune", "apps.classification.report"]
)


def _run(arguments: list[str], log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    import torch

    from apps.cli.main import main

    torch.set_num_threads(1)
    os._exit(main(arguments))


def start_training(*arguments: object, log: Path) -> ForkServerProcess:
    """Start the command line in a new process, its words appended to ``log``."""
    process = _CONTEXT.Process(target=_run, args=([str(one) for one in arguments], str(log)))
    process.start()
    return process
