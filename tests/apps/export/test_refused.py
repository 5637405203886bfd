"""Exports that are refused: what is said, and how to mend it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import Cli


def test_heads_of_different_backbones_are_refused_by_both_fingerprints(
    cli: Cli, colour_run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(colour_run, other)
    config = json.loads((other / "config.json").read_text())
    mine, config["fingerprint"] = config["fingerprint"], "0123456789abcdef"
    (other / "config.json").write_text(json.dumps(config))
    answer = cli("export", colour_run, other, "--out", tmp_path / "a.onnx")
    assert answer.code == 1
    assert mine in answer.err
    assert "0123456789abcdef" in answer.err
    assert "--freeze" in answer.err


def test_heads_that_see_another_share_of_a_photo_are_refused(
    cli: Cli, colour_run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(colour_run, other)
    config = json.loads((other / "config.json").read_text())
    config["backbone"]["preprocessing"]["crop"] = 1.0
    (other / "config.json").write_text(json.dumps(config))
    answer = cli("export", colour_run, other, "--out", tmp_path / "a.onnx")
    assert answer.code == 1
    told = "(resolution 32, crop 0.875 and resolution 32, crop 1); train the heads at one --resolution"
    assert told in answer.last_error


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--opset", "11", "--out", "a.onnx"], 1, "opset 11 is too old: these models need 18 or newer"),
        (["--opset", "99", "--out", "a.onnx"], 1, "opset 99 is not known here; give 18 to 25"),
        (["--precision", "int8", "--out", "a.onnx"], 2, "give --calibrate DIR"),
        (["--to", "openvino", "--out", "a.onnx"], 1, "--out a.onnx must end in .xml"),
        (["--out", "a.bin"], 1, "--out a.bin must end in .onnx"),
        (["--to", "torch", "--precision", "fp16", "--out", "a.pt2"], 1, "--to torch writes fp32"),
    ],
)
def test_options_that_do_not_fit_are_told(
    cli: Cli, colour_run: Path, options: list[str], code: int, words: str
) -> None:
    answer = cli("export", colour_run, *options)
    assert (answer.code, words in answer.err) == (code, True), answer.err
    assert "Traceback" not in answer.err


def test_nothing_and_both_of_runs_and_weights_are_refused(cli: Cli, colour_run: Path) -> None:
    for given_options in ([], [colour_run, "--weights", "w"]):
        answer = cli("export", *given_options, "--out", "a.onnx")
        assert answer.code == 2
        assert "give RUN folders, or --weights W" in answer.err


def test_an_empty_calibration_folder_is_told(cli: Cli, colour_run: Path, tmp_path: Path) -> None:
    answer = cli(
        "export", colour_run, "--precision", "int8", "--calibrate", tmp_path, "--out", tmp_path / "a.onnx"
    )
    assert answer.code == 1
    assert f"no photo in {tmp_path}; --calibrate wants a folder with some hundred photos" in answer.err


def test_a_page_is_not_put_among_other_files(cli: Cli, tmp_path: Path) -> None:
    """Whoever serves the page would show them, too."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page/private.jpg").write_bytes(b"x")
    answer = cli("export", tmp_path / "run", "--to", "web", "--out", tmp_path / "page", "--overwrite")
    assert answer.code == 1
    assert "holds other files (private.jpg, ...)" in answer.last_error
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["private.jpg"]


def test_a_run_does_not_take_the_place_of_another_model(cli: Cli, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"of a page")
    answer = cli("finetune", "dogs", "--data", colours, "--epochs", 1, "--out", tmp_path)
    assert answer.code == 1
    assert "holds a model.onnx that is no run's" in answer.last_error
    assert (tmp_path / "model.onnx").read_bytes() == b"of a page"
