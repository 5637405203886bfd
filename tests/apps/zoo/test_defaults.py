"""What answers where no model is named, and what a machine without a network says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import Cli

from apps.zoo import defaults
from backbone.pretrained import REGISTRY
from backbone.storage import CACHE_VARIABLE, MIRROR_VARIABLE


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no mirror, and no server that answers; returns a folder for weights."""
    monkeypatch.setattr(defaults, "unreachable", lambda _: "no answer")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_every_default_is_registered() -> None:
    assert all(name in REGISTRY for names in defaults.BY_TASK.values() for name in names)
    figures = [REGISTRY[name].top1 or 0 for name in defaults.IMAGENET_WEIGHTS]
    assert figures == sorted(figures, reverse=True), "the best comes first"


def test_a_dog_is_named_with_its_breed_and_an_owl_without(
    cli: Cli, shared: Path, imagewoof: Path, offline: Path
) -> None:
    name = "mobilenetv1_0.25_128"
    shutil.copy(shared / "weights" / f"{name}.safetensors", offline)
    dog, owl = min((imagewoof / "val" / "n02111889").iterdir()), shared / "data" / "demo_photos" / "owl.jpg"
    answer = cli("predict", dog, owl, "--top", 1, "--workers", 0)
    assert answer.code == 0, answer.err
    assert answer.err.splitlines() == [
        f"{name} answers, as no other model is named",
        f"{name}: a file to answer from is made, once: this takes a while",
    ]
    assert answer.lines[0]["predictions"][0]["name"] == answer.lines[0]["breed"]["name"] == "Samoyed"
    assert answer.lines[0]["breed"]["probability"] >= answer.lines[0]["predictions"][0]["probability"]
    assert "breed" not in answer.lines[1] and answer.lines[1]["predictions"]
    assert len(cli("predict", dog, "--workers", 0).err.splitlines()) == 1, "the file is made once"
    breeds = cli("predict", dog, "--app", "dogs", "--workers", 0)
    assert breeds.lines[0]["predictions"][0]["name"] == "Samoyed"
    assert breeds.lines[0]["unknown"] is False


@pytest.mark.parametrize(("words", "brings"), [
    ((), "mobilenetv1_1.0_224.safetensors"), (("--app", "dogs"), "mobilenetv1_1.0_224.safetensors"),
])
def test_without_a_network_one_line_says_what_to_bring_where(
    cli: Cli, colours: Path, offline: Path, words: tuple[str, ...], brings: str
) -> None:
    answer = cli("predict", next((colours / "val").rglob("*.png")), *words)
    assert answer.code == 1 and not answer.lines
    assert len(answer.err.splitlines()) == 1
    assert brings in answer.err and MIRROR_VARIABLE in answer.err and "Traceback" not in answer.err
    assert not any(offline.iterdir())


def test_places_say_that_nobody_published_a_network(cli: Cli, colours: Path) -> None:
    photo = next((colours / "val").rglob("*.png"))
    located, predicted = cli("locate", photo), cli("predict", photo, "--app", "places")
    assert (located.code, predicted.code) == (2, 1)
    for answer in (located, predicted):
        assert "there is no published network for places: train one with `finetune places" in answer.err


def test_two_models_are_refused(cli: Cli, colours: Path) -> None:
    answer = cli("predict", colours, "--weights", "x", "--model", "y.onnx")
    assert answer.code == 2 and "or none of them" in answer.err


def test_a_page_without_a_run_takes_the_network_that_answers_by_default(
    cli: Cli, offline: Path, tmp_path: Path
) -> None:
    """Where it is neither here nor to be had, what to bring is said; other files want a run to be named."""
    del offline
    page = cli("export", "--to", "web", "--out", tmp_path / "page")
    predicted = cli("predict", Path(__file__).parents[3] / "web" / "page" / "icon-192.png")
    assert page.code == 1 and page.last_error == predicted.last_error
    assert cli("export", "--out", tmp_path / "a.onnx").code == 2
