"""The page's answers, in node: what they say where nothing was calibrated."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
from support import ROOT

from apps.engine.evaluation.calibration import UnknownRule, unknown_flags

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
