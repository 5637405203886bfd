"""`serve` for other devices: on request alone, by HTTPS of its own, and still by no other name."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, Cli

from apps.export.page.network import EVERY, addresses, check_host, qr_code, self_signed
from apps.export.page.serve import server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<p>page</p>")
    return folder


@pytest.fixture
def secure(folder: Path) -> Iterator[int]:
    """The port of a page by HTTPS at every address of this machine."""
    context, _ = self_signed(["127.0.0.1"])
    running = server(folder, 0, EVERY, context)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield running.server_address[1]
    running.shutdown()
    running.server_close()


def ask(port: int, host: str, address: str = "127.0.0.1") -> bytes:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), timeout=20) as plain, trusting.wrap_socket(plain) as line:
        line.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return b"".join(iter(lambda: line.recv(1 << 16), b""))


def test_the_page_comes_by_https_by_the_address_that_was_asked(secure: int) -> None:
    for address in {"127.0.0.1", addresses(EVERY)[0]}:
        assert ask(secure, f"{address}:{secure}", address).endswith(b"<p>page</p>")


@pytest.mark.parametrize(
    "host", ["example.com", "192.0.2.77", "127.0.0.1.example.com", "127.0.0.1:x", "0.0.0.0"]
)
def test_other_names_are_refused_there_too(secure: int, host: str) -> None:
    """Also an address that is not the one the client came to."""
    answer = ask(secure, host)
    assert answer.startswith(b"HTTP/1.0 421") and b"<p>page</p>" not in answer


def test_who_does_not_shake_hands_holds_up_nobody(secure: int, capfd: pytest.CaptureFixture[str]) -> None:
    at = "127.0.0.1", secure
    with socket.create_connection(at) as silent, socket.create_connection(at) as rude:
        rude.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ask(secure, "localhost").endswith(b"<p>page</p>")
        silent.close()
    assert capfd.readouterr() == ("", "")


def test_the_certificate_names_the_addresses_and_is_new_each_time() -> None:
    first, second = self_signed(["192.0.2.5"]), self_signed(["192.0.2.5"])
    assert first[1] != second[1] and re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", first[1])


def test_what_is_no_address_is_refused_in_one_line(cli: Cli, folder: Path) -> None:
    answer = cli("serve", folder, "--host", "example.com")
    assert answer.code == 2
    assert "--host example.com is no IPv4 address; give 127.0.0.1" in answer.last_error
    assert check_host("localhost") == "127.0.0.1"


def test_an_address_of_another_machine_is_refused_in_one_line(cli: Cli, folder: Path) -> None:
    answer = cli("serve", folder, "--host", "192.0.2.77", "--port", 0)
    assert answer.code == 1 and "give another --host" in answer.last_error


def test_a_qr_code_is_of_whole_blocks_in_lines() -> None:
    code = qr_code("https://192.0.2.5:8000/")
    assert code is not None and len({len(line) for line in code.splitlines()}) >= 1 and "█" in code


def started(folder: Path, *options: str) -> tuple[str, str]:
    """What `serve` says on stdout and stderr until it is interrupted."""
    command = [sys.executable, str(ROOT / "cli.py"), "serve", str(folder), "--port", "0", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as running:
        assert running.stdout is not None and running.stderr is not None
        out, errors = running.stdout.readline(), ""
        while "Ctrl-C stops" not in errors:
            errors += running.stderr.readline()
        os.kill(running.pid, signal.SIGINT)
    return out, errors


def test_others_are_let_in_on_request_alone_and_with_a_warning(folder: Path) -> None:
    out, errors = started(folder)
    assert '"url": "http://127.0.0.1:' in out
    assert "warning" not in errors
    out, errors = started(folder, "--host", EVERY, "--https-self-signed")
    assert '"url": "https://' in out and '"certificate_sha256": "' in out
    (warning,) = [line for line in errors.splitlines() if "warning" in line]
    assert warning == "warning: every device of this network can open the page"
    assert "█" in errors
