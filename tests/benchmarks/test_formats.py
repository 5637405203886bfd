"""The benchmark of formats: its table, and what it does where a library is absent."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from apps.export.targets import TARGETS
from benchmarks.__main__ import main
from benchmarks.formats import FORMS, forms_of, table

RESULT: dict[str, Any] = {
    "machine": {"processor": "a processor", "cores": 2}, "date": "2026-11-30", "command": "the command",
    "runs": [{
        "run": "dogs", "head": "dogs", "width": 0.25, "resolution": 128, "metric": "dogs/top1", "photos": 300,
        "figures": {"ours, torch": 0.77, "LiteRT int8": 0.76},
        "times": {"timm eager": {"cpu_ms": [6.0, 5, 7], "over_first": [1, 1, 1]},
                  "LiteRT int8": {"cpu_ms": [0.6, 0.5, 0.7], "over_first": [0.1, 0.1, 0.1]}},
        "bytes": {"LiteRT int8": 320_544, "Core ML fp16": 450_000},
    }],
}  # fmt: skip


def test_the_table_says_bytes_time_and_loss_and_what_was_not_run() -> None:
    from benchmarks.tables import OURS

    RESULT["runs"][0]["figures"][OURS] = 0.77
    text = table(RESULT)
    assert "| dogs | 0.25-128 | LiteRT int8 | 320,544 | 0.60 | 0.10 | 0.7600 | +0.0100 |" in text
    assert "| Core ML fp16 | 450,000 | not run here |" in text
    assert "`the command`, 2026-11-30, a processor, 2 cores" in text


def test_every_form_is_one_that_export_writes() -> None:
    for to, precision, suffix in FORMS.values():
        assert precision in TARGETS[to].precisions and suffix == TARGETS[to].suffix


def test_a_form_whose_library_is_absent_is_left_out_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(*_: Any, to: str, **__: Any) -> None:
        raise ImportError(f"--to {to} needs a library")

    monkeypatch.setattr("apps.export.export.export", absent)
    (tmp_path / "dogs.onnx.fp32.onnx").write_text("made before")
    options = Namespace(only=["ONNX Runtime fp32", "LiteRT fp32"], files=tmp_path, data=tmp_path)
    assert forms_of(Path("runs/dogs"), options) == {"ONNX Runtime fp32": tmp_path / "dogs.onnx.fp32.onnx"}
    assert "left out: LiteRT fp32 of dogs: --to tflite needs a library" in capsys.readouterr().err


def test_wrong_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run", str(tmp_path), "--data", str(tmp_path), "--rounds", "0", "--out", str(tmp_path)]
    assert main(["formats", *words]) == 1
    assert "--rounds must be 1 or more" in capsys.readouterr().err
