"""Files for phones as ``export`` writes them; each format is left out, aloud, where its library is absent.

``make test-mobile`` runs these tests with all libraries, in an environment of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from support import COLOURS, ROOT, Cli
from torch import nn

from apps.engine.core.spec import KEY, HeadSpec, ModelSpec
from apps.engine.inference.graph.boxes import DecodedSSD
from apps.engine.inference.graph.model import Deployed, Plan
from apps.engine.inference.graph.parity import parity
from apps.engine.inference.mobile.files import load_mobile, mobile_engine
from apps.export.mobile.network import Candidates, mobile_network, mobile_plan
from apps.export.mobile.tflite import tail_of, tflite_model
from apps.places.cells.graph import FinestCells
from backbone import MobileNetV1
from heads import SSD, Embedding, GeoCells, MultiLabelClassifier

SCHEMA = json.loads((ROOT / "docs/schemas/model-card.schema.json").read_text())
LIBRARIES = {"tflite": "litert_torch", "coreml": "coremltools", "executorch": "executorch"}
SUFFIXES = {"tflite": ".tflite", "coreml": ".mlpackage", "executorch": ".pte"}
BOXES = {"size": 64, "resize": "squash", "threshold": 0.3, "score_thresh": 0.2, "nms_thresh": 0.45,
         "topk_candidates": 200, "detections_per_img": 50}  # fmt: skip


def needs(name: str) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed; make test-mobile has it")


def plan_of(head: nn.Module, spec: HeadSpec, side: int, **graph: nn.Module) -> Plan:
    """A plan of a network that was never in a file."""
    backbone = MobileNetV1(0.25).eval()
    about = {"name": "n", "arch": "mobilenetv1", "source": "s", "licence": "l"}
    made: Any = Deployed(backbone, graph or {spec.name: head}, "nhwc")
    parts = ((None, SimpleNamespace(backbone=backbone), None),)
    return Plan(made, ModelSpec("0" * 16, side, 0.875, "nhwc", "fp32", about, (spec,)), parts)  # type: ignore[arg-type]


def heads() -> dict[str, Plan]:
    """A small network of each kind of head but classes, which the command line is tested with."""
    torch.manual_seed(0)
    geo: Any = FinestCells(GeoCells(256, (3, 5), ((0, 1, 2, 0, 1),)).eval())
    ssd: Any = SSD([128, 256], 3, size=64, width=0.25, score_thresh=0.2).eval()
    return {
        "cells": plan_of(geo, HeadSpec("places", "places", "cells", ("places",)), 32),
        "embedding": plan_of(
            Embedding(256, 16).eval(), HeadSpec("faces", "faces", "embedding", ("faces",)), 32
        ),
        "attributes": plan_of(
            MultiLabelClassifier(256, ("Male", "Smiling")).eval(),
            HeadSpec("attributes", "attributes", "attributes", ("attributes",)), 32,
        ),
        "detections": plan_of(
            DecodedSSD(ssd),
            HeadSpec("objects", "objects", "detections",
                     ("objects/boxes", "objects/scores", "objects/labels"), ("a", "b", "c"), extra=BOXES),
            64,
        ),
    }


@pytest.fixture(scope="module")
def plain(cli: Cli, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("litert_torch")
    out = tmp_path_factory.mktemp("mobile") / "colours.tflite"
    answer = cli("export", colour_run, "--to", "tflite", "--out", out)
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    assert line["difference"] < 1e-4 and line["outputs"] == ["dogs"]
    return out


def test_a_tflite_file_answers_as_the_run_does(
    cli: Cli, colour_run: Path, colours: Path, plain: Path
) -> None:
    photos = sorted((colours / "val").rglob("*.png"))
    own = cli("predict", *photos, "--checkpoint", colour_run, "--workers", 0).lines
    file = cli("predict", *photos, "--model", plain).lines
    for wanted, got in zip(own, file, strict=True):
        assert got["unknown"] == wanted["unknown"]
        probabilities = [{item["name"]: item["probability"] for item in line["predictions"]}
                         for line in (got, wanted)]
        assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-4)
    done = subprocess.run(
        [sys.executable, "-I", plain.with_name("run.py"), *photos[:2]], capture_output=True, text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[0])["predictions"][0] == pytest.approx(
        file[0]["predictions"][0], abs=1e-4
    )


def test_its_card_fits_the_schema_and_it_is_not_written_twice(
    cli: Cli, colour_run: Path, plain: Path
) -> None:
    values = json.loads(Path(f"{plain}.json").read_text())
    jsonschema.validate(values, SCHEMA)
    assert values["heads"][0]["classes"] == sorted(COLOURS) and "litert-torch" in values["versions"]
    answer = cli("export", colour_run, "--to", "tflite", "--out", plain)
    assert answer.code == 1 and f"{plain} is there already" in answer.last_error


def test_int8_is_whole_numbers_from_the_bytes_of_pixels_to_the_last_layer(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    needs("litert_torch")
    from apps.engine.inference.mobile.note import read_note
    from apps.export.mobile.tflite import graph_of

    out = tmp_path / "small.tflite"
    answer = cli(
        "export", colour_run, "--to", "tflite", "--precision", "int8", "--calibrate", colours / "train",
        "--validate", colours, "--out", out,
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["drop"]["dogs/top1"] <= 0.03
    _, graph, names = graph_of(read_note(out)[1])
    assert "CAST" not in names and names[-1] == "DEQUANTIZE"
    layers = [
        [graph.tensors[place] for place in (node.inputs[1], node.outputs[0])]
        for name, node in zip(names, graph.operators, strict=True) if name.endswith("CONV_2D")
    ]
    assert len(layers) == 27 and {tensor.type for pair in layers for tensor in pair} == {9}  # INT8
    assert min(len(weight.quantization.scale) for weight, _ in layers) > 1, "a scale a channel"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "points"), [("0.25_128", 0.02), ("1.0_224", 0.05)])
def test_int8_keeps_the_accuracy_of_pretrained_networks(
    cli: Cli, shared: Path, imagewoof: Path, tmp_path: Path, name: str, points: float
) -> None:
    """At 1.0-224 one point is aimed at, and 4.3 are lost: docs/export.md."""
    needs("litert_torch")
    answer = cli(
        "export", "--weights", shared / "weights" / f"mobilenetv1_{name}.safetensors", "--to", "tflite",
        "--precision", "int8", "--calibrate", imagewoof / "train", "--validate", imagewoof / "val",
        "--max-drop", points, "--out", tmp_path / "m.tflite",
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["figures"]["imagenet/photos"] == 300


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cells", "embedding", "attributes", "detections"])
def test_every_head_answers_by_tflite_as_its_network(kind: str) -> None:
    needs("litert_torch")
    made = mobile_plan(heads()[kind], "tflite")
    assert parity(made, mobile_engine(made.spec, tflite_model(made), Path("a.tflite"))) < 1e-4


@pytest.mark.slow
def test_an_executorch_program_answers_as_the_run_does(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    needs("executorch")
    out = tmp_path / "colours.pte"
    answer = cli("export", colour_run, "--to", "executorch", "--out", out)
    assert answer.code == 0, answer.err
    assert answer.lines[0]["difference"] < 1e-4
    assert load_mobile(out).spec.layout == "nchw"
    photo = next((colours / "val").rglob("*.png"))
    (wanted,) = cli("predict", photo, "--checkpoint", colour_run, "--workers", 0).lines
    (got,) = cli("predict", photo, "--model", out).lines
    assert got["predictions"][0] == pytest.approx(wanted["predictions"][0], abs=1e-4)


@pytest.mark.slow
def test_a_core_ml_package_says_what_it_takes_and_gives(cli: Cli, colour_run: Path, tmp_path: Path) -> None:
    needs("coremltools")
    import coremltools

    out = tmp_path / "colours.mlpackage"
    answer = cli("export", colour_run, "--to", "coreml", "--out", out)
    assert answer.code == 0, answer.err
    assert answer.lines[0]["difference"] is None and "runs on a Mac or an iPhone" in answer.err
    spec = coremltools.models.MLModel(str(out), skip_model_load=True).get_spec()
    assert [item.name for item in spec.description.output] == ["dogs"]
    assert json.loads(spec.description.metadata.userDefined[KEY])["heads"][0]["app"] == "dogs"
    jsonschema.validate(json.loads(Path(f"{out}.json").read_text()), SCHEMA)


@pytest.mark.parametrize("to", LIBRARIES)
def test_a_missing_library_is_one_line_that_says_what_to_install(
    cli: Cli, colour_run: Path, tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [LIBRARIES[to], *(name for name in sys.modules if name.startswith(f"{LIBRARIES[to]}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    answer = cli("export", colour_run, "--to", to, "--out", tmp_path / "in" / f"a{SUFFIXES[to]}")
    assert answer.code == 1 and "mobilenet-apps[mobile]" in answer.last_error
    assert f"--to {to} needs" in answer.last_error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", LIBRARIES)
def test_a_device_is_no_place_for_a_file(cli: Cli, colour_run: Path, tmp_path: Path, to: str) -> None:
    out = tmp_path / f"full{SUFFIXES[to]}"
    out.symlink_to("/dev/full")
    answer = cli("export", colour_run, "--to", to, "--out", out)
    assert answer.code == 1 and str(out) in answer.last_error
    assert out.is_symlink()


def test_heads_with_two_stages_are_refused() -> None:
    spec = heads()["detections"].spec
    made: Any = SimpleNamespace(spec=spec, module=SimpleNamespace(heads={"objects": nn.Identity()}))
    with pytest.raises(ValueError, match=r"two stages.*train an SSD .*or export --to onnx"):
        mobile_plan(made, "tflite")


def test_a_detector_leaves_suppression_to_its_reader_and_says_so() -> None:
    made = heads()["detections"]
    changed = mobile_plan(made, "tflite")
    (head,) = changed.spec.heads
    assert head.extra == BOXES | {"unsuppressed": True} and head.outputs == made.spec.heads[0].outputs
    network: Any = mobile_network(changed)
    assert isinstance(network.heads["objects"], Candidates)
    assert isinstance(changed.module.heads["objects"], DecodedSSD), "the plan's own stays"
    boxes, scores = network(made.example(2))
    assert boxes.shape[:2] == scores.shape[:2] == (2, boxes.shape[1]) and scores.shape[2] == 3
    assert all(values.is_contiguous() for values in network.parameters())


def test_what_stands_behind_the_last_layer_is_known() -> None:
    needs("ai_edge_litert")
    from mobile_support import mean_colours

    assert tail_of(mean_colours({"dogs": (3,), "more": (2, 2)})) == ["more", "dogs"]


def test_a_description_survives_its_file(tmp_path: Path) -> None:
    needs("ai_edge_litert")
    from mobile_support import mean_colours, spec_of

    from apps.engine.inference.mobile.note import with_note

    head = HeadSpec("dogs", "dogs", "classes", ("dogs",), ("a", "b", "c"), {"temperature": 0.5})
    path = tmp_path / "a.tflite"
    path.write_bytes(with_note(mean_colours({"dogs": (3,)}), spec_of(head).to_json()))
    assert replace(load_mobile(path).spec, versions={}) == spec_of(head)
    assert np.asarray(load_mobile(path).run(np.zeros((1, 32, 32, 3), np.uint8))[0]).shape == (1, 3)
