"""Weights by name, with and without suffix, through the mirror folder, for all that take weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from faces_support import draw_crops
from importing_support import trained
from PIL import Image
from safetensors.torch import save_file
from support import Cli, save_colour

from backbone.weights import locate_weights
from benchmarks.__main__ import main

NAME, FACES, TIMM = "mobilenetv1_1.0_224", "faces_mobilenetv1_1.0_224", "mobilenetv1_100.ra4_e3600_r224_in1k"
WNIDS = ("n02086240", "n02087394")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small networks under the names of large ones."""
    folder = tmp_path_factory.mktemp("mirror")
    drawn = torch.Generator().manual_seed(0)
    heads = {  # a small gender layer: a larger one would answer 1 to the last bit for all
        "feats.weight": torch.randn(8, 256, generator=drawn), "feats.bias": torch.zeros(8),
        "gender_pred.weight": 0.01 * torch.randn(1, 8, generator=drawn), "gender_pred.bias": torch.zeros(1),
        "age_pred.weight": torch.zeros(100, 8), "age_pred.bias": torch.zeros(100),
    }
    told = {"padding": "same", "resolution": "64", "width": "0.25", "input": "(x-0.5)/0.5 of RGB in [0,1]"}
    for name in (NAME, TIMM):
        save_file(trained(), folder / f"{name}.safetensors", told)
    trunk = {key: value for key, value in trained().items() if "classifier" not in key}
    save_file(trunk | heads, folder / f"{FACES}.safetensors", told)
    return folder


@pytest.fixture(scope="module")
def breeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two classes of ImageNet, by WordNet number."""
    root = tmp_path_factory.mktemp("imagewoof")
    for label, wnid in enumerate(WNIDS):
        for split in ("train", "val"):
            for number in range(4):
                save_colour(root / split / wnid / f"{number}.png", (200 * label + 20, 80, 60), seed=number)
    return root


@pytest.fixture
def _named(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(mirror))


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize("suffix", ["", ".safetensors"])
def test_names_are_found_with_and_without_suffix(suffix: str, mirror: Path) -> None:
    for name in (NAME, FACES, TIMM):
        assert locate_weights(name + suffix) == mirror / f"{name}.safetensors"


@pytest.mark.usefixtures("_named")
def test_commands_take_names_where_they_take_files(breeds: Path, cli: Cli, tmp_path: Path) -> None:
    name, faces, photo = NAME, f"{FACES}.safetensors", breeds / "val" / WNIDS[0] / "0.png"
    folder, run = tmp_path / "crops", tmp_path / "run"
    crops, fast = draw_crops(folder, people=8, each=3), ("--workers", 0, "--epochs", 1)
    for words in (
        ("predict", photo, "--weights", name),
        ("evaluate", "imagenet", "--weights", name, "--data", breeds),
        ("finetune", "dogs", "--data", breeds, "--weights", name, "--freeze", "--workers", 0, "--out", run),
        ("joint", "a=dogs", "b=dogs", "--data", f"a={breeds}", "--data", f"b={breeds}", "--weights", name,
         *fast, "--batch-size", 4, "--out", tmp_path / "joint"),
        ("export", "--weights", name, "--out", tmp_path / "a.onnx"),
        ("embed-faces", folder, "--weights", faces, "--align", "none", "--out", tmp_path / "f.parquet"),
        ("verify-faces", *crops[:2], "--weights", faces, "--align", "none", "--threshold", 0.5),
        ("evaluate", "faces", "--weights", faces, "--data", folder),
        ("finetune", "faces", "--data", folder, "--weights", faces, "--margin-loss", "arcface", *fast,
         "--val-share", 0.5, "--out", tmp_path / "student"),
    ):
        answer = cli(*words)
        assert answer.code == 0, (words, answer.err)


@pytest.mark.usefixtures("_named")
def test_a_teacher_of_attributes_is_a_name_too(cli: Cli, tmp_path: Path) -> None:
    rows = ["image,Male"]
    for number in range(8):
        save_colour(tmp_path / "images" / f"p{number // 2}" / f"{number}.png", (20 * number, 80, 60))
        rows.append(f"p{number // 2}/{number}.png,{number % 2}")  # both values in any split by people
    (tmp_path / "attributes.csv").write_text("\n".join(rows) + "\n")
    for words in (
        ("evaluate", "attributes", "--weights", FACES, "--data", tmp_path),
        ("finetune", "attributes", "--data", tmp_path, "--teacher", f"face-network:{FACES}", "--epochs", 1,
         "--resolution", 32, "--workers", 0, "--out", tmp_path / "run"),
    ):
        answer = cli(*words)
        assert answer.code == 0, answer.err


@pytest.mark.parametrize("name", ["export", "precision", "detectors", "faces", "attributes"])
def test_a_benchmark_refuses_wrong_weights_before_any_work(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOBILENET_WEIGHTS", raising=False)
    monkeypatch.setenv("MOBILENET_APPS_CACHE", "no-such-folder")
    given = "photos" if name == "faces" else "data"
    out = [] if name == "faces" else ["--out", str(tmp_path / "out")]
    for weights, says in (("mobilenetv1_1.0_242", "mobilenetv1_1.0_242"), (NAME, "MOBILENET_WEIGHTS")):
        assert main([name, f"--{given}", str(tmp_path), "--weights", weights, *out]) == 1
        err = capfd.readouterr().err
        assert says in err and err.startswith("error: ") and err.count("\n") == 1
    assert main([name, f"--{given}", str(tmp_path / "gone"), "--weights", weights, *out]) == 1
    assert "gone does not exist" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_named")
@pytest.mark.slow
@pytest.mark.long
def test_the_export_benchmark_takes_a_name_as_the_readme_has_it(
    breeds: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "imagewoof"
    shutil.copytree(breeds, data)
    words = ["export", "--weights", NAME, "--data", str(data), "--rounds", "1"]
    forms = ["--only", "ONNX Runtime fp32", "--only", "ONNX Runtime int8"]
    assert main([*words, *forms, "--out", str(tmp_path / "out")]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["model"]["name"] == NAME and told["top1"]["timm eager"] == told["top1"]["ours, torch"]
    assert told["command"].startswith(f"python -m benchmarks export --weights {NAME} --data imagewoof")


def test_an_image_is_no_name(cli: Cli, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    answer = cli("predict", tmp_path / "a.png", "--weights", tmp_path / "a.png")
    assert answer.code == 1 and "is a photo" in answer.last_error
