"""What every head promises, over all heads of the package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import heads
from heads import (
    SSD,
    AngularMargin,
    Classifier,
    Embedding,
    FasterRCNN,
    FasterRCNNPyramid,
    GeoCells,
    Head,
    MultiLabelClassifier,
)

SIDE = 96  # px of the images
BATCH = 3
BOXES: list[Any] = [([[5.0, 5, 60, 60], [30, 30, 90, 80]], [2, 0]), ([[1.0, 2, 50, 70]], [1]), ([], [])]


@dataclass(frozen=True)
class Case:
    """How a head is made, and targets for a batch of three images, as lists."""

    make: Callable[[], Any]
    target: Any


def case(head: type[Head], target: Any, *arguments: Any, **options: Any) -> Case:
    def make() -> Head:
        torch.manual_seed(0)
        return head(*arguments, **options)

    return Case(make, target)


NESTED = {"cells": [3, 12], "parents": [[n % 3 for n in range(12)]]}
CELLS = [[0, 3], [1, 1], [-1, -1]]
ORDER = list(range(12))
TWO = ([8, 8], 3)
TENSORFLOW: Any = {"padding": "same", "anchors": "tensorflow", "score_converter": "sigmoid"}
# A head that is not here fails a test below.
CASES: dict[str, Case] = {
    "Classifier": case(Classifier, [0, 2, 1], 8, 3, dropout=0.5),
    "Classifier-others": case(Classifier, [0, 2, 1], 8, 2, num_others=3),
    "MultiLabelClassifier-hidden": case(MultiLabelClassifier, [[1.0, 0.0]] * 3, 8, ["a", "b"], hidden=4),
    "MultiLabelClassifier": case(
        MultiLabelClassifier, [[1.0, 0.0, 0, 1], [0, 1, 1, 0], [float("nan"), 1, 0.5, 0.5]], 8, ["a", "b"],
        groups={"age": 2},
    ),
    "Embedding": case(Embedding, [[1.0, 0, 0, 0, 0]] * 3, 8, 5, dropout=0.5),
    "Embedding-whole-map": case(Embedding, [[1.0, 0]] * 3, 8, 2, map_size=3),
    "Embedding-margin": case(
        Embedding, {"person": [0, 1, 0]}, 8, 3, margin_loss=AngularMargin(2, 3)
    ),
    "GeoCells": case(GeoCells, CELLS, 8, **NESTED, offset=True),
    "GeoCells-sampled": case(GeoCells, CELLS, 8, **NESTED, softmax="sampled", samples=4),
    "GeoCells-adaptive": case(GeoCells, [3, 0, -1], 16, 12, softmax="adaptive", orders=[ORDER]),
    "SSD": case(SSD, BOXES, *TWO, size=SIDE),
    "SSD-tensorflow": case(SSD, BOXES, *TWO, size=SIDE, width=0.5, **TENSORFLOW),
    "SSD-stored": case(SSD, BOXES, *TWO, size=SIDE, padding="same", anchors="stored"),
    "FasterRCNN": case(FasterRCNN, BOXES, *TWO, size=SIDE),
    "FasterRCNNPyramid": case(FasterRCNNPyramid, BOXES, 8, 3, size=SIDE),
}
BANNED = {
    "dim", "overlap", "most", "places", "threshold", "people", "kind", "smoothing", "channels", "classes",
    "candidates", "boxes",
}


def channels_of(head: Head) -> int:
    return 16 if isinstance(head, GeoCells) and head.softmax == "adaptive" else 8


def features_for(head: Head, batch: int = BATCH, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand(batch, channels_of(head), -(-SIDE // s), -(-SIDE // s), generator=generator)
        for s in head.strides
    ]


def as_tensors(target: Any) -> Any:
    if isinstance(target, dict):
        return {key: torch.tensor(value) for key, value in target.items()}
    if target is BOXES:
        return [(torch.tensor(b).float().reshape(-1, 4), torch.tensor(c).long()) for b, c in BOXES]
    return torch.tensor(target)


def structure(output: Any) -> Any:
    """Types, keys, shapes and dtypes."""
    if isinstance(output, Tensor):
        return tuple(output.shape), output.dtype
    if isinstance(output, dict):
        return {key: structure(value) for key, value in output.items()}
    assert isinstance(output, list)
    return [structure(value) for value in output]


def all_heads() -> set[type[Head]]:
    """The concrete heads that the package defines, in whatever module."""
    for module in pkgutil.iter_modules(heads.__path__):
        importlib.import_module(f"heads.{module.name}")
    known, queue = set(), [Head]
    while queue:
        for sub in queue.pop().__subclasses__():
            queue.append(sub)
            if sub.__module__.startswith("heads.") and not inspect.isabstract(sub):
                known.add(sub)
    return known


def test_every_head_of_the_package_is_tried_here_and_public() -> None:
    assert {type(entry.make()) for entry in CASES.values()} == all_heads()
    assert {head.__name__ for head in all_heads()} <= set(heads.__all__)


@pytest.mark.parametrize("name", CASES)
def test_the_output_is_of_the_same_type_in_training_and_in_evaluation(name: str) -> None:
    head = CASES[name].make()
    features = features_for(head)
    trained, evaluated = head.train()(*features), head.eval()(*features)
    assert structure(trained) == structure(evaluated)
    single = head(*features_for(head, batch=1))
    assert type(single) is type(evaluated)


@pytest.mark.parametrize("name", CASES)
def test_losses_are_named_scalars_with_gradients_in_either_mode(name: str) -> None:
    head, target = CASES[name].make(), CASES[name].target
    for training in (True, False):
        head.train(training).zero_grad()
        losses = head.loss(head(*features_for(head)), target)
        assert losses and all(isinstance(key, str) for key in losses)
        assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
        torch.stack(list(losses.values())).sum().backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize("name", CASES)
def test_targets_may_be_lists_or_tensors(name: str) -> None:
    head = CASES[name].make().eval()
    output, losses = head(*features_for(head)), []
    for target in (CASES[name].target, as_tensors(CASES[name].target)):
        torch.manual_seed(1)
        losses.append({key: float(loss.detach()) for key, loss in head.loss(output, target).items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_decoding_gives_an_answer_an_image_that_does_not_depend_on_the_others(name: str) -> None:
    head = CASES[name].make().eval()
    features = features_for(head)
    with torch.no_grad():
        answers = head.decode(head(*features))
        alone = head.decode(head(*(m[1:2] for m in features)))
    assert len(answers) == BATCH and len(alone) == 1
    assert all(is_dataclass(answer) or isinstance(answer, tuple) for answer in answers)
    assert type(alone[0]) is type(answers[1])


@pytest.mark.parametrize("name", CASES)
def test_a_state_that_is_loaded_gives_the_same_output(name: str) -> None:
    first, second = CASES[name].make().eval(), CASES[name].make().eval()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.01)
    second.load_state_dict(first.state_dict())
    ours, theirs = first(*features_for(first)), second(*features_for(second))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", CASES)
def test_heads_that_pool_take_pooled_features(name: str) -> None:
    head = CASES[name].make().eval()
    features = features_for(head)
    pooled = [m.mean(dim=(2, 3), keepdim=True) for m in features]
    if head.uses_global_pool:
        torch.testing.assert_close(head(*pooled), head(*features))
    else:
        assert name == "Embedding-whole-map" or name.partition("-")[0] in (
            "SSD", "FasterRCNN", "FasterRCNNPyramid"
        )


@pytest.mark.parametrize("head", sorted(all_heads(), key=lambda head: head.__name__))
def test_arguments_have_the_fields_names_and_are_described(head: type[Head]) -> None:
    arguments = set(inspect.signature(head.__init__).parameters) - {"self"}
    assert not arguments & BANNED, arguments & BANNED
    text = inspect.getdoc(head) or ""
    assert "Args:" in text and "Shape:" in text
    assert all(name in text for name in arguments), [name for name in arguments if name not in text]
    for name in ("forward", "loss", "decode"):
        annotations = inspect.signature(getattr(head, name))
        assert annotations.return_annotation is not inspect.Signature.empty
    if issubclass(head, (SSD, FasterRCNN, FasterRCNNPyramid)):
        assert arguments >= {"num_classes", "size", "score_thresh", "nms_thresh", "detections_per_img"}
