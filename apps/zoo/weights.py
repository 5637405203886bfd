"""``weights list``, ``show`` and ``fetch``: published weights by name, onto the disk and imported."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from apps.engine.core.console import Console
from apps.engine.core.files import sha256_of, writable_folder, write_whole
from apps.zoo.convert.importer import INPUT_NAMES, ImportOptions, import_weights
from apps.zoo.datasets import MIRROR_VARIABLE as WEB_MIRROR_VARIABLE
from apps.zoo.datasets import sums_of
from apps.zoo.download import ChecksumError, download, unpack
from backbone import Weights, load_weights
from backbone.pretrained import REGISTRY, Registered
from backbone.weights import MIRROR_VARIABLE

SHORT = ("name", "kind", "width", "resolution", "licence", "top1", "accuracy_by", "padding")

OnProgress = Callable[[str, int, int | None], None]


def list_weights() -> Iterator[dict[str, Any]]:
    """A short line for each registered set, and where it is on this machine: a path, or None."""
    for value in REGISTRY.values():
        reported = value.to_dict()
        yield {key: reported[key] for key in SHORT} | {"here": _text(_in_mirror(f"{value.name}.safetensors"))}


def show_weights(name: str) -> dict[str, Any]:
    """All that is known about one set.

    Raises:
        ValueError: no weights are registered by that name.
    """
    item = registered(name)
    return item.to_dict() | {"here": _text(_in_mirror(f"{name}.safetensors"))}


def registered(name: str) -> Registered:
    """The entry of a name.

    Raises:
        ValueError: there is none; the message names the nearest ones.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"no weights are registered as {name!r}{hint} (python cli.py weights list)")
    return REGISTRY[name]


def fetch_weights(
    name: str, to: Path, *, base_url: str | None = None, options: ImportOptions, console: Console,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Get registered weights as ``to/NAME.safetensors``; what is there already stays.

    They come from the folder that MOBILENET_WEIGHTS names, if it holds them or the file that they are
    made from; else from ``base_url`` or the address in MOBILENET_APPS_MIRROR; else from their makers. A
    mirror may have a file ``SHA256SUMS``: its sums are then used instead of the known ones.

    Args:
        name: of a registered set.
        to: folder, made if missing.
        base_url: http or https address of a folder with the files.
        options: how to import what comes.
        console: where words go.
        on_progress: called with (file, bytes so far, bytes in all or None).

    Returns:
        ``{"name", "out", "url", "sha256", "verified", ...}`` and what the import answers.

    Raises:
        ValueError: no such name, no address, a wrong sum, or a file that is not what it should be.
        ConnectionError: the server refused, or the line broke too often; run again to go on.
        OSError: a file cannot be written.
    """
    item = registered(name)
    out = writable_folder(to) / f"{name}.safetensors"
    if out.is_file():
        load_weights(out)
        return {"name": name, "out": str(out), "url": None, "sha256": sha256_of(out), "verified": True,
                "was_there": True}  # fmt: skip
    ready = _in_mirror(out.name)
    if ready is not None:
        return _copy(item, ready, out)
    if item.kind == "timm":
        return _from_timm(item, out)
    if item.url is None:
        raise ValueError(
            f"{name} has no address of its own ({item.note}); put {out.name} into a folder and set "
            f"{MIRROR_VARIABLE} to it"
        )
    return _get_and_import(item, out, base_url, options, console, on_progress)


def _get_and_import(
    item: Registered, out: Path, base_url: str | None, options: ImportOptions, console: Console,
    on_progress: OnProgress,
) -> dict[str, Any]:
    local = _in_mirror(item.file)
    raw, origin = local, str(local)
    expected = item
    if raw is None:
        mirror = (base_url or os.environ.get(WEB_MIRROR_VARIABLE) or "").rstrip("/")
        stated = sums_of(mirror).get(item.file) if mirror else None
        expected = replace(item, sha256=stated, size=None) if stated else item
        origin = f"{mirror}/{item.file}" if mirror else str(item.url)
        raw = download(
            origin, out.parent / item.file, sha256=expected.sha256, size=expected.size,
            on_progress=partial(on_progress, item.file),
        )
    digest = sha256_of(raw)
    if expected.sha256 not in (None, digest):
        raise ChecksumError(
            f"{raw} has sha256 {digest}, expected {expected.sha256}; remove it and fetch again"
        )
    if expected.sha256 is None:
        console.warn(f"no sum of {item.file} is known, so nothing proves it whole; it has sha256 {digest}")
    try:
        answer = _import(item, raw, out, options, console)
    except ValueError:
        if local is None and expected.sha256 is None:
            raw.unlink()  # it may be damaged: the next run must not take it for whole
        raise
    if local is None:
        raw.unlink()
    return {"name": item.name} | answer | {
        "file": item.file, "url": origin, "sha256": digest, "verified": expected.sha256 is not None,
    }  # fmt: skip


def _import(
    item: Registered, raw: Path, out: Path, options: ImportOptions, console: Console
) -> dict[str, Any]:
    """The file, or the one TFLite file in the archive."""
    normalised = next(name for name, line in INPUT_NAMES.items() if line == item.input)
    options = replace(
        options, width=item.width, resolution=item.resolution, source=item.url, licence=item.licence,
        input=normalised, padding="same",
    )
    if item.kind != "tgz":
        return import_weights(raw, out, options, console)
    with tempfile.TemporaryDirectory(prefix=f".{item.name}.", dir=out.parent) as folder:
        unpack(raw, Path(folder))
        results = sorted(Path(folder).rglob("*.tflite"))
        if len(results) != 1:
            raise ValueError(f"{raw} holds {len(results)} TFLite files, expected one; try another mirror")
        return import_weights(results[0], out, options, console)


def _copy(item: Registered, ready: Path, out: Path) -> dict[str, Any]:
    load_weights(ready)
    write_whole(out, lambda temporary: _copy_bytes(ready, temporary))
    digest = sha256_of(out)
    return {"name": item.name, "out": str(out), "url": str(ready), "sha256": digest, "verified": False}


def _copy_bytes(path: Path, other: Path) -> None:
    shutil.copyfile(path, other)


def _from_timm(item: Registered, out: Path) -> dict[str, Any]:
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
    import json

    state = weights.state | {f"classifier.{key}": value for key, value in weights.classifier.items()}
    results = {"mobilenet_apps": json.dumps(weights.info.to_dict()), "source": weights.info.source}
    save_file({key: value.contiguous() for key, value in state.items()}, path, results)


def _in_mirror(file: str) -> Path | None:
    """The file in the folder that MOBILENET_WEIGHTS names, if it is there."""
    folder = os.environ.get(MIRROR_VARIABLE)
    path = Path(folder) / file if folder and file else None
    return path if path is not None and path.is_file() else None


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
