"""Downloads from a real server on loopback that breaks off, lies and changes its mind."""

from __future__ import annotations

import hashlib
import random
import re
import resource
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from apps.zoo.download import ChecksumError, download

DATA = random.Random(0).randbytes(300_000)
SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()


class Mirror(ThreadingHTTPServer):
    """One file at every address; what it does wrong is set on it."""

    daemon_threads = True
    data = DATA
    etag: str | None = '"one"'
    ranges = True
    sized = True
    announced: int | str = 0  # bytes, if that is another number than there are
    drops: list[int]  # bytes after which the coming answers break off
    silent_s = 0.0  # before an answer breaks off
    answers: list[int]  # status codes of the coming answers
    redirect: str | None = None
    seen: list[dict[str, str]]
    gone: Event

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.drops, self.answers, self.seen, self.gone = [], [], [], Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        server = self.server
        server.seen.append(dict(self.headers.items()))
        if server.redirect or server.answers:
            self.short(server.answers.pop(0) if server.answers else 302)
        elif self.start() and self.start() >= len(server.data):
            self.short(416)
        else:
            self.give(self.start())

    def give(self, start: int) -> None:
        server = self.server
        body = server.data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.sized:
            self.send_header("Content-Length", str(server.announced or len(body)))
        self.end_headers()
        if not server.drops:
            self.wfile.write(body)
            return
        self.wfile.write(body[: server.drops.pop(0)])
        self.wfile.flush()
        server.gone.wait(server.silent_s)

    def start(self) -> int:
        """First byte that is asked for and given: 0 if the file is another by now."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self.server.etag) == self.server.etag
        return int(asked[1]) if asked and same and self.server.ranges else 0

    def short(self, status: int) -> None:
        self.send_response(status)
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(self.server.data)}")
        if self.server.redirect:
            self.send_header("Location", self.server.redirect)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Mirror() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_with_progress_and_nothing_beside_it(mirror: Mirror, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    to = tmp_path / "new" / "folder" / "a.bin"
    got = download(
        mirror.url, to, sha256=SHA256.upper(), md5=MD5, size=len(DATA),
        on_progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert (got, got.read_bytes()) == (to, DATA)
    assert names(to.parent) == ["a.bin"]
    assert (steps[0], steps[-1]) == ((0, len(DATA)), (len(DATA), len(DATA)))
    assert steps == sorted(steps)


def test_a_file_with_the_right_sum_is_not_fetched_again_and_another_is_replaced(
    mirror: Mirror, tmp_path: Path
) -> None:
    to = tmp_path / "a.bin"
    to.write_bytes(DATA)
    download(mirror.url, to, sha256=SHA256)
    assert mirror.seen == []
    to.write_bytes(DATA[::-1])
    download(mirror.url, to, sha256=SHA256)
    assert (len(mirror.seen), to.read_bytes()) == (1, DATA)


def test_dropped_connections_go_on_where_they_stopped(mirror: Mirror, tmp_path: Path) -> None:
    mirror.drops = [100_000, 50_000, 0, 20_000]
    to = download(mirror.url, tmp_path / "a.bin", sha256=SHA256, retries=1, pause_s=0)
    assert to.read_bytes() == DATA
    assert [seen.get("Range") for seen in mirror.seen] == [
        None, "bytes=100000-", "bytes=150000-", "bytes=150000-", "bytes=170000-"
    ]  # fmt: skip


def test_a_server_that_falls_silent_is_asked_again_for_the_rest(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.zoo.download.TIMEOUT_S", 0.2)
    mirror.drops, mirror.silent_s = [100_000], 60.0
    to = download(mirror.url, tmp_path / "a.bin", sha256=SHA256, pause_s=0)
    mirror.gone.set()
    assert to.read_bytes() == DATA
    assert [seen.get("Range") for seen in mirror.seen] == [None, "bytes=100000-"]


def test_a_length_that_is_no_number_is_no_length(mirror: Mirror, tmp_path: Path) -> None:
    mirror.announced = "many"
    assert download(mirror.url, tmp_path / "a.bin", sha256=SHA256).read_bytes() == DATA


def test_the_next_run_goes_on_where_this_one_gave_up(mirror: Mirror, tmp_path: Path) -> None:
    mirror.drops = [100_000, 0]
    with pytest.raises(ConnectionError, match="run again to go on from byte 100000"):
        download(mirror.url, tmp_path / "a.bin", retries=0, pause_s=0)
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    assert download(mirror.url, tmp_path / "a.bin").read_bytes() == DATA
    assert mirror.seen[-1]["Range"] == "bytes=100000-"
    assert mirror.seen[-1]["If-Range"] == '"one"'
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("note", ["", "[" * 100_000, "[]", '{"url": 3}', "\xff"])
def test_a_damaged_note_on_what_was_fetched_starts_anew(mirror: Mirror, tmp_path: Path, note: str) -> None:
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    (tmp_path / "a.bin.part.json").write_bytes(note.encode("latin-1"))
    assert download(mirror.url, tmp_path / "a.bin", sha256=SHA256).read_bytes() == DATA
    assert names(tmp_path) == ["a.bin"]


def test_a_file_that_changed_in_between_is_fetched_from_the_start(mirror: Mirror, tmp_path: Path) -> None:
    """Half of the one and half of the other would be a file that nobody ever had."""
    mirror.drops = [100_000, 0]
    with pytest.raises(ConnectionError):
        download(mirror.url, tmp_path / "a.bin", retries=0, pause_s=0)
    mirror.data, mirror.etag = DATA[::-1], '"two"'
    assert download(mirror.url, tmp_path / "a.bin").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("other", [DATA[:250_000], DATA + b"more", DATA[:90_000]])
def test_without_etags_another_length_gives_the_change_away(
    mirror: Mirror, tmp_path: Path, other: bytes
) -> None:
    mirror.etag, mirror.drops = None, [100_000, 0]
    with pytest.raises(ConnectionError):
        download(mirror.url, tmp_path / "a.bin", retries=0, pause_s=0)
    mirror.data = other[::-1]
    assert download(mirror.url, tmp_path / "a.bin", pause_s=0).read_bytes() == other[::-1]


def test_a_server_without_ranges_starts_over_cleanly(mirror: Mirror, tmp_path: Path) -> None:
    mirror.ranges, mirror.drops = False, [200_000, 100_000]
    assert download(mirror.url, tmp_path / "a.bin", sha256=SHA256, pause_s=0).read_bytes() == DATA


def test_a_server_that_always_drops_at_the_same_byte_ends_in_an_error(mirror: Mirror, tmp_path: Path) -> None:
    mirror.ranges, mirror.drops = False, [1000] * 99
    with pytest.raises(ConnectionError, match="dropped at byte 1000 of 300000; gave up after 4 tries"):
        download(mirror.url, tmp_path / "a.bin", retries=3, pause_s=0)
    assert not (tmp_path / "a.bin").exists()


def test_a_part_that_is_whole_already_is_accepted(mirror: Mirror, tmp_path: Path) -> None:
    """As after a kill between the last byte and the renaming: the server answers 416."""
    mirror.drops = [100_000, 0]
    with pytest.raises(ConnectionError):
        download(mirror.url, tmp_path / "a.bin", retries=0, pause_s=0)
    (tmp_path / "a.bin.part").write_bytes(DATA)
    assert download(mirror.url, tmp_path / "a.bin", sha256=SHA256, retries=0).read_bytes() == DATA
    assert mirror.seen[-1]["Range"] == "bytes=300000-"


def test_a_spoilt_part_is_thrown_away_and_fetched_once_more(mirror: Mirror, tmp_path: Path) -> None:
    mirror.drops = [100_000, 0]
    with pytest.raises(ConnectionError):
        download(mirror.url, tmp_path / "a.bin", retries=0, pause_s=0)
    (tmp_path / "a.bin.part").write_bytes(bytes(100_000))
    assert download(mirror.url, tmp_path / "a.bin", sha256=SHA256).read_bytes() == DATA


def test_a_part_of_unknown_origin_is_not_trusted(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(bytes(100_000))
    assert download(mirror.url, tmp_path / "a.bin").read_bytes() == DATA
    assert "Range" not in mirror.seen[0]


def test_a_part_from_another_address_is_not_continued(mirror: Mirror, tmp_path: Path) -> None:
    mirror.drops = [100_000, 0]
    with pytest.raises(ConnectionError):
        download(mirror.url, tmp_path / "a.bin", retries=0, pause_s=0)
    mirror.data = DATA[::-1]
    assert download(mirror.url + "2", tmp_path / "a.bin").read_bytes() == DATA[::-1]


@pytest.mark.parametrize(("kind", "right"), [("sha256", SHA256), ("md5", MD5)])
def test_wrong_bytes_are_refused_with_both_sums_and_harm_nothing(
    mirror: Mirror, tmp_path: Path, kind: str, right: str
) -> None:
    mirror.data = DATA[::-1]
    got = hashlib.new(kind, mirror.data).hexdigest()
    (tmp_path / "a.bin").write_bytes(b"what was there")
    with pytest.raises(ChecksumError) as caught:
        download(mirror.url, tmp_path / "a.bin", **{kind: right})
    message = str(caught.value)
    assert f"has {kind} {got}, expected {right}" in message
    assert "another mirror" in message
    assert "\n" not in message
    assert (tmp_path / "a.bin").read_bytes() == b"what was there"
    assert names(tmp_path) == ["a.bin", "a.bin.wrong"]


def test_a_wrong_size_is_refused_before_the_bytes_come(mirror: Mirror, tmp_path: Path) -> None:
    done: list[int] = []
    with pytest.raises(ChecksumError, match="has 300000 bytes, expected 300001"):
        download(mirror.url, tmp_path / "a.bin", size=300_001, on_progress=lambda n, _: done.append(n))
    assert done == []


def test_a_server_that_states_no_length_is_cut_at_the_expected_size(mirror: Mirror, tmp_path: Path) -> None:
    mirror.sized = False
    assert download(mirror.url, tmp_path / "a.bin", size=len(DATA)).read_bytes() == DATA
    with pytest.raises(ChecksumError, match="sends more than 1000 bytes"):
        download(mirror.url, tmp_path / "b.bin", size=1000)


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [503, 429]
    assert download(mirror.url, tmp_path / "a.bin", pause_s=0).read_bytes() == DATA
    mirror.answers, mirror.seen = [404, 404], []
    with pytest.raises(ConnectionError, match=r"answered 404 Not Found; check the address or use a mirror"):
        download(mirror.url, tmp_path / "b.bin", pause_s=0)
    assert len(mirror.seen) == 1


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="Connection refused; gave up after 2 tries") as caught:
        download("http://127.0.0.1:9/x", tmp_path / "x", retries=1, pause_s=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "data:,x", "stanford.edu/x", "http:///x"])
def test_only_web_addresses_are_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="begins with http:// or https://"):
        download(url, tmp_path / "x")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_leads_to_web_addresses_only(mirror: Mirror, tmp_path: Path, target: str) -> None:
    mirror.redirect = target
    with pytest.raises((ValueError, ConnectionError), match=r"expected an address .*got|is not allowed"):
        download(mirror.url, tmp_path / "x", pause_s=0)


def test_a_file_larger_than_the_disk_is_refused_at_once(mirror: Mirror, tmp_path: Path) -> None:
    mirror.announced = 10**18
    with pytest.raises(OSError, match=r"cannot write .*000 bytes to come, \d+ free; make room"):
        download(mirror.url, tmp_path / "a.bin", retries=0)
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_is_one_line_and_keeps_the_part(mirror: Mirror, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*: File too large; make room there or choose"):
            download(mirror.url, tmp_path / "a.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "a.bin").exists()


def test_a_place_that_cannot_be_written_is_one_line(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"cannot write .*Not a directory; make room"):
        download(mirror.url, tmp_path / "file" / "deep" / "a.bin")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        download(mirror.url, tmp_path)
