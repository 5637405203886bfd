"""Exported models as they are used: ONNX Runtime or OpenVINO, and no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.device import OPENVINO_DEVICES, PROVIDERS, Choice, openvino_core, runtime
from apps.engine.core.spec import INPUT, KEY, ModelSpec
from apps.engine.inference.engines import Engine, batch_for, in_halves
from apps.engine.inference.seal import SUM, check_seal, check_sum
from datasets.outside import regular_file, words_of

Network = Callable[[NDArray[Any]], Sequence[Any]]  # its one input to the arrays that it gives
HOW = "give a file made by: python cli.py export RUN --to onnx --out FILE.onnx"


def load_model(
    path: Path, *, threads: int = 1, calls: int = 1, engine: str = "auto", device: str = "cpu",
    whole: bool = False,
) -> Engine:
    """An ONNX file, or the .xml of an OpenVINO model, that ``export`` wrote.

    Args:
        path: of the file.
        threads: that one call runs on, 1 or more.
        calls: that run at the same time, 1 or more; ONNX Runtime takes any number, OpenVINO would have
            further ones wait.
        engine: ``onnxruntime``, ``openvino`` (which reads both), or ``auto``.
        device: where it computes, one of :func:`apps.engine.core.device.file_devices`.
        whole: the file's bytes were held against their sum just now, as those of the cache are.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the runtime is not installed.
        ValueError: it is damaged, or not one of ours.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}; {HOW}")
    regular_file(path)
    if path.suffix == ".xml" or engine == "openvino":
        return _load_openvino(path, threads, calls, device)
    return load_onnx(path, path, threads=threads, device=device, whole=whole)


def onnx_session(
    content: Path | bytes, path: Path | str, *, threads: int = 1, device: str = "cpu", whole: bool = False,
    mend: str = HOW,
) -> Any:
    """ONNX Runtime's session of a file or its bytes, on threads that do not spin; ``path`` names it.

    Raises:
        ImportError: ONNX Runtime is not installed.
        OSError: it is no regular file.
        ValueError: it is damaged.
    """
    if isinstance(content, Path):
        regular_file(content)
        if not whole:
            check_seal(content)
    onnxruntime = runtime("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        source = content if isinstance(content, bytes) else str(content)
        session = onnxruntime.InferenceSession(source, options, providers=[PROVIDERS[device]])
        _texts(session)
    except Exception as err:  # its kinds of errors are its own and depend on the version
        raise ValueError(f"{path} is not an ONNX model that can be run, or is damaged; {mend}") from err
    if session.get_providers()[0] != PROVIDERS[device]:  # it would answer by the processor, unasked
        raise ValueError(
            f"{path}: onnxruntime cannot start its {PROVIDERS[device]} on this machine; see that the driver "
            "and the libraries that it needs are installed, or give --device cpu"
        )
    return session


def _texts(session: Any) -> list[Any]:
    """All that a session says of its file, which ONNX Runtime decodes where it is asked for and not before.

    Raises:
        UnicodeDecodeError: some of it is no UTF-8.
    """
    ends = [*session.get_inputs(), *session.get_outputs()]
    return [session.get_modelmeta().custom_metadata_map, [(end.name, end.shape, end.type) for end in ends]]


def run_session(
    session: Any, names: list[str] | None, images: dict[str, NDArray[Any]], path: Path | str,
    mend: str = HOW,
) -> list[NDArray[Any]]:
    """The outputs of a session, in fp32 as it gives them; ``path`` names its file.

    Raises:
        ValueError: it cannot compute them.
    """
    try:
        arrays: list[NDArray[Any]] = session.run(names, images)
    except Exception as err:  # its kinds of errors are its own and depend on the version
        raise ValueError(f"{path} cannot compute its answers ({words_of(err)}); {mend}") from err
    return arrays


def load_network(path: Path, outputs: Sequence[str], choice: Choice) -> Network:
    """An ONNX file with one input, such as a face detector's, by a runtime; safe to call from threads.

    Args:
        path: of the file.
        outputs: their names, in the order in which they are given.
        choice: the runtime, and where it computes.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: the file is damaged.
    """
    if choice.engine == "openvino":
        check_seal(path)
        settings = openvino_settings("fp32", 1, 1)
        compiled = openvino_core().compile_model(path, OPENVINO_DEVICES[choice.device], settings)
        places = [compiled.output(name) for name in outputs]

        def infer(images: NDArray[Any]) -> list[Any]:
            result = compiled.create_infer_request().infer([images])
            return [np.array(result[place]) for place in places]

        return infer
    session, names = onnx_session(path, path, device=choice.device), list(outputs)
    (given,) = session.get_inputs()
    return lambda images: run_session(session, names, {given.name: images}, path)


def load_onnx(
    content: Path | bytes, path: Path, *, threads: int = 1, device: str = "cpu", whole: bool = False
) -> Engine:
    """An ONNX model from a file or its bytes; ``path`` names it in messages.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: it is damaged, or not one of ours.
    """
    session = onnx_session(content, path, threads=threads, device=device, whole=whole)
    reported = session.get_modelmeta().custom_metadata_map
    if KEY not in reported:
        raise ValueError(
            f"{path} is an ONNX model, but not one of ours: it does not say what it answers; {HOW}"
        )
    spec = ModelSpec.from_json(reported[KEY], path)
    names = list(spec.outputs)
    missing = {*names} - {item.name for item in session.get_outputs()}
    if missing or [item.name for item in session.get_inputs()] != [INPUT]:
        raise ValueError(f"{path} does not give what it says of itself; {HOW}")

    def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return run_session(session, names, {INPUT: images}, path)

    if device == "cpu":
        return Engine(spec, run)
    fixed = session.get_inputs()[0].shape[0]
    return Engine(
        spec, in_halves(run), fixed if isinstance(fixed, int) else batch_for(device, spec.resolution)
    )


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


def _load_openvino(path: Path, threads: int, calls: int, device: str) -> Engine:
    check_seal(path)
    core = openvino_core()
    try:
        model = core.read_model(path)
        reported = _onnx_note(path) if path.suffix == ".onnx" else model.get_rt_info(KEY).astype(str)
    except Exception as err:  # one kind for a damaged file and for one without our note
        raise ValueError(f"{path} is not an OpenVINO model of ours, or is damaged; {HOW}") from err
    if path.suffix == ".xml" and model.has_rt_info(SUM):
        check_sum(path.with_suffix(".bin"), model.get_rt_info(SUM).astype(str))
    spec = ModelSpec.from_json(reported, path)
    settings = openvino_settings(spec.precision, threads, calls)
    try:
        compiled = core.compile_model(model, OPENVINO_DEVICES[device], settings)
        places = [compiled.output(name) for name in spec.outputs]
    except Exception as err:  # as above
        raise ValueError(f"{path} does not give what it says of itself ({words_of(err)}); {HOW}") from err

    def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        result = compiled.create_infer_request().infer({INPUT: images})
        return [np.array(result[place]) for place in places]

    return Engine(spec, run)


def _onnx_note(path: Path) -> str:
    """What an ONNX file says of itself, read without a runtime."""
    import onnx

    proto = onnx.load(path, load_external_data=False)
    metadata: dict[str, str] = {item.key: item.value for item in proto.metadata_props}
    return metadata[KEY]
