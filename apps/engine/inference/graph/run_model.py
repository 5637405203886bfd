"""The end of a training: the network of a run as ``model.onnx``, which answers without torch."""

from __future__ import annotations

import time
from pathlib import Path

from apps.engine.core.console import Console
from apps.engine.core.run_values import EXPORTED
from apps.engine.inference.graph.model import plan
from apps.engine.inference.graph.onnx_file import onnx_model, write_onnx
from apps.engine.inference.graph.parity import parity
from apps.engine.inference.made_once import say_once
from apps.engine.inference.model_file import load_onnx


def write_run_model(run: Path, console: Console) -> bool:
    """Write ``model.onnx`` into a finished run, checked against the trained network.

    The run is whole without it: whatever goes wrong is one line, and PyTorch answers then. A disk that does
    not take it ends the command with 1; a network that cannot be exported does not.

    Args:
        run: a folder with weights and configuration.
        console: where the line goes.

    Returns:
        Whether it was written.
    """
    began, path = time.perf_counter(), run / EXPORTED
    try:
        made = plan([run], None, layout="nhwc", precision="fp32")
        proto = onnx_model(made)
        difference = parity(made, load_onnx(proto.SerializeToString(), path))
        write_onnx(proto, path)
    except Exception as err:  # the exporter's errors are of many classes, and none may cost the training
        why = " ".join(str(err).split()) or type(err).__name__
        if isinstance(err, OSError):
            console.fail(f"{why[:300]}; the run is complete without it, and --resume --out {run} writes it")
        else:
            console.warn(f"no {EXPORTED} in {run}, so PyTorch answers for it: {why[:300]}")
        path.unlink(missing_ok=True)
        return False
    seconds = time.perf_counter() - began
    console.say(f"{EXPORTED}: equal to the network within {difference:.1g}, {seconds:.1f} s")
    return True


def checked_model(weights: str, app: str | None) -> bytes:
    """The ONNX file of what weights answer for ``app``, checked against the network.

    Raises:
        ValueError: the weights are damaged, bring no head for it, or cannot be exported.
    """
    made = plan([], weights, layout="nhwc", precision="fp32", app=app)
    say_once(weights)
    content: bytes = onnx_model(made).SerializeToString()
    parity(made, load_onnx(content, Path(weights)))
    return content
