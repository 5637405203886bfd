"""Breeds, and other classes, that weights answer for without a training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import Cli

import apps
from apps.classification.breeds import BREEDS, LEAST_SHARE
from apps.engine.core.model import load_pretrained
from apps.engine.evaluation.calibration import UnknownRule
from apps.imagenet import imagenet_classes
from backbone import MobileNetV1
from datasets.classification.imagenet import imagenet_wnids
from heads import Classifier

HALF = "(x-0.5)/0.5 of RGB in [0,1]"


def drawn_weights(path: Path, count: int, **metadata: str) -> Path:
    torch.manual_seed(0)
    state = {k: v for k, v in MobileNetV1(0.25).state_dict().items() if "num_batches" not in k}
    state |= {"classifier.weight": torch.randn(count, 256), "classifier.bias": torch.randn(count)}
    given = {"padding": "same", "resolution": "64", "input": HALF, "width": "0.25"}
    save_file(state, path, given | metadata)
    return path


def test_the_breeds_are_stanfords_120() -> None:
    """All of ImageNet's dogs but the dalmatian, and the dingo, the dhole and the hunting dog."""
    assert len(set(BREEDS)) == 120
    names, wnids = imagenet_classes(), imagenet_wnids()
    assert (names[BREEDS[0]], wnids[BREEDS[-1]]) == ("Chihuahua", "n02116738")
    assert {names[row] for row in range(151, 276)} - {names[row] for row in BREEDS} == {
        "dalmatian", "timber wolf", "white wolf", "red wolf", "coyote",
    }


def test_a_breed_keeps_its_probability_among_all_classes(tmp_path: Path) -> None:
    weights = drawn_weights(tmp_path / "drawn.safetensors", 1000)
    images = torch.rand(2, 3, 64, 64)
    answers = {}
    for app in ("imagenet", "dogs"):
        task, model, config = load_pretrained(str(weights), app=app)
        assert task.name == config.app == app
        with torch.inference_mode():
            answers[app] = torch.softmax(model(images)[app], dim=1).numpy()
    assert answers["dogs"].shape == (2, 121)
    np.testing.assert_allclose(answers["dogs"][:, :120], answers["imagenet"][:, BREEDS], rtol=1e-4)
    assert config.classes == tuple(imagenet_classes()[row] for row in BREEDS)
    share = answers["imagenet"][:, BREEDS].sum(axis=1)
    rule = UnknownRule.from_dict(config.calibration["unknown"])
    np.testing.assert_allclose(rule.scores(np.log(answers["dogs"])), share, rtol=1e-4)


def test_a_classifier_of_some_classes_weighs_all_others_together() -> None:
    head = Classifier(8, 2, num_others=3)
    features = torch.rand(4, 8, 3, 3)
    whole = head.linear(features.mean(dim=(2, 3)))
    output = head(features)
    torch.testing.assert_close(output[:, :2], whole[:, :2])
    torch.testing.assert_close(output[:, 2], whole[:, 2:].logsumexp(dim=1))
    wanted = torch.softmax(whole, dim=1)[:, 2:].sum(dim=1)
    torch.testing.assert_close(torch.softmax(output, dim=1)[:, 2], wanted)
    assert all(set(answer.indices) == {0, 1} for answer in head.decode(output))
    with pytest.raises(ValueError, match="num_others must be 0 or more, got -1"):
        Classifier(8, 2, num_others=-1)


def test_classes_of_weights_have_their_names(cli: Cli, colours: Path, tmp_path: Path) -> None:
    named = drawn_weights(tmp_path / "named.safetensors", 2, classes=json.dumps(["no person", "person"]))
    photo = next((colours / "val").rglob("*.png"))
    answer = cli("predict", photo, "--weights", named, "--workers", 0)
    assert answer.code == 0, answer.err
    assert {one["name"] for one in answer.lines[0]["predictions"]} == {"no person", "person"}
    assert answer.lines[0]["unknown"] is None
    nameless = drawn_weights(tmp_path / "nameless.safetensors", 2)
    answer = cli("predict", photo, "--weights", nameless, "--workers", 0)
    assert answer.code == 1
    assert "bring no names of classes" in answer.err and len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(("app", "word"), [
    ("attributes", "has no heads feats, gender_pred, age_pred"), ("faces", "bring no head of 'faces'"),
    ("places", "bring no head of 'places'"),
])
def test_what_weights_do_not_answer_is_one_line(
    cli: Cli, colours: Path, tmp_path: Path, app: str, word: str
) -> None:
    weights = drawn_weights(tmp_path / "drawn.safetensors", 1000)
    answer = cli("predict", next((colours / "val").rglob("*.png")), "--weights", weights, "--app", app)
    assert answer.code == 1
    assert word in answer.err and len(answer.err.splitlines()) == 1


def test_real_breeds_and_things_that_are_no_dogs(cli: Cli, imagewoof: Path, shared: Path) -> None:
    """A few photos of each kind; the figures of docs/dogs.md are those of benchmarks no-dog."""
    weights = shared / "weights" / "mobilenetv1_1.0_224.safetensors"
    dogs = sorted((imagewoof / "val" / "n02111889").iterdir())[:6]
    portraits = sorted((shared / "data" / "portraits" / "images").iterdir())[:6]
    answer = cli("predict", *dogs, *portraits, "--weights", weights, "--app", "dogs", "--workers", 0)
    assert answer.code == 0, answer.err
    names = [line["predictions"][0]["name"] for line in answer.lines[:6]]
    assert names.count("Samoyed") >= 4
    assert [line["unknown"] for line in answer.lines].count(True) >= 6
    assert not any(line["unknown"] for line in answer.lines[:6])
    assert LEAST_SHARE[weights.stem] == 0.7


def test_an_exported_file_and_python_name_the_same_breeds(
    cli: Cli, imagewoof: Path, weights_025: Path, tmp_path: Path
) -> None:
    photo, model = min((imagewoof / "val" / "n02111889").iterdir()), tmp_path / "dogs.onnx"
    exported = cli("export", "--weights", weights_025, "--app", "dogs", "--out", model)
    assert exported.code == 0, exported.err
    by_torch = apps.load(weights_025, app="dogs").predict(photo)[0]
    by_file = apps.load(model).predict(photo)[0]
    assert isinstance(by_torch, apps.ClassPrediction) and isinstance(by_file, apps.ClassPrediction)
    assert by_torch.name == by_file.name == "Samoyed"
    assert by_torch.unknown is by_file.unknown is False
    assert by_file.probability == pytest.approx(by_torch.probability, abs=1e-4)
