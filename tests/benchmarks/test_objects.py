"""The benchmark of detectors on one small photo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.__main__ import main
from benchmarks.objects import threshold_for


def test_it_tells_times_and_ratios_of_both_detectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.effect_noise((64, 48), 60).convert("RGB").save(tmp_path / "noise.png")
    words = ["objects", "--photos", str(tmp_path), "--rounds", "1", "--no-vgg", "--candidates", "50"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["cpu_ms"]) == {"ours", "ssdlite320_mobilenet_v3_large"}
    assert found["times_as_fast"]["ssdlite320_mobilenet_v3_large"] > 0
    assert all(0 < boxes <= 50 for boxes in found["boxes"].values()), "thresholds must let candidates pass"


def test_so_many_pairs_pass_the_threshold_and_the_background_is_no_pair() -> None:
    logits = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    logits[:, 0] += 5
    assert int((logits.softmax(1)[:, 1:] > threshold_for(logits, 17)).sum()) == 17


def test_a_folder_without_photos_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["objects", "--photos", str(tmp_path)]) == 1
    assert "holds no photo" in capsys.readouterr().err
