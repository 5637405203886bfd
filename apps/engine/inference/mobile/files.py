"""A file for phones as an :class:`Engine`, as other exported files are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.engines import Engine
from apps.engine.inference.mobile.executorch import executorch_network
from apps.engine.inference.mobile.litert import litert_network
from apps.engine.inference.mobile.note import read_note
from apps.engine.inference.mobile.suppress import UNSUPPRESSED, suppressed

RUNTIMES = {".tflite": "litert", ".pte": "executorch"}  # by suffix, what runs them
Network = Callable[[NDArray[Any]], dict[str, NDArray[Any]]]


def load_mobile(path: Path, threads: int = 1) -> Engine:
    """A .tflite or .pte file that ``export`` wrote.

    Args:
        path: of the file.
        threads: of a call, 1 or more; ExecuTorch chooses its own.

    Raises:
        ImportError: the runtime is not installed.
        OSError: it cannot be read.
        ValueError: it is damaged, or not one of ours.
    """
    text, content = read_note(path)
    return mobile_engine(ModelSpec.from_json(text, path), content, path, threads)


def mobile_engine(spec: ModelSpec, content: bytes, path: Path, threads: int = 1) -> Engine:
    """The engine of a file's bytes without their description; ``path`` names it.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: it is damaged, or does not give what it says of itself.
    """
    network: Network = (
        litert_network(content, path, threads) if path.suffix == ".tflite"
        else executorch_network(content, path, given_outputs(spec.heads))
    )

    def run(images: NDArray[Any]) -> list[Any]:
        try:
            named = network(images)
            return [array for head in spec.heads for array in outputs_of(head, named)]
        except (KeyError, RuntimeError, ValueError) as err:
            why = " ".join(str(err).split())[:200]
            raise ValueError(f"{path} cannot compute its answers ({why}); export it again") from err

    return Engine(spec, run)


def given_outputs(heads: tuple[HeadSpec, ...]) -> list[str]:
    """The names of what comes out of the file itself: without labels where a reader is to suppress."""
    return [
        name for head in heads for name in head.outputs[: 2 if head.extra.get(UNSUPPRESSED) else None]
    ]


def outputs_of(head: HeadSpec, named: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """A head's outputs as every reader expects them."""
    if head.extra.get(UNSUPPRESSED):
        boxes, scores = (named[name] for name in head.outputs[:2])
        return list(suppressed(boxes, scores, head.extra))
    return [named[name] for name in head.outputs]
