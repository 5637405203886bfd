"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faces_support import EACH, FAST, PEOPLE, draw_crops, names_of, write_face_weights, write_teacher
from page_support import chromium
from processors import PRECISION, THREADS
from support import COLOURS, ROOT, SHARED, Answer, Cli, save_colour, with_precision

from apps.cli.main import main

# Tensors are small here, and threads that spin for a busy core cost minutes.
torch.set_num_threads(int(os.environ.get(THREADS, "1")))


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)  # what libraries draw from
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _seeded_module() -> None:
    """What a file's own fixtures draw is the same alone, in the whole suite, and in any worker."""
    _seed()


@pytest.fixture(autouse=True)
def _seeded(_seeded_module: None) -> None:
    """What a test draws does not depend on the tests before it."""
    _seed()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a precision of trainings under test, the tests that start none are left out."""
    if not os.environ.get(PRECISION):
        return
    trains = [bool({"cli", "cli_process"} & set(getattr(item, "fixturenames", ()))) for item in items]
    config.hook.pytest_deselected(items=[item for item, yes in zip(items, trains, strict=True) if not yes])
    items[:] = [item for item, yes in zip(items, trains, strict=True) if yes]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real photos and weights, where they are; users do not have them."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared: real photos and weights are not here")
    return SHARED


@pytest.fixture(scope="session")
def imagewoof(shared: Path) -> Path:
    return shared / "data" / "imagewoof"


@pytest.fixture(scope="session")
def weights_025(shared: Path) -> Path:
    return shared / "weights" / "mobilenetv1_0.25_128.safetensors"


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line, called in this process: importing torch for each call would take minutes."""
    cwd = tmp_path_factory.mktemp("cwd")

    def run(*arguments: object) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(with_precision(arguments))
        return Answer(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def cli_process(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line in a process of its own, away from the checkout's folder."""
    cwd = tmp_path_factory.mktemp("cwd")

    def run(*arguments: object) -> Answer:
        command = [sys.executable, str(ROOT / "cli.py"), *with_precision(arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=cwd, check=False, timeout=500
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of three colours in the plain layout: 8 training photos and 4 to judge by each."""
    root = tmp_path_factory.mktemp("colours")
    for name, colour in COLOURS.items():
        for split, count in (("train", 8), ("val", 4)):
            for number in range(count):
                save_colour(root / split / name / f"{number}.png", colour, seed=number)
    return root


@pytest.fixture(scope="session")
def colour_run(cli: Cli, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the colours, made by the real command line."""
    run = tmp_path_factory.mktemp("runs") / "colours"
    answer = cli(
        "finetune", "dogs", "--data", colours, "--resolution", 32, "--epochs", 6, "--batch-size", 8,
        "--workers", 0, "--out", run,
    )
    assert answer.code == 0, answer.err
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's Chromium, without a window."""
    with chromium() as one:
        yield one


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small face weights with random numbers in them."""
    return write_face_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Three crops of each of four people."""
    draw_crops(tmp_path / "crops", people=4, each=3)
    return tmp_path / "crops"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a test's table of faces goes."""
    return tmp_path / "faces.parquet"


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of drawn people, a folder a person."""
    root = tmp_path_factory.mktemp("people")
    draw_crops(root, people=PEOPLE, each=EACH)
    return root


@pytest.fixture(scope="session")
def teacher(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher's vectors of them."""
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.npz", names_of(people))


@pytest.fixture(scope="session")
def student(cli: Cli, people: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of faces, made by the real command line."""
    run = tmp_path_factory.mktemp("runs") / "student"
    answer = cli("finetune", "faces", "--data", people, "--teacher", teacher, *FAST, "--out", run)
    assert answer.code == 0, answer.err
    assert {"accuracy", "tar@far=1e-2", "rank1"} <= set(answer.lines[0]["metrics"])
    return run
