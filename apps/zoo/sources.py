"""The files that registered weights are made from: of a folder, a mirror, their makers' address, or npm."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from apps.engine.core.files import sha256_of
from apps.zoo.datasets import MIRROR_VARIABLE as WEB_MIRROR_VARIABLE
from apps.zoo.datasets import sums_of
from apps.zoo.download import ChecksumError, download
from apps.zoo.npm import check_npm, fetch_package
from backbone.pretrained import Kind, NpmPackage, PublishedFile, Registered
from backbone.reach import unreachable
from backbone.storage import MIRROR_VARIABLE, SUFFIX, in_mirror

OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class RawFiles:
    """Files as their makers publish them.

    Args:
        paths: the one to import first.
        kind: of the first.
        origin: an address, a package or a path.
        sha256: of the first.
        verified: whether the sums of all are known, and right.
        borrowed: they are of a folder of the user's, and stay.
    """

    paths: tuple[Path, ...]
    kind: Kind
    origin: str
    sha256: str
    verified: bool
    borrowed: bool = False

    def clear(self) -> None:
        """Remove what was fetched, and what broken downloads of it have left."""
        for path in () if self.borrowed else self.paths:
            for name in (path.name, f"{path.name}.part", f"{path.name}.part.json"):
                path.with_name(name).unlink(missing_ok=True)


def get_files(item: Registered, to: Path, base_url: str | None, on_progress: OnProgress) -> RawFiles:
    """The files of a set, from the first source that has them.

    Args:
        item: the set.
        to: folder to fetch into; what breaks off goes on there.
        base_url: address of a mirror, tried alone; None takes that in MOBILENET_APPS_MIRROR, if there is one.
        on_progress: called with (file, bytes so far, bytes in all or None).

    Raises:
        ChecksumError: a file is another; nothing of it is kept.
        ConnectionError: no source answers; the message says what to bring where.
        ValueError: an address is none, or the package is another.
        OSError: the folder cannot be written.
    """
    local = [path for file in item.files if (path := in_mirror(file.name)) is not None]
    if item.url is not None and len(local) == len(item.files):
        return _checked(item.files, local, item.kind, str(local[0]), borrowed=True)
    mirror = (base_url or os.environ.get(WEB_MIRROR_VARIABLE) or "").rstrip("/")
    if mirror:
        return _from_web(item, mirror, _as_stated(item.files, mirror), to, on_progress)
    with_npm = ThreadPoolExecutor(1)
    asked = with_npm.submit(check_npm) if item.npm is not None else None
    try:
        return _from_makers(item, to, on_progress, asked)
    finally:
        with_npm.shutdown(wait=False)


def _from_makers(
    item: Registered, to: Path, on_progress: OnProgress, npm: Future[None] | None
) -> RawFiles:
    failures: list[Exception] = []
    if item.url is not None:
        try:
            reason = unreachable(item.url)
            if reason is not None:
                raise ConnectionError(f"{item.url} cannot be reached ({reason})")
            return _from_web(item, item.url.rpartition("/")[0], item.files, to, on_progress)
        except (ConnectionError, ChecksumError) as err:
            failures.append(err)
    if item.npm is not None and npm is not None:
        try:
            npm.result()
            return _from_npm(item.npm, to, on_progress)
        except (ConnectionError, ChecksumError) as err:
            failures.append(err)
    wrong = next((err for err in failures if isinstance(err, ChecksumError)), None)
    raise wrong or ConnectionError(_bring(item, failures))


def _bring(item: Registered, failures: Sequence[Exception]) -> str:
    """What failed, and what to bring where, in one line."""
    files = " and ".join(file.name for file in item.files if file.name)
    origin = f" (from {item.source})" if item.npm is not None else ""
    why = "; ".join(map(str, failures)) or item.note
    return (
        f"{item.name} cannot be fetched: {why}. Bring {files}{origin}, or {item.name}{SUFFIX}, which weights "
        f"fetch makes where there is a network, into a folder and set {MIRROR_VARIABLE} to it"
    )


def _as_stated(files: Sequence[PublishedFile], mirror: str) -> tuple[PublishedFile, ...]:
    """With the sums of the mirror, where it states some."""
    sums = sums_of(mirror)
    return tuple(
        replace(file, sha256=sums[file.name], size=None) if file.name in sums else file for file in files
    )


def _from_web(
    item: Registered, folder: str, files: Sequence[PublishedFile], to: Path, on_progress: OnProgress
) -> RawFiles:
    paths = [
        download(
            f"{folder}/{file.name}", to / file.name, sha256=file.sha256, size=file.size, keep_wrong=False,
            on_progress=partial(on_progress, file.name),
        )
        for file in files
    ]
    return _checked(files, paths, item.kind, f"{folder}/{item.file}")


def _from_npm(package: NpmPackage, to: Path, on_progress: OnProgress) -> RawFiles:
    on_progress(f"npm {package.spec}", 0, package.size)
    paths = fetch_package(package, to)
    on_progress(f"npm {package.spec}", package.size or 0, package.size)
    return _checked(package.files, paths, package.kind, f"npm {package.spec}")


def _checked(
    files: Sequence[PublishedFile], paths: Sequence[Path], kind: Kind, origin: str, *, borrowed: bool = False
) -> RawFiles:
    sums = [sha256_of(path) for path in paths]
    result = RawFiles(
        tuple(paths), kind, origin, sums[0], all(file.sha256 is not None for file in files), borrowed
    )
    for file, path, digest in zip(files, paths, sums, strict=True):
        if file.sha256 not in (None, digest):
            result.clear()
            where = f"{path}" if borrowed else f"{file.path} of {origin}"
            raise ChecksumError(f"{where} has sha256 {digest}, expected {file.sha256}; get it again")
    return result
