"""``run.py`` beside an exported file: the answers of ``predict --model``, with nothing of this project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import decode
from apps.engine.inference.decode.kinds import KINDS
from apps.engine.inference.preprocess import read_square
from apps.export.bundle import Bundle, script
from apps.export.outputs import write_runner
from apps.places.cells.graph import where_of
from apps.places.cells.names import names_of
from apps.places.cells.partition import Limits, build

SIZE = (640, 480)
runner: Any = ModuleType("runner")
runner.__file__ = "run.py"
sys.modules["runner"] = runner  # where dataclasses look for it
exec(compile(script(), "run.py", "exec"), vars(runner))
RULES = [
    {"score": "energy", "threshold": 2.0, "temperature": 1.5}, {"score": "max_logit", "threshold": 1.0},
    {"score": "max_softmax", "threshold": 0.4}, {"score": "known_share", "threshold": 0.7},
]
def head(kind: str, classes: tuple[str, ...], **more: Any) -> HeadSpec:
    return HeadSpec("x", "dogs", kind, ("x",), classes, **more)


def cells() -> tuple[str, ...]:
    drawn = np.random.default_rng(0)
    lat, lon = drawn.normal(48, 3, 400), drawn.normal(8, 4, 400)
    return names_of(build(lat, lon, [Limits(60, 5)]))


def close(got: Any, wanted: Any) -> bool:
    """Whether they are equal, types too, and numbers within 1e-4 of their size or of 1."""
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(close(got[key], value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return len(got) == len(wanted) and all(map(close, got, wanted))
    if isinstance(wanted, float):
        return bool(got == pytest.approx(wanted, rel=1e-4, abs=1e-4))
    return bool(got == wanted) and type(got) is type(wanted)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["score"])
def test_classes_are_read_as_predict_reads_them(rule: dict[str, Any]) -> None:
    width = 5 if rule["score"] == "known_share" else 4
    spec = head("classes", ("a", "b", "c", "d"), calibration={"temperature": 0.8, "unknown": rule})
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(0, 2, (1, width)).astype(np.float32)
        answer = runner.read(asdict(spec), [logits], 3, SIZE)
        assert close(answer, decode(spec, [logits], [SIZE], top=3)[0].to_dict())


@pytest.mark.parametrize(("kind", "shape"), [("attributes", 1 + 7), ("embedding", 16)])
def test_attributes_and_vectors_are_read_as_predict_reads_them(kind: str, shape: int) -> None:
    spec = head(kind, ("Male", "age:7"), calibration={"thresholds": {"Male": 0.31}})
    for seed in range(5):
        output = np.random.default_rng(seed).normal(0, 2, (1, shape)).astype(np.float32)
        answer = runner.read(asdict(spec), [output], 5, SIZE)
        assert close(answer, decode(spec, [output], [SIZE], top=5)[0].to_dict())


def test_places_are_read_as_predict_reads_them() -> None:
    names = cells()
    spec = head("cells", names, calibration={"temperature": 1.3}, extra=where_of(names))
    for seed in range(5):
        output = np.random.default_rng(seed).normal(0, 2, (1, len(names))).astype(np.float32)
        answer = runner.read(asdict(spec), [output], 5, SIZE)
        assert close(answer, decode(spec, [output], [SIZE], top=5)[0].to_dict())


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_objects_are_read_as_predict_reads_them(resize: str) -> None:
    spec = head("detections", ("cat", "dog"), extra={"size": 300, "resize": resize, "threshold": 0.3})
    for seed in range(5):
        drawn = np.random.default_rng(seed)
        corners, sides = drawn.uniform(-10, 280, (1, 20, 2)), drawn.uniform(5, 90, (1, 20, 2))
        boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
        scores = np.sort(drawn.uniform(0, 1, (1, 20)).astype(np.float32))[:, ::-1]
        outputs = [boxes, scores, drawn.integers(0, 2, (1, 20))]
        answer = runner.read(asdict(spec), outputs, 8, SIZE)
        assert close(answer, decode(spec, outputs, [SIZE], top=8)[0].to_dict())


def test_the_script_reads_every_kind_of_head_or_there_is_a_reason_and_needs_three_libraries() -> None:
    assert runner.DECODERS.keys() == {kind.name for kind in KINDS.values() if kind.script}
    assert not [line for line in script().split("\n") if re.match(r"\s*(from|import) (apps|datasets)", line)]
    with pytest.raises(ValueError, match=r"fit_temperature needs scipy|calibration needs scipy"):
        Bundle(frozenset()).take("apps.engine.evaluation.calibration", "fit_temperature")
    with pytest.raises(ValueError, match=r"s2 is a whole module"):
        Bundle(frozenset({"CellPartition"})).take("apps.places.cells.names", "names_of")
    twice = Bundle(frozenset())
    twice.take("apps.attributes.decode", "decode")
    with pytest.raises(ValueError, match="two definitions of decode"):
        twice.take("apps.engine.inference.decode.embedding", "decode")


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_pixels_are_those_that_predict_sees(resize: str, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    noise = Image.fromarray(drawn.integers(0, 256, (30, 40, 4), np.uint8)).resize((800, 620))
    turned = Image.Exif()
    turned[0x0112] = 6
    noise.convert("RGB").save(tmp_path / "large.jpg", exif=turned)
    noise.save(tmp_path / "clear.png")
    noise.convert("L").resize((30, 900)).save(tmp_path / "tall.png")
    Image.fromarray(np.asarray(noise)[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    spec = {"resolution": 64, "crop": 0.875, "resize": resize}
    for path in sorted(tmp_path.iterdir()):
        got, size = runner.read_square(path, spec)
        wanted, expected = read_square(path, 64, 0.875, resize)
        assert resize == "crop" or size == expected, path
        assert np.abs(got.astype(int) - wanted).max() <= 1, path


def test_a_script_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("print('mine')\n")
    assert write_runner(tmp_path / "model.onnx") is None
    assert (tmp_path / "run.py").read_text() == "print('mine')\n"


@pytest.fixture(scope="module")
def exported(cli: Cli, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    answer = cli("export", colour_run, "--out", folder / "colours.onnx")
    assert answer.code == 0, answer.err
    assert answer.lines[0]["runner"] == str(folder / "run.py")
    return folder


WITNESS = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    foreign = {"apps", "backbone", "heads", "datasets", "torch", "scipy", "simplejpeg"} & set(sys.modules)
    if foreign:
        sys.stderr.write(f"imported: {foreign}")
        sys.exit(3)
"""


