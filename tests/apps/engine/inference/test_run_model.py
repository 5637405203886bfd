"""A training ends with model.onnx: what answers from it, when it is not used, and what is never imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import ROOT, Cli
from task_table import positions

import apps
from apps.engine.core.console import Console
from apps.engine.core.spec import KEY
from apps.engine.inference.graph.merge import merged
from apps.engine.inference.graph.run_model import write_run_model
from apps.engine.inference.loading import load_engine
from apps.engine.inference.predictor import Predictor

SMALL = ("--epochs", 1, "--resolution", 64, "--batch-size", 8, "--workers", 0)


@pytest.fixture(scope="module")
def run(cli: Cli, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "colours"
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, "--export", "--out", out)
    assert answer.code == 0, answer.err
    assert "model.onnx: equal to the network within" in answer.err
    return out


@pytest.fixture(scope="module")
def heads(cli: Cli, colours: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two heads on the backbone of the run."""
    folder, runs = tmp_path_factory.mktemp("heads"), []
    for seed in (1, 2):
        runs.append(folder / f"head{seed}")
        answer = cli(
            "finetune", "dogs", "--data", colours, "--weights", run, "--freeze", "--epochs", 1,
            "--batch-size", 8, "--workers", 0, "--seed", seed, "--export", "--out", runs[-1],
        )
        assert answer.code == 0, answer.err
    return runs


