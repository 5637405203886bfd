"""Top-1 of timm's network, ours, and every exported file of the same weights, on the same pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm import create_model
from torch import nn

from apps.engine.inference.engines import Engine
from apps.engine.inference.graph.model import Plan, plan
from apps.export.accuracy import figures
from backbone import register_timm_models
from backbone.weights import load_weights
from benchmarks.export_sides import load_form
from benchmarks.peers import NAMES
from benchmarks.tables import OURS, TIMM


def timm_network_of(weights: Path) -> nn.Module:
    """timm's own network with a file's weights and the padding that they were trained with."""
    loaded = load_weights(weights)
    arguments = loaded.info.arguments
    register_timm_models()
    how: dict[str, Any] = {"pad_type": "same" if arguments["padding"] == "same" else ""}
    if "eps" in arguments:
        how["bn_eps"] = arguments["eps"]
    network: nn.Module = create_model(NAMES[arguments["width"]], num_classes=1000, **how)
    counted = {name: value for name, value in network.state_dict().items() if "num_batches" in name}
    top = {f"classifier.{name}": value for name, value in loaded.classifier.items()}
    network.load_state_dict(counted | loaded.state | top)
    return network.eval()


def top1_of_forms(weights: Path, files: Mapping[str, Path], data: Path) -> dict[str, float]:
    """By name the top-1, and under ``photos`` how many there were.

    Raises:
        OSError: the photos are missing.
        ValueError: their folders are not named after ImageNet's classes.
    """
    torch.set_num_threads(1)
    made = plan((), str(weights), layout="nhwc", precision="fp32")
    models = {TIMM: _timm(made, weights), OURS: _trained(made)}
    models |= {name: load_form(path) for name, path in files.items()}
    result = figures(made.parts, list(models.values()), data)
    (name,) = (head.name for head in made.spec.heads)
    top1 = {form: round(item[f"{name}/top1"], 4) for form, item in zip(models, result, strict=True)}
    return top1 | {"photos": result[0][f"{name}/photos"]}


def _timm(made: Plan, weights: Path) -> Engine:
    network = timm_network_of(weights)

    @torch.inference_mode()
    def run(images: Any) -> list[Any]:
        pixels = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
        return [network((pixels - 0.5) / 0.5).numpy()]

    return Engine(made.spec, run)


def _trained(made: Plan) -> Engine:
    reference = made.reference()
    return Engine(made.spec, lambda images: [item.numpy() for item in reference(torch.tensor(images))])
