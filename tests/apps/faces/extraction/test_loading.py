"""A face model from an exported file is the one that PyTorch loads: fingerprint, name, length, vectors."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faces_support import write_face_weights
from PIL import Image
from support import Cli

from apps.faces.extraction.loading import FaceModelFile, load_face_model
from apps.faces.extraction.torch_embedder import TorchFaceModel, load_torch_face_model
from backbone.storage import MIRROR_VARIABLE


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def crops(side: int) -> list[Image.Image]:
    """More than a file sees at once."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)) for _ in range(9)]


def test_a_run_is_embedded_by_its_own_file_unless_that_is_damaged(
    cli: Cli, student: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(student, run)
    answer = cli("export", student, "--out", run / "model.onnx", "--overwrite")
    assert answer.code == 0, answer.err
    model, wanted = load_face_model(checkpoint=run), load_torch_face_model(checkpoint=run)
    assert isinstance(model, FaceModelFile)
    assert model.info == wanted.info
    faces = crops(model.info.resolution)
    np.testing.assert_allclose(model.vectors(faces), wanted.vectors(faces), atol=1e-4)
    assert model.vectors([]).shape == (0, model.info.dim)
    content = bytearray((run / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 255
    (run / "model.onnx").write_bytes(content)
    assert isinstance(load_face_model(checkpoint=run), TorchFaceModel)
    (said,) = (record.message for record in caplog.records if "PyTorch answers" in record.message)
    assert said.startswith(f"{run / 'model.onnx'} is damaged")


def test_a_run_without_a_file_of_its_weights_is_embedded_by_torch(student: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(student, run)
    (run / "model.onnx").unlink(missing_ok=True)
    assert isinstance(load_face_model(checkpoint=run), TorchFaceModel)


def test_weights_are_exported_once_and_known_by_their_content(cache: Path, tmp_path: Path) -> None:
    first = write_face_weights(tmp_path / "one.safetensors")
    model, wanted = load_face_model(weights=str(first)), load_torch_face_model(weights=str(first))
    assert isinstance(model, FaceModelFile)
    assert model.info == wanted.info
    faces = crops(model.info.resolution)
    np.testing.assert_allclose(model.vectors(faces), wanted.vectors(faces), atol=1e-4)
    (kept,) = (cache / "mobilenet-apps" / "models").glob("embed-*.onnx")
    made = kept.stat().st_mtime_ns
    assert load_face_model(weights=str(first)).info == model.info
    assert kept.stat().st_mtime_ns == made
    write_face_weights(first, seed=1)  # other numbers under the same name
    assert load_face_model(weights=str(first)).info.fingerprint != model.info.fingerprint


def test_weights_by_name_come_from_the_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_face_weights(tmp_path / "faces_mobilenetv1_1.0_224.safetensors")
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))
    named, by_path = load_face_model(weights=path.stem), load_face_model(weights=str(path))
    assert named.info == replace(by_path.info, weights=path.stem)


def test_neither_or_both_are_refused() -> None:
    for given in ({}, {"weights": "w", "checkpoint": Path("run")}):
        with pytest.raises(ValueError, match="give either --weights W or --checkpoint RUN"):
            load_face_model(**given)  # type: ignore[arg-type]


def test_missing_weights_are_told_as_ever() -> None:
    with pytest.raises(FileNotFoundError, match="there is no weights file"):
        load_face_model(weights="nowhere.safetensors")
