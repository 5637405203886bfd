"""Datasets from their makers or from a mirror, checked and unpacked where the readers look for them."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from apps.zoo.download import download, unpack

MIRROR_VARIABLE = "MOBILENET_APPS_MIRROR"
SUMS_FILE = "SHA256SUMS"
RECORD_FILE = ".fetched.json"

OnProgress = Callable[[str, int, int | None], None]


def _silent(*_numbers: str | int | None) -> None:
    pass


@dataclass(frozen=True)
class Archive:
    """One file to fetch.

    Args:
        name: its name at the source.
        makes: the folder that it fills, below the root.
        files: how many files that folder holds at least when it is complete.
        unpack_in: the folder below the root that it is unpacked in.
        size: bytes; None if not known.
        sha256: hex digits; None if not known.
        md5: hex digits; None if not known.
    """

    name: str
    makes: str
    files: int
    unpack_in: str = "."
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from and under which terms."""

    base_url: str
    archives: tuple[Archive, ...]
    terms: str


# The makers of Stanford Dogs publish no sums. These are the ones that others check their downloads with:
# size and sha256 are those of TensorFlow Datasets (url_checksums/stanford_dogs.txt), md5 those of several
# independent PyTorch loaders. All three must hold, so a wrong one can only refuse a file, never let one in.
DATASETS = {
    "stanford-dogs": Source(
        base_url="http://vision.stanford.edu/aditya86/ImageNetDogs",
        terms="photos of ImageNet: for research and teaching only, not to be passed on",
        archives=(
            Archive(
                "lists.tar", makes="lists", files=2, unpack_in="lists", size=481_280,
                sha256="34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
                md5="edbb9f16854ec66506b5f09b583e0656",
            ),
            Archive(
                "annotation.tar", makes="Annotation", files=20_580, size=21_852_160,
                sha256="662ed36f707be6b195c2fda392d8e153e83af28cedc8e2134a649f198def30fd",
                md5="4298cc0031f6bc6e74612ac83b5988e2",
            ),
            Archive(
                "images.tar", makes="Images", files=20_580, size=793_579_520,
                sha256="a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
                md5="1bb1f2a596ae7057f99d7d75860002ef",
            ),
        ),
    ),
}  # fmt: skip


def fetch(
    name: str,
    root: Path,
    *,
    base_url: str | None = None,
    on_progress: OnProgress = _silent,
) -> dict[str, Any]:
    """Download a dataset, check it and unpack it; what is there already is left as it is.

    A broken download goes on where it stopped. A mirror may have a file ``SHA256SUMS`` (lines of
    ``sum  name``, as written by sha256sum): for the names in it, its sums are used instead of the known ones.

    Args:
        name: one of ``DATASETS``.
        root: folder to unpack in, made if missing.
        base_url: http or https address of a folder with the archives; else that in the environment
            variable MOBILENET_APPS_MIRROR, else the makers'.
        on_progress: called with (archive, bytes so far, bytes in all or None).

    Returns:
        ``{"dataset", "root", "files", "seconds"}``; files is the number of files in the dataset's folders.

    Raises:
        ValueError: no such dataset, a sum is wrong, or an archive is damaged or dangerous.
        ConnectionError: the server refused, or the line broke too often; run again to go on.
        FileExistsError: a folder of the dataset is there but lacks files.
        OSError: the disk is full or the root cannot be written.
    """
    started = time.monotonic()
    if name not in DATASETS:
        raise ValueError(f"there is no dataset {name!r} to fetch; there are: {', '.join(sorted(DATASETS))}")
    source, mirror = DATASETS[name], base_url or os.environ.get(MIRROR_VARIABLE)
    address = (mirror or source.base_url).rstrip("/")
    missing = [archive for archive in source.archives if not _is_complete(archive, root)]
    sums = sums_of(address) if mirror and missing else {}
    for archive in missing:
        stated = sums.get(archive.name)
        wanted = replace(archive, sha256=stated, md5=None, size=None) if stated else archive
        _fetch_one(wanted, address, root, on_progress)
    files = sum(_count_files(root / archive.makes) for archive in source.archives)
    seconds = round(time.monotonic() - started, 1)
    return {"dataset": name, "root": str(root), "files": files, "seconds": seconds}


def _is_complete(archive: Archive, root: Path) -> bool:
    """Whether an archive's folder is there; one that lacks files is an error, before any download."""
    folder = root / archive.makes
    if not folder.exists():
        return False
    here, wanted = _count_files(folder), _record(root).get(archive.name, archive.files)
    if here < wanted:
        raise FileExistsError(
            f"{folder} has {here} of {wanted} files; remove or rename it and run again to get all of them"
        )
    return True


def _fetch_one(archive: Archive, address: str, root: Path, on_progress: OnProgress) -> None:
    """One archive into its folder; the archive itself is not kept."""
    path = download(
        f"{address}/{archive.name}",
        root / archive.name,
        sha256=archive.sha256,
        md5=archive.md5,
        size=archive.size,
        on_progress=partial(on_progress, archive.name),
    )
    count = unpack(path, root / archive.unpack_in)
    if not (root / archive.makes).is_dir():
        raise ValueError(f"{archive.name} of {address} holds no {archive.makes}; try another mirror")
    (root / RECORD_FILE).write_text(json.dumps(_record(root) | {archive.name: count}))
    path.unlink()


def _record(root: Path) -> dict[str, int]:
    """How many files each archive held that was unpacked here."""
    try:
        return {str(name): int(count) for name, count in json.loads((root / RECORD_FILE).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def sums_of(address: str) -> dict[str, str]:
    """The sums that a mirror states; none if it has no such file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = download(f"{address}/{SUMS_FILE}", Path(folder) / SUMS_FILE, retries=0).read_text()
        except (ConnectionError, UnicodeDecodeError):
            return {}
    result = re.findall(r"^([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S+)[ \t]*$", text, flags=re.MULTILINE)
    return {name: digits for digits, name in result}


def _count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))
