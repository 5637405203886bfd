"""Commands whose reader is gone, as behind ``| head -1``: exit code 141, no traceback, whole files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import COLOURS, ROOT, save_colour

from apps.cli.pipe import ClosedPipeError, closed_pipes, discard_output, reader_is_gone

COMMANDS: dict[str, tuple[str, ...]] = {
    "a list": ("weights", "list"),
    "an object": ("weights", "show", "mobilenetv1_0.25_128"),
    "help": ("--help",),
    "tables": ("cost", "--table", "2"),
    "rows": ("cost", "--table", "2", "--json"),
    "runs": ("runs", "{runs}"),
    "a line an image": ("predict", "{photo}", "--checkpoint", "{run}", "--engine", "torch"),
    "a line an image of threads": (
        "predict", "{photo}", "--checkpoint", "{run}", "--engine", "torch", "--workers", "2"
    ),
    "check of cells": ("cells", "report", "{cells}"),
}


def start(arguments: list[str], cwd: Path, *, err_too: bool = False) -> tuple[int, str]:
    """Exit code and stderr of a command whose stdout, and perhaps stderr, has no reader."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), *arguments], stdout=writer, check=False, cwd=cwd,
            stderr=writer if err_too else subprocess.PIPE, timeout=500,
        )
    finally:
        os.close(writer)
    return done.returncode, (done.stderr or b"").decode()


@pytest.fixture(scope="module")
def places(colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("pipe")
    save_colour(root / "red.png", COLOURS["red"])
    (root / "cells.csv").write_text("token\n47a1\n4791\n")
    return {
        "run": str(colour_run), "runs": str(colour_run.parent), "photo": str(root / "red.png"),
        "cells": str(root / "cells.csv"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_a_reader_ends_with_141_and_no_word(
    name: str, places: dict[str, str], tmp_path: Path
) -> None:
    code, err = start([one.format(**places) for one in COMMANDS[name]], tmp_path)
    assert (code, err) == (141, "")


def test_head_gets_its_line_and_the_shell_sees_141(tmp_path: Path) -> None:
    """A real pipe of a shell; the writer gives more than a pipe holds, so that the reader ends first."""
    line = f"{sys.executable} {ROOT / 'cli.py'} weights list"
    script = f"for n in 1 2 3 4 5 6 7 8 9; do {line} || exit $?; done | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["name"]
    assert (code, done.stderr) == ("141", "")


def test_a_usage_error_that_nobody_reads_is_a_closed_pipe(tmp_path: Path) -> None:
    assert start(["nonsense"], tmp_path, err_too=True)[0] == 141
    assert start(["weights", "show", "nosuch"], tmp_path, err_too=True)[0] == 141
    assert start(["nonsense"], tmp_path)[0] == 2, "an error that was read keeps its code"


def test_a_training_without_a_reader_of_its_answer_leaves_a_whole_run(
    colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ["--data", str(colours), "--resolution", "32", "--epochs", "1", "--batch-size", "8"]
    code, err = start(["finetune", "dogs", *options, "--no-export", "--out", str(run)], tmp_path)
    assert (code, "Traceback" in err) == (141, False)
    assert json.loads((run / "config.json").read_text())["metrics"]["top1"] >= 0
    assert not [path for path in run.iterdir() if path.name.startswith(".model")]


@pytest.mark.slow
@pytest.mark.long
def test_a_training_whose_words_nobody_reads_can_be_started_again(colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--data", str(colours), "--resolution", "32", "--epochs", "1", "--batch-size", "8"]
    command = ["finetune", "dogs", *options, "--no-export", "--workers", "0", "--out", str(run)]
    assert start(command, tmp_path, err_too=True)[0] == 141
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *command], capture_output=True, check=False,
        cwd=tmp_path, text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (run / "model.safetensors").is_file()


def test_a_pipe_that_is_not_the_outputs_is_an_error() -> None:
    with pytest.raises(ConnectionError, match="ended early"), closed_pipes():
        raise BrokenPipeError(32, "Broken pipe")
    with pytest.raises(SystemExit), closed_pipes():
        raise SystemExit(1)


def test_a_stream_without_a_reader_is_told_from_one_with_a_reader() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        assert not reader_is_gone(stream)
        os.close(reader)
        assert reader_is_gone(stream)
    assert not reader_is_gone(stream)
    assert not reader_is_gone(None)


def test_an_exit_that_a_broken_pipe_caused_is_a_closed_pipe() -> None:
    with pytest.raises(ClosedPipeError), closed_pipes():
        try:
            raise BrokenPipeError(32, "Broken pipe")
        except BrokenPipeError:
            raise SystemExit(1)  # noqa: B904  # as rich does
    assert discard_output() == 141
