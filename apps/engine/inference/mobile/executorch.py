"""ExecuTorch programs by its Python runtime, which needs torch; one image at a time, one call at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_EXECUTORCH = "needs ExecuTorch; install it: pip install executorch"


def executorch_network(
    content: bytes, path: object, outputs: Sequence[str]
) -> Callable[[NDArray[Any]], dict[str, NDArray[Any]]]:
    """From images to arrays by the outputs' names.

    Args:
        content: of the file.
        path: of it, for messages.
        outputs: their names, in order: a program has none.

    Shape:
        images: (B, ...) uint8; the program takes one of them as float, 0 to 255.
        returns: (B, ...) each.

    Raises:
        ImportError: ExecuTorch is not installed.
        ValueError: the file is damaged.
    """
    try:
        import torch
        from executorch.runtime import Runtime
    except ImportError as err:
        raise ImportError(f"{path} {NO_EXECUTORCH}") from err
    try:
        program = Runtime.get().load_program(content)
        method = program.load_method("forward")
    except (RuntimeError, ValueError) as err:
        raise ValueError(
            f"{path} is not an ExecuTorch program that can be run, or is damaged; export it again"
        ) from err
    if method is None:
        raise ValueError(f"{path} is an ExecuTorch program without `forward`; export it again")
    lock = Lock()

    def run(images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        with lock:
            given = [torch.from_numpy(image[None].astype(np.float32)) for image in images]
            rows = [[np.array(part) for part in method.execute([image])] for image in given]
        return dict(zip(outputs, map(np.concatenate, zip(*rows, strict=True)), strict=True))

    return run
