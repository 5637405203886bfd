"""A page's folder: compressed, isolated, nothing but its files; for this machine alone unless asked."""

from __future__ import annotations

import errno
import gzip
import hashlib
import re
import ssl
import sys
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
OURS = re.compile(r"(localhost\.?|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)  # tunnels change the port
PATIENCE_SECONDS = 30.0  # with a client that neither asks nor takes
AT_ONCE = 512  # connections that may wait to be taken
COMPRESSED = (".wasm", ".onnx", ".js", ".mjs", ".json", ".css", ".html", ".md", ".svg", ".webmanifest")
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self'; img-src 'self' blob:; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, GET and HEAD."""

    timeout = PATIENCE_SECONDS
    extensions_map = {  # noqa: RUF012 (as the class above has it)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
        ".json": "application/json", ".md": "text/plain; charset=utf-8", ".onnx": "application/octet-stream",
        ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json",
    }

    def version_string(self) -> str:
        """What serves it, and not what that runs on."""
        return "mobilenet-apps"

    def end_headers(self) -> None:
        """With ours, on every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def parse_request(self) -> bool:
        """As usual; names of other hosts, and paths out of the folder or that no file can have, are refused.

        A page from elsewhere can have its name lead to this machine, and would then read what is here.
        """
        if not super().parse_request():
            return False
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self._ours(hosts[0].strip()):
            explain = f"open it as {self._reached()} or localhost"
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, explain=explain)
        elif "\0" in self.path or "%00" in self.path:
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif not self._inside():
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            return True
        return False

    def _reached(self) -> str:
        """The address of this machine that the client came to."""
        return str(self.connection.getsockname()[0])

    def _ours(self, host: str) -> bool:
        """Whether a name is of this machine: of itself, or the address that the client came to."""
        reached = re.compile(rf"{re.escape(self._reached())}(:\d{{1,5}})?")
        return bool(OURS.fullmatch(host) or reached.fullmatch(host))

    def _inside(self) -> bool:
        """Whether the path is of the folder, links followed; one that no file system has is not."""
        try:
            place = Path(self.translate_path(self.path)).resolve()
            place.exists()
        except (OSError, RuntimeError):  # too long, or links in a circle
            return False
        return place.is_relative_to(Path(self.directory).resolve())

    def do_GET(self) -> None:
        """A file, compressed where the browser takes it so."""
        body = self._packed()
        if body is None:
            super().do_GET()
        else:
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """The headers of that."""
        if self._packed() is None:
            super().do_HEAD()

    def _packed(self) -> bytes | None:
        """The compressed body with its headers sent; None where the file goes as it is, or is not there."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if self.path.partition("?")[0].endswith("/") else path
        takes = "gzip" in self.headers.get("Accept-Encoding", "")
        if not takes or path.suffix not in COMPRESSED or not path.is_file():
            return None
        body, tag = _gzip(path, path.stat().st_mtime_ns)
        if self.headers.get("If-None-Match") == tag:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", tag)
            self.end_headers()
            return b""
        self.send_response(HTTPStatus.OK)
        self.send_header("ETag", tag)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def list_directory(self, path: Any) -> None:
        """Never: folders are not shown."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are not results."""


class _Server(ThreadingHTTPServer):
    """Takes as many as come at once; who goes away or takes too long is no error."""

    request_queue_size = AT_ONCE
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """By the thread of the request, and within its patience: who does not shake hands holds up nobody."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as line:
            line.settimeout(_Handler.timeout)
            line.do_handshake()
            super().finish_request(line, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing of a line that broke."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@lru_cache(maxsize=64)
def _gzip(path: Path, changed_ns: int) -> tuple[bytes, str]:
    """A file's bytes, packed, and a tag that says which they are."""
    del changed_ns  # a file that changed is packed anew
    content = path.read_bytes()
    return gzip.compress(content, compresslevel=6, mtime=0), f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def server(
    folder: Path, port: int = 8000, host: str = HOST, context: ssl.SSLContext | None = None
) -> ThreadingHTTPServer:
    """A server of a page's folder; the caller runs and closes it.

    Args:
        folder: made by ``export --to web``.
        port: 1 to 65535; 0 takes a free one.
        host: IPv4 address to serve at; by default the loopback, which no other machine reaches.
        context: makes it HTTPS.

    Raises:
        FileNotFoundError: the folder holds no page.
        OSError: the port is taken, or the address is not this machine's.
    """
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(
            f"{folder} holds no page (index.html); make one: python cli.py export RUN --to web --out {folder}"
        )
    try:
        made = _Server((host, port), partial(_Handler, directory=str(folder)))
    except OSError as err:
        what = "--host" if err.errno == errno.EADDRNOTAVAIL else "--port"
        raise OSError(f"port {port} of {host} cannot be had ({err.strerror}); give another {what}") from err
    made.context = context
    return made
