"""SSD files of others into ours: the same answers, names of columns, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ssd_file_support import (
    COLUMNS,
    LABELS,
    POST_PROCESS,
    SCALES,
    SIZE,
    Network,
    centred,
    network,
    write_ssd,
)
from tflite_writer import OPS

from apps.engine.core.console import Console
from apps.engine.core.model import pretrained_ssd
from apps.zoo.convert.importer import ImportOptions, import_weights, read_source
from apps.zoo.convert.parity import drawn_images
from backbone import build, load_state, load_weights

KEPT = [0, 1, 2, 4]  # columns of the background and the classes


@pytest.fixture(scope="module")
def made() -> Network:
    return network()


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Beside the files, as TensorFlow packs them."""
    path = tmp_path / "labelmap.txt"
    path.write_text("\n".join(LABELS) + "\n")
    return path


def imported(path: Path, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
    """The backbone and the head that a file becomes, and what the import answers."""
    out = path.with_name("out.safetensors")
    told = import_weights(path, out, ImportOptions(**options), Console(quiet=True))
    weights = load_weights(out)
    backbone: Any = build(weights.info).eval()
    load_state(backbone, weights)
    return backbone, pretrained_ssd(weights, backbone.channels), told


@torch.inference_mode()
def output_of(backbone: Any, head: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
    maps = backbone(images)
    output: dict[str, torch.Tensor] = head(maps[16], maps[32])
    return output


@pytest.mark.parametrize("end", [None, POST_PROCESS])
def test_an_ssd_answers_as_the_network_that_it_was_exported_from(
    made: Network, labels: Path, tmp_path: Path, end: str | None
) -> None:
    """LiteRT runs the written file, so its order of boxes and offsets is TensorFlow's, not only ours."""
    path = write_ssd(tmp_path / "ssd.tflite", made, end=end)
    backbone, head, told = imported(path)
    images = drawn_images(SIZE)
    ours, theirs = output_of(backbone, head, images), made.answer(images)
    assert torch.allclose(ours["bbox_regression"], theirs["bbox_regression"], atol=1e-3)
    assert torch.allclose(ours["cls_logits"], theirs["cls_logits"][..., KEPT], atol=1e-3)
    assert torch.allclose(head.default_boxes(), made.head.default_boxes())
    assert (told["kind"], told["width"], told["classes"]) == ("tflite-float32", 0.25, 3)
    assert told["parity"]["direct"]["max_difference"] < 1e-3
    if importlib.util.find_spec("ai_edge_litert"):
        assert told["parity"]["interpreter"]["score_difference"] < 1e-4
    head_info = load_weights(tmp_path / "out.safetensors").info.head
    assert (head_info["classes"], head_info["category_ids"]) == (["cat", "dog", "owl"], [1, 2, 4])
    assert head.nms_thresh == (0.6 if end is None else 0.5)


def test_measured_batch_norm_of_the_added_layers_changes_no_answer(
    made: Network, labels: Path, tmp_path: Path
) -> None:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(drawn_images(SIZE)):
        pixels = (image.permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")
    backbone, head, told = imported(write_ssd(tmp_path / "ssd.tflite", made), calibrate=folder)
    images = drawn_images(SIZE)
    theirs = made.answer(images)
    assert told["batch_norm"] == "measured"
    assert torch.allclose(
        output_of(backbone, head, images)["cls_logits"], theirs["cls_logits"][..., KEPT], atol=1e-3
    )
    assert head.extras[0][1].running_mean.abs().max() > 0.01


def test_default_boxes_that_follow_no_formula_are_stored(made: Network, labels: Path, tmp_path: Path) -> None:
    moved = centred(made.head) * np.array([1, 1, 0.9, 1.1])
    _, head, _ = imported(write_ssd(tmp_path / "ssd.tflite", made, end=POST_PROCESS, anchors=moved))
    y, x, height, width = moved[7] * SIZE
    wanted = torch.tensor([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    assert torch.allclose(head.default_boxes()[7], wanted.float(), atol=1e-3)


def test_other_scale_factors_and_softmax_are_taken_in(made: Network, labels: Path, tmp_path: Path) -> None:
    path = write_ssd(
        tmp_path / "ssd.tflite", made, end=POST_PROCESS, scales=SCALES | {"x_scale": 20.0, "h_scale": 2.5},
        score=OPS.SOFTMAX,
    )
    backbone, head, _ = imported(path)
    images = drawn_images(SIZE)
    ours, theirs = output_of(backbone, head, images), made.answer(images)
    wanted = theirs["bbox_regression"] * torch.tensor([0.5, 1, 1, 2])
    assert torch.allclose(ours["bbox_regression"], wanted, atol=1e-3)
    assert head.score_converter == "softmax"


@pytest.mark.parametrize(("lines", "word"), [
    (LABELS[:-1], "5 lines"), (["???"] * COLUMNS, "names no class"), (["???", *["cat"] * 5], "one twice"),
    (None, "6 columns without names"),
])
def test_labels_that_do_not_fit_are_refused(
    made: Network, tmp_path: Path, lines: list[str] | None, word: str
) -> None:
    path, given = write_ssd(tmp_path / "ssd.tflite", made), tmp_path / "names.txt"
    if lines is not None:
        given.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=word):
        imported(path, labels=given if lines is not None else None)
    assert not (tmp_path / "out.safetensors").exists()


def test_the_real_file_has_cocos_names_and_boxes_by_formula(shared: Path) -> None:
    source = read_source(shared / "weights" / "coco_ssd" / "ssd_mobilenet_v1_0.75_coco_quant.tflite")
    assert source.kind == "tflite-uint8" and len(source.layers) == 35 and source.resolution == 300
    assert source.detector is not None and source.detector.columns == 91
    assert source.detector.anchors is None and source.detector.nms_thresh == 0.6


def test_the_metadata_of_a_head_that_is_damaged_is_named(tmp_path: Path) -> None:
    from backbone.schema import head_in

    for text in ("{", "[]", json.dumps({"kind": "ssd"})):
        with pytest.raises(ValueError, match=r"says of its head is damaged .*; import or fetch it again"):
            head_in(tmp_path / "x.safetensors", {"head": text})
