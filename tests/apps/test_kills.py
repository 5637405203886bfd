"""SIGKILL at seeded moments of every long command: the same bits, and nothing left but temporaries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from faces_support import draw_crops, write_face_weights
from importing_support import trained
from support import KILLS, Cli
from task_table import CASES
from training_process import start_training

from apps.engine.core import run_dir

TINY = ("--width", 0.25, "--resolution", 32, "--batch-size", 8, "--workers", 0)
Words = tuple[object, ...]
Content = dict[str, object]


@dataclass(frozen=True)
class Killed:
    """A command that is killed and given again.

    Args:
        words: the command that writes into a folder.
        content: what must be the same in the end, by name.
        whole: whether every file that is there after a kill must be the finished one.
        again: how it goes on with what is in the folder; the same command where it is None.
    """

    words: Callable[[Path], Words]
    content: Callable[[Path], Content]
    whole: bool = True
    again: Callable[[Path], Words] | None = None


def files(folder: Path) -> Content:
    """All that is no temporary file: those begin with a dot, or lie in a folder that does."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def learned(folder: Path) -> Content:
    """Weights, and the lines of the epochs without their times."""
    times = ("seconds", "photos_per_second")
    rows = [{k: v for k, v in row.items() if k not in times} for row in run_dir.read_metrics(folder)]
    return {"weights": (folder / run_dir.MODEL).read_bytes(), "rows": rows}


def run(words: Words, log: Path, seconds: float | None) -> bool:
    """Start a command, and kill it after some seconds; whether it came to its end."""
    process = start_training(*words, log=log)
    process.join(seconds if seconds is not None else 300)
    if process.exitcode is None:
        process.kill()
        process.join()
        assert seconds is not None, f"{words} takes for ever: {log.read_text()[-2000:]}"
        return False
    assert process.exitcode == 0, log.read_text()[-2000:]
    return True


def survives(case: Killed, root: Path) -> int:
    """Kills, each on what the one before left; after each end a new folder is begun. How many there were."""
    seeded, kills, number, log = random.Random(0), 0, 0, root / "log"
    (root / "whole").mkdir(parents=True)
    run(case.words(root / "whole"), log, None)
    began = time.monotonic()
    (root / "timed").mkdir()
    run(case.words(root / "timed"), log, None)
    length, expected = time.monotonic() - began, case.content(root / "whole")
    assert expected and case.content(root / "timed") == expected, "it does not give the same bits twice"
    while True:
        out = root / f"killed{number}"
        out.mkdir(exist_ok=True)
        begun = case.again is not None and bool(run_dir.read_progress(out))
        words = case.again(out) if case.again is not None and begun else case.words(out)
        if run(words, log, seeded.uniform(0.05, length) if kills < KILLS else None):
            assert case.content(out) == expected
            number += 1
            if kills == KILLS:
                return kills
            continue
        kills += 1
        if case.whole:
            for name, content in files(out).items():
                assert content == expected[name], f"{name} is not whole after kill {kills}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("app", [
    "attributes", *(pytest.param(name, marks=pytest.mark.long) for name in ("objects", "places"))
])
def test_kills_of_a_training_change_no_bit(app: str, tmp_path: Path) -> None:
    case = CASES[app]
    data = case.data(tmp_path / "data")
    common = ("finetune", app, "--data", data, *TINY, *case.options, "--epochs", 3, "--no-export")
    assert survives(Killed(
        lambda out: (*common, "--save-every", 0, "--out", out), learned, whole=False,
        again=lambda out: ("finetune", app, "--resume", "--out", out),
    ), tmp_path) == KILLS  # fmt: skip


@pytest.fixture(scope="module")
def commands(
    cli: Cli, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Callable[[Path], Words]]:
    """What the other long commands are given, and how they are."""
    given = tmp_path_factory.mktemp("given")
    weights = write_face_weights(given / "faces.safetensors")
    draw_crops(given / "crops", people=6, each=6)
    embed = ("embed-faces", given / "crops", "--weights", weights, "--align", "none", "--workers", 1)
    table = given / "faces.parquet"
    assert cli(*embed, "--out", table).code == 0
    seeded = random.Random(1)
    lines = [f"{48 + seeded.gauss(0, 2):.5f},{2 + seeded.gauss(0, 2):.5f}" for _ in range(20_000)]
    (given / "points.csv").write_text("\n".join(["lat,lon", *lines]) + "\n")
    torch.save(trained(0.25), given / "mobilenetv1_0.25_64.pt")
    assert cli("finetune", "dogs", "--data", colours, *TINY, "--epochs", 1, "--out", given / "run").code == 0
    cells = ("cells", "build", given / "points.csv", "--t-max", 50, "--t-min", 5)
    return {
        "embed-faces": lambda out: (*embed, "--out", out / "faces.parquet"),
        "cluster-faces": lambda out: ("cluster-faces", table, "--out", out, "--threshold", 0.5),
        "cells": lambda out: (*cells, "--out", out / "cells.geojson"),
        "import": lambda out: (
            "weights", "import", given / "mobilenetv1_0.25_64.pt", "--out", out / "net.safetensors"
        ),
        "export": lambda out: (
            "export", given / "run", "--to", "onnx", "--out", out / "model.onnx", "--overwrite"
        ),
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["embed-faces", "cluster-faces", "cells", "import", "export"])
def test_kills_of_another_command_leave_nothing_half_written(
    name: str, commands: dict[str, Callable[[Path], Words]], tmp_path: Path
) -> None:
    assert survives(Killed(commands[name], files), tmp_path) == KILLS
