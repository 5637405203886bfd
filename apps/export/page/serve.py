"""A page's folder on loopback: compressed, isolated, and nothing but its files."""

from __future__ import annotations

import gzip
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
COMPRESSED = (".wasm", ".onnx", ".js", ".mjs", ".json", ".css", ".html", ".md", ".svg")
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, GET and HEAD."""

    extensions_map = {  # noqa: RUF012 (as the class above has it)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
        ".json": "application/json", ".md": "text/plain; charset=utf-8", ".onnx": "application/octet-stream",
        ".svg": "image/svg+xml",
    }

    def end_headers(self) -> None:
        """With ours, on every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def parse_request(self) -> bool:
        """As usual; a path with a null byte, which no file has, is refused."""
        if not super().parse_request():
            return False
        if "\0" in self.path or "%00" in self.path:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return False
        return True

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
        path = path / "index.html" if path.is_dir() else path
        takes = "gzip" in self.headers.get("Accept-Encoding", "")
        if not takes or path.suffix not in COMPRESSED or not path.is_file():
            return None
        body = _gzip(path, path.stat().st_mtime_ns)
        self.send_response(HTTPStatus.OK)
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


@lru_cache(maxsize=64)
def _gzip(path: Path, changed_ns: int) -> bytes:
    del changed_ns  # a file that changed is packed anew
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)


def server(folder: Path, port: int = 8000) -> ThreadingHTTPServer:
    """A server of a page's folder on this machine's loopback; the caller runs and closes it.

    Args:
        folder: made by ``export --to web``.
        port: 1 to 65535; 0 takes a free one.

    Raises:
        FileNotFoundError: the folder holds no page.
        OSError: the port is taken.
    """
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(
            f"{folder} holds no page (index.html); make one: python cli.py export RUN --to web --out {folder}"
        )
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(folder)))
    except OSError as err:
        raise OSError(f"port {port} of {HOST} cannot be had ({err.strerror}); give another --port") from err
