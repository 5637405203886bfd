"""Files from the web: resumed where they broke off, checked, and complete or not there at all."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from apps.zoo.unpack import unpack

__all__ = ["ChecksumError", "download", "unpack"]

TIMEOUT_S = 30.0
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
        for kind in ("sha256", "md5"):
            wanted = getattr(self, kind)
            if wanted and (got := _digest(path, kind)) != wanted.lower():
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
        with suppress(OSError, ValueError, KeyError, TypeError):  # no note, or a damaged one: start anew
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
        strong = self.etag if not self.etag.startswith("W/") else ""
        validator = strong or self.modified
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": validator} if validator else {})

    def is_continued_by(self, response: http.client.HTTPResponse) -> bool:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != self.size:
            return False
        same_total = found[2] == "*" or self.total is None or int(found[2]) == self.total
        return same_total and response.headers.get("ETag", self.etag) == self.etag

    def remember(self, response: http.client.HTTPResponse, total: int | None) -> None:
        self.etag, self.modified = (response.headers.get(key, "") for key in ("ETag", "Last-Modified"))
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

    Returns:
        ``to``.

    Raises:
        ChecksumError: size or sum is wrong; the file is kept as ``to.wrong``, and ``to`` as it was.
        ConnectionError: the server refused, or the line broke too often.
        OSError: the disk is full or the folder cannot be written.
        ValueError: the address is not http or https.
    """
    _check_address(url)
    expected = _Expected(sha256, md5, size)
    with _one_line_errors(to):
        if to.is_dir():
            raise IsADirectoryError(f"{to} is a folder")
        if to.exists() and expected.difference(to) is None:
            return to
        to.parent.mkdir(parents=True, exist_ok=True)
        part = _Part.beside(to, url)
        resumed = part.size > 0
        _fill(part, expected, on_progress, retries, pause_s)
        if resumed and expected.difference(part.path):
            part.clear()  # the earlier bytes may be at fault: once more from the start
            _fill(part, expected, on_progress, retries, pause_s)
        return _accept(part, to, expected)


def _accept(part: _Part, to: Path, expected: _Expected) -> Path:
    difference = expected.difference(part.path)
    if difference is None:
        part.path.replace(to)
        part.clear()
        return to
    wrong = to.with_name(to.name + ".wrong")
    part.path.replace(wrong)
    part.clear()
    raise ChecksumError(
        f"{part.url} {difference}; kept as {wrong}: run again, then try another mirror"
    )


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
    try:
        with _open(part.url, part.headers()) as response:
            if response.status == http.HTTPStatus.PARTIAL_CONTENT:
                if not part.is_continued_by(response):
                    part.clear()
                    raise _DroppedError("the file on the server has changed")
            else:
                part.clear()
            total = None if response.length is None else part.size + response.length
            _check_room(part, expected, total)
            part.remember(response, total)
            _copy(response, part, total if total is not None else expected.size, on_progress)
    except HTTPError as error:
        _refused(error, part)
    except (URLError, http.client.HTTPException, ConnectionResetError, TimeoutError, ssl.SSLError) as error:
        reason = getattr(error, "reason", "") or error or type(error).__name__
        raise _DroppedError(" ".join(str(reason).split())) from error


def _check_room(part: _Part, expected: _Expected, total: int | None) -> None:
    if total is None:
        return
    if expected.size is not None and total != expected.size:
        raise ChecksumError(
            f"{part.url} has {total} bytes, expected {expected.size}; it is another file: try another mirror"
        )
    free = shutil.disk_usage(part.path.parent).free
    if free < total - part.size:
        raise OSError(f"{total - part.size} bytes to come, {free} free")


def _copy(response: http.client.HTTPResponse, part: _Part, total: int | None, report: OnProgress) -> None:
    done = part.size
    with part.path.open("ab") as file:
        report(done, total)
        while chunk := response.read1(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if total is not None and done > total:
                raise ChecksumError(f"{part.url} sends more than {total} bytes; try another mirror")
            report(done, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done < total:
        raise _DroppedError(f"connection dropped at byte {done} of {total}")


def _refused(error: HTTPError, part: _Part) -> None:
    """Return if the part turns out to be whole; else raise what fits the answer."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.size:
        if error.headers.get("Content-Range", "") == f"bytes */{part.size}":
            return
        part.clear()
        raise _DroppedError("the file on the server is another by now") from error
    if error.code in _BUSY:
        raise _DroppedError(f"the server answered {error.code} {error.reason}") from error
    raise ConnectionError(
        f"{part.url}: the server answered {error.code} {error.reason}; check the address or use a mirror"
    ) from error


class _WebOnly(HTTPRedirectHandler):
    """No redirect to ftp or other places."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    plain = {"User-Agent": "mobilenet-apps", "Accept-Encoding": "identity"}
    request = Request(url, headers=plain | headers)
    response: http.client.HTTPResponse = build_opener(_WebOnly).open(request, timeout=TIMEOUT_S)
    return response


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected an address that begins with http:// or https://, got {url!r}")


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


@contextmanager
def _one_line_errors(to: Path) -> Iterator[None]:
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(f"cannot write {to}: {reason}; make room there or choose another folder") from error
