"""Inference in PyTorch as sides of the comparison."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from backbone import MobileNetV1
from benchmarks.gate import Gate
from benchmarks.peers import timm_network
from benchmarks.rounds import Side
from heads import Classifier, MultiHead

CLASSES = 1000


def seeded_network(side: Side) -> nn.Module:
    """timm's network in evaluation mode with weights and statistics that let no channel die."""
    torch.manual_seed(side.seed)
    network = timm_network(side.width, CLASSES)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.normal_(module.bias, 0.2, 0.2)
            nn.init.normal_(torch.as_tensor(module.running_mean), 0.0, 0.2)
            nn.init.uniform_(torch.as_tensor(module.running_var), 0.8, 1.6)
    nn.init.normal_(network.get_submodule("classifier").weight, std=0.05)  # type: ignore[arg-type]
    return network.eval()


def our_network(network: nn.Module, side: Side) -> nn.Module:
    """Our network with the weights of timm's, made ready to answer."""
    ours = MobileNetV1(side.width, padding="symmetric")
    model = MultiHead(ours, {"classes": Classifier(ours.channels[32], CLASSES)})
    state = {key.replace("classifier.", "heads.classes.linear.") if key.startswith("classifier.")
             else f"backbone.{key}": value for key, value in network.state_dict().items()}
    model.load_state_dict(state)
    return model.eval().to(memory_format=torch.channels_last)


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
    model = our_network(reference, side)
    images = torch.rand(side.batch, 3, side.resolution, side.resolution)
    images = images.contiguous(memory_format=torch.channels_last)
    low = side.options.get("precision", "fp32") == "bf16"
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16) if low else nullcontext():
        answers = model(images[:4])["classes"].float()
        with torch.autocast("cpu", enabled=False):
            wanted = reference((images[:4] - 0.5) / 0.5)
        gate.say({"threads": torch.get_num_threads(), "difference": difference(answers, wanted)})
        for _ in gate.through(repeat(images), lambda images: float(len(images))):
            model(images)


def difference(answers: Tensor, wanted: Tensor) -> dict[str, Any]:
    """How far logits are off: the greatest distance over the greatest logit, and the shared first answers."""
    distance = (answers - wanted).abs().max() / wanted.abs().max()
    same = (answers.argmax(dim=1) == wanted.argmax(dim=1)).float().mean()
    return {"relative": float(distance), "same_first": float(same)}
