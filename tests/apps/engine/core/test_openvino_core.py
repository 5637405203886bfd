"""OpenVINO in threads and beside signals: one core in a process, and numpy known before any thread asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from support import ROOT

pytest.importorskip("openvino")

LOAD = """
import os, signal, sys, threading
from pathlib import Path
import numpy as np
from apps.engine.core.device import Choice, openvino_core
from apps.engine.inference.model_file import load_network

def network():
    return load_network(Path(sys.argv[1]), ["y"], Choice("openvino", "cpu"))
"""
# Two threads ask for the first answers at once, which goes wrong once in three times: in twelve children.
THREADS = LOAD + """
openvino_core()
for _ in range(12):
    child = os.fork()
    if not child:
        signal.alarm(60)  # two that wait for each other never end
        both, infer = threading.Barrier(2), network()
        def ask():
            both.wait()
            infer(np.zeros((3, 8), np.float32))
        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("two threads wait for each other")
"""
SIGNAL = LOAD + """
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
networks = [network() for _ in range(4)]
for infer in networks:
    infer(np.zeros((3, 8), np.float32))
while networks:  # the oldest goes first
    del networks[0], infer
    infer = None
os.kill(os.getpid(), signal.SIGINT)
assert heard == [1]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one step."""
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", [given], [made])
    path = tmp_path_factory.mktemp("network") / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("code", [THREADS, SIGNAL], ids=["threads", "signal"])
def test_it_hangs_and_crashes_nobody(file: Path, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, cwd=ROOT, check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
