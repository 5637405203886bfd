"""Exported detectors: boxes decoded and suppressed in the graph, drawn by the page."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from page_support import Visit, served, web_page
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from support import Cli

from apps.engine.core.model import load_run
from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode.boxes import decode
from apps.engine.inference.graph.model import resize_of
from apps.engine.inference.graph.parity import detections_distance
from apps.engine.inference.lines import predict
from apps.engine.inference.model_file import load_model
from apps.engine.inference.predictions import ObjectsPrediction
from apps.engine.inference.preprocess import square
from apps.export.accuracy import figures


def _draw(path: Path, width: int, height: int, left: int) -> None:
    image = Image.effect_noise((width, height), 60).convert("RGB")
    pen = ImageDraw.Draw(image)
    pen.rectangle((left, 15, left + 40, 60), fill=(200, 30, 30))
    pen.rectangle((width - 30, height - 30, width - 4, height - 4), fill=(30, 30, 200))
    image.save(path)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos with a red and a blue box on each, none of them square."""
    root = tmp_path_factory.mktemp("boxes")
    for split, count in (("train", 4), ("val", 2)):
        rows = ["path,x1,y1,x2,y2,class"]
        for number in range(count):
            width, height = (160, 90) if number % 2 else (80, 130)
            name = f"{split}{number}.png"
            _draw(root / name, width, height, 5 + 4 * number)
            left = 5 + 4 * number
            rows += [f"{name},{left},15,{left + 40},60,red"]
            rows += [f"{name},{width - 30},{height - 30},{width - 4},{height - 4},blue"]
        (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def run(cli: Cli, boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that hardly learned, made loud so that many boxes of many scores are told."""
    folder = tmp_path_factory.mktemp("runs") / "ssd"
    answer = cli(
        "finetune", "objects", "--data", boxes, "--resolution", 96, "--epochs", 1, "--batch-size", 2,
        "--workers", 0, "--out", folder,
    )
    assert answer.code == 0, answer.err
    _make_loud(folder, ".classification.")
    return folder


def _make_loud(run: Path, layer: str, factor: float = 8) -> None:
    """The layers that tell classes, multiplied."""
    state = load_file(run / "model.safetensors")
    loud = {key: factor * value if layer in key else value for key, value in state.items()}
    assert any((loud[key] != value).any() for key, value in state.items())
    save_file(loud, run / "model.safetensors")
    config = json.loads((run / "config.json").read_text())
    config["model_sha256"] = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    (run / "config.json").write_text(json.dumps(config))
    (run / "model.onnx").unlink(missing_ok=True)  # of the weights before


@pytest.fixture(scope="module")
def model(cli: Cli, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "ssd.onnx"
    answer = cli("export", run, "--out", out)
    assert answer.code == 0, answer.err
    return out


def test_a_file_finds_the_objects_that_the_run_finds(cli: Cli, run: Path, boxes: Path, model: Path) -> None:
    """Boxes in pixels of photos that are not square; the classes, the order and the scores, too."""
    photos = sorted(boxes.glob("*.png"))
    own = cli("detect", *photos, "--checkpoint", run, "--precision", "fp32", "--top", 50)
    file = cli("predict", *photos, "--model", model, "--top", 50)
    assert own.code == file.code == 0, own.err + file.err
    assert sum(len(line["objects"]) for line in own.lines) > 20
    for wanted, got in zip(own.lines, file.lines, strict=True):
        for one in wanted["objects"][:10]:
            _same(got["objects"], one)


def test_all_objects_from_the_threshold_up_are_answered_unless_top_is_given(
    cli: Cli, run: Path, boxes: Path, model: Path
) -> None:
    photos = sorted(boxes.glob("*.png"))
    detected = cli("detect", *photos, "--model", model)
    assert detected.code == 0, detected.err
    counts = [len(line["objects"]) for line in detected.lines]
    assert max(counts) > 5
    assert cli("predict", *photos, "--model", model).lines == detected.lines
    by_run = cli("predict", *photos, "--checkpoint", run).lines
    assert max(len(line["objects"]) for line in by_run) > 5
    fewer = cli("predict", *photos, "--checkpoint", run, "--top", 2).lines
    assert max(len(line["objects"]) for line in fewer) == 2


def _same(found: list[dict[str, Any]], wanted: dict[str, Any]) -> None:
    """One of the objects found is the one wanted; of equal scores either may come first."""
    near = [
        one for one in found
        if one["name"] == wanted["name"] and one["box"] == pytest.approx(wanted["box"], abs=1.0)
    ]
    assert any(one["score"] == pytest.approx(wanted["score"], abs=1e-2) for one in near), (wanted, found)


@torch.inference_mode()
def test_on_the_same_pixels_boxes_and_scores_are_those_of_the_head(
    run: Path, boxes: Path, model: Path
) -> None:
    _, network, _ = load_run(run)
    file, head = load_model(model), network.heads["objects"]
    pixels = square(np.asarray(Image.open(boxes / "val0.png")), 96, 1.0, "squash")
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    maps = network.backbone(images)
    (wanted,) = head.decode(head(maps[16], maps[32]))
    found, scores, labels = (part[0][: len(wanted.labels)] for part in file.run(pixels[None]))
    assert labels.tolist() == wanted.labels.tolist()
    np.testing.assert_allclose(scores, wanted.scores, atol=1e-3)
    np.testing.assert_allclose(found, wanted.boxes, atol=1e-1)


def test_places_that_only_fill_up_are_no_objects() -> None:
    """Also where every score is asked for."""
    head = HeadSpec("objects", "objects", "detections", ("boxes", "scores", "labels"), ("a", "b"), extra={
        "size": 96, "threshold": 0.0, "resize": "squash",
    })
    outputs = np.ones((1, 5, 4), np.float32), np.zeros((1, 5), np.float32), np.zeros((1, 5), np.int64)
    assert [answer.to_dict() for answer in decode(head, outputs, [(40, 30)], 5)] == [{"objects": []}]


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_boxes_on_the_square_are_told_in_pixels_of_the_image(resize: str) -> None:
    """By hand: an image of 100 x 200 px on a square of 50 px; what lies beyond the image is cut."""
    boxes = np.array([[5, 6.25, 10, 12.5]], np.float32)
    scale = {"squash": (2, 4), "pad": (4, 4)}[resize]
    head = HeadSpec("objects", "objects", "detections", ("boxes", "scores", "labels"), ("a",), extra={
        "size": 50, "resize": resize, "threshold": 0.3,
    })
    one, two = np.array([0.9], np.float32), np.array([0], np.int64)
    (answer,) = decode(head, [[boxes], [one], [two]], [(100, 200)], 5)
    assert isinstance(answer, ObjectsPrediction)
    by_hand = [5 * scale[0], 6.25 * scale[1], 10 * scale[0], 12.5 * scale[1]]
    assert answer.objects[0].box == pytest.approx(by_hand)
    (cut,) = decode(head, [[boxes * 100], [one], [two]], [(100, 200)], 5)
    assert cut.to_dict()["objects"][0]["box"] == [100.0, 200.0, 100.0, 200.0]


def test_the_whole_photo_is_brought_onto_the_square_and_the_card_says_so(model: Path) -> None:
    spec = load_model(model).spec
    assert (spec.resize, spec.resolution) == ("squash", 96)
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, -6:] = 255  # at the very edge, which a cut to the middle would lose
    assert square(pixels, 96, 1.0, "squash")[50, -1].tolist() == [255, 255, 255]
    card = Path(f"{model}.md").read_text()
    for words in ("Resize the whole photo to 96 x 96 px", "2 boxes: blue, red", "Small, hidden or turned"):
        assert words in card


def test_batch_norm_of_the_detectors_own_layers_is_folded(model: Path) -> None:
    import onnx

    assert "BatchNormalization" not in {node.op_type for node in onnx.load(model).graph.node}


def test_the_file_is_judged_by_average_precision_as_the_run_is(run: Path, boxes: Path, model: Path) -> None:
    app, network, config = load_run(run)
    (told,) = figures([(app, network, config)], [load_model(model)], boxes)
    assert told["objects/photos"] == 2
    assert 0 <= told["objects/ap50"] <= 1


@pytest.mark.slow
def test_int8_keeps_boxes_in_pixels(cli: Cli, run: Path, boxes: Path, model: Path, tmp_path: Path) -> None:
    """Decoding is not quantised: the best boxes stay within a few pixels."""
    out = tmp_path / "small.onnx"
    answer = cli("export", run, "--precision", "int8", "--calibrate", boxes, "--out", out)
    assert answer.code == 0, answer.err
    images = square(np.asarray(Image.open(boxes / "val0.png")), 96, 1.0, "squash")[None]
    wanted, got = load_model(model).run(images), load_model(out).run(images)
    near = detections_distance(got, wanted, 96, share=0.5)
    assert near < 0.1
    sides = got[0][got[0] % 96 != 0]  # those at the edge of the image are all alike
    assert len(np.unique(sides)) > min(256, 0.9 * sides.size), "8 bits have no more than 256 values"


def test_a_two_stage_detector_pads_photos_and_finds_what_its_run_finds(
    cli: Cli, boxes: Path, tmp_path: Path
) -> None:
    run, file = tmp_path / "run", tmp_path / "a.onnx"
    answer = cli(
        "finetune", "objects", "--data", boxes, "--head", "frcnn300", "--resolution", 64, "--epochs", 1,
        "--batch-size", 2, "--workers", 0, "--out", run,
    )
    assert answer.code == 0, answer.err
    _make_loud(run, ".cls_score.", -8)  # it has only learned that most regions show nothing
    answer = cli("export", run, "--out", file)
    assert answer.code == 0, answer.err
    spec = load_model(file).spec
    assert spec.resize == "pad"
    assert {"score_thresh", "nms_thresh", "detections_per_img"} <= set(spec.heads[0].extra)
    assert "the longer side to 64 px" in Path(f"{file}.md").read_text()
    photos = sorted(boxes.glob("*.png"))
    own = cli("detect", *photos, "--checkpoint", run, "--precision", "fp32", "--top", 50)
    by_file = cli("predict", *photos, "--model", file, "--top", 50)
    assert own.code == by_file.code == 0, own.err + by_file.err
    assert sum(len(line["objects"]) for line in own.lines) > 20
    for wanted, got in zip(own.lines, by_file.lines, strict=True):
        for one in wanted["objects"][:10]:
            _same(got["objects"], one)


def test_a_file_of_an_earlier_version_is_refused_in_one_line(model: Path, tmp_path: Path) -> None:
    """Which left boxes that overlap to its readers."""
    import onnx

    from apps.engine.core.spec import KEY
    from apps.engine.inference.seal import SUM

    proto, old = onnx.load(model), tmp_path / "old.onnx"
    (told,) = (item for item in proto.metadata_props if item.key == KEY)
    proto.metadata_props.remove(next(item for item in proto.metadata_props if item.key == SUM))
    told.value = told.value.replace('"kind": "detections"', '"kind": "boxes"')
    onnx.save(proto, old)
    with pytest.raises(ValueError, match="which left overlapping boxes to its readers; export it again"):
        load_model(old)


def test_heads_that_want_photos_otherwise_are_not_put_into_one_file() -> None:
    boxes = HeadSpec("objects", "objects", "detections", ("b", "s", "l"), extra={"resize": "squash"})
    names = HeadSpec("dogs", "dogs", "classes", ("d",))
    assert (resize_of([boxes]), resize_of([names, names])) == ("squash", "crop")
    with pytest.raises(ValueError, match=r"\(objects wants squash, dogs wants crop\); export them apart"):
        resize_of([boxes, names])


@pytest.mark.slow
def test_the_page_frames_the_objects_that_python_finds(
    browser: Any, cli: Cli, run: Path, boxes: Path, model: Path, tmp_path: Path
) -> None:
    photos = [boxes / "train0.png", boxes / "val1.png"]
    with served(web_page(cli, tmp_path / "page", run)) as address:
        visit = Visit(browser, address).ready()
        for photo, wanted in zip(photos, predict(photos, str(model), is_run=False, top=20), strict=True):
            visit.upload(photo)
            card = visit.page.locator("article").first
            rows = card.locator("li").all()
            found = [
                {
                    "name": row.get_attribute("data-name"),
                    "score": float(row.get_attribute("data-probability")),
                    "box": [float(side) for side in row.get_attribute("data-box").split(",")],
                }
                for row in rows
            ]
            for one in wanted["objects"][:10]:
                _same(found, one)
            assert card.locator("svg .frame").count() == len(rows) > 0
        assert visit.said == []
        visit.page.close()
