"""The page's answers, in node: what they say where nothing was calibrated."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from support import ROOT

from apps.engine.core.spec import HeadSpec
from apps.engine.evaluation.calibration import UnknownRule, unknown_flags
from apps.engine.inference.decode.boxes import decode
from apps.engine.inference.seal import check_seal, sealed

SCRIPT = """
import {{ classes }} from "{page}/answers.js";
const outputs = {{ dogs: {{ data: Float32Array.from({logits}) }} }};
const head = {{ outputs: ["dogs"], classes: ["a", "b"], calibration: {calibration} }};
console.log(JSON.stringify(classes(head, outputs).unknown));
"""


@pytest.mark.parametrize("logits", [[9.0, 0.0], [0.1, 0.0]])
@pytest.mark.parametrize("rule", [None, UnknownRule("max_logit", 1.0), UnknownRule("energy", 1.0)])
def test_the_page_calls_unknown_what_python_does_and_nothing_without_a_rule(
    logits: list[float], rule: UnknownRule | None
) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node here")
    values = None if rule is None else rule.to_dict()
    script = SCRIPT.format(
        page=(ROOT / "web" / "page").as_uri(), logits=logits,
        calibration=json.dumps({} if values is None else {"unknown": values}),
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    assert [json.loads(done.stdout)] == unknown_flags(values, np.array([logits]))


OBJECTS = """
import {{ detections }} from "{page}/answers.js";
const [boxes, scores, labels] = {outputs};
const outputs = {{
  b: {{ data: Float32Array.from(boxes) }}, s: {{ data: Float32Array.from(scores) }},
  l: {{ data: BigInt64Array.from(labels.map(BigInt)) }},
}};
console.log(JSON.stringify(detections({head}, outputs, 5, [100, 200]).objects));
"""


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_the_page_reads_objects_as_python_does(resize: str) -> None:
    """One within the image, one beyond it, one below the threshold, and a place that only fills up."""
    if shutil.which("node") is None:
        pytest.skip("no node here")
    head = HeadSpec("objects", "objects", "detections", ("b", "s", "l"), ("one", "two"), extra={
        "size": 50, "resize": resize, "threshold": 0.3,
    })
    boxes = np.array([[5, 6.25, 10, 12.5], [40, 40, 60, 70], [1, 1, 9, 9], [0, 0, 0, 0]], np.float32)
    scores, labels = np.array([0.9, 0.5, 0.2, 0], np.float32), np.array([1, 0, 1, 0])
    script = OBJECTS.format(
        page=(ROOT / "web" / "page").as_uri(), head=json.dumps(asdict(head)),
        outputs=json.dumps([boxes.ravel().tolist(), scores.tolist(), labels.tolist()]),
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    (wanted,) = decode(head, [boxes[None], scores[None], labels[None]], [(100, 200)], top=5)
    for got, one in zip(json.loads(done.stdout), wanted.to_dict()["objects"], strict=True):
        assert got["name"] == one["name"]
        assert got["score"] == pytest.approx(one["score"], abs=1e-4)
        assert got["box"] == pytest.approx(one["box"], abs=0.06)


SEAL = """
import {{ sealed }} from "{page}/seal.js";
import {{ readFileSync }} from "node:fs";
for (const path of {paths}) {{
  try {{ console.log((await sealed("model.onnx", new Uint8Array(readFileSync(path)))).length); }}
  catch (err) {{ console.log(err.message); }}
}}
"""


def test_the_page_holds_a_model_against_its_own_sum_as_python_does(tmp_path: Path) -> None:
    """Whole, damaged anywhere, the sum itself damaged, cut short, and without a sum."""
    if shutil.which("node") is None:
        pytest.skip("no node here")
    whole = sealed(helper.make_model(helper.make_graph([], "empty", [], [])))
    changed = {at: bytearray(whole) for at in (0, len(whole) // 2, len(whole) - 1)}
    for at, content in changed.items():
        content[at] ^= 1
    bare = helper.make_model(helper.make_graph([], "empty", [], [])).SerializeToString()
    paths = []
    for number, content in enumerate((whole, *changed.values(), bare)):
        paths.append(tmp_path / f"{number}.onnx")
        paths[-1].write_bytes(content)
    names = json.dumps([str(path) for path in paths])
    script = SEAL.format(page=(ROOT / "web" / "page").as_uri(), paths=names)
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    first, *damaged, last = done.stdout.splitlines()
    assert (first, last) == (str(len(whole)), str(len(bare)))
    for path, line in zip(paths[1:-1], damaged, strict=True):
        assert line.startswith("model.onnx is damaged: it holds other bytes than its sum says")
        with pytest.raises(ValueError, match="it holds other bytes than its sum says"):
            check_seal(path)
