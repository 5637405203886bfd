"""Weights that bring a detector: they answer, are evaluated, are trained on, and are exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from ssd_file_support import SIZE, import_small_ssd
from support import Cli
from torchvision.ops import box_iou

import apps
from apps.engine.core.console import Console
from apps.engine.core.model import load_pretrained, load_run
from apps.objects.detect import detect
from apps.objects.start import start_ssd
from apps.objects.task import Objects, ObjectsSettings
from apps.zoo.convert.detector import ImportedDetector, find_columns, raw_outputs
from apps.zoo.convert.importer import ImportOptions, import_weights, read_source
from apps.zoo.convert.parity import open_interpreter
from backbone import load_weights
from datasets.image_io import read_image

NAME = "ssd_mobilenetv1_0.75_coco"
FILE = "ssd_mobilenet_v1_0.75_coco_quant.tflite"
NMS_THRESH = 0.6  # of the file


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SSD of cat, dog and owl."""
    return import_small_ssd(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Owls and foxes, of which the small SSD knows owls."""
    root = tmp_path_factory.mktemp("boxes")
    for split, count in (("train", 4), ("val", 2)):
        lines = ["path,x1,y1,x2,y2,class"]
        for n in range(count):
            image = Image.new("RGB", (120, 90), (90, 120, 30 * n))
            ImageDraw.Draw(image).rectangle((10, 15, 69, 79), fill=(220, 30, 30))
            image.save(root / f"{split}{n}.png")
            lines.append(f"{split}{n}.png,10,15,70,80,{'owl' if n % 2 else 'fox'}")
        (root / f"{split}.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="session")
def coco(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published file, imported."""
    out = tmp_path_factory.mktemp("coco") / f"{NAME}.safetensors"
    import_weights(shared / "weights" / "coco_ssd" / FILE, out, ImportOptions(), Console(quiet=True))
    return out


def test_a_new_detector_takes_all_but_the_rows_of_classes_that_are_new(weights: Path) -> None:
    loaded = load_weights(weights)
    settings: Any = Objects.with_weights(ObjectsSettings(weights=str(weights)), loaded)
    assert (settings.head, settings.resolution) == ("ssd300-tf", SIZE)
    channels, classes = {16: 128, 32: 256}, ["fox", "owl", "cat"]
    old = load_pretrained(str(weights))[1].heads["objects"]
    head: Any = Objects(settings).head(channels, classes)
    fresh = {key: value.clone() for key, value in head.state_dict().items()}
    assert "knows 2 of the 3 classes" in start_ssd(head, classes, loaded)
    known: Any = old.state_dict()
    for key, value in head.state_dict().items():
        if not key.startswith("classification."):
            assert torch.equal(value, known[key]), key
            continue
        rows, before = value.unflatten(0, (-1, 4)), known[key].unflatten(0, (-1, 4))
        assert torch.equal(rows[:, [0, 2, 3]], before[:, [0, 3, 1]])  # background, owl, cat
        assert torch.equal(rows[:, 1], fresh[key].unflatten(0, (-1, 4))[:, 1])


def test_finetuning_goes_on_from_the_detector_of_the_weights(
    weights: Path, data: Path, cli: Cli, tmp_path: Path
) -> None:
    """With a rate of next to nothing, the run's answers for the class that stays are those of the weights.

    Batch-norm of the added layers is an identity in the file, which must not train here.
    """
    answer = cli(
        "finetune", "objects", "--weights", weights, "--data", data, "--epochs", 1, "--batch-size", 2,
        "--lr", 1e-9, "--workers", 0, "--augment", "none", "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err
    assert "the detector starts from that of small, which knows 1 of the 2 classes" in answer.err
    app, model, config = load_run(tmp_path / "run", app="objects")
    assert (app.settings.head, app.settings.resolution, config.classes) == ("ssd300-tf", SIZE, ("fox", "owl"))
    old, images = load_pretrained(str(weights))[1], torch.rand(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        now, before = (each(images)["objects"]["cls_logits"] for each in (model, old))
    assert torch.allclose(now[..., 2], before[..., 3], atol=1e-4)


def test_the_backbone_alone_is_taken_where_another_head_is_named(weights: Path) -> None:
    loaded = load_weights(weights)
    for name in ("ssd300", "frcnn-fpn"):
        settings: Any = Objects.with_weights(ObjectsSettings(weights=str(weights), head=name), loaded)
        assert settings.head == name and Objects(settings).start_head(None, ["owl"], loaded) == ""  # type: ignore[arg-type]


def test_weights_answer_are_evaluated_and_exported_by_the_command_line(
    weights: Path, data: Path, cli: Cli, tmp_path: Path
) -> None:
    lines = cli("detect", data / "val0.png", "--weights", weights, "--threshold", 0.05, "--top", 5).lines
    assert {item["name"] for item in lines[0]["objects"]} <= {"cat", "dog", "owl"}
    refused = cli("evaluate", "objects", "--weights", weights, "--data", data)
    assert refused.code == 1 and "of class 'fox', which the model does not know" in refused.last_error
    exported = cli("export", "--weights", weights, "--to", "onnx", "--out", tmp_path / "ssd.onnx")
    assert exported.code == 0, exported.err
    for source in (weights, tmp_path / "ssd.onnx"):
        found: Any = apps.load(source).predict(data / "val0.png", top=100)[0]
        names = [item.name for item in found.objects]
        assert names and names == [item.name for item in found.objects]


@pytest.mark.parametrize(("arguments", "word"), [
    (("detect", "{photo}", "--weights", "{weights}", "--checkpoint", "x"), "give either --checkpoint RUN,"),
    (("detect", "{photo}", "--model", "{weights}"), "--model wants a file made by export"),
    (("evaluate", "objects", "--weights", "{weights}"), "--weights needs the photos and boxes"),
    (("evaluate", "objects", "--data", "{data}"), "give one of --checkpoint RUN, --weights W"),
])
def test_what_is_missing_is_named(
    weights: Path, data: Path, cli: Cli, arguments: tuple[str, ...], word: str
) -> None:
    places = {"photo": data / "val0.png", "weights": weights, "data": data}
    answer = cli(*(part.format(**places) for part in arguments))
    assert answer.code == 2 and word in answer.err


def test_weights_without_a_detector_are_refused_in_one_line(data: Path, cli: Cli, weights_025: Path) -> None:
    answer = cli("detect", data / "val0.png", "--weights", weights_025)
    assert answer.code == 1 and "bring no detector" in answer.last_error


def test_the_published_file_answers_as_its_own_interpreter_on_each_photo(shared: Path, coco: Path) -> None:
    """De-quantised beside uint8: the mean of scores from 0.1 up, and all boxes of those from 0.3 up."""
    pytest.importorskip("ai_edge_litert")
    source = read_source(shared / "weights" / "coco_ssd" / FILE)
    assert source.detector is not None
    imported = ImportedDetector.of(source, load_weights(coco), find_columns(source, None))
    interpreter, square = open_interpreter(source.path, raw=True), Objects(ObjectsSettings()).square()
    for path in sorted((shared / "data" / "coco128" / "val2017").glob("*.jpg"))[:6]:
        image = square(read_image(path))
        offsets, scores = raw_outputs(interpreter, source.detector, imported.network, image)
        output = imported.answer(image[None].float() / 255)
        ours = imported.head.scores(output["cls_logits"])[0].numpy()
        theirs = scores[:, imported.columns.numbers]
        assert scores.shape == (1917, 91)
        told = np.maximum(ours, theirs) >= 0.1
        assert np.abs(ours - theirs)[told].mean() < 0.03 and np.abs(ours - theirs).max() < 0.25
        apart = np.abs(output["bbox_regression"][0].numpy() - offsets[:, [1, 0, 3, 2]])
        assert apart[theirs.max(1) >= 0.3].mean() < 0.25


def test_the_published_file_finds_what_its_reference_says(shared: Path, coco: Path) -> None:
    """Each object of the reference from 0.3 up, of its class, within a score of 0.02 and 90 % of its box."""
    folder = shared / "data" / "coco128"
    annotations = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    numbers = {image["file_name"]: image["id"] for image in annotations["images"]}
    categories = {category["name"]: category["id"] for category in annotations["categories"]}
    reference = json.loads((shared / "weights" / "coco_ssd" / "coco128_val2017_float100.json").read_text())
    paths, compared = sorted((folder / "val2017").glob("*.jpg"))[:6], 0
    for line in detect(paths, str(coco), threshold=0.25, workers=0):
        number = numbers[Path(line["path"]).name]
        for known in (item for item in reference if item["image_id"] == number and item["score"] >= 0.3):
            x, y, width, height = known["bbox"]
            mine = [item for item in line["objects"] if categories[item["name"]] == known["category_id"]]
            overlaps = box_iou(
                torch.tensor([[x, y, x + width, y + height]]), torch.tensor([item["box"] for item in mine])
            )[0]
            if overlaps.max() <= 0.9:  # only where a better box overlaps it by just about the limit
                tied = [o for o, item in zip(overlaps, mine, strict=True) if item["score"] >= known["score"]]
                assert max(tied) == pytest.approx(NMS_THRESH, abs=0.02), known
                continue
            assert mine[int(overlaps.argmax())]["score"] == pytest.approx(known["score"], abs=0.02)
            compared += 1
    assert compared > 50


@pytest.mark.slow
def test_the_published_file_has_its_reference_ap_on_coco128(shared: Path, coco: Path, cli: Cli) -> None:
    answer = cli("evaluate", "objects", "--weights", coco, "--data", shared / "data" / "coco128")
    (line,) = answer.lines
    assert line["n"] == 64
    assert line["metrics"]["ap"] == pytest.approx(0.277, abs=0.003)
    assert line["metrics"]["ap50"] == pytest.approx(0.420, abs=0.003)