@pytest.fixture(scope="module")
def placed(cli: Cli, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of places with offsets."""
    folder = tmp_path_factory.mktemp("places")
    answer = cli(
        "finetune", "places", "--data", positions(folder / "photos"), "--weights", run, "--freeze",
        "--offset", "--t-max", 4, "--t-min", 0, "--workers", 0, "--export", "--out", folder / "run",
    )
    assert answer.code == 0, answer.err
    return folder / "run"


def photos_of(colours: Path) -> list[Path]:
    return sorted((colours / "val").rglob("*.png"))


def scores(lines: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [{c["name"]: c["probability"] for c in line["predictions"]} for line in lines]


@pytest.mark.parametrize("tta", [(), ("--tta", "mirror"), ("--tta", "ten")])
def test_run_file_torch_and_python_give_the_same_answers(
    cli: Cli, run: Path, colours: Path, tta: tuple[str, ...]
) -> None:
    photos = photos_of(colours)
    by_run = cli("predict", *photos, "--checkpoint", run, *tta)
    by_file = cli("predict", *photos, "--model", run / "model.onnx", *tta)
    by_torch = cli("predict", *photos, "--checkpoint", run, "--engine", "torch", *tta)
    python = apps.load(run, tta=tta[1] if tta else None).predict(photos)
    assert by_run.err == by_torch.err == ""
    wanted = scores(by_torch.lines)
    answers = [by_run.lines, by_file.lines, [answer.to_dict() for answer in python]]
    for got in map(scores, answers):
        assert got == [pytest.approx(row, abs=1e-4) for row in wanted]
    assert [line["unknown"] for line in by_run.lines] == [line["unknown"] for line in by_torch.lines]


def test_evaluate_gives_the_metrics_of_torch(cli: Cli, run: Path) -> None:
    answers = [
        cli("evaluate", "dogs", "--checkpoint", run, "--engine", engine, "--precision", "fp32").lines[0]
        for engine in ("onnxruntime", "torch")
    ]
    assert answers[0]["metrics"] == pytest.approx(answers[1]["metrics"], abs=1e-4)


def test_no_torch_is_imported_to_answer(
    run: Path, heads: list[Path], placed: Path, colours: Path, tmp_path: Path
) -> None:
    photo = photos_of(colours)[0]
    calls = [
        ["predict", str(photo), "--checkpoint", str(run)],
        ["predict", str(photo), "--model", str(run / "model.onnx"), "--tta", "mirror"],
        ["predict", str(photo), "--heads", ",".join(map(str, heads))],
        ["predict", str(photo), "--checkpoint", str(placed)],
        ["locate", str(photo), "--checkpoint", str(placed), "--album", "--ten-crop"],
    ]
    code = (
        "import sys\nfrom apps.cli.main import main\n"
        f"assert [main(call) for call in {calls!r}] == {[0] * len(calls)}\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_heads_of_one_backbone_are_merged_so_that_it_runs_once(
    cli: Cli, heads: list[Path], colours: Path
) -> None:
    content, specs = merged([run / "model.onnx" for run in heads], ["a", "b"])
    nodes = [node.op_type for node in onnx.load_from_string(content).graph.node]
    alone = [node.op_type for node in onnx.load(heads[0] / "model.onnx").graph.node]
    assert nodes.count("Conv") == alone.count("Conv") > 20
    assert nodes.count("Gemm") == 2 * alone.count("Gemm") == 2
    assert [spec.checkpoint for spec in specs] == [
        json.loads((run / "config.json").read_text())["model_sha256"] for run in heads
    ]
    photos = photos_of(colours)
    both = cli("predict", *photos, "--heads", ",".join(map(str, heads)))
    assert both.code == 0, both.err
    for run in heads:
        wanted = scores(cli("predict", *photos, "--checkpoint", run, "--engine", "torch").lines)
        got = scores([line["answers"][run.name] for line in both.lines])
        assert got == [pytest.approx(row, abs=1e-4) for row in wanted]
    several = apps.load({"a": heads[0], "b": heads[1]}).predict(photos[0])[0]
    assert isinstance(several, apps.HeadsPrediction)
    assert set(several.answers) == {"a", "b"}


def test_places_answer_alike_with_their_offsets(placed: Path, colours: Path) -> None:
    photo = photos_of(colours)[0]
    (file, torch) = (
        next(Predictor(str(placed), engine).outputs([photo]))[1] for engine in ("auto", "torch")
    )
    assert isinstance(file, list) and isinstance(torch, list)
    assert [part.shape for part in file] == [part.shape for part in torch]
    for got, wanted in zip(file, torch, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_a_file_of_other_weights_and_a_damaged_one_are_not_used(
    cli: Cli, run: Path, heads: list[Path], colours: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).write_bytes((run / name).read_bytes())
    photo = photos_of(colours)[0]
    wanted = cli("predict", photo, "--checkpoint", run).lines
    for content, words in (
        (None, "holds no model.onnx"),
        ((heads[0] / "model.onnx").read_bytes(), "is not of the weights beside it"),
        ((run / "model.onnx").read_bytes()[:1000], "is damaged"),
        (flipped((run / "model.onnx").read_bytes()), "holds other bytes than its sum says"),
    ):
        if content is not None:
            (copy / "model.onnx").write_bytes(content)
        answer = cli("predict", photo, "--checkpoint", copy)
        assert answer.code == 0
        assert words in answer.err and "PyTorch answers" in answer.err and len(answer.err.splitlines()) == 1
        assert scores(answer.lines) == [pytest.approx(row, abs=1e-4) for row in scores(wanted)]
        refused = cli("predict", photo, "--checkpoint", copy, "--engine", "onnxruntime")
        assert (refused.code, refused.out) == (1, "")
        assert words in refused.last_error


def flipped(content: bytes) -> bytes:
    """With other numbers among the weights, which a runtime takes as they are."""
    begin = len(content) // 2
    end = begin + 40
    return content[:begin] + bytes(255 - byte for byte in content[begin:end]) + content[end:]


def test_a_file_with_flipped_bytes_is_refused_wherever_it_answers(
    cli: Cli, run: Path, heads: list[Path], colours: Path, tmp_path: Path
) -> None:
    """An exported file alone, and files that are to be merged; one without a sum is taken as it is."""
    photo, file = photos_of(colours)[0], tmp_path / "file.onnx"
    file.write_bytes(flipped((run / "model.onnx").read_bytes()))
    answer = cli("predict", photo, "--model", file)
    assert (answer.code, answer.out) == (1, "")
    assert f"{file} is damaged" in answer.last_error
    copy = shutil.copytree(heads[0], tmp_path / "head1")
    (copy / "model.onnx").write_bytes(flipped((heads[0] / "model.onnx").read_bytes()))
    both = cli("predict", photo, "--heads", f"{copy},{heads[1]}")
    assert both.code == 0 and "is damaged" in both.err and "PyTorch answers" in both.err
    whole = onnx.load(run / "model.onnx")
    del whole.metadata_props[[item.key for item in whole.metadata_props].index("content_sha256")]
    onnx.save(whole, file)
    assert cli("predict", photo, "--model", file).out


def test_thresholds_that_were_chosen_anew_are_those_of_the_answers(run: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    config = json.loads((run / "config.json").read_text())
    config["calibration"]["temperature"] = 7.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_engine(str(tmp_path)).spec.heads[0].calibration["temperature"] == 7.0


def test_going_on_writes_the_file_of_the_new_weights(cli: Cli, colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begun = ("finetune", "dogs", "--data", colours, *SMALL, "--export", "--out", out)
    assert cli(*begun).code == 0
    before = (out / "model.onnx").read_bytes()
    assert cli("finetune", "dogs", "--epochs", 2, "--resume", "--export", "--out", out).code == 0
    assert (out / "model.onnx").read_bytes() != before
    assert load_engine(str(out)).note == ""


def test_an_export_that_fails_costs_no_run(
    cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("operator aten::odd is not known\nto the exporter")

    monkeypatch.setattr("apps.engine.inference.graph.run_model.onnx_model", fail)
    out = tmp_path / "run"
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, "--export", "--out", out)
    assert answer.code == 0, answer.err
    assert "PyTorch answers for it: operator aten::odd is not known to the exporter" in answer.err
    assert not (out / "model.onnx").exists()
    assert cli("predict", photos_of(colours)[0], "--checkpoint", out).code == 0


def test_a_disk_that_is_full_leaves_the_run_without_half_a_file(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run / "model.onnx").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("apps.engine.inference.graph.run_model.write_onnx", full)
    assert not write_run_model(run, Console(quiet=True))
    assert not list(run.glob("*.onnx"))
    (run / "model.onnx").write_bytes(before)


def test_the_file_says_which_weights_it_is_of(run: Path) -> None:
    told = {item.key: item.value for item in onnx.load(run / "model.onnx").metadata_props}
    config = json.loads((run / "config.json").read_text())
    assert json.loads(told[KEY])["checkpoint"] == config["model_sha256"]


def test_the_rule_for_the_unknown_is_not_used_on_views_that_it_was_not_made_for(
    cli: Cli, run: Path, colours: Path
) -> None:
    photo = next(colours.rglob("*.png"))
    assert cli("predict", photo, "--checkpoint", run).lines[0]["unknown"] in (True, False)
    for engine in ("auto", "torch"):
        answer = cli("predict", photo, "--checkpoint", run, "--tta", "mirror", "--engine", engine)
        assert answer.lines[0]["unknown"] is None
    assert apps.load(run, tta="none").predict(photo)[0].unknown is not None
