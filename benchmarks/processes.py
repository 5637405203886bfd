"""One process of one thread against two, by the real command line under ``torchrun``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cases import ONE_PROCESS, TWO_PROCESSES, Case
from benchmarks.pictures import photo_count
from benchmarks.rounds import ROOT, THREADS, Record, Slice

EPOCHS = 2  # the first one starts things; the last one counts


def compare(root: Path, case: Case, *, rounds: int, seed: int) -> dict[str, Record]:
    """Rounds of one process, then two; the work is photos, the seconds those of the last epoch.

    Raises:
        ChildProcessError: a training failed, or two processes did not share one run.
    """
    results = {ONE_PROCESS: Record(), TWO_PROCESSES: Record()}
    for _ in range(rounds):
        for name, count in ((ONE_PROCESS, 1), (TWO_PROCESSES, 2)):
            seconds = _epoch_seconds(root, case, count, seed)
            results[name].slices.append(Slice(photo_count(root), seconds, seconds))
            results[name].facts = {"processes": count, "threads": 1}
    return results


def command(root: Path, case: Case, count: int, seed: int, run: Path) -> list[str]:
    """``torchrun --nproc_per_node=COUNT cli.py finetune dogs ...``."""
    options: dict[str, Any] = {
        "--data": root, "--width": case.width, "--resolution": case.resolution, "--batch-size": 64,
        "--epochs": EPOCHS, "--workers": 0, "--seed": seed, "--out": run,
    }
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}", "cli.py",
        "finetune", "dogs", *(str(word) for pair in options.items() for word in pair),
    ]


def _epoch_seconds(root: Path, case: Case, count: int, seed: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        done = subprocess.run(
            command(root, case, count, seed, run), cwd=ROOT, env=os.environ | dict.fromkeys(THREADS, "1"),
            capture_output=True, text=True, check=False,
        )
        if done.returncode != 0:
            raise ChildProcessError(f"torchrun with {count} processes failed: {last_error(done.stderr)}")
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return last_seconds([json.loads(line) for line in lines])


def last_error(words: str) -> str:
    """The line of a failed command that says most."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    results = [line for line in lines if line.startswith("error: ")]
    return (results or lines or ["no words"])[0 if results else -1]


def last_seconds(rows: list[Mapping[str, Any]]) -> float:
    """Seconds of the last epoch in the lines of ``metrics.jsonl``.

    Raises:
        ChildProcessError: an epoch is there twice, so the processes trained each for itself.
    """
    epochs = [row["epoch"] for row in rows if "seconds" in row]
    if len(epochs) != EPOCHS or len(set(epochs)) != EPOCHS:
        raise ChildProcessError(
            f"metrics.jsonl should tell of {EPOCHS} epochs once each, it tells of {epochs}: this version "
            "does not train one run in several processes"
        )
    return float(rows[-1]["seconds"])
