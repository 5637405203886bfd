"""Weights sent to a hub and fetched from it, by the real client, over loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_support import Hub, loopback_hub
from schema_support import check
from support import ROOT, Answer, Cli

from apps.zoo.hub import pull_weights, without_paths

LIBRARY = """
import sys, torch
from backbone import MobileNetV1, create
from heads import Classifier
backbone, head = MobileNetV1(0.25), Classifier(256, num_classes=3)
assert "huggingface_hub" not in sys.modules, "imported before it is needed"
backbone.push_to_hub("ada/trunk", name="trunk", licence="MIT")
head.push_to_hub("ada/head", private=False)
assert MobileNetV1.from_pretrained("ada/trunk").fingerprint() == backbone.fingerprint()
again = Classifier.from_pretrained("ada/head")
assert all(torch.equal(a, b) for a, b in zip(head.state_dict().values(), again.state_dict().values()))
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with loopback_hub() as running:
        for name, value in running.variables(tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        yield running


def run(*words: object, cwd: Path) -> Answer:
    """The command line in a process of its own: the client reads where its hub is when it is imported."""
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    return Answer(done.returncode, done.stdout, done.stderr)


def test_a_run_is_sent_without_what_is_private_and_answers_where_it_is_fetched(
    hub: Hub, cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    sent = run("weights", "push", colour_run, "ada/colours", "--licence", "CC-BY-4.0", cwd=tmp_path)
    assert sent.code == 0, sent.err
    check("weights-push", sent.lines[0], strict=True)
    assert sent.lines[0]["files"] == ["README.md", "config.json", "model.safetensors"]
    assert hub.private == {"ada/colours": True}, "others see it only with --public"
    files = hub.of("ada/colours")
    assert set(files) == set(sent.lines[0]["files"])
    assert str(colours).encode() not in b"".join(files.values()), "a path of this machine was sent"
    card = files["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-4.0\n") and "| top1 |" in card and "blue, green, red" in card

    got = run("weights", "pull", "ada/colours", "--to", "fetched", cwd=tmp_path)
    assert got.code == 0, got.err
    check("weights-pull", got.lines[0], strict=True)
    assert got.lines[0] | {"source": ""} == {
        "repo": "ada/colours", "out": "fetched", "weights": "fetched", "files": sent.lines[0]["files"],
        "licence": "CC-BY-4.0", "source": "",
    }
    photo = next((colours / "val" / "red").iterdir())
    answers = [
        cli("predict", photo, "--checkpoint", folder).lines[0]["predictions"]
        for folder in (colour_run, tmp_path / "fetched")
    ]
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_a_file_of_weights_goes_there_and_back_and_no_pickle_comes_along(
    hub: Hub, weights: Path, tmp_path: Path
) -> None:
    assert run("weights", "push", weights, "ada/faces", "--public", cwd=tmp_path).code == 0
    assert hub.private == {"ada/faces": False}
    hub.files["ada/faces", "pytorch_model.bin"] = b"pickle"
    hub.files["ada/faces", "run.py"] = b"print()"
    got = run("weights", "pull", "ada/faces", cwd=tmp_path)
    assert got.code == 0, got.err
    assert got.lines[0]["weights"] == f"faces/{weights.name}"
    assert (tmp_path / "faces" / weights.name).read_bytes() == weights.read_bytes()
    assert not list((tmp_path / "faces").glob("*.bin")) and not list((tmp_path / "faces").glob("*.py"))


@pytest.mark.slow
def test_the_library_sends_and_fetches_and_imports_the_client_only_then(hub: Hub, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIBRARY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert hub.private == {"ada/trunk": True, "ada/head": False}
    assert json.loads(hub.of("ada/trunk")["config.json"])["backbone"]["licence"] == "MIT"


@pytest.mark.slow
def test_what_goes_wrong_is_one_line(hub: Hub, weights: Path, tmp_path: Path) -> None:
    answer = run("weights", "pull", "ada/none", cwd=tmp_path)
    assert answer.code == 1 and "error: the hub has no ada/none that is open to you" in answer.last_error
    hub.files["ada/pickle", "pytorch_model.bin"] = b"pickle"
    answer = run("weights", "pull", "ada/pickle", cwd=tmp_path)
    assert answer.code == 1 and "holds 0 files of weights and no run" in answer.last_error
    answer = run("weights", "pull", "pickle", cwd=tmp_path)
    assert answer.last_error == "error: 'pickle' is no name of a repository; give USER/NAME"
    os.environ["HF_TOKEN"] = "hf_wrong"  # the fixture's monkeypatch takes it back
    answer = run("weights", "push", weights, "ada/faces", cwd=tmp_path)
    assert answer.code == 1 and "log in first: hf auth login" in answer.last_error
    assert len(answer.err.strip().splitlines()) == 1
    os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    answer = run("weights", "push", weights, "ada/faces", cwd=tmp_path)
    assert answer.code == 1 and "error: ada/faces could not be sent: " in answer.last_error


def test_a_folder_of_the_users_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"")
    with pytest.raises(FileExistsError, match="mine is there already; give another folder as --to"):
        pull_weights("ada/colours", tmp_path / "mine")


def test_a_missing_client_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="run: pip install huggingface_hub"):
        pull_weights("ada/colours", Path("nowhere"))


def test_paths_become_names_whatever_system_they_are_of() -> None:
    config = {"data": "/home/ada/photos", "more": [r"C:\Users\ada\dogs", "mobilenetv1_0.25_128"], "n": 1}
    assert without_paths(config) == {"data": "photos", "more": ["dogs", "mobilenetv1_0.25_128"], "n": 1}
