"""Cards of exported models: what they say, as text and JSON; every file has its own, and none is replaced."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import ROOT, Cli

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.decode.kinds import KINDS
from apps.export.card import card
from apps.export.card_values import OUTPUTS, RULES, card_values
from apps.export.outputs import card_paths, check_free, named_in, runner_beside, write_runner
from apps.export.targets import TARGETS, check_target

SCHEMA = json.loads((ROOT / "docs/schemas/model-card.schema.json").read_text())
BOXES = {"size": 96, "resize": "squash", "threshold": 0.3, "score_thresh": 0.01, "nms_thresh": 0.45,
         "topk_candidates": 200, "detections_per_img": 100}  # fmt: skip
HEADS = {
    "classes": HeadSpec(
        "dogs", "dogs", "classes", ("dogs",), ("beagle", "dingo"),
        {"temperature": 0.81, "unknown": {"score": "energy", "threshold": 1.6, "temperature": 0.81}},
        {"top1": 0.97, "ece": float("nan")}, {"train": 1600, "val": 300},
    ),
    "attributes": HeadSpec(
        "attributes", "attributes", "attributes", ("attributes",), ("Male", "age:100"),
        {"thresholds": {"Male": 0.31}}, {"mean_ap": 0.8, "ap/Male": 0.9, "ap/Smiling": None},
    ),
    "cells": HeadSpec(
        "places", "places", "cells", ("places", "places/offset"), ("a", "b"), {"temperature": 2.0}
    ),
    "embedding": HeadSpec("faces", "faces", "embedding", ("faces",), calibration={"faces": {"far": 0.1}}),
    "detections": HeadSpec(
        "objects", "objects", "detections", ("objects/boxes", "objects/scores", "objects/labels"), ("cat",),
        extra=BOXES,
    ),
}
ANSWER: dict[str, Any] = {"bytes": 1000, "difference": 1e-5, "figures": {}, "drop": {}}


def spec_of(*heads: HeadSpec) -> ModelSpec:
    backbone = {"name": "net", "arch": "mobilenetv1", "source": "somewhere", "licence": "Apache-2.0"}
    return ModelSpec("0" * 16, 96, 0.875, "nhwc", "fp32", backbone, heads, {"torch": "2"})


def values_of(*heads: HeadSpec, to: str = "onnx", **more: Any) -> dict[str, Any]:
    values = card_values(spec_of(*heads), {**ANSWER, "out": "a/dogs.onnx", "to": to, **more})
    jsonschema.validate(json.loads(json.dumps(values, allow_nan=False)), SCHEMA)
    return values


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_head_in_every_format_has_a_card_that_fits_the_schema(kind: str, to: str) -> None:
    values = values_of(HEADS[kind], to=to)
    text = card(values)
    (head,) = values["heads"]
    for words in (head["limits"], head["intended_use"], "Apache-2.0", "somewhere", "0" * 16):
        assert words in text
    assert all(part["meaning"] != "see the kind of head" for part in head["outputs"])
    assert [part["name"] for part in head["outputs"]] == [
        name.replace("/", "_") if to == "coreml" else name for name in HEADS[kind].outputs
    ]


def test_the_schema_refuses_what_is_no_card() -> None:
    values = values_of(HEADS["classes"])
    for change in ({"card": "other"}, {"heads": []}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | change, SCHEMA)
    assert OUTPUTS.keys() == KINDS.keys()
    from apps.engine.evaluation.calibration import SCORES

    assert RULES.keys() == SCORES.keys()


def test_temperature_rule_thresholds_suppression_and_groups_are_said() -> None:
    values = values_of(*HEADS.values())
    dogs, attributes, _, _, objects = values["heads"]
    assert (dogs["temperature"], dogs["unknown"]["threshold"]) == (0.81, 1.6)
    assert dogs["metrics"] == {"top1": 0.97, "ece": None}
    assert attributes["thresholds"] == {"Male": 0.31}
    assert attributes["groups"] == {"ap": {"Male": 0.9, "Smiling": None}}
    assert objects["suppression"] == {
        "inside": True, "score_thresh": 0.01, "nms_thresh": 0.45, "topk_candidates": 200,
        "detections_per_img": 100,
    }
    text = card(values)
    for words in (
        "Divide the logits by the temperature 0.81", "T * log(sum(exp(z / T)))", "is below 1.6", "Male 0.31",
        "Boxes are suppressed in the graph (score_thresh 0.01, nms_thresh 0.45", "| ap/Male | 0.9 |",
    ):
        assert words in text, words


def test_boxes_that_readers_suppress_and_what_was_not_computed_are_said() -> None:
    head = replace(HEADS["detections"], extra={**BOXES, "unsuppressed": True})
    values = values_of(head, to="coreml", difference=None)
    assert values["heads"][0]["suppression"]["inside"] is False
    assert [part["name"] for part in values["heads"][0]["outputs"]] == ["objects_boxes", "objects_scores"]
    text = card(values)
    assert "suppressed by its reader" in text and "Not computed where it was written" in text
    assert values["input"]["dtype"] == "image" and "one photo at a time" in text


def test_figures_of_the_file_itself_are_said() -> None:
    measured = {"figures": {"dogs/top1": 0.9, "dogs/photos": 300}, "drop": {"dogs/top1": 0.01}}
    values = values_of(HEADS["classes"], **measured)
    assert values["heads"][0]["file_drop"] == {"top1": 0.01}
    assert "on 300 validation photos: dogs/top1 0.9000, +0.0100 below fp32" in card(values)


def test_each_file_has_cards_of_its_own() -> None:
    names = [card_paths(Path("out") / name, to)["card"] for name, to in (
        ("dogs.xml", "openvino"), ("dogs.pt2", "torch"), ("dogs.onnx", "onnx"), ("dogs.tflite", "tflite"),
    )]
    assert len(set(names)) == 4 and names[0] == "out/dogs.xml.md"
    assert card_paths(Path("page"), "web")["card_json"] == "page/model-card.json"


@pytest.mark.parametrize("name", ["dogs.xml", "dogs.bin", "dogs.xml.md", "dogs.xml.json"])
def test_a_name_that_is_taken_is_refused_unless_it_may_be_replaced(tmp_path: Path, name: str) -> None:
    check_free(tmp_path / "dogs.xml", "openvino", overwrite=False)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} is there already; give another --out, or --overwrite"):
        check_free(tmp_path / "dogs.xml", "openvino", overwrite=False)
    check_free(tmp_path / "dogs.xml", "openvino", overwrite=True)


def test_a_script_that_is_there_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    assert runner_beside(tmp_path / "a.onnx", "onnx", pytest.fail) == {"runner": str(tmp_path / "run.py")}
    said: list[str] = []
    runner_beside(tmp_path / "b.tflite", "tflite", said.append)
    assert said == [f"{tmp_path / 'run.py'} is there already and stays: give it --model b.tflite"]
    assert named_in(tmp_path / "run.py") == "a.onnx"
    assert write_runner(tmp_path / "b.tflite", overwrite=True) == tmp_path / "run.py"
    assert named_in(tmp_path / "run.py") == "b.tflite"
    assert runner_beside(tmp_path / "c.xml", "openvino", pytest.fail) == {}


@pytest.mark.parametrize(
    ("to", "precision", "out", "words"),
    [
        ("tf", "fp32", "a.tf", "there is no format 'tf'; there are: onnx"),
        ("tflite", "fp16", "a.tflite", "--to tflite writes fp32 and int8; give --to onnx"),
        ("coreml", "int8", "a.mlpackage", "--to coreml writes fp32 and fp16; give --to tflite for int8"),
        ("executorch", "int8", "a.pte", "--to executorch writes fp32; give --to tflite for int8"),
        ("tflite", "fp32", "a.onnx", "--out a.onnx must end in .tflite"),
        ("executorch", "fp32", "a", "--out a must end in .pte"),
    ],
)
def test_formats_names_and_precisions_that_do_not_fit_are_refused(
    to: str, precision: str, out: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        check_target(to, precision, Path("photos"), Path(out))


def test_the_command_knows_no_other_format(cli: Cli, tmp_path: Path) -> None:
    answer = cli("export", tmp_path, "--to", "tf", "--out", tmp_path / "a.tf")
    assert answer.code == 2 and "'tf' is not one of" in answer.err
