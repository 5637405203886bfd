"""Weights that are not there or do not fit are refused before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import ROOT, Cli, save_colour

from backbone.storage import CACHE_VARIABLE, MIRROR_VARIABLE

COMMANDS = """
import sys
from apps.cli.main import main
for line in sys.stdin.read().splitlines():
    code = main(line.split())
    print(code, "torch" in sys.modules)
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Weights of a network without any head, and a file of another kind."""
    save_file({"conv_stem.weight": np.zeros((2, 3, 3, 3), np.float32)}, tmp_path / "bare.safetensors")
    (tmp_path / "text.pt").write_text("no weights")
    save_colour(tmp_path / "photo.png", (9, 90, 9))
    return tmp_path


def test_weights_are_refused_without_torch(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(files / "cache"))
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    bare, photo = f"{files}/bare.safetensors", f"{files}/photo.png"
    nowhere = "neither a file nor a known name"
    expected = {
        f"predict {photo} --weights nosuchname": "'nosuchname' is neither a file nor a known name",
        f"predict {photo} --weights mobilenetv1_1.0_224": "mobilenetv1_1.0_224 are not on this machine",
        f"predict {photo} --weights {files}/text.pt": "text.pt is not a whole PyTorch file",
        f"predict {photo} --app attributes --weights {bare}": "bare has no heads feats",
        f"predict {photo} --app imagenet --weights {bare}": "bare bring no classifier",
        f"detect {photo} --weights {bare}": "bare bring no detector",
        f"embed-faces {photo} --out {files}/f.parquet --weights nosuchname": nowhere,
        f"finetune dogs --data {files} --out {files}/run --weights nosuchname": nowhere,
        f"evaluate objects --data {files} --weights {bare}": "bare bring no detector",
        f"evaluate dogs --data {files} --weights {files}/none.pt": "there is no weights file",
        f"export --out {files}/m.onnx --weights nosuchname": nowhere,
    }
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS], input="\n".join(expected), capture_output=True, text=True, cwd=ROOT,
        check=False,
    )
    assert done.stdout.splitlines() == ["1 False"] * len(expected), done.stderr
    for line, words in zip(done.stderr.splitlines(), expected.values(), strict=True):
        assert line.startswith("error: ") and words in line


def test_a_name_that_timm_may_know_is_left_to_timm(cli: Cli, files: Path) -> None:
    answer = cli("predict", files / "photo.png", "--weights", "mobilenetv1_100.no_such_tag")
    assert answer.code == 1
    assert "timm has no pretrained weights called" in answer.last_error
