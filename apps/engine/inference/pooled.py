"""Features of images: the mean of a network's last map, by an exported file that is made once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.files import sha256_of, write_whole
from apps.engine.core.machine import usable_cores
from apps.engine.inference.engines import Engine
from apps.engine.inference.made_once import cached, say_once
from apps.engine.inference.model_file import load_onnx
from apps.engine.inference.weights_model import weights_file
from backbone.storage import weights_cache
from datasets.image_io import BadImageError

FORMAT = 1  # raised when the same weights are to be written otherwise
AT_ONCE = 256  # images that wait for a thread
Vectors = NDArray[np.float32]


def pooled_model(weights: str) -> Engine:
    """The network of weights with the mean of its last map as its only output.

    Args:
        weights: a path, or a name that is on this machine.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the cache cannot be written.
        ValueError: the weights are damaged.
    """
    path = weights_file(weights)
    if path is None:
        raise FileNotFoundError(f"weights {weights} are not on this machine: python cli.py weights fetch")
    key = hashlib.sha256(f"{sha256_of(path)} {path.name}".encode()).hexdigest()[:32]
    file = cached(f"pooled-{FORMAT}-{key}.onnx", lambda: _exported(str(path)))
    return load_onnx(file, file)


def _exported(weights: str) -> bytes:
    import torch

    from apps.engine.core.spec import HeadSpec, ModelSpec
    from apps.engine.inference.graph.model import Deployed, Plan
    from apps.engine.inference.graph.onnx_file import onnx_model
    from backbone import build, load_state, load_weights

    class Pooled(torch.nn.Module):
        """A map averaged over height and width."""

        def __init__(self, stride: int) -> None:
            super().__init__()
            self.strides = (stride,)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) to (B, C)."""
            return features.mean(dim=(2, 3))

    loaded = load_weights(weights)
    say_once(loaded.info.name)
    network = build(loaded.info, most=loaded.count)
    load_state(network, loaded)
    seen, info = network.preprocessing, loaded.info
    head = HeadSpec("features", "features", "embedding", ("features",))
    about = {"name": info.name, "arch": info.arch, "source": info.source, "licence": info.licence}
    spec = ModelSpec(
        network.fingerprint(), seen.resolution, seen.crop, "nhwc", "fp32", about, (head,), resize=seen.resize
    )
    deployed = Deployed(network, {"features": Pooled(max(network.channels))}, "nhwc")
    content: bytes = onnx_model(Plan(deployed, spec, ())).SerializeToString()
    return content


def features_of(engine: Engine, paths: Sequence[Path]) -> Iterator[Vectors | None]:
    """(C,) of each image, in their order, by several threads; None for one that cannot be read."""
    def compute(path: Path) -> Vectors | None:
        try:
            vector: Vectors = engine.run(engine.photo(path))[0][0]
        except BadImageError:
            return None
        return vector

    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(paths), AT_ONCE):
            yield from pool.map(compute, paths[start : start + AT_ONCE])


def kept_features(
    engine: Engine, paths: Sequence[Path], digests: Sequence[str], where: str,
    on_done: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """(N, C) features; those of files with the same content are taken from the user's cache.

    Args:
        engine: of :func:`pooled_model`, or any whose only output is a vector.
        paths: of the images.
        digests: of their bytes; empty for one that cannot be read, whose row is NaN.
        where: what the images are kept under, such as their folder.
        on_done: gets the number of those that are done.

    Raises:
        OSError: the cache cannot be written.
    """
    key = hashlib.sha256(f"{engine.spec.fingerprint} {engine.spec.resolution} {where}".encode())
    file = weights_cache().with_name("features") / f"{key.hexdigest()[:32]}.npz"
    kept = _read(file)
    wanted = {
        digest: path for digest, path in zip(digests, paths, strict=True) if digest and digest not in kept
    }
    for done, (digest, vector) in enumerate(
        zip(wanted, features_of(engine, list(wanted.values())), strict=True), start=1
    ):
        if vector is not None:
            kept[digest] = vector
        on_done(done)
    known = {digest: kept[digest] for digest in digests if digest in kept}
    if not known:
        return np.full((len(paths), 1), np.nan, np.float32)
    if wanted:
        _write(file, known)
    unknown = np.full(len(next(iter(known.values()))), np.nan, np.float32)
    return np.stack([known.get(digest, unknown) for digest in digests])


def _read(file: Path) -> dict[str, Vectors]:
    """What a file of the cache holds; nothing where there is none, or a damaged one."""
    try:
        with np.load(file, allow_pickle=False) as table:
            return dict(zip(table["digests"].tolist(), table["features"], strict=True))
    except Exception:  # zip, zlib and numpy raise their own; it is made again
        return {}


def _write(file: Path, known: dict[str, Vectors]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, digests=np.array(list(known)), features=np.stack(list(known.values())))

    write_whole(file, write)
