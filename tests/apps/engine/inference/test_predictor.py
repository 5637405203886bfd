"""``apps.load``: one way to answer from Python, whatever the source and the engine."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT, Cli

import apps
from apps.engine.core.device import available_devices, choose_device
from apps.engine.inference.predictions import ClassPrediction, FailedPrediction


@pytest.fixture(scope="module")
def run(cli: Cli, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "colours"
    answer = cli(
        "finetune", "dogs", "--data", colours, "--epochs", 2, "--resolution", 64, "--batch-size", 4,
        "--workers", 0, "--out", out,
    )
    assert answer.code == 0, answer.err
    return out


@pytest.fixture(scope="module")
def file(cli: Cli, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files") / "colours.onnx"
    assert cli("export", run, "--out", out).code == 0
    return out


def scores(answers: list[apps.Prediction]) -> list[dict[str, float]]:
    assert all(isinstance(answer, ClassPrediction) for answer in answers)
    return [{c.name: c.probability for c in answer.classes} for answer in answers]  # type: ignore[attr-defined]


def test_run_and_file_give_the_same_answers(run: Path, file: Path, colours: Path) -> None:
    images = sorted((colours / "val").rglob("*.png"))
    network, exported = apps.load(run, engine="torch"), apps.load(file)
    for wanted, got in zip(scores(network.predict(images)), scores(exported.predict(images)), strict=True):
        assert got == pytest.approx(wanted, abs=1e-4)


def test_a_run_that_holds_its_exported_file_is_answered_without_torch(run: Path, file: Path) -> None:
    (run / "model.onnx").write_bytes(file.read_bytes())
    code = (
        "import sys, apps\n"
        f"model = apps.load({str(run)!r})\n"
        "import numpy as np\n"
        "print(model.predict(np.zeros((40, 50, 3), np.uint8))[0].name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    (run / "model.onnx").unlink()
    assert done.stdout.split()[1] == "False", done.stdout


def test_paths_texts_arrays_and_pictures_are_one(file: Path, colours: Path) -> None:
    path = next((colours / "val").rglob("*.png"))
    with Image.open(path) as picture:
        kinds = [path, str(path), np.asarray(picture.convert("RGB")), picture.convert("RGB")]
        answers = apps.load(file).predict(kinds)
    assert len(set(answers)) == 1
    assert answers[0].to_dict() == apps.load(file).predict(path)[0].to_dict()
    assert answers[0].name == answers[0].to_dict()["predictions"][0]["name"]


def test_a_folder_is_its_images_and_a_bad_one_is_named_in_its_place(file: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.new("RGB", (50, 40), "blue").save(tmp_path / "c.png")
    first, bad, last = apps.load(file).predict(tmp_path)
    assert isinstance(first, ClassPrediction)
    assert isinstance(last, ClassPrediction)
    assert isinstance(bad, FailedPrediction)
    assert bad.to_dict().keys() == {"error"}
    with pytest.raises(ValueError, match=r"."):
        apps.load(file).predict(tmp_path / "b.png")


def test_a_predictor_answers_in_another_process(file: Path, colours: Path) -> None:
    model = apps.load(file, threads=1)
    image = next((colours / "val").rglob("*.png"))
    here = model.predict(image)
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(model.predict, image).result() == here


def test_what_cannot_be_loaded_is_refused_in_one_line(run: Path, file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx"):
        apps.load(tmp_path / "nothing.onnx")
    with pytest.raises(ValueError, match=r"is a file for openvino, not for onnxruntime"):
        apps.load(file.with_suffix(".xml"), engine="onnxruntime")
    with pytest.raises(ValueError, match=r"holds no model\.onnx, which `export` writes"):
        apps.load(run, engine="onnxruntime")
    with pytest.raises(ValueError, match=r"engine must be one of auto, onnxruntime, openvino, torch"):
        apps.load(file, engine="tensorrt")
    with pytest.raises(ValueError, match=r"device must be one of auto, cpu"):
        apps.load(file, device="tpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image in .*empty"):
        apps.load(file).predict(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 RGB, got \(3, 4\) uint8"):
        apps.load(file).predict(np.zeros((3, 4), np.uint8))


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    there = available_devices()
    assert there[0] == "cpu"
    assert choose_device("auto") == there[-1]
    for missing in {"cuda", "mps", "xpu"} - set(there):
        with pytest.raises(ValueError, match=rf"there is no device '{missing}' here; there are: cpu"):
            choose_device(missing)
