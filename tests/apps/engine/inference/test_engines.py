"""What runs on a GPU, with another device in its place: batches by memory, by halves where it is short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from support import Cli

from apps.engine.inference.engines import batch_for, in_halves, is_out_of_memory
from apps.engine.inference.model_file import load_onnx, onnx_session
from apps.engine.inference.torch_engine import load_torch_engine


@pytest.fixture(scope="module")
def file(cli: Cli, colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files") / "colours.onnx"
    assert cli("export", colour_run, "--out", out).code == 0
    return out


@pytest.mark.parametrize(
    ("free", "resolution", "batch"),
    [(140e9, 224, 64), (2e9, 224, 32), (2e9, 448, 8), (1e6, 224, 8), (2e9, 128, 64)],
)
def test_the_batch_follows_the_memory(free: float, resolution: int, batch: int) -> None:
    assert batch_for("cuda", resolution, free_bytes=free) == batch


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_where_the_memory_is_not_known_little_is_taken() -> None:
    assert batch_for("cuda", 224) == batch_for("xpu", 224) == 32


def test_a_batch_that_finds_no_room_is_computed_by_halves() -> None:
    sizes: list[int] = []

    def run(images: np.ndarray) -> list[Any]:
        sizes.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [images.astype(np.float32) * 2, [image[:1] for image in images]]

    images = np.arange(10, dtype=np.uint8)[:, None].repeat(4, 1)
    doubled, firsts = in_halves(run)(images)
    np.testing.assert_array_equal(doubled, images * 2.0)
    assert [int(first[0]) for first in firsts] == list(range(10))
    assert sizes == [10, 5, 2, 3, 5, 2, 3]


def test_other_errors_and_a_single_image_without_room_are_raised() -> None:
    def fails(images: np.ndarray) -> list[Any]:
        raise RuntimeError("shapes do not fit" if len(images) > 1 else "Failed to allocate memory for buffer")

    with pytest.raises(RuntimeError, match="shapes"):
        in_halves(fails)(np.zeros((2, 1), np.uint8))
    with pytest.raises(RuntimeError, match="Failed to allocate"):
        in_halves(fails)(np.zeros((1, 1), np.uint8))
    assert not is_out_of_memory(ValueError("x"))


@pytest.mark.parametrize("part", [b"an_input", b"an_output", b"a_note"])
def test_a_name_in_a_file_that_is_no_utf8_is_one_line(tmp_path: Path, part: bytes) -> None:
    """ONNX Runtime decodes names only where they are asked for, long after it has opened the file."""
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])
        for name in ("an_input", "an_output")
    ]
    node = onnx.helper.make_node("Relu", ["an_input"], ["an_output"])
    graph = onnx.helper.make_graph([node], "graph", ends[:1], ends[1:])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(proto, {"note": "a_note"})
    path = tmp_path / "names.onnx"
    path.write_bytes(proto.SerializeToString())
    onnx_session(path, "teacher")
    path.write_bytes(proto.SerializeToString().replace(part, b"\xff" * len(part)))
    with pytest.raises(ValueError, match="teacher is not an ONNX model that can be run, or is damaged"):
        onnx_session(path, "teacher")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_provider_that_does_not_start_is_no_silent_answer_by_the_processor(file: Path) -> None:
    """ONNX Runtime itself goes on by the processor where CUDA does not start."""
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="cannot start its CUDAExecutionProvider"):
        onnx_session(file, file, device="cuda")


@pytest.mark.slow
def test_a_file_on_a_gpu_is_given_many_images_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's provider stands for the GPU's."""
    providers = dict.fromkeys(("cpu", "cuda"), "CPUExecutionProvider")
    monkeypatch.setattr("apps.engine.inference.model_file.PROVIDERS", providers)
    on_gpu, on_cpu = (load_onnx(file, file, device=device) for device in ("cuda", "cpu"))
    assert (on_gpu.batch, on_cpu.batch) == (batch_for("cuda", on_gpu.spec.resolution), 1)
    side = on_gpu.spec.resolution
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    pixels = on_gpu.laid_out(images)
    alone = [on_cpu.run(pixels[n : n + 1])[0] for n in range(3)]
    np.testing.assert_allclose(on_gpu.run(pixels)[0], np.concatenate(alone), atol=1e-5)


def test_pytorch_on_a_gpu_takes_pinned_memory_and_does_not_wait(
    colour_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[bool] = []
    moves: list[dict[str, Any]] = []
    to = torch.Tensor.to

    def here(tensor: torch.Tensor, *given: Any, **how: Any) -> torch.Tensor:
        if given[:1] == ("cuda",):
            moves.append(how)
            return tensor
        return to(tensor, *given, **how)

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(True)
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", here)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_, **__: module)
    engine = load_torch_engine((("", str(colour_run)),), device="cuda")
    side = engine.spec.resolution
    (probabilities,) = engine.run(np.zeros((2, side, side, 3), np.uint8))
    assert probabilities.shape[0] == 2
    assert pinned == [True]
    assert moves == [{"non_blocking": True}]
    assert engine.batch == batch_for("cuda", side)
