"""Features of a frozen backbone, computed once; the head then learns from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from apps.engine.core.distributed import World
from apps.engine.core.files import write_whole
from apps.engine.data.collate import taken
from apps.engine.data.loader import BadImage, Loader
from apps.engine.evaluation.collecting import CollectingEvaluator
from apps.engine.training.loop import StepHook, run_model
from backbone import Backbone, inference_model
from datasets.image_io import DECODER
from datasets.outside import regular_file

_TARGETS = "targets"

Pooled = tuple[NDArray[np.float32], Any, list[int], list[BadImage]]


def pooled_features(
    network: Backbone, loader: Loader, *, stride: int, world: World | None = None,
    dtype: torch.dtype = torch.float32, on_step: StepHook = lambda _done, _totals: None, epoch: int = 0,
) -> Pooled:
    """The map of one stride averaged over height and width, for each image.

    Args:
        network: a copy with its batch-norm folded in does the work.
        loader: of the images; each process brings its part.
        stride: of the map.
        world: the processes that share the work; all of them get all features.
        dtype: in which the network computes.
        on_step: called after each batch.
        epoch: whose random choices the loader makes.

    Returns:
        (N, C) features, the targets (an array, or a dict of tensors where they are dicts), the photos'
        indices, and those that could not be read.
    """
    fast = inference_model(network, dtype)

    def pool(images: Tensor) -> Tensor:
        return torch.as_tensor(fast(images)[stride]).float().mean(dim=(2, 3))

    collected = CollectingEvaluator[Tensor, Any, tuple[Tensor, Any, list[int]]](lambda *parts: parts)
    bad = run_model(pool, loader.epoch(epoch), collected, world=world, on_step=on_step)
    features, targets, indices = collected.compute()
    return features.numpy(), targets if isinstance(targets, dict) else targets.numpy(), indices, bad


class Views(NamedTuple):
    """The features of every image as it is and as it is augmented.

    Shape:
        features: (V + 1, N, C); row 0 of the plain images, the others of V random views.
        targets: (N, ...), or a dict of tensors of that.
        indices: N positions in the dataset.
        bad: images that could not be read.
    """

    features: NDArray[np.float32]
    targets: Any
    indices: list[int]
    bad: list[BadImage]


def cached_features(
    network: Backbone, loader_for_view: Callable[[int], Loader], *, views: int, stride: int,
    folder: Path | None, key: str, world: World | None = None, dtype: torch.dtype = torch.float32,
    on_step: StepHook = lambda _done, _totals: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Views:
    """Pooled features of the plain images and of random views of them, computed once and kept on disk.

    Args:
        network: frozen; its fingerprint is part of the file's name.
        loader_for_view: 0 -> the plain images, 1 to ``views`` -> augmented ones; none shuffles.
            View v is read as epoch v, so one loader may serve all augmented views.
        views: random views an image, 0 or more.
        stride: of the map.
        folder: where the file is found or written; None keeps nothing.
        key: of the images and of how they are seen, from :func:`data_key`.
        world: the processes that share the work; the first one writes.
        dtype: in which the network computes.
        on_step: called after each batch.
        on_note: gets a sentence where the file cannot be written; the features come all the same.

    Raises:
        ValueError: views is negative, or no image could be read.
    """
    if views < 0:
        raise ValueError(f"views must be 0 or more, got {views}")
    world = world or World()
    name = _digest([network.fingerprint(), str(stride), str(views), str(dtype), key])
    path = None if folder is None else folder / f"features-{name}.safetensors"
    results: Views | None = world.broadcast(None if path is None or not world.is_main else _load(path))
    if results is not None:
        return results
    computed = [
        pooled_features(
            network, loader_for_view(view), stride=stride, world=world, dtype=dtype, on_step=on_step,
            epoch=view,
        )
        for view in range(views + 1)
    ]
    result = _stacked(computed)
    if path is not None and world.is_main:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda temporary: _save(temporary, result))
        except OSError as err:
            on_note(f"the features are not kept: cannot write {path} ({err.strerror or err})")
    return result


def data_key(*loaders: Loader) -> str:
    """What the images of some loaders are, byte by byte, in which order, and how they are augmented."""
    parts = [DECODER]
    for loader in loaders:
        seen = loader.seeded
        parts += [repr(seen.transform), str(seen.seed), str(seen.photos.min_side)]
        for index, photo in enumerate(seen.photos.photos):
            target = np.asarray(seen.photos.target(index)).tolist()
            parts += [repr(target), repr(seen.photos.box(index)), _content(photo.path)]
    return _digest(parts)


def _content(path: Path) -> str:
    try:
        with regular_file(path).open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as err:  # reading it as an image says so; a mended file has another key
        return f"unreadable {err.errno}"


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _stacked(computed: list[Pooled]) -> Views:
    """The views one above the other, of the images that every one of them could read."""
    common = sorted(set.intersection(*(set(indices) for _, _, indices, _ in computed)))
    rows = [{index: row for row, index in enumerate(indices)} for _, _, indices, _ in computed]
    features = [
        view[[row[index] for index in common]] for (view, _, _, _), row in zip(computed, rows, strict=True)
    ]
    targets = taken(computed[0][1], [rows[0][index] for index in common])
    bad = {item.index: item for _, _, _, more in computed for item in more}
    return Views(np.stack(features), targets, common, [bad[index] for index in sorted(bad)])


def _save(path: Path, views: Views) -> None:
    tensors = {
        "features": torch.from_numpy(views.features),
        "indices": torch.tensor(views.indices, dtype=torch.int64),
    }
    if isinstance(views.targets, dict):
        tensors |= {f"{_TARGETS}.{key}": target.contiguous() for key, target in views.targets.items()}
    else:
        tensors[_TARGETS] = torch.from_numpy(views.targets)
    save_file(
        tensors, path, {"bad": json.dumps([[bad_image.index, bad_image.reason] for bad_image in views.bad])}
    )


def _load(path: Path) -> Views | None:
    """What the file holds; None if there is none, or none that is whole."""
    try:
        with safe_open(path, "pt") as file:
            bad = [BadImage(index, reason) for index, reason in json.loads(file.metadata()["bad"])]
            features, indices = (file.get_tensor(name) for name in ("features", "indices"))
            results = {name: file.get_tensor(name) for name in file.keys() if name.startswith(_TARGETS)}  # noqa: SIM118
    except Exception:  # a file of the cache is made again, whatever is wrong with it
        return None
    plain = results.pop(_TARGETS, None)
    targets = {key.removeprefix(f"{_TARGETS}."): value for key, value in results.items()}
    return Views(features.numpy(), targets if plain is None else plain.numpy(), indices.tolist(), bad)
