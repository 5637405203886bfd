"""``python -m benchmarks.side JSON``: the process of one side of a comparison; started by rounds.py."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

from benchmarks.gate import Gate
from benchmarks.rounds import Side

# name -> function(gate, side) that never returns by itself; strings, so that no side imports another's.
RUNNERS = {
    "timm": "benchmarks.peers:timm_script",
    "torchvision": "benchmarks.peers:torchvision_recipe",
    "ours": "benchmarks.ours:train",
    "frozen": "benchmarks.ours:frozen",
    "matrix": "benchmarks.matrix:matrix_product",
    "timm-inference": "benchmarks.inference:timm_eager",
    "ours-inference": "benchmarks.inference:ours",
    "export-file": "benchmarks.export_sides:file_form",
    "folder-file": "benchmarks.export_sides:folder_file",
    "folder-timm": "benchmarks.export_sides:folder_timm",
    "heads-one": "benchmarks.heads:one_head",
    "heads-four": "benchmarks.heads:four_heads",
    "heads-separate": "benchmarks.heads:four_models",
}


def main(words: list[str]) -> None:
    """Settle on the cores and threads that the side is given, and run it."""
    side = Side(**json.loads(words[0]))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    module, _, name = RUNNERS[side.runner].partition(":")
    run = getattr(import_module(module), name)
    import torch

    if side.core is not None:
        torch.set_num_threads(1)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {side.core})
    torch.manual_seed(side.seed)
    run(Gate(sys.stdin, answers), side)


if __name__ == "__main__":
    main(sys.argv[1:])
