"""TFLite files by LiteRT, one image after the other on one thread each; no torch, no TensorFlow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_LITERT = "needs LiteRT; install it: pip install ai-edge-litert"
Arrays = dict[str, NDArray[Any]]


def litert_network(content: bytes, path: object, threads: int = 1) -> Callable[[NDArray[Any]], Arrays]:
    """From images to arrays by the outputs' names; each thread that calls has an interpreter of its own.

    Args:
        content: of the file.
        path: of it, for messages.
        threads: of a call, 1 or more.

    Shape:
        images: (B, ...) uint8 as the file wants one of them.
        returns: (B, ...) each, in fp32 also where the file's output is int8.

    Raises:
        ImportError: LiteRT is not installed.
        ValueError: the file is damaged, or cannot compute.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as err:
        raise ImportError(f"{path} {NO_LITERT}") from err
    kept = threading.local()

    def runner() -> Any:
        if "runner" not in vars(kept):
            try:
                kept.interpreter = Interpreter(model_content=content, num_threads=threads)
                kept.runner = kept.interpreter.get_signature_runner()
            except (ValueError, RuntimeError, TypeError) as err:
                raise ValueError(
                    f"{path} is not a TFLite model that can be run, or is damaged; export it again"
                ) from err
        return kept.runner

    def run(images: NDArray[Any]) -> Arrays:
        network = runner()
        (given,) = network.get_input_details()
        rows = [network(**{given: image[None]}) for image in images]
        details = network.get_output_details()
        return {
            name: np.concatenate([plain(row[name], details[name]["quantization"]) for row in rows])
            for name in rows[0]
        }

    runner()
    return run


def plain(values: NDArray[Any], scale_and_zero: tuple[float, int]) -> NDArray[Any]:
    """Values in fp32: those of an integer output are multiplied by its scale, of (scale, zero point)."""
    scale, zero = scale_and_zero
    if not scale:
        return values.copy()  # what comes out is the interpreter's memory
    return (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
