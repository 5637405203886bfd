"""Files for phones as engines: what they answer, what they say of themselves, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import Cli, run_without_torch

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: .tflite files are not run")

from mobile_support import SIDE, mean_colours, spec_of, weights  # behind the skip: it needs LiteRT

from apps.engine.core.spec import HeadSpec
from apps.engine.inference.graph.nms import detections
from apps.engine.inference.mobile.files import load_mobile
from apps.engine.inference.mobile.litert import litert_network, plain
from apps.engine.inference.mobile.note import NOTE, read_note, with_note
from apps.engine.inference.mobile.suppress import suppressed
from apps.export.outputs import write_runner

CALIBRATION = {"temperature": 0.5, "unknown": {"score": "max_softmax", "threshold": 0.4}}
COLOURS = HeadSpec("dogs", "dogs", "classes", ("dogs",), ("red", "green", "blue"), CALIBRATION)
LIMITS = {
    "size": SIDE, "score_thresh": 0.1, "nms_thresh": 0.45, "topk_candidates": 60, "detections_per_img": 12,
    "resize": "squash", "threshold": 0.3, "unsuppressed": True,
}
BOXES = HeadSpec(
    "objects", "objects", "detections", ("objects/boxes", "objects/scores", "objects/labels"), ("a", "b"),
    extra=LIMITS,
)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "red.png"
    Image.new("RGB", (48, 40), (200, 30, 10)).save(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tflite") / "colours.tflite"
    path.write_bytes(with_note(mean_colours({"dogs": (3,)}), spec_of(COLOURS).to_json()))
    return path


def test_a_file_answers_for_each_photo_of_a_batch(model: Path) -> None:
    engine = load_mobile(model)
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    (got,) = engine.run(images)
    np.testing.assert_allclose(got, images.mean(axis=(1, 2)) @ weights("dogs", 3), rtol=1e-4, atol=1e-4)


def test_predict_answers_from_a_tflite_file_without_torch(model: Path, photo: Path) -> None:
    (line,) = run_without_torch("predict", photo, "--model", model)
    logits = np.array([200, 30, 10]) @ weights("dogs", 3) / CALIBRATION["temperature"]
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    got = {item["name"]: item["probability"] for item in line["predictions"]}
    assert got == pytest.approx(dict(zip(COLOURS.classes, wanted.tolist(), strict=True)), abs=1e-4)
    assert line["unknown"] is bool(wanted.max() < 0.4)


def test_the_script_beside_it_answers_as_predict_does(cli: Cli, model: Path, photo: Path) -> None:
    runner = write_runner(model)
    done = subprocess.run(
        [sys.executable, "-I", str(runner), str(photo)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wanted,) = cli("predict", photo, "--model", model).lines
    assert json.loads(done.stdout)["predictions"][0] == pytest.approx(wanted["predictions"][0], abs=1e-4)


def test_threads_have_interpreters_of_their_own(model: Path) -> None:
    engine = load_mobile(model)
    images = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
    wanted, got = engine.run(images)[0], {}

    def work(number: int) -> None:
        got[number] = engine.run(images)[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4 and all((made == wanted).all() for made in got.values())


def test_int8_outputs_are_given_in_fp32() -> None:
    values = np.array([[-128, 0, 127]], np.int8)
    assert plain(values, (0.5, -128)).tolist() == [[0.0, 64.0, 127.5]]
    assert plain(values, (0.0, 0)).dtype == np.int8


def test_boxes_are_suppressed_in_numpy_as_in_a_graph() -> None:
    drawn = np.random.default_rng(3)
    corners, sides = drawn.uniform(-4, 24, (4, 40, 2)), drawn.uniform(2, 20, (4, 40, 2))
    boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
    scores = drawn.uniform(0, 1, (4, 40, 3)).astype(np.float32)
    scores[3] = 0  # nothing is found on the last
    got = suppressed(boxes, scores, LIMITS)
    limits = {name: LIMITS[name] for name in ("size", "score_thresh", "nms_thresh", "topk_candidates")}
    wanted = detections(torch.tensor(boxes), torch.tensor(scores), **limits, detections_per_img=12)
    for made, expected in zip(got, wanted, strict=True):
        np.testing.assert_allclose(made, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert (got[1][:3] > 0).any(axis=1).all() and not got[1][3].any()


def test_a_detector_that_leaves_suppression_to_readers_has_three_outputs(tmp_path: Path) -> None:
    path = tmp_path / "boxes.tflite"
    content = mean_colours({"objects/boxes": (9, 4), "objects/scores": (9, 2)})
    path.write_bytes(with_note(content, spec_of(BOXES, resize="squash").to_json()))
    engine = load_mobile(path)
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    means = images.mean(axis=(1, 2))
    raw = [(means @ weights(name, size)).reshape(2, 9, -1).astype(np.float32)
           for name, size in (("objects/boxes", 36), ("objects/scores", 18))]
    for made, expected in zip(engine.run(images), suppressed(*raw, LIMITS), strict=True):
        np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-3)


def test_a_note_is_a_zip_behind_the_bytes_and_equal_files_are_equal(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "a.tflite"
    path.write_bytes(with_note(b"abc" * 50, '{"a": 1}'))
    assert read_note(path) == ('{"a": 1}', b"abc" * 50)
    assert zipfile.ZipFile(path).read(NOTE) == b'{"a": 1}'
    assert with_note(b"abc" * 50, '{"a": 1}') == path.read_bytes()


@pytest.mark.parametrize("at", [10, -1, "note"])
def test_a_changed_file_is_refused_in_one_line(cli: Cli, model: Path, tmp_path: Path, at: int | str) -> None:
    content = bytearray(model.read_bytes())
    place = content.rindex(b"temperature") if at == "note" else int(at)
    content[place] ^= 1
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(content)
    if at == -1:
        changed.write_bytes(model.read_bytes()[:-1])
    answer = cli("predict", tmp_path, "--model", changed)
    assert answer.code == 1 and str(changed) in answer.last_error
    assert "export it again" in answer.last_error or "made by: python cli.py export" in answer.last_error


@pytest.mark.parametrize("content", [b"", b"no model", b"x" * 4000])
def test_what_is_no_model_is_refused(cli: Cli, tmp_path: Path, content: bytes) -> None:
    for suffix in (".tflite", ".pte"):
        path = tmp_path / f"odd{suffix}"
        path.write_bytes(content)
        answer = cli("predict", tmp_path, "--model", path)
        assert (answer.code, "does not say what it answers" in answer.last_error) == (1, True)
    with pytest.raises(ValueError, match="is not a TFLite model that can be run"):
        litert_network(b"x" * 400, "odd.tflite")


def test_missing_files_and_other_engines_are_refused(
    cli: Cli, model: Path, photo: Path, tmp_path: Path
) -> None:
    answer = cli("predict", photo, "--model", tmp_path / "none.tflite")
    assert answer.code == 1 and "there is no model file" in answer.last_error
    for more in (("--engine", "onnxruntime"), ("--precision", "bf16")):
        answer = cli("predict", photo, "--model", model, *more)
        assert answer.code == 1 and "is computed by litert on the processor" in answer.last_error


def test_a_missing_runtime_says_what_to_install(
    cli: Cli, model: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    answer = cli("predict", photo, "--model", model)
    assert answer.code == 1 and "pip install ai-edge-litert" in answer.last_error
    monkeypatch.setitem(sys.modules, "executorch.runtime", None)
    program = tmp_path / "a.pte"
    program.write_bytes(with_note(b"p", spec_of(COLOURS).to_json()))
    answer = cli("predict", photo, "--model", program)
    assert answer.code == 1 and "pip install executorch" in answer.last_error
