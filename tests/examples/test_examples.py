"""The scripts of examples/, each run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from runs_support import make_runs
from support import ROOT, Cli

EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "arguments", "words"), [
    ("detect_and_draw.py", ("{no}", "{image}", "{out}"), "{no}"),
    ("detect_and_draw.py", ("nosuchname", "{no}", "{out}"), "{no}: file not found"),
    ("name_breeds.py", ("nosuchname", "{image}"), "neither a file nor a known name"),
    ("sort_faces.py", ("nosuchname", "{image}", "{out}"), "neither a file nor a known name"),
    ("three_heads.py", ("{image}", "{no}"), "config.json is missing"),
    ("train_own_classes.py", ("{no}", "{image}", "{out}"), "{no}"),
])
def test_what_is_missing_is_one_line(
    image: Path, tmp_path: Path, name: str, arguments: tuple[str, ...], words: str
) -> None:
    places = {"no": tmp_path / "no.pt", "image": image, "out": tmp_path / "out"}
    command = [sys.executable, EXAMPLES / name, *(word.format(**places) for word in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and words.format(**places) in done.stderr


def test_without_arguments_the_use_is_said() -> None:
    command = [sys.executable, EXAMPLES / "name_breeds.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "python examples/name_breeds.py MODEL IMAGE" in done.stderr


@pytest.fixture(scope="module")
def runs(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_runs(cli, tmp_path_factory.mktemp("examples"), ("dogs", "objects"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (80, 60), (220, 30, 30)).save(path)
    return path


def test_breeds_are_named_and_a_bad_file_is_said(runs: dict[str, Path], image: Path) -> None:
    bad = image.with_name("bad.png")
    bad.write_bytes(b"none")
    good, wrong = run("name_breeds.py", runs["dogs"], image, bad).splitlines()
    assert good.startswith(f"{image}\t")
    assert "%" in good
    assert "error" in wrong


def test_objects_are_drawn(runs: dict[str, Path], image: Path, tmp_path: Path) -> None:
    assert "objects, drawn into" in run("detect_and_draw.py", runs["objects"], image, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (80, 60)


def test_own_classes_are_learned(runs: dict[str, Path], image: Path, tmp_path: Path) -> None:
    data = runs["dogs"].parents[1] / "dogs"
    out = run("train_own_classes.py", data, image, tmp_path / "mine")
    assert "'top1'" in out
    assert "ClassPrediction" in out


def test_heads_of_one_backbone_answer_together(
    cli: Cli, runs: dict[str, Path], image: Path, tmp_path: Path
) -> None:
    data, made = runs["dogs"].parents[1] / "dogs", [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for folder in made:
        start = "--data", data, "--weights", runs["dogs"], "--freeze"
        answer = cli("finetune", "dogs", *start, "--out", folder)
        assert answer.code == 0, answer.err
    names = [line.split("\t")[0] for line in run("three_heads.py", image, *made).splitlines()]
    assert names == ["a", "b", "c"]


def test_faces_are_sorted(shared: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for photo in sorted((shared / "data" / "faces_colour").glob("**/*_000[12].jpg"))[:6]:
        (album / photo.name).write_bytes(photo.read_bytes())
    weights = shared / "weights" / "faces_mobilenetv1_1.0_224.safetensors"
    out = run("sort_faces.py", weights, album, tmp_path / "out")
    assert "index.html" in out
    assert (tmp_path / "out" / "people" / "index.html").is_file()
