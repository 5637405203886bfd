"""What a training computes hangs on no memory that was used before: every head and backbone, bf16 and fp32.

A kernel that leaves part of its result unwritten gives what the memory held. So memory is filled before it is
handed out, with NaN, with 3.4e38 and with -1.7e38, and the gradients must be the same each time, and those of
fp32 within the rounding of bf16.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import heads
from apps.engine.core.machine import has_glibc
from apps.engine.data.samplers import Batch
from apps.engine.training.loop import MetricAccumulator, TrainStep, update
from backbone import Backbone, MobileNetV1
from backbone._cpu.small_maps import guard_small_maps
from backbone.timm_backbone import TimmBackbone
from heads import (
    SSD,
    Classifier,
    Embedding,
    FasterRCNN,
    FasterRCNNPyramid,
    GeoCells,
    Head,
    MultiHead,
    MultiLabelClassifier,
)
from heads.arcface import AngularMargin

M_PERTURB = -6  # of glibc's malloc.h: new memory is filled with 0xff less this byte
FILLS = {"3.4e38": 0x80, "-1.7e38": 0x01}
PHOTOS, UPDATES = 6, 3
ROUNDING = 0.2  # of the whole gradient in bf16, as a share of its norm; a wrong one is above 1

pytestmark = pytest.mark.skipif(not has_glibc(), reason="only glibc can be told to fill memory")

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "0.25": lambda: MobileNetV1(0.25), "0.5": lambda: MobileNetV1(0.5), "1.0": lambda: MobileNetV1(1.0),
    "0.25, symmetric": lambda: MobileNetV1(0.25, padding="symmetric"),
    "full": lambda: MobileNetV1(0.25, separable=False),
    "full, symmetric": lambda: MobileNetV1(0.25, separable=False, padding="symmetric"),
    "shallow": lambda: MobileNetV1(0.25, shallow=True),
    "dense": lambda: MobileNetV1(0.25, output_stride=8),
    "timm": lambda: TimmBackbone("test_resnet"),
}
SIDES = (32, 65, 96)  # maps of 1, 3 and 3 px at stride 32; of 2, 5 and 6 at stride 16
ONE = torch.tensor([[6.0, 8, 40, 44]])


def cells(channels: dict[int, int], **more: Any) -> Head:
    return GeoCells(channels[32], [12, 24], [[n // 2 for n in range(24)]], offset=True, **more)


def places() -> Any:
    return {
        "cells": torch.stack([torch.arange(PHOTOS) % 12, torch.arange(PHOTOS) % 24], 1),
        "offset": torch.full((PHOTOS, 2), 0.3),
    }


def vectors() -> Any:
    unit = nn.functional.normalize(torch.randn(PHOTOS, 128, generator=torch.Generator().manual_seed(3)))
    return {"vector": unit, "person": torch.arange(PHOTOS) % 3}


def boxes() -> Any:
    return [(ONE, torch.tensor([n % 3])) if n else (ONE[:0], torch.zeros(0).long()) for n in range(PHOTOS)]


@dataclass(frozen=True)
class Case:
    """What is trained: a backbone, a head for its channels, targets, and the side of the photos in pixels."""

    side: int
    head: Callable[[dict[int, int]], Head]
    targets: Callable[[], Any]
    backbone: Callable[[], Backbone] = BACKBONES["0.25"]


CLASSIFIER = Case(32, lambda c: Classifier(c[max(c)], 5, stride=max(c)), lambda: torch.arange(PHOTOS) % 5)
HEADS = {
    "classifier": CLASSIFIER,
    "attributes": Case(
        33, lambda c: MultiLabelClassifier(c[32], ["hat", "bald"], groups={"age": 3}),
        lambda: torch.tensor([1.0, 0, 0, 1, 0]).repeat(PHOTOS, 1),
    ),
    "cells": Case(32, cells, places),
    "cells, sampled": Case(32, lambda c: cells(c, softmax="sampled", samples=8), places),
    "cells, adaptive": Case(
        64, lambda c: cells(c, softmax="adaptive", orders=[[*range(12)], [*range(24)]]), places
    ),
    "vectors": Case(32, lambda c: Embedding(c[32], cosine_weight=1.0, relational_weight=1.0), vectors),
    "vectors, whole map": Case(
        64, lambda c: Embedding(
            c[32], map_size=(2, 2), cosine_weight=1.0, margin_loss=AngularMargin(3, 128)
        ), vectors,
    ),
    "ssd, 64 px": Case(64, lambda c: SSD([c[16], c[32]], 3, size=64), boxes),
    "ssd, 97 px": Case(97, lambda c: SSD([c[16], c[32]], 3, size=97), boxes),
    "frcnn": Case(64, lambda c: FasterRCNN([c[16], c[32]], 3, size=64), boxes),
    "frcnn-fpn": Case(97, lambda c: FasterRCNNPyramid([c[8], c[16], c[32]], 3, size=97), boxes),
}


@contextmanager
def filled(byte: int) -> Iterator[None]:
    """New memory is full of bytes that make large floats."""
    mallopt = ctypes.CDLL(None).mallopt
    assert mallopt(M_PERTURB, byte)
    try:
        yield
    finally:
        mallopt(M_PERTURB, 0)


def leave_nan_behind() -> None:
    """Free memory of all usual sizes that is full of NaN."""
    sizes = [2**n * part // 2 for n in range(3, 18) for part in (2, 3)]
    kept = [torch.full((size,), torch.nan) for size in sizes * 4]
    del kept


def gradients(
    case: Case, dtype: torch.dtype, *, still: bool = False, updates: int = UPDATES
) -> list[Tensor]:
    """All gradients of each of some updates, in one row."""
    torch.manual_seed(0)
    backbone = case.backbone()
    model = MultiHead(backbone, {"x": case.head(backbone.channels)}).to(memory_format=torch.channels_last)
    model.backbone_dtype = dtype
    if dtype == torch.bfloat16:
        guard_small_maps(backbone)
    model.train()
    for layer in model.modules():
        if still and isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()  # of six values it makes large what rounding leaves
    made: Any = model.heads["x"]
    train_step = TrainStep(
        model, lambda x, network, wanted: made.loss(network(x)["x"], wanted),
        torch.optim.SGD(model.parameters(), lr=0.01), PHOTOS,
    )
    photos = torch.randint(0, 256, (PHOTOS, 3, case.side, case.side), dtype=torch.uint8)
    seen = []
    for number in range(updates):
        leave_nan_behind()
        batch = Batch(photos, case.targets(), list(range(PHOTOS)), [])
        update(train_step, [batch], number, MetricAccumulator())
        seen.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    return seen


def distance(case: Case, rounding: float = ROUNDING) -> float:
    """How far bfloat16 is from float32, after a check that no gradient depends on what memory held."""
    for dtype in (torch.float32, torch.bfloat16):
        first = gradients(case, dtype)
        assert all(torch.isfinite(one).all() for one in first)
        for name, byte in FILLS.items():
            with filled(byte):
                again = gradients(case, dtype)
            assert all(map(torch.equal, first, again)), f"{dtype} reads memory that holds {name}"
    (exact,), (rounded,) = (
        gradients(case, dtype, still=True, updates=1) for dtype in (torch.float32, torch.bfloat16)
    )
    assert not torch.equal(exact, rounded), "nothing was computed in bfloat16"
    apart = float((rounded - exact).norm() / exact.norm())
    assert apart < rounding, f"bfloat16 is {apart:.2g} from float32"
    return apart


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbones_gradients_hang_on_no_memory_of_before(name: str, side: int) -> None:
    assert 0 < distance(replace(CLASSIFIER, backbone=BACKBONES[name], side=side)) < ROUNDING


@pytest.mark.parametrize("name", HEADS)
def test_a_heads_gradients_hang_on_no_memory_of_before(name: str) -> None:
    assert 0 < distance(HEADS[name]) < ROUNDING


def test_every_kind_of_head_is_here() -> None:
    made = {type(case.head(MobileNetV1(0.25).channels)) for case in HEADS.values()}
    every = {one for one in vars(heads).values() if isinstance(one, type) and issubclass(one, Head)}
    assert made == every - {Head}


class TestSmallMaps:
    """The layers that give wrong numbers in bfloat16, each alone."""

    @pytest.mark.parametrize(("kernel", "stride", "padding", "side"), [
        (3, 2, 1, 1), (5, 2, 2, 1), (7, 2, 3, 1), (4, 4, 0, 4), (3, 2, 1, 2), (3, 1, 1, 1), (3, 2, 1, 3),
    ])
    @pytest.mark.parametrize("groups", [1, 24])
    def test_a_map_smaller_than_the_kernel(
        self, kernel: int, stride: int, padding: int, side: int, groups: int
    ) -> None:
        images = torch.randn(4, 24, side, side, generator=torch.Generator().manual_seed(1))

        def run(dtype: torch.dtype) -> list[Tensor]:
            torch.manual_seed(0)
            conv = nn.Conv2d(24, 48, kernel, stride=stride, padding=padding, groups=groups, bias=False)
            guard_small_maps(conv.to(memory_format=torch.channels_last))
            given = images.clone(memory_format=torch.channels_last).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                output = conv(given)
            output.float().square().sum().backward()
            return [output.detach().float(), *(p.grad for p in (conv.weight, given) if p.grad is not None)]

        exact = run(torch.float32)
        for byte in FILLS.values():
            with filled(byte):
                rough = run(torch.bfloat16)
            for one, other in zip(rough, exact, strict=True):
                assert float((one - other).norm()) <= 0.02 * float(other.norm())

    def test_larger_maps_stay_in_bfloat16_and_names_stay(self) -> None:
        network = MobileNetV1(0.25, separable=False)
        names = list(network.state_dict())
        guard_small_maps(network)
        guard_small_maps(network)  # a second time changes nothing
        assert list(network.state_dict()) == names
        with torch.autocast("cpu", torch.bfloat16):
            maps = network(torch.rand(1, 3, 64, 64))
            output = network.conv_stem(torch.rand(1, 3, 64, 64))
        assert output.dtype == torch.bfloat16 and maps[32].shape == (1, 256, 2, 2)