def test_the_script_answers_alone_as_predict_does(
    cli: Cli, colours: Path, exported: Path, tmp_path: Path
) -> None:
    """In a process that cannot import this project."""
    photos = tmp_path / "photos"
    shutil.copytree(colours / "val", photos)
    (photos / "broken.jpg").write_bytes(b"no photo")
    paths = photos, tmp_path / "missing.jpg"
    command = [sys.executable, "-I", "-c", WITNESS, exported / "run.py", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    answer = cli("predict", *paths, "--model", exported / "colours.onnx")
    wanted = {line["path"]: line for line in answer.lines}
    assert {line["path"] for line in lines} == set(wanted)
    for line in lines:
        if "error" in wanted[line["path"]]:
            assert line["error"]
        else:
            close(line, wanted[line["path"]])


def test_wrong_use_of_the_script_is_one_line(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.onnx").write_bytes(b"no model")
    content = bytearray((exported / "colours.onnx").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "damaged.onnx").write_bytes(content)
    for model in (tmp_path / "none.onnx", tmp_path / "odd.onnx", tmp_path / "damaged.onnx"):
        command = [sys.executable, exported / "run.py", tmp_path, "--model", model]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1  # as predict
        assert len(done.stderr.splitlines()) == 1 and str(model) in done.stderr


@pytest.mark.slow
def test_the_script_needs_three_packages_and_no_more(
    cli: Cli, colours: Path, exported: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "onnxruntime", "numpy", "pillow"]
    if subprocess.run(install, capture_output=True, check=False).returncode:
        pytest.skip("no network to install onnxruntime, numpy and Pillow from")
    command = [python, exported / "run.py", colours / "val"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = cli("predict", colours / "val", "--model", exported / "colours.onnx")
    close([json.loads(line) for line in done.stdout.splitlines()], answer.lines)


def test_the_script_waits_for_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="not a regular file"):
        runner.read_square(tmp_path / "pipe.jpg", {"resolution": 64, "crop": 1.0, "resize": "crop"})


@pytest.mark.parametrize("top", ["0", "-1", "many"])
def test_the_script_takes_no_count_that_is_none(top: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        runner.main(["x.jpg", "--top", top])
    assert stopped.value.code == 2 and "--top" in capsys.readouterr().err


def test_the_script_says_that_a_folder_holds_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "load", lambda _: None)
    assert runner.main([str(tmp_path), "--model", str(tmp_path)]) == 1
    assert "no image" in capsys.readouterr().err
