"""Exported models beside timm: a tiny run through every part, and what the page makes of figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.export_page import page


def row(ms: float, over: float) -> dict[str, Any]:
    return {"cpu_ms": [ms, ms - 1, ms + 1], "over_first": [over, over, over], "peak_share": 0.5}


FOUND: dict[str, Any] = {
    "model": {"name": "net", "width": 1.0, "resolution": 224, "mult_adds": 568_740_352},
    "machine": {"processor": "a processor", "cores": 2}, "date": "2026-11-24", "command": "the command",
    "bytes": {"ONNX Runtime fp32": 17_000_000, "ONNX Runtime int8": 4_400_000},
    "latency": {
        "timm eager": row(28, 1), "ONNX Runtime fp32": row(9, 0.34), "ONNX Runtime int8": row(8, 0.3),
        "matrix product": {"gflop_s": 90.0},
    },
    "throughput": {name: row(20, 1) for name in ("timm eager", "ONNX Runtime fp32", "ONNX Runtime int8")},
    "folder": {
        "Pillow + timm eager, 1 at a time": row(80, 1), "Pillow + timm eager, 32 at a time": row(40, 0.5),
        "ONNX Runtime int8": row(10, 0.125),
    },
    "top1": {"ONNX Runtime fp32": 0.73, "ONNX Runtime int8": 0.71, "photos": 300},
    "browser": {"fp32": {
        "chromium": "150", "bytes": 20_000_000, "photos": 9, "network_ms": [51, 50, 60],
        "read_ms": [9, 8, 20], "cpu_ms": 62.0,
    }},
}


def verdicts(text: str) -> dict[str, str]:
    """The first table: what -> met or missed."""
    ends = ("met |", "missed |")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.endswith(ends)]
    return {one[0]: one[-1] for one in rows}


def test_each_aim_is_held_against_the_best_form_and_the_quicker_and_slower_peer() -> None:
    assert verdicts(page(FOUND)) == {
        "time at batch 1 over timm eager, fp32": "met",
        "time at batch 1 over timm eager, int8": "missed",
        "folder to answers, times as fast as Pillow + timm eager in batches of 1": "met",
        "folder to answers, times as fast as Pillow + timm eager in batches of 32": "missed",
        "top-1 lost, ONNX Runtime int8": "missed",
        "in Chromium, CPU ms a photo, reading and network": "met",
    }


def test_the_narrow_network_has_aims_of_its_own_in_accuracy_and_in_the_browser() -> None:
    told = verdicts(page({**FOUND, "model": {**FOUND["model"], "width": 0.25}}))
    assert told["top-1 lost, ONNX Runtime int8"] == "met"
    assert told["in Chromium, CPU ms a photo, reading and network"] == "missed"
    assert told["MB until the page is usable"] == "missed"


def test_the_page_tells_every_form_with_its_bytes_and_accuracy() -> None:
    lines = [line for line in page(FOUND).splitlines() if line.startswith("| ONNX Runtime int8 | 8.00")]
    assert lines == ["| ONNX Runtime int8 | 8.00 (7.00 to 9.00) | 0.30 | 50% | 50.0 | 4,400,000 | 0.7100 |"]


def test_a_number_of_rounds_below_one_is_told_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["export", "--rounds", "0", "--out", str(tmp_path)]) == 1
    assert "--rounds must be 1 or more, got 0" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.long
def test_a_tiny_run_goes_through_every_form_and_folder(
    capfd: pytest.CaptureFixture[str], colours: Path, tmp_path: Path
) -> None:
    words = ["--width", "0.25", "--resolution", "32", "--rounds", "1", "--data", str(colours)]
    assert main(["export", *words, "--out", str(tmp_path)]) == 0
    told = json.loads(capfd.readouterr().out)
    forms = {*told["bytes"], "timm eager", "ours, torch"}
    assert len(forms) == 9
    assert forms == {*told["throughput"]} - {"matrix product"} == {*told["latency"]} - {"matrix product"}
    sizes = told["bytes"]
    assert sizes["ONNX Runtime int8"] < sizes["ONNX Runtime fp16"] < sizes["torch .pt2 fp32"]
    assert len(told["folder"]) == 8
    assert all(one["cpu_ms"][0] > 0 for one in told["folder"].values())
    assert json.loads((tmp_path / "export-random-0.25-32.json").read_text()) == told
    assert "| OpenVINO int8 |" in (tmp_path / "export-random-0.25-32.md").read_text()


@pytest.mark.slow
@pytest.mark.long
def test_every_form_is_judged_on_its_own_file_and_the_page_weighed_in_the_browser(
    capfd: pytest.CaptureFixture[str], shared: Path, imagewoof: Path, tmp_path: Path
) -> None:
    from benchmarks.export_browser import BROWSERS, shutil

    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium here: apt-get install chromium")
    for split, count in (("train", 2), ("val", 5)):
        for folder in (imagewoof / split).iterdir():
            (tmp_path / "data" / split / folder.name).mkdir(parents=True)
            for photo in sorted(folder.iterdir())[:count]:
                (tmp_path / "data" / split / folder.name / photo.name).symlink_to(photo)
    weights = shared / "weights" / "mobilenetv1_0.25_128.safetensors"
    words = ["--weights", str(weights), "--data", str(tmp_path / "data"), "--rounds", "1", "--browser"]
    only = ["--only", "ONNX Runtime fp32", "--only", "OpenVINO int8"]
    assert main(["export", *words, *only, "--out", str(tmp_path / "out")]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["top1"]["timm eager"] == told["top1"]["ours, torch"] == told["top1"]["ONNX Runtime fp32"]
    assert abs(told["top1"]["OpenVINO int8"] - told["top1"]["timm eager"]) < 0.1
    assert 0.5 < told["browser"]["int8"]["cpu_ms"] < 200
    assert told["browser"]["int8"]["network_ms"][0] > 0
    assert 3e6 < told["browser"]["fp32"]["bytes"] < 15e6
    assert "MB until the page is usable" in (tmp_path / "out" / "export-mobilenetv1_0.25_128.md").read_text()
