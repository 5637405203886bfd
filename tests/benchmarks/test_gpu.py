"""The benchmark of a GPU: one line where there is none, and a try on the processor that runs all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import COLOURS, save_colour

from benchmarks.__main__ import main


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: there is no cuda device here; PyTorch ")
    assert said.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.long
def test_the_processor_tries_all_that_a_gpu_will_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(shared / "weights"))
    monkeypatch.setattr("benchmarks.gpu.command", lambda *words: commands.append(words) or ["{}"])
    monkeypatch.setattr("benchmarks.gpu.last_epoch", lambda _: {"seconds": 1})
    commands: list[tuple[str, ...]] = []
    for name, colour in COLOURS.items():
        save_colour(tmp_path / "train" / name / "1.png", colour)
    size = ("--width", "0.25", "--resolution", "32", "--batches", "1", "2", "--rounds", "1")
    given = ("--device", "cpu", "--backend", "eager", "--photos", str(tmp_path))
    assert main(["gpu", *given, *size]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    measured = [row["measured"] for row in rows if "measured" in row]
    assert [measured.count(what) for what in ("copy", "answers", "training")] == [4, 8, 4]
    assert all(row["images_per_s"] > 0 for row in rows if row.get("measured") in ("answers", "training"))
    assert {words[0] for words in commands} == {"finetune", "predict"}
