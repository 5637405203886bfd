"""Exported models as they are used: ONNX Runtime or OpenVINO, and no torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.machine import usable_cores
from apps.engine.core.spec import INPUT, KEY, ModelSpec
from apps.engine.inference.decode import decode_model
from apps.engine.inference.predictions import FailedPrediction, Prediction
from apps.engine.inference.preprocess import read_square
from datasets.image_io import BadImageError, list_photos

HOW = "give a file made by: python cli.py export RUN --to onnx --out FILE.onnx"
RANKED = ("classes", "cells", "boxes")  # kinds of answers that are lists, the likeliest first
Runner = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


@dataclass(frozen=True)
class ModelFile:
    """An exported model, ready to answer; safe to call from several threads.

    Args:
        spec: what it says of itself.
        run: (B, ...) uint8 photos in the spec's layout -> its outputs.
    """

    spec: ModelSpec
    run: Runner

    def photo(self, path: Path) -> NDArray[np.uint8]:
        """(1, ...) the photo as the model wants it.

        Raises:
            BadImageError: it cannot be read.
        """
        return self.laid_out(self.read(path)[0])

    def read(self, path: Path) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """(R, R, 3) the photo on its square, and its (width, height).

        Raises:
            BadImageError: it cannot be read.
        """
        spec = self.spec
        return read_square(path, spec.resolution, spec.crop, spec.resize)

    def laid_out(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(R, R, 3) -> (1, R, R, 3) or (1, 3, R, R)."""
        if self.spec.layout == "nhwc":
            return pixels[None]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])

    def answer(self, path: Path, top: int = 5) -> Prediction:
        """The answer to one photo, or why there is none."""
        try:
            pixels, size = self.read(path)
        except BadImageError as err:
            return FailedPrediction(err.reason)
        return decode_model(self.spec, self.run(self.laid_out(pixels)), [size], top=top)[0]

    def line(self, path: Path, top: int = 5) -> dict[str, Any]:
        """The answer to one photo as plain values, with its path."""
        return {"path": str(path), **self.answer(path, top).to_dict()}


def load_model(path: Path, *, threads: int = 1, calls: int = 1) -> ModelFile:
    """An ONNX file, or the .xml of an OpenVINO model, that ``export`` wrote.

    Args:
        path: of the file.
        threads: that one call runs on, 1 or more.
        calls: that run at the same time, 1 or more; ONNX Runtime takes any number, OpenVINO would have
            further ones wait.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the runtime is not installed.
        ValueError: it is damaged, or not one of ours.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}; {HOW}")
    if path.suffix == ".xml":
        return _load_openvino(path, threads, calls)
    return load_onnx(path, path, threads=threads)


def load_onnx(content: Path | bytes, path: Path, *, threads: int = 1) -> ModelFile:
    """An ONNX model from a file or its bytes; ``path`` names it in messages.

    Raises:
        ValueError: it is damaged, or not one of ours.
    """
    session = onnx_session(content, path, threads=threads)
    reported = session.get_modelmeta().custom_metadata_map
    if KEY not in reported:
        raise ValueError(
            f"{path} is an ONNX model, but not one of ours: it does not say what it answers; {HOW}"
        )
    spec = ModelSpec.from_json(reported[KEY], path)
    names = list(spec.outputs)

    def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        arrays: list[NDArray[np.float32]] = session.run(names, {INPUT: images})
        return arrays

    return ModelFile(spec, run)


def onnx_session(content: Path | bytes, path: Path, *, threads: int = 1) -> Any:
    """ONNX Runtime with a model of any kind, on the processor, its threads asleep between calls.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: the model is damaged.
    """
    try:
        import onnxruntime
    except ImportError as err:
        raise ImportError(f"{path} needs ONNX Runtime; install it: pip install onnxruntime") from err
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        source = content if isinstance(content, bytes) else str(content)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # its kinds of errors are its own and hang on the version
        raise ValueError(f"{path} is not an ONNX model that can be run, or is damaged; {HOW}") from err


def openvino_settings(precision: str, threads: int, calls: int) -> dict[str, Any]:
    """How OpenVINO is to run a model: a stream a call, on no core of its own, as others share them.

    What is no int8 is computed in fp32, so that a file answers alike on every processor: by itself OpenVINO
    computes fp16 in bf16 where there are units for it.
    """
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads * calls, "NUM_STREAMS": calls, "ENABLE_CPU_PINNING": False,
    }
    if precision != "int8":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    return settings


def _load_openvino(path: Path, threads: int, calls: int) -> ModelFile:
    try:
        import openvino
    except ImportError as err:
        raise ImportError(f"{path} needs OpenVINO; install it: pip install openvino") from err
    core = openvino.Core()
    try:
        model = core.read_model(path)
        reported = model.get_rt_info(KEY).astype(str)
    except Exception as err:  # one kind for a damaged file and for one without our note
        raise ValueError(f"{path} is not an OpenVINO model of ours, or is damaged; {HOW}") from err
    spec = ModelSpec.from_json(reported, path)
    compiled = core.compile_model(model, "CPU", openvino_settings(spec.precision, threads, calls))
    places = [compiled.output(name) for name in spec.outputs]

    def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        result = compiled.create_infer_request().infer({INPUT: images})
        return [np.array(result[place]) for place in places]

    return ModelFile(spec, run)


def predict(
    paths: Iterable[Path], *, model: Path, top: int | None = None, workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """The model's answers to each photo, in the order of the paths.

    Every worker reads a photo and runs the model on one thread, so that none waits for another.

    Args:
        paths: photos, and folders that are searched for photos.
        model: an exported file.
        top: how many classes, cells or objects a photo; None for 5.
        workers: threads; None or 0 takes one for each core.

    Returns:
        ``{"path", ...the head's answer}`` or ``{"path", "answers": {NAME: ...}}`` a photo, or
        ``{"path", "error"}`` for one that cannot be read.

    Raises:
        FileNotFoundError: a path or the model is missing.
        ValueError: the model is not one of ours, ``top`` is given though it ranks nothing, or the folders
            hold no photo.
    """
    threads = workers or usable_cores()
    item = load_model(model, calls=threads)
    if top is not None and not any(head.kind in RANKED for head in item.spec.heads):
        why = "its answers are no list with the likeliest first"
        raise ValueError(f"--top is not for {model}: {why}; leave it out")
    best = top or 5
    result = list_photos(paths)
    if threads == 1 or len(result) == 1:
        yield from (item.line(path, best) for path in result)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[dict[str, Any]]] = deque()
        for path in result:
            waiting.append(pool.submit(item.line, path, best))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
