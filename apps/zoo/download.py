"""Files from the web: resumed where they broke off, checked, and complete or not there at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from apps.zoo.unpack import one_line_errors, unpack
from backbone.reach import CONNECT_S, unreachable

__all__ = ["ChecksumError", "download", "unpack"]

TIMEOUT_S = 30.0  # for the next bytes
_REFUSED = os.strerror(errno.ECONNREFUSED)
_CHUNK = 1 << 18
_BUSY = (408, 429, 500, 502, 503, 504)

OnProgress = Callable[[int, int | None], None]


def _silent(*_numbers: int | None) -> None:
    pass


class ChecksumError(ValueError):
    """A download that is not the file that was expected."""


class _DroppedError(ConnectionError):
    """The line broke or the server was busy: worth another try."""


@dataclass(frozen=True)
class _Expected:
    sha256: str | None
    md5: str | None
    size: int | None

    def difference(self, path: Path) -> str | None:
        """In words what is wrong with a file; None if it is the one."""
        if self.size is not None and path.stat().st_size != self.size:
            return f"has {path.stat().st_size} bytes, expected {self.size}"
        for kind, wanted in (("sha256", self.sha256), ("md5", self.md5)):
            with path.open("rb") as file:
                if wanted and (got := hashlib.file_digest(file, kind).hexdigest()) != wanted.lower():
                    return f"has {kind} {got}, expected {wanted.lower()}"
        return None


@dataclass
class _Part:
    """The unfinished file and, beside it, what the server said that it is."""

    path: Path
    url: str
    etag: str = ""
    modified: str = ""
    total: int | None = None

    @classmethod
    def beside(cls, to: Path, url: str) -> _Part:
        """What an earlier run left, if it is of the same address; else empty."""
        part = cls(to.with_name(to.name + ".part"), url)
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # none, or a damaged one
            note = json.loads(part.note.read_text())
            if note["url"] == url and part.path.is_file():
                return cls(part.path, url, str(note["etag"]), str(note["modified"]), note["total"])
        part.clear()
        return part

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def clear(self) -> None:
        for path in (self.path, self.note):
            path.unlink(missing_ok=True)
        self.etag, self.modified, self.total = "", "", None

    def headers(self) -> dict[str, str]:
        """Ask for the rest only, and only of the same file."""
        if not self.size:
            return {}
        validator = self.modified if self.etag.startswith("W/") else self.etag or self.modified
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": validator} if validator else {})

    def is_continued_by(self, headers: Mapping[str, str]) -> bool:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if span is None or int(span[1]) != self.size:
            return False
        same_total = span[2] == "*" or self.total is None or int(span[2]) == self.total
        return same_total and headers.get("ETag", self.etag) == self.etag

    def remember(self, headers: Mapping[str, str], total: int | None) -> None:
        self.etag, self.modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
        self.total = total
        self.note.write_text(json.dumps(asdict(self), default=str))


def download(
    url: str,
    to: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    on_progress: OnProgress = _silent,
    retries: int = 3,
    pause_s: float = 1.0,
    keep_wrong: bool = True,
) -> Path:
    """Fetch one file; nothing to do if it is there already with the right sum.

    Bytes go to ``to.part`` and the name is given at the end, so what is called ``to`` is whole. A broken
    download goes on where it stopped, in this call or the next, if the server says that the file is the same.

    Args:
        url: http or https.
        to: the file to write; its folder is made. One with another sum is replaced after the check.
        sha256: expected sum in hex digits.
        md5: expected sum in hex digits; proof against accidents only.
        size: expected size in bytes.
        on_progress: called with (bytes so far, bytes in all or None).
        retries: tries in a row, after the first, that may end without getting farther than before.
        pause_s: seconds before the first of them; doubled at each next one.
        keep_wrong: leave a file with a wrong sum as ``to.wrong``, to be looked at.

    Returns:
        ``to``.

    Raises:
        ChecksumError: size or sum is wrong; ``to`` stays as it was.
        ConnectionError: the server cannot be reached, which is known in two seconds; it refused; or the line
            broke too often.
        OSError: the disk is full or the folder cannot be written.
        ValueError: the address is not http or https.
    """
    expected = _Expected(sha256, md5, size)
    with one_line_errors(f"cannot write {to}"):
        if to.is_dir():
            raise IsADirectoryError(f"{to} is a folder")
        if to.exists() and expected.difference(to) is None:
            return to
        to.parent.mkdir(parents=True, exist_ok=True)
        reason = unreachable(url)
        if reason not in (None, _REFUSED):  # a server that refuses may be starting
            raise ConnectionError(f"{url} cannot be reached ({reason})")
        part = _Part.beside(to, url)
        resumed = part.size > 0
        _fill(part, expected, on_progress, retries, pause_s)
        if resumed and expected.difference(part.path):
            part.clear()  # the earlier bytes may be at fault: once more from the start
            _fill(part, expected, on_progress, retries, pause_s)
        return _accept(part, to, expected, keep_wrong)


def _accept(part: _Part, to: Path, expected: _Expected, keep_wrong: bool) -> Path:
    difference = expected.difference(part.path)
    if difference is None:
        part.path.replace(to)
        part.clear()
        return to
    wrong = to.with_name(to.name + ".wrong")
    if keep_wrong:
        part.path.replace(wrong)
    part.clear()
    kept = f"kept as {wrong}: " if keep_wrong else ""
    raise ChecksumError(f"{part.url} {difference}; {kept}run again, then try another mirror")


def _fill(part: _Part, expected: _Expected, on_progress: OnProgress, retries: int, pause_s: float) -> None:
    failures, farthest = 0, part.size
    while True:
        try:
            return _fetch_rest(part, expected, on_progress)
        except _DroppedError as error:
            failures = 0 if part.size > farthest else failures + 1
            farthest = max(farthest, part.size)
            if failures > retries:
                raise ConnectionError(
                    f"{part.url}: {error}; gave up after {failures} tries: "
                    f"run again to go on from byte {part.size}"
                ) from error
            time.sleep(pause_s * 2 ** max(failures - 1, 0))


def _fetch_rest(part: _Part, expected: _Expected, on_progress: OnProgress) -> None:
    """One request for what is missing, and its bytes into the part."""
    with _ask(part.url, part.headers()) as response:
        if not response.ok:
            _refused(response, part)
            return
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            part.clear()
        elif not part.is_continued_by(response.headers):
            part.clear()
            raise _DroppedError("the file on the server has changed")
        length = response.headers.get("Content-Length", "")
        total = part.size + int(length) if length.isdecimal() else None
        _check_room(part, expected, total)
        part.remember(response.headers, total)
        _copy(response, part, expected.size if total is None else total, on_progress)


def _ask(url: str, headers: dict[str, str]) -> requests.Response:
    plain = {"User-Agent": "mobilenet-apps", "Accept-Encoding": "identity"}
    try:
        return requests.get(url, headers=plain | headers, stream=True, timeout=(5 * CONNECT_S, TIMEOUT_S))
    except ValueError as error:  # of the address, or of one that it leads to
        raise ValueError(
            f"expected an address that begins with http:// or https://, got {url!r} ({error})"
        ) from error
    except requests.RequestException as error:
        raise _DroppedError(_first_cause(error)) from error


def _first_cause(error: BaseException) -> str:
    """The innermost reason, in one line: libraries wrap ``Connection refused`` three times."""
    while error.__context__ is not None:
        error = error.__context__
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def _refused(response: requests.Response, part: _Part) -> None:
    """Return if the part turns out to be whole; else raise what fits the answer."""
    answer = f"the server answered {response.status_code} {response.reason}"
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.size:
        if response.headers.get("Content-Range", "") == f"bytes */{part.size}":
            return
        part.clear()
        raise _DroppedError("the file on the server is another by now")
    if response.status_code in _BUSY:
        raise _DroppedError(answer)
    raise ConnectionError(f"{part.url}: {answer}; check the address or use a mirror")


def _check_room(part: _Part, expected: _Expected, total: int | None) -> None:
    if total is None:
        return
    if expected.size is not None and total != expected.size:
        raise ChecksumError(
            f"{part.url} has {total} bytes, expected {expected.size}; it is another file: try another mirror"
        )
    missing, free = total - part.size, shutil.disk_usage(part.path.parent).free
    if free < missing:
        raise OSError(f"{missing} bytes to come, {free} free")


def _copy(response: requests.Response, part: _Part, total: int | None, report: OnProgress) -> None:
    done = part.size
    with part.path.open("ab") as file:
        report(done, total)
        try:
            while chunk := response.raw.read1(_CHUNK):  # what has come, so that a broken line loses none
                file.write(chunk)
                done += len(chunk)
                if total is not None and done > total:
                    raise ChecksumError(f"{part.url} sends more than {total} bytes; try another mirror")
                report(done, total)
        except HTTPError as error:
            raise _DroppedError(f"connection dropped at byte {done} of {total}") from error
        file.flush()
        os.fsync(file.fileno())
