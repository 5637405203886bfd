"""The figures of docs/figures.md on real photos; minutes each, and each says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import Cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_pretrained_weights_reach_their_known_accuracy_without_training(
    cli_process: Cli, shared: Path, imagewoof: Path
) -> None:
    weights = shared / "weights" / "mobilenetv1_1.0_224.safetensors"
    answer = cli_process("evaluate", "imagenet", "--weights", weights, "--data", imagewoof)
    assert answer.code == 0, answer.err
    assert answer.lines[0]["n"] == 300
    assert answer.lines[0]["metrics"]["top1"] == pytest.approx(0.733, abs=0.01)


@pytest.mark.long
def test_a_linear_probe_beats_the_plain_one(
    cli_process: Cli, shared: Path, imagewoof: Path, tmp_path: Path
) -> None:
    """A plain L2-regularised probe on the same features has 92.7 %."""
    weights = shared / "weights" / "mobilenetv1_1.0_224.safetensors"
    answer = cli_process(
        "finetune", "dogs", "--data", imagewoof, "--weights", weights, "--freeze", "--out", tmp_path / "run"
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["metrics"]["top1"] >= 0.93


@pytest.mark.long
def test_the_smallest_network_is_better_fine_tuned_than_probed(
    cli_process: Cli, weights_025: Path, imagewoof: Path, tmp_path: Path
) -> None:
    """A plain probe on its features has 75.3 %."""
    answer = cli_process(
        "finetune", "dogs", "--data", imagewoof, "--weights", weights_025, "--out", tmp_path / "run"
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["metrics"]["top1"] >= 0.80


@pytest.mark.long
def test_the_drawn_sample_is_learned_from_scratch(cli_process: Cli, tmp_path: Path) -> None:
    answer = cli_process("finetune", "dogs", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "drawn" in answer.err
    assert "fetch stanford-dogs" in answer.err
    assert answer.lines[0]["metrics"]["top1"] >= 0.85
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["classes"]) >= 8
    assert config["backbone"]["source"] == "trained from scratch here"
