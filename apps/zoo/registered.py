"""Registered weights from what was fetched of them: imported, copied, or taken from timm's loader."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from apps.engine.core.console import Console
from apps.engine.core.files import sha256_of, write_whole
from apps.zoo.convert.importer import INPUT_NAMES, ImportOptions, import_weights
from apps.zoo.sources import RawFiles
from apps.zoo.unpack import unpack
from backbone import Weights, load_weights
from backbone.pretrained import Registered

ARCHIVES = ("tgz", "zip")


def make(
    item: Registered, raw: RawFiles, out: Path, options: ImportOptions, console: Console
) -> dict[str, Any]:
    """Import fetched files.

    Args:
        item: the set that they are of.
        raw: the files.
        out: the ``.safetensors`` file to write.
        options: how; what the registry says goes before.
        console: where words go.

    Returns:
        ``{"name", "file", "url", "sha256", "verified"}`` and what the import answers.

    Raises:
        ValueError: they are not what they should be.
        OSError: ``out`` cannot be written.
    """
    if not raw.verified:
        console.warn(
            f"no sum of {raw.paths[0].name} is known, so nothing proves it whole; it has sha256 {raw.sha256}"
        )
    normalised = next(name for name, line in INPUT_NAMES.items() if line == item.input)
    options = replace(
        options, width=item.width, resolution=item.resolution,
        source=item.source, licence=item.licence, input=normalised,
        padding="same",
    )
    answer = _import(raw, out, options, console)
    return {"name": item.name} | answer | {
        "file": raw.paths[0].name, "url": raw.origin, "sha256": raw.sha256, "verified": raw.verified,
    }  # fmt: skip


def _import(raw: RawFiles, out: Path, options: ImportOptions, console: Console) -> dict[str, Any]:
    """The file, or the one TFLite file in the archive."""
    path = raw.paths[0]
    if raw.kind not in ARCHIVES:
        return import_weights(path, out, options, console)
    with tempfile.TemporaryDirectory(prefix=f".{out.stem}.", dir=out.parent) as folder:
        unpack(path, Path(folder))
        results = sorted(Path(folder).rglob("*.tflite"))
        if len(results) != 1:
            raise ValueError(f"{path} holds {len(results)} TFLite files, expected one; try another mirror")
        return import_weights(results[0], out, options, console)


def was_there(item: Registered, out: Path) -> dict[str, Any]:
    """The answer for a file that an earlier call has left; it is read, so that a damaged one is refused."""
    load_weights(out)
    return {"name": item.name, "out": str(out), "url": None, "sha256": sha256_of(out), "verified": True,
            "was_there": True}  # fmt: skip


def copy(item: Registered, ready: Path, out: Path) -> dict[str, Any]:
    """A file of the user's own folder, in its place; it is read before."""
    load_weights(ready)
    write_whole(out, lambda temporary: _copy_bytes(ready, temporary))
    digest = sha256_of(out)
    return {"name": item.name, "out": str(out), "url": str(ready), "sha256": digest, "verified": False}


def _copy_bytes(path: Path, other: Path) -> None:
    shutil.copyfile(path, other)


def from_timm(item: Registered, out: Path) -> dict[str, Any]:
    """timm's loader checks what it downloads; the file written here tells what timm's configuration says."""
    weights = load_weights(item.name)

    def write(temporary: Path) -> None:
        _save(weights, temporary)
        load_weights(temporary)

    write_whole(out, write)
    return {
        "name": item.name, "out": str(out), "url": item.url, "sha256": sha256_of(out), "verified": True,
        "kind": "timm", "width": item.width, "resolution": item.resolution, "licence": item.licence,
    }  # fmt: skip


def _save(weights: Weights, path: Path) -> None:
    state = weights.state | {f"classifier.{key}": value for key, value in weights.classifier.items()}
    info = weights.info
    results = {"mobilenet_apps": json.dumps(info.to_dict(), allow_nan=False), "source": info.source}
    save_file({key: value.contiguous() for key, value in state.items()}, path, results)
