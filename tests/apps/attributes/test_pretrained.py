"""Sex and age by the face network as it is, without a run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import Cli, save_colour

from apps.attributes.teachers import load_oracle
from apps.engine.core.model import load_pretrained
from benchmarks.sex_and_age import Portrait, by_group
from heads import MultiLabelClassifier


@pytest.fixture(scope="module")
def face_network(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn face weights with heads for sex and age as the published file has them."""
    torch.manual_seed(0)
    heads = {}
    for name, shape in (("feats", (8, 256)), ("gender_pred", (1, 8)), ("age_pred", (100, 8))):
        heads |= {f"{name}.weight": torch.randn(shape) / 8, f"{name}.bias": torch.randn(shape[0]) / 8}
    path = tmp_path_factory.mktemp("faces") / "faces.safetensors"
    save_file(load_file(weights) | heads, path, {"padding": "same", "resolution": "64", "width": "0.25"})
    return path


def test_the_head_computes_what_the_files_layers_say(face_network: Path) -> None:
    _, model, config = load_pretrained(str(face_network), app="attributes")
    assert config.classes == ("Male", "age:100") and config.backbone.preprocessing.crop == 1.0
    images, state = torch.randint(0, 256, (3, 3, 64, 64)) / 255, load_file(face_network)
    with torch.inference_mode():
        logits = model(images)["attributes"]
        pooled = model.backbone(images)[32].mean(dim=(2, 3))
        hidden = torch.relu(pooled @ state["feats.weight"].T + state["feats.bias"])
        wanted = [hidden @ state[f"{n}.weight"].T + state[f"{n}.bias"] for n in ("gender_pred", "age_pred")]
    torch.testing.assert_close(logits, torch.cat(wanted, dim=1), rtol=1e-4, atol=1e-5)
    oracle = load_oracle(f"face-network:{face_network}")
    with torch.inference_mode():
        taught = oracle.answers(images)
    head = model.heads["attributes"]
    assert isinstance(head, MultiLabelClassifier)
    torch.testing.assert_close(taught, head.probabilities(logits), rtol=1e-4, atol=1e-6)


def test_crops_are_answered_without_a_run_and_by_an_exported_file(
    cli: Cli, face_network: Path, tmp_path: Path
) -> None:
    save_colour(tmp_path / "crops" / "a.png", (200, 140, 110), seed=0)
    asked = ("--weights", face_network, "--app", "attributes")
    answer = cli("predict", tmp_path / "crops", *asked, "--crops")
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    assert 0 <= line["attributes"]["Male"]["probability"] <= 1 and 0 <= line["values"]["age"] <= 99
    assert cli("export", *asked, "--out", tmp_path / "faces.onnx").code == 0
    (by_file,) = cli("predict", tmp_path / "crops", "--model", tmp_path / "faces.onnx").lines
    assert by_file["values"]["age"] == pytest.approx(line["values"]["age"], abs=0.5)


def test_real_faces_have_a_sex_and_an_age(cli: Cli, shared: Path) -> None:
    weights = shared / "weights" / "faces_mobilenetv1_1.0_224.safetensors"
    folder = shared / "data" / "portraits" / "images"
    men = [folder / f"{name}.jpg" for name in ("A000210", "A000361")]
    answer = cli("predict", *men, "--weights", weights, "--app", "attributes")
    assert answer.code == 0, answer.err
    first = [line for line in answer.lines if line["face"] == 0]
    assert [line["attributes"]["Male"]["decision"] for line in first] == [True, True]
    assert all(35 < line["values"]["age"] < 75 for line in first)


def test_figures_by_group_are_counted_as_they_are_named() -> None:
    portraits = [Portrait(True, 35.0, 0.9, 40.0), Portrait(False, 45.0, 0.6, 41.0)]
    groups = by_group(portraits)
    assert groups["all"] == {"n": 2, "sex_right": 0.5, "age_error": 4.5, "age_bias": 0.5}
    assert groups["men 0-40"]["n"] == groups["women 40-50"]["n"] == 1
    assert math.isclose(groups["women"]["age_bias"], -4.0) and "men 40-50" not in groups
