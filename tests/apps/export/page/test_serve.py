"""`serve` under attack: paths, links, names of other hosts, clients that are slow, many or rude."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from page_support import served

from apps.export.page import serve
from apps.export.page.serve import HOST

SECRET = b"nobody else's business"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A page with a folder in it, beside what is not for the world; links out and in."""
    root = tmp_path_factory.mktemp("served")
    folder = root / "page"
    (folder / "ort").mkdir(parents=True)
    (folder / "index.html").write_text("<p>page</p>")
    (folder / "ort" / "engine.js").write_text("// engine")
    (folder / "large.bin").write_bytes(bytes(64 << 20))
    (root / "secret.txt").write_bytes(SECRET)
    (root / "page-beside").mkdir()
    (root / "page-beside" / "secret.txt").write_bytes(SECRET)
    (folder / "out.txt").symlink_to(root / "secret.txt")
    (folder / "beside").symlink_to(root / "page-beside")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "in.js").symlink_to("ort/engine.js")
    with served(folder) as address:
        yield int(address.rstrip("/").rsplit(":", 1)[1])


def ask(
    port: int, path: str, *, method: str = "GET", host: str | None = "localhost", more: str = ""
) -> bytes:
    """All that the server says to a request as it stands; nothing is made nicer on the way."""
    named = "" if host is None else f"Host: {host}\r\n"
    with socket.create_connection((HOST, port), timeout=20) as line:
        line.sendall(f"{method} {path} HTTP/1.1\r\n{named}{more}\r\n".encode("utf-8", "surrogateescape"))
        line.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            return b"".join(iter(lambda: line.recv(1 << 16), b""))
    return b""


def status(answer: bytes) -> int:
    """Its number; 0 for no answer at all."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


PATHS = (
    *(f"/{up}secret.txt" for up in (
        "../", "%2e%2e/", "%2e%2e%2f", "..%2f", "ort/../../", "ort/%2e%2e/%2e%2e/", "%252e%252e/", "..%5c",
        "..\\", "%c0%ae%c0%ae/", "/", "./../", ".../", "..;/", "page/../../", "beside/", "../" * 500,
    )),
    "../secret.txt", "/%2fetc/passwd", "//etc/passwd", "/etc/passwd", "/out.txt", "/out.txt?x", "/out.txt#x",
    "/out.txt/", "/in.js/", "/beside/", "/circle", "/ort", "/ort/", "/ort/?", "/\udcff", "/" + "a" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("more", ["", "Accept-Encoding: gzip\r\n"])
def test_no_path_leads_out_of_the_folder_nor_shows_one(port: int, path: str, more: str) -> None:
    for method in ("GET", "HEAD"):
        answer = ask(port, path, method=method, more=more)
        assert SECRET not in answer and b"root:" not in answer, answer[:500]
        assert status(answer) in (301, 400, 404), answer[:500]
        assert b"Location: //" not in answer and b"Location: http" not in answer, answer[:500]


@pytest.mark.parametrize(
    "path", ["/%00", "/index.html%00", "/index.html\0.js", "/%00/../secret.txt", "/?%00"]
)
def test_null_bytes_are_bad_requests(port: int, path: str) -> None:
    assert status(ask(port, path)) in (400, 404)


def test_a_link_within_the_folder_is_followed(port: int) -> None:
    assert ask(port, "/in.js").endswith(b"// engine")
    assert ask(port, "/ort/engine.js").endswith(b"// engine")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8000", "localhost."]
)
def test_names_of_this_machine_are_answered_by_any_port(port: int, host: str) -> None:
    """With another port, as a tunnel has."""
    assert status(ask(port, "/", host=host)) == 200


@pytest.mark.parametrize("host", [
    None, "", "example.com", "127.0.0.1.example.com", "localhost.example.com:8000", "example.com:8000", "[",
    "10.0.0.1", "0.0.0.0", "localhost@example.com", "localhost, example.com", "[::1].example.com",
    "127.0.0.1\r\nHost: example.com",
])  # fmt: skip
def test_a_name_of_another_host_is_refused(port: int, host: str | None) -> None:
    """A page from elsewhere whose name is made to lead here would else read this one."""
    answer = ask(port, "/", host=host)
    assert status(answer) in (400, 421)
    assert b"<p>page</p>" not in answer


@pytest.mark.parametrize("request_line", [
    b"\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X" * 70_000, b"GET /" + b"a" * 99_999 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
])  # fmt: skip
def test_what_is_no_request_costs_nothing_and_says_nothing(
    port: int, request_line: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection((HOST, port), timeout=20) as line, contextlib.suppress(OSError):
        line.sendall(request_line)
        line.shutdown(socket.SHUT_WR)
        while line.recv(1 << 16):
            pass
    assert status(ask(port, "/")) == 200
    assert capfd.readouterr() == ("", "")


def test_an_answer_says_nothing_of_what_serves_it(port: int) -> None:
    for path in ("/", "/none"):
        answer = ask(port, path)
        assert b"Python" not in answer and b"SimpleHTTP" not in answer
        assert os.uname().nodename.encode() not in answer


def test_slow_clients_are_let_go_and_hold_up_nobody(
    port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Some say nothing, some stop in the middle of a request, some do not take the answer."""
    monkeypatch.setattr(serve._Handler, "timeout", 0.5)
    asking = b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n"
    before = threading.active_count()
    with contextlib.ExitStack() as held:
        for number in range(40):
            line = held.enter_context(socket.create_connection((HOST, port), timeout=20))
            line.sendall((b"", asking[:7], asking[:30], asking)[number % 4])
        assert status(ask(port, "/")) == 200
        assert threading.active_count() >= before + 30
        end = time.monotonic() + 30
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.02)
        assert threading.active_count() <= before
        assert status(ask(port, "/")) == 200
    assert capfd.readouterr() == ("", "")


def test_two_hundred_at_once_are_all_answered(port: int) -> None:
    answers: list[int] = []
    gate = threading.Barrier(200)

    def client() -> None:
        gate.wait()
        answers.append(status(ask(port, "/")))

    threads = [threading.Thread(target=client) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 200
