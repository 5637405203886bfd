"""Four heads in one pass of a shared backbone beside one head's model and beside four models."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from apps.engine.inference.torch_engine import one_pass
from backbone import MobileNetV1
from benchmarks.gate import Gate
from benchmarks.rounds import Side, interleave, rates, ratios
from heads import Classifier, Embedding, Head, MultiHead

ROUNDS, STEPS, WARM_UP = 7, 2, 2
SIDES = {"one": "heads-one", "four": "heads-four", "separate": "heads-separate"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--width", type=float, default=1.0, help="of the backbone (1.0)")
    parser.add_argument("--resolution", type=int, default=224, help="side of the photos in px (224)")
    parser.add_argument("--batch", type=int, default=32, help="photos a pass (32)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of the three in turn ({ROUNDS})")
    parser.add_argument("--core", type=int, default=0, help="that all three are pinned to (0)")


def run(options: argparse.Namespace) -> None:
    """Write one JSON object: CPU seconds of a pass as ratios to one head's model: median, least, greatest.

    Raises:
        ValueError: an option is out of range.
        ChildProcessError: a side failed.
    """
    for name in ("rounds", "batch"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be 1 or more, got {getattr(options, name)}")
    sides = {
        name: Side(
            runner, width=options.width, resolution=options.resolution, batch=options.batch,
            core=options.core,
        ) for name, runner in SIDES.items()
    }
    result = interleave(sides, rounds=options.rounds, steps=STEPS, warm_up=WARM_UP)
    results: dict[str, Any] = {name: getattr(options, name) for name in ("width", "resolution", "batch")}
    results["photos_per_cpu_s"] = {name: round(rates(value, "cpu")[0], 2) for name, value in result.items()}
    for name in ("four", "separate"):
        cost = ratios(result["one"], result[name], "cpu")
        results[f"{name}_over_one"] = [round(value, 4) for value in cost]
    sys.stdout.write(json.dumps(results) + "\n")


def heads_of(channels: int) -> dict[str, Head]:
    """Heads in the sizes of the applications: breeds, ImageNet's classes, attributes, a face's vector."""
    return {
        "dogs": Classifier(channels, 120), "imagenet": Classifier(channels, 1000),
        "attributes": Classifier(channels, 40), "faces": Embedding(channels, 128),
    }


def one_head(gate: Gate, side: Side) -> None:
    """A model of one head."""
    _loop(gate, side, [["dogs"]])


def four_heads(gate: Gate, side: Side) -> None:
    """One backbone with four heads."""
    _loop(gate, side, [["dogs", "imagenet", "attributes", "faces"]])


def four_models(gate: Gate, side: Side) -> None:
    """Four models of a head each, one after the other on the same photos."""
    _loop(gate, side, [["dogs"], ["imagenet"], ["attributes"], ["faces"]])


def _loop(gate: Gate, side: Side, groups: list[list[str]]) -> None:
    models = []
    for names in groups:
        network = MobileNetV1(side.width)
        heads = heads_of(network.channels[32])
        models.append(one_pass(MultiHead(network, {name: heads[name] for name in names}).eval()))
    shape = (side.batch, 3, side.resolution, side.resolution)
    images = torch.randint(0, 256, shape, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    gate.say({"threads": torch.get_num_threads()})

    def photos(images: Tensor) -> float:
        return float(len(images))

    with torch.inference_mode():
        for _ in gate.through(repeat(images), photos):
            for answer in models:
                answer(images)
