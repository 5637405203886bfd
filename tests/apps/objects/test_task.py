"""``finetune objects``, ``evaluate objects`` and ``detect`` on small photos in COCO's layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from support import Cli, run_without_torch

from apps.engine.data.transforms import seeded
from apps.objects.transforms import Augmented, ToSquare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("boxes")
    (root / "annotations").mkdir()
    for split, count in (("train", 4), ("val", 3)):
        (root / f"{split}2017").mkdir()
        images, marks = [], []
        for n in range(1, count + 1):
            width, height = (120, 90) if n % 2 else (70, 110)
            image = Image.new("RGB", (width, height), (90, 120, 90))
            ImageDraw.Draw(image).rectangle((10, 15, 50, 60), fill=(200, 30, 30))
            image.save(root / f"{split}2017" / f"{n}.jpg")
            images.append({"id": n, "file_name": f"{n}.jpg", "width": width, "height": height})
            if n != 2:
                marks.append({
                    "id": n, "image_id": n, "category_id": 4, "bbox": [10, 15, 40, 45],
                    "area": 1800, "iscrowd": 0,
                })
        told = {"images": images, "annotations": marks, "categories": [{"id": 4, "name": "red"}]}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(told))
    return root


@pytest.fixture(scope="module")
def run(data: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "ssd"
    answer = cli(
        "finetune", "objects", "--data", data, "--resolution", 96, "--epochs", 1, "--batch-size", 2,
        "--workers", 0, "--out", out,
    )
    assert answer.code == 0, answer.err
    return out


def test_a_detector_is_trained_from_mixed_sizes_and_empty_photos(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["app"] == "objects" and config["classes"] == ["red"] and "ap50" in config["metrics"]
    assert (run / "report.html").is_file() and (run / "precision-recall.png").is_file()


@pytest.mark.parametrize("head", ["frcnn300", "frcnn-fpn"])
def test_two_stage_heads_train_on_the_same_engine(head: str, data: Path, cli: Cli, tmp_path: Path) -> None:
    answer = cli(
        "finetune", "objects", "--data", data, "--head", head, "--resolution", 64, "--epochs", 1,
        "--batch-size", 2, "--workers", 0, "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err


def test_results_written_by_evaluate_score_the_same_when_read_again(
    run: Path, data: Path, cli: Cli, tmp_path: Path
) -> None:
    results = tmp_path / "new" / "found.json"
    first = cli("evaluate", "objects", "--checkpoint", run, "--write-predictions", results)
    again = cli("evaluate", "objects", "--predictions", results, "--data", data)
    assert first.code == again.code == 0, first.err + again.err
    assert json.loads(again.out)["metrics"] == pytest.approx(json.loads(first.out)["metrics"], abs=1e-6)
    assert {one["category_id"] for one in json.loads(results.read_text())} == {4}


def test_detect_tells_boxes_in_pixels_of_the_photo_and_draws_them(
    run: Path, data: Path, cli: Cli, tmp_path: Path
) -> None:
    answer = cli(
        "detect", data / "val2017", "--checkpoint", run, "--threshold", 0, "--top", 3,
        "--draw", tmp_path / "drawn",
    )
    assert answer.code == 0, answer.err
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert len(lines) == 3 == len(list((tmp_path / "drawn").iterdir()))
    for line in lines:
        width, height = Image.open(line["path"]).size
        assert 1 <= len(line["objects"]) <= 3
        for one in line["objects"]:
            x1, y1, x2, y2 = one["box"]
            assert one["name"] == "red" and 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height


def test_objects_are_found_and_drawn_without_torch_and_are_those_of_torch(
    run: Path, data: Path, cli: Cli, tmp_path: Path
) -> None:
    """By the run's own file; PyTorch answers behind the same interface when it is asked."""
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    answer = cli("export", run, "--out", whole / "model.onnx")
    assert answer.code == 0, answer.err
    how = (data / "val2017", "--checkpoint", whole, "--threshold", 0.02, "--top", 5)
    lines = run_without_torch("detect", *how, "--draw", tmp_path / "drawn")
    assert len(list((tmp_path / "drawn").iterdir())) == len(lines) == 3
    by_torch = cli("detect", *how, "--engine", "torch")
    assert by_torch.code == 0, by_torch.err
    asked = ("evaluate", "objects", "--checkpoint", whole, "--workers", 0, "--engine")
    metrics = [cli(*asked, engine).lines[0]["metrics"] for engine in ("onnxruntime", "torch")]
    assert metrics[0] == pytest.approx(metrics[1], abs=0.002)
    for line, wanted in zip(lines, by_torch.lines, strict=True):
        assert line["path"] == wanted["path"]
        assert len(line["objects"]) == len(wanted["objects"]) > 0
        for one, other in zip(line["objects"], wanted["objects"], strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=2e-4)
    predicted = run_without_torch("predict", data / "val2017", "--checkpoint", whole)
    assert [line["path"] for line in predicted] == [line["path"] for line in lines]
    assert all("objects" in line for line in predicted)


def test_detect_refuses_a_class_that_the_model_does_not_know(run: Path, data: Path, cli: Cli) -> None:
    answer = cli("detect", data / "val2017", "--checkpoint", run, "--classes", "blue")
    assert answer.code == 1 and "the model does not know blue; it knows red" in answer.err


def test_freezing_without_epochs_is_refused(data: Path, cli: Cli) -> None:
    answer = cli("finetune", "objects", "--data", data, "--freeze")
    assert answer.code == 2 and "give --epochs" in answer.err


@pytest.mark.parametrize("keep_aspect", [True, False])
def test_boxes_come_back_from_the_square_to_where_they_were(keep_aspect: bool) -> None:
    square, box = ToSquare(64, keep_aspect), torch.tensor([[10.0, 20, 50, 60]])
    x, y = square.factors(120, 90)
    assert torch.allclose(square.back(box * torch.tensor([x, y, x, y]), 120, 90), box)
    assert square(np.zeros((90, 120, 3), np.uint8)).shape == (3, 64, 64)


@pytest.mark.parametrize("augment", ["none", "mirror", "ssd"])
def test_a_distorted_box_still_frames_its_object(augment: str) -> None:
    """The one red thing lies within the box, whatever is cut, mirrored or zoomed."""
    pixels = np.full((90, 120, 3), 90, np.uint8)
    pixels[20:60, 10:50] = (250, 0, 0)
    one = (
        np.array([[10, 20, 50, 60]], np.float32), np.array([0]), np.array([0]),
        np.array([120, 90], np.float32), np.array([1600.0]),
    )
    view = Augmented(ToSquare(96, keep_aspect=False), augment)
    with seeded() as generators:
        for seed in range(12):
            generators.seed(seed)
            image, (boxes, labels) = view.both(pixels, one)
            generators.seed(seed)
            again = view.both(pixels, one)[0]
            assert torch.equal(image, again) and len(boxes) == len(labels)
            for x1, y1, x2, y2 in boxes.round().int().tolist():
                inner = image[:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].float()
                spread = inner.std(dim=(1, 2)) if inner.numel() > 3 else torch.zeros(3)
                assert spread.max() < 12  # one colour all over: the box holds the thing and no more


def test_ignored_objects_are_not_learned() -> None:
    one = (
        np.array([[10, 20, 50, 60]], np.float32), np.array([0]), np.array([1]),
        np.array([120, 90], np.float32), np.array([1600.0]),
    )
    view = Augmented(ToSquare(96, keep_aspect=False), "ssd")
    assert len(view.both(np.zeros((90, 120, 3), np.uint8), one)[1][0]) == 0
