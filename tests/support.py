"""Helpers that test files import; fixtures are in conftest.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from processors import PRECISION

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
KILLS = int(os.environ.get("MOBILENET_APPS_TEST_KILLS", "20"))  # moments at which a command is killed


class Answer:
    """What a run of the command line gave."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last_error(self) -> str:
        """The last line of stderr, after a check that nothing there is a traceback."""
        assert "Traceback" not in self.err, self.err
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


Cli = Callable[..., Answer]


def with_precision(arguments: tuple[object, ...]) -> list[str]:
    """A call of the command line; a training that names no precision gets the one under test, if any is.

    It writes ``model.onnx`` where ``--export`` asks for it: hundreds of trainings of a second would spend
    seven more each on it.
    """
    words = [str(word) for word in arguments]
    plain = not any(word in ("--export", "--no-export", "--help", "-h") for word in words)
    if plain and words and words[0] in ("finetune", "joint"):
        words += ["--no-export"]
    precision = os.environ.get(PRECISION)
    plain = not any(word.startswith(("--precision", "--help", "-h")) for word in words)
    if precision and plain and words and words[0] in ("finetune", "joint"):
        words += ["--precision", precision]
    return words


def same_precision() -> tuple[str, str]:
    """What ``evaluate`` needs to say what a training said: the precision under test, if any is."""
    return "--precision", os.environ.get(PRECISION, "auto")


@contextmanager
def unprivileged() -> Iterator[None]:
    """Without root's right to read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def save_colour(path: Path, colour: tuple[int, int, int], size: int = 48, *, seed: int = 0) -> None:
    """A photo of one colour with a little noise."""
    noise = np.random.default_rng(seed).integers(-20, 20, (size, size, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


NO_TORCH = """
import sys
from apps.cli.main import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules, "torch was imported"
sys.exit(code)
"""


def run_without_torch(*arguments: object) -> list[dict[str, Any]]:
    """The lines of a command in a process of its own, which must go well and not import torch."""
    command = [sys.executable, "-c", NO_TORCH, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
