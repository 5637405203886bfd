"""Inference in PyTorch as sides of the comparison."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from benchmarks.gate import Gate
from benchmarks.ours import answerer
from benchmarks.peers import CLASSES, seeded_network
from benchmarks.rounds import Side


def timm_eager(gate: Gate, side: Side) -> None:
    """timm's network as its users call it; photos are normalised before."""
    network = seeded_network(side)
    images = (torch.rand(side.batch, 3, side.resolution, side.resolution) - 0.5) / 0.5
    gate.say({"threads": torch.get_num_threads()})
    with torch.inference_mode():
        for _ in gate.through(repeat(images), lambda images: float(len(images))):
            network(images)


def ours(gate: Gate, side: Side) -> None:
    """Ours on photos in [0, 1], with the normalisation inside; says how far it is from timm's in fp32."""
    reference = seeded_network(side)
    answer = answerer(reference, side, CLASSES)
    images = torch.rand(side.batch, 3, side.resolution, side.resolution)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        off = difference(answer(images[:4]).float(), reference((images[:4] - 0.5) / 0.5))
        gate.say({"threads": torch.get_num_threads(), "difference": off})
        for _ in gate.through(repeat(images), lambda images: float(len(images))):
            answer(images)


def difference(answers: Tensor, wanted: Tensor) -> dict[str, Any]:
    """How far logits are off: the greatest distance over the greatest logit, and the shared first answers."""
    distance = (answers - wanted).abs().max() / wanted.abs().max()
    same = (answers.argmax(dim=1) == wanted.argmax(dim=1)).float().mean()
    return {"relative": float(distance), "same_first": float(same)}
