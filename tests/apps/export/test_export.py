"""Exported models: what they answer, what they say of themselves, what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from support import COLOURS, ROOT, Cli

from apps.engine.core.device import openvino_core
from apps.engine.core.machine import usable_cores
from apps.engine.inference.graph.model import Deployed
from apps.engine.inference.lines import predict
from apps.engine.inference.model_file import load_model, openvino_settings
from apps.engine.inference.seal import SUM
from apps.export.accuracy import check_drop
from apps.export.export import export
from backbone import MobileNetV1, Preprocessing
from heads import Classifier


@pytest.fixture(scope="module")
def model(cli: Cli, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "colours.onnx"
    answer = cli("export", colour_run, "--out", out)
    assert answer.code == 0, answer.err
    return out


def answers_of(lines: str) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in lines.splitlines()]
    return [{one["name"]: one["probability"] for one in row["predictions"]} for row in rows]


def test_a_model_file_answers_as_the_run_does(cli: Cli, colour_run: Path, colours: Path, model: Path) -> None:
    photos = sorted((colours / "val").rglob("*.png"))
    own = cli("predict", *photos, "--checkpoint", colour_run, "--workers", 0)
    file = cli("predict", *photos, "--model", model)
    assert own.code == file.code == 0
    assert len(answers_of(own.out)) == len(photos)
    for wanted, got in zip(answers_of(own.out), answers_of(file.out), strict=True):
        assert got == pytest.approx(wanted, abs=1e-4), "the same pixels, the same answers"
    unknown = [[json.loads(line)["unknown"] for line in answer.out.splitlines()] for answer in (own, file)]
    assert unknown[0] == unknown[1]


def test_a_model_file_takes_any_number_of_photos_and_each_answers_for_itself(model: Path) -> None:
    one = load_model(model)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    together = one.run(images)[0]
    alone = np.concatenate([one.run(images[i : i + 1])[0] for i in range(5)])
    assert together.shape == (5, len(COLOURS))
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_a_model_file_says_what_it_is(colour_run: Path, model: Path) -> None:
    config = json.loads((colour_run / "config.json").read_text())
    spec = load_model(model).spec
    (head,) = spec.heads
    assert (head.name, head.kind, list(head.classes)) == ("dogs", "classes", config["classes"])
    assert head.calibration == config["calibration"]
    assert spec.fingerprint == config["fingerprint"]
    assert spec.resolution == config["backbone"]["preprocessing"]["resolution"] == 32
    proto = onnx.load(model)
    assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
    assert str(ROOT) not in str(proto), "paths of this machine are in the file"


def test_the_model_card_tells_classes_figures_limits_and_licence(model: Path) -> None:
    card = Path(f"{model}.md").read_text()
    for words in (*COLOURS, "top1", "Licence", "Limits", "fingerprint", "uint8 RGB, (N, 32, 32, 3)"):
        assert words in card


def test_predict_with_a_model_file_never_imports_torch_and_starts_within_a_second(
    model: Path, colours: Path
) -> None:
    code = (
        "import resource, sys; from pathlib import Path; import onnxruntime; from apps.cli.main import main;"
        f"code = main(['predict', {str(colours)!r}, '--model', {str(model)!r}]);"
        "came = {'torch', 'timm', 'scipy', 'sklearn'} & set(sys.modules);"
        "assert code == 0 and not came, came;"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(used.ru_utime + used.ru_stime, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 36
    assert float(done.stderr.split()[-1]) < 1.0


def test_a_photo_that_cannot_be_read_gets_a_line_of_its_own(
    cli: Cli, model: Path, colours: Path, tmp_path: Path
) -> None:
    text = tmp_path / "a.jpg"
    text.write_text("no photo")
    good = next((colours / "val").rglob("*.png"))
    answer = cli("predict", text, good, "--model", model)
    first, second = (json.loads(line) for line in answer.out.splitlines())
    assert "not a photo" in first["error"]
    assert second["path"] == str(good)
    assert answer.code == 0
    assert cli("predict", text, "--model", model).code == 1


def test_several_workers_keep_the_order_of_the_paths(model: Path, colours: Path) -> None:
    alone = list(predict([colours], str(model), is_run=False, threads=1))
    assert list(predict([colours], str(model), is_run=False, threads=3)) == alone
    assert [one["path"] for one in alone] == sorted(one["path"] for one in alone)


@pytest.mark.parametrize("calls", sorted({1, min(2, usable_cores())}))
def test_an_openvino_model_serves_as_many_workers_at_once_as_there_are(model: Path, calls: int) -> None:
    """With one stream, as its settings for latency have it, all workers would wait for one core."""
    openvino = pytest.importorskip("openvino")
    made = openvino.convert_model(model)
    compiled = openvino_core().compile_model(made, "CPU", openvino_settings("fp32", 1, calls))
    assert compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") == calls
    assert compiled.get_property("INFERENCE_NUM_THREADS") == calls


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize(
    "seen", [Preprocessing(), Preprocessing((0.4, 0.45, 0.5), (0.2, 0.3, 1 / 255), "bgr")],
)
def test_the_first_convolution_takes_scale_and_order_of_the_channels_in(
    layout: str, seen: Preprocessing
) -> None:
    torch.manual_seed(0)
    backbone = MobileNetV1(0.25, preprocessing=seen).eval()
    head = Classifier(backbone.channels[32], 5).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    module = Deployed(backbone, {"one": head}, layout)
    assert module.scale is None
    with torch.no_grad():
        (got,) = module(images.permute(0, 2, 3, 1) if layout == "nhwc" else images)
        wanted = head(backbone(images)[32])
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_two_heads_on_one_backbone_are_one_model_with_named_outputs(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    """And the other layout of the input gives the same answers."""
    twin, out = tmp_path / "twin", tmp_path / "two.onnx"
    shutil.copytree(colour_run, twin)
    answer = cli("export", colour_run, twin, "--layout", "nchw", "--out", out)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["outputs"] == ["dogs", "dogs_2"]
    photo = next((colours / "val").rglob("*.png"))
    (line,) = predict([photo], str(out), is_run=False)
    (own,) = answers_of(cli("predict", photo, "--checkpoint", colour_run, "--workers", 0).out)
    for name in ("dogs", "dogs_2"):
        got = {one["name"]: one["probability"] for one in line["answers"][name]["predictions"]}
        assert got == pytest.approx(own, abs=1e-2)


def test_int8_answers_nearly_as_well_and_its_loss_is_told(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small.onnx"
    answer = cli(
        "export", colour_run, "--precision", "int8", "--validate", colours, "--calibrate", colours / "train",
        "--out", out,
    )
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["drop"]["dogs/top1"] <= 0.03
    assert told["figures"]["dogs/photos"] == 12
    assert re.search(r"only \d+ photos to calibrate by: int8 wants some hundred of yours", answer.err)
    assert re.search(r"dogs/top1: \d\.\d{4} in fp32, \d\.\d{4} in int8, on 12 photos", answer.err)
    nodes = onnx.load(out).graph.node
    made_by = {name: node.op_type for node in nodes for name in node.output}
    kinds = [made_by.get(node.input[1]) for node in nodes if node.op_type == "Conv"]
    assert kinds == [None, None, *["DequantizeLinear"] * 25], "the first two are quicker in fp32"
    assert made_by["relu6_1_QuantizeLinear_Output"] == "QuantizeLinear"
    assert "on 12 validation photos: dogs/top1" in Path(f"{out}.md").read_text()


def test_a_loss_above_max_drop_is_refused_by_the_worst_figure() -> None:
    check_drop({"dogs/top1": 0.03, "places/geoscore": -0.5}, 0.03)
    with pytest.raises(ValueError, match=r"b/top1 falls by 0\.0310, more than --max-drop 0\.03; nothing was"):
        check_drop({"a/top1": 0.02, "b/top1": 0.031}, 0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "points"), [("1.0_224", 0.015), ("0.25_128", 0.03)])
def test_int8_keeps_the_accuracy_of_pretrained_networks(
    cli: Cli, shared: Path, imagewoof: Path, tmp_path: Path, name: str, points: float
) -> None:
    answer = cli(
        "export", "--weights", shared / "weights" / f"mobilenetv1_{name}.safetensors", "--precision", "int8",
        "--calibrate", imagewoof / "train", "--validate", imagewoof / "val", "--max-drop", points,
        "--out", tmp_path / "m.onnx",
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["figures"]["imagenet/photos"] == 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "precision", "name"), [("openvino", "fp16", "m.xml"), ("onnx", "fp16", "m.onnx")]
)
def test_other_files_answer_alike(
    colour_run: Path, colours: Path, model: Path, tmp_path: Path, kind: str, precision: str, name: str
) -> None:
    if kind == "openvino":
        pytest.importorskip("openvino")
    answer = export([colour_run], out=tmp_path / name, to=kind, precision=precision)
    assert answer["difference"] < 2e-2
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    wanted = load_model(model).run(images)[0]
    got = load_model(tmp_path / name).run(images)[0]
    assert np.abs(got - wanted).max() < 2e-2 * np.abs(wanted).max()
    weights = (tmp_path / name).with_suffix(".bin" if kind == "openvino" else ".onnx")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 255
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=f"{weights} is damaged"):
        load_model(tmp_path / name)


@pytest.mark.slow
def test_a_torch_program_answers_alike(colour_run: Path, model: Path, tmp_path: Path) -> None:
    export([colour_run], out=tmp_path / "m.pt2", to="torch")
    told = {"mobilenet_apps": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=told)
    assert json.loads(told["mobilenet_apps"])["heads"][0]["app"] == "dogs"
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    (got,) = program.module()(torch.from_numpy(images))
    np.testing.assert_allclose(got.detach().numpy(), load_model(model).run(images)[0], rtol=1e-3, atol=1e-4)


def test_files_that_are_no_models_of_ours_are_told(
    cli: Cli, model: Path, colours: Path, tmp_path: Path
) -> None:
    text, bare, later = (tmp_path / name for name in ("text.onnx", "bare.onnx", "later.onnx"))
    text.write_text("no model")
    proto = onnx.load(model)
    told = {one.key: one.value for one in proto.metadata_props if one.key != SUM}
    onnx.helper.set_model_props(proto, told | {"mobilenet_apps": '{"version": 99, "heads": []}'})
    onnx.save(proto, later)
    del proto.metadata_props[:]
    onnx.save(proto, bare)
    for path, words in (
        (text, "is not an ONNX model that can be run, or is damaged"),
        (bare, "is an ONNX model, but not one of ours"),
        (later, "was exported by another version of this program (format 99, not 1)"),
        (tmp_path / "none.onnx", "there is no model file"),
    ):
        answer = cli("predict", colours, "--model", path)
        assert answer.code == 1
        assert words in answer.err
        assert "export" in answer.err


def test_predict_takes_one_kind_of_model(cli: Cli, colours: Path, model: Path, colour_run: Path) -> None:
    answer = cli("predict", colours, "--model", model, "--checkpoint", colour_run)
    assert answer.code == 2
    assert "give one of --checkpoint RUN, --weights W, --heads RUN,RUN and --model FILE" in answer.err
    assert cli("predict", colours, "--model", model, "--tta", "mirror").code == 0
    answer = cli("predict", colours, "--model", model, "--precision", "bf16")
    assert (answer.code, answer.last_error) == (
        1, "error: PyTorch cannot compute an exported file; --precision bf16 is computed by PyTorch"
    )
    assert cli("predict", colours, "--model", model.with_suffix(".bin")).code == 2
