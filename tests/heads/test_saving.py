"""Heads and backbones written into a folder and made again from it."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import heads
from backbone import MobileNetV1, Preprocessing, create, load_weights
from heads.saving import SAVED

NEIGHBOURS = (torch.tensor([[1, 0]] * 4), torch.full((4, 2), 0.5))
HEADS: dict[str, Callable[[], heads.Head]] = {
    "Classifier": lambda: heads.Classifier(16, 3, class_weights=torch.ones(3), dropout=0.2),
    "MultiLabelClassifier": lambda: heads.MultiLabelClassifier(16, ["Male", "Smiling"], groups={"age": 5}),
    "Embedding": lambda: heads.Embedding(16, 8, margin_loss=heads.AngularMargin(3, 8, margin=0.3)),
    "GeoCells": lambda: heads.GeoCells(16, 4, neighbours=[NEIGHBOURS], offset=True),
    "SSD": lambda: heads.SSD([16, 16], 5, width=0.25),
    "FasterRCNN": lambda: heads.FasterRCNN([8, 16], 4, size=64),
    "FasterRCNNPyramid": lambda: heads.FasterRCNNPyramid(8, 4, size=64),
}


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(one[0] == other[0] and torch.equal(one[1], other[1]) for one, other in pairs)


def test_every_head_is_among_them() -> None:
    saved = [kind for kind in SAVED.values() if issubclass(kind, heads.Head)]
    ours = [kind for kind in saved if kind.__module__[:6] == "heads."]
    assert {kind.__name__ for kind in ours if not inspect.isabstract(kind)} == set(HEADS)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    head = HEADS[name]()
    assert head.save_pretrained(tmp_path / "head") == tmp_path / "head"
    again = heads.Head.from_pretrained(tmp_path / "head")
    assert type(again) is type(head) and same(head, again)
    assert same(copy.deepcopy(head), head) and same(pickle.loads(pickle.dumps(head)), head)  # noqa: S301
    again.save_pretrained(tmp_path / "again")
    files = [(tmp_path / folder / "config.json").read_text() for folder in ("head", "again")]
    assert files[0] == files[1]


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    heads.Classifier(16, 3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a Classifier, not a SSD"):
        heads.SSD.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["arguments"]["num_classes"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"does not fit config\.json"):
        heads.Classifier.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"head": "Popen", "arguments": {"args": "ls"}}')
    with pytest.raises(ValueError, match="is of no head that there is here"):
        heads.Head.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither a folder nor a repository USER/NAME"):
        heads.Classifier.from_pretrained("nowhere")
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="give a folder that save_pretrained wrote"):
        heads.Classifier.from_pretrained(tmp_path)


def test_an_argument_that_no_file_can_hold_is_said_before_anything_is_written(tmp_path: Path) -> None:
    head = heads.Classifier(16, 3, dropout=0.0)
    head.__dict__["given"]["dropout"] = object()
    with pytest.raises(TypeError, match="an argument of type object cannot be saved"):
        head.save_pretrained(tmp_path / "head")
    assert not (tmp_path / "head").exists()


def test_a_backbone_comes_back_and_is_what_weights_are(tmp_path: Path) -> None:
    looks = Preprocessing(mean=(0.1, 0.2, 0.3), resolution=96)
    network = MobileNetV1(0.25, padding="symmetric", activation="relu", preprocessing=looks)
    network.save_pretrained(tmp_path / "trunk", name="mine", licence="MIT")
    again = MobileNetV1.from_pretrained(tmp_path / "trunk")
    assert again.fingerprint() == network.fingerprint() and again.preprocessing == looks
    assert create(str(tmp_path / "trunk"), pretrained=True).fingerprint() == network.fingerprint()
    info = load_weights(tmp_path / "trunk").info
    assert (info.name, info.licence) == ("mine", "MIT")
    with pytest.raises(FileNotFoundError):
        MobileNetV1.from_pretrained(tmp_path / "nowhere")
