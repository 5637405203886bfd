"""Networks that find faces: ONNX files, written once by torch into the user's cache; or torch's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from apps.engine.core.device import AS_USUAL, Compute
from apps.engine.core.files import sha256_of
from apps.engine.inference.made_once import cached
from apps.engine.inference.model_file import Network, load_network
from apps.faces.detection.mtcnn import INPUT, OUTPUT, SIDES, Cascade

FORMAT = 2  # raised when the same weights are to be written otherwise
OUTPUTS = {name: ["moves", *(["points"] if name == "onet" else []), "chances"] for name in SIDES}
SSD_OUTPUT = "faces"  # of the SSD's files


def load_cascade(compute: Compute = AS_USUAL) -> Cascade:
    """MTCNN's three networks, ready to find faces.

    Raises:
        ImportError: facenet-pytorch or the engine is not installed.
        OSError: the cache cannot be written.
        ValueError: the device is not there.
    """
    choice = compute.choose()
    if choice.engine == "torch":
        return Cascade({name: torch_network(_blocked(name), choice.device) for name in SIDES})
    paths = _cached("blocked-", _blocked_file)
    return Cascade({name: load_network(paths[name], (OUTPUT,), choice) for name in SIDES})


def torch_network(module: Any, device: str) -> Network:
    """A module of PyTorch's as it is called where an ONNX file could be."""
    import torch

    there = module.eval().to(device)

    @torch.inference_mode()
    def run(images: NDArray[Any]) -> list[Any]:
        return [output.cpu().numpy() for output in there(torch.from_numpy(images).to(device))]

    return run


def cascade_networks() -> dict[str, Path]:
    """``pnet.onnx``, ``rnet.onnx`` and ``onet.onnx`` of facenet-pytorch's MTCNN as they are, for a page.

    Each takes (N, 3, H, W) RGB in -1 to 1 and gives :data:`OUTPUTS`. Torch only writes them once.

    Raises:
        ImportError: facenet-pytorch is not installed.
        OSError: the cache cannot be written.
    """
    return {f"{name}.onnx": path for name, path in _cached("", _plain_file).items()}


def _cached(prefix: str, make: Callable[[str], bytes]) -> dict[str, Path]:
    """A file a network in the user's cache, by the content of its weights."""
    package = find_spec("facenet_pytorch")
    if package is None or not package.submodule_search_locations:
        raise ImportError("faces are found by facenet-pytorch's networks; pip install facenet-pytorch")
    weights = Path(package.submodule_search_locations[0]) / "data"
    marks = {name: sha256_of(weights / f"{name}.pt")[:16] for name in SIDES}
    return {
        name: cached(f"{prefix}{name}-{FORMAT}-{mark}.onnx", partial(make, name))
        for name, mark in marks.items()
    }


@cache
def _cascade() -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from facenet_pytorch import MTCNN

        return MTCNN(keep_all=True, device=torch.device("cpu")).eval()


def _blocked(name: str) -> Any:
    from apps.faces.detection.cascade_graph import Blocked

    return Blocked(getattr(_cascade(), name)).eval()


def _blocked_file(name: str) -> bytes:
    return _exported(name, _blocked(name), [OUTPUT])


def _plain_file(name: str) -> bytes:
    return _exported(name, getattr(_cascade(), name), OUTPUTS[name])


def _exported(name: str, network: Any, outputs: list[str]) -> bytes:
    """One of the three networks, on any number of images, the first on images of any size."""
    import torch
    from torch.export import Dim

    from apps.engine.inference.graph.onnx_file import OPSET, quiet, without_paths

    side = SIDES[name]
    free: dict[int, Any] = {0: Dim("n", min=1, max=1 << 16)}
    shape = (2, 3, side, side)
    if name == "pnet":  # runs over whole pictures
        free = {2: Dim("h", min=side, max=1 << 12), 3: Dim("w", min=side, max=1 << 12)}
        shape = (1, 3, 5 * side, 6 * side)
    with quiet():
        program = torch.onnx.export(
            network, (torch.zeros(shape),), dynamo=True, dynamic_shapes=(free,), opset_version=OPSET,
            input_names=[INPUT], output_names=outputs, verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    without_paths(proto)
    content: bytes = proto.SerializeToString()
    return content
