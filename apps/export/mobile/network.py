"""The network as the libraries for phones take it: one image, named outputs, boxes not suppressed."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apps.engine.inference.decode.kinds import kind_of
from apps.engine.inference.graph.boxes import DecodedSSD
from apps.engine.inference.graph.model import Plan
from apps.engine.inference.graph.onnx_file import quiet
from apps.engine.inference.mobile.suppress import UNSUPPRESSED

WRITERS = {
    "tflite": ("litert-torch", "ai-edge-quantizer", "ai-edge-litert"), "coreml": ("coremltools",),
    "executorch": ("executorch",),
}
EXTRA = "pip install 'mobilenet-apps[mobile]' (in a checkout: make mobile)"


class Candidates(nn.Module):
    """An SSD in a graph that leaves suppression to its readers.

    Args:
        decoded: the same with suppression.

    Shape:
        returns: boxes (B, A, 4), (x1, y1, x2, y2) pixels of the input, and scores (B, A, K).
    """

    def __init__(self, decoded: DecodedSSD) -> None:
        super().__init__()
        self.decoded, self.strides = decoded, decoded.strides

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """All boxes."""
        return self.decoded.candidates(*maps)


class Named(nn.Module):
    """A network whose outputs have names.

    Args:
        network: gives a tuple of tensors.
        names: as many.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """One pass."""
        return dict(zip(self.names, self.network(images), strict=True))


def mobile_plan(made: Plan, to: str) -> Plan:
    """The plan with a description that says of detectors that their readers suppress boxes.

    Args:
        made: the plan.
        to: format, of which the description names the libraries.

    Raises:
        ValueError: a head has parts that these formats do not have.
    """
    heads = []
    for described, head in zip(made.spec.heads, made.module.heads.values(), strict=True):
        spec = described
        if kind_of(spec.kind).boxes:
            if not isinstance(head, DecodedSSD):
                raise ValueError(
                    f"head {spec.name!r} has two stages, with proposals and RoIAlign in between, which files "
                    "for phones do not have; train an SSD (--head ssd300), or export --to onnx"
                )
            spec = replace(spec, extra={**spec.extra, UNSUPPRESSED: True})
        heads.append(spec)
    versions = {name: version(name) for name in ("torch", *WRITERS[to]) if find_spec(name.replace("-", "_"))}
    return replace(made, spec=replace(made.spec, heads=tuple(heads), versions=versions))


def mobile_network(made: Plan) -> nn.Module:
    """A copy of the plan's network in which boxes are not suppressed and weights lie in order."""
    network: Any = copy.deepcopy(made.module)
    for name, head in network.heads.items():
        if isinstance(head, DecodedSSD):
            network.heads[name] = Candidates(head)
    for values in (*network.parameters(), *network.buffers()):
        values.data = values.data.contiguous()  # those of images first have strides of their own
    plain: nn.Module = network.eval()
    return plain.requires_grad_(False)


def library(name: str, to: str, package: str) -> Any:
    """A library that writes a format.

    Raises:
        ImportError: it is not installed, or cannot start; the message says how to mend it.
    """
    try:
        with silent():
            return import_module(name)
    except ImportError as err:
        absent = isinstance(err, ModuleNotFoundError) and err.name == name.split(".", maxsplit=1)[0]
        why = "which is not installed" if absent else f"which cannot start here ({err})"
        raise ImportError(f"--to {to} needs {package}, {why}; install it: {EXTRA}") from err


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The libraries' progress unheard, also what C++ writes by itself; their errors are exceptions."""
    sys.stdout.flush()
    sys.stderr.flush()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        for number in (1, 2):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(nowhere.fileno(), number)
        yield


def converted(to: str, why: BaseException) -> ValueError:
    """The error of a library that could not write a network, in one line."""
    words = " ".join(str(why).split())[:300] or type(why).__name__
    return ValueError(f"--to {to}: the network cannot be written so ({words}); export --to onnx instead")


def example(made: Plan, *, floats: bool = False) -> Tensor:
    """(1, ...) pixels to trace the network with; as numbers of 0 to 255 where a format has no bytes."""
    pixels = made.example(1)
    return pixels.to(torch.float32) if floats else pixels
