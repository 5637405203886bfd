"""From runs to one module: uint8 photos in, the outputs of all heads out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from apps.engine.core.files import sha256_of
from apps.engine.core.model import load_pretrained, load_run
from apps.engine.core.run_dir import RunConfig
from apps.engine.core.run_values import MODEL
from apps.engine.core.spec import RESIZES, HeadSpec, ModelSpec
from backbone import Backbone, inference_model

LIBRARIES = ("torch", "onnx", "onnxruntime")
Loaded = tuple[Any, Any, RunConfig]


class Deployed(nn.Module):
    """The folded backbone with its heads, for uint8 photos.

    Args:
        backbone: as trained.
        heads: name -> head.
        layout: of the photos: ``nhwc`` or ``nchw``.

    Shape:
        images: (B, R, R, 3) or (B, 3, R, R) uint8 RGB.
        returns: a tuple of all heads' outputs, in order.
    """

    scale: Tensor | None
    shift: Tensor

    def __init__(self, backbone: Backbone, heads: dict[str, Any], layout: str) -> None:
        super().__init__()
        self.backbone = inference_model(backbone, plain=True)
        self.heads = nn.ModuleDict(heads).eval()
        self.strides = {name: head.strides for name, head in heads.items()}
        self.layout = layout
        seen = backbone.preprocessing
        self.flips = seen.order == "bgr"
        scale = torch.tensor([1 / (255 * std) for std in seen.std])
        shift = torch.tensor([-255 * mean for mean in seen.mean])
        stem = getattr(self.backbone, "stem", None)
        if stem is not None:  # the first convolution takes the scale and the order of the channels in
            weight = stem.weight * scale.view(1, 3, 1, 1)
            stem.weight = weight.flip(1) if self.flips else weight
            shift = shift.flip(0) if self.flips else shift
            self.flips = False
        self.register_buffer("scale", _small(scale) if stem is None else None)
        self.register_buffer("shift", _small(shift))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One pass, every answer."""
        if self.layout == "nhwc":
            images = images.permute(0, 3, 1, 2)
        images = images.flip(1) if self.flips else images
        centred = images.float() + self.shift
        maps = self.backbone.features(centred if self.scale is None else centred * self.scale)
        outputs: list[Tensor] = []
        for name, head in self.heads.items():
            outputs += flat(head(*(maps[stride] for stride in self.strides[name])))
        return tuple(outputs)


def _small(values: Tensor) -> Tensor:
    """One number where the three channels share it, which runtimes apply several times sooner."""
    return values[0].clone() if bool((values == values[0]).all()) else values.view(1, 3, 1, 1)


@dataclass(frozen=True)
class Plan:
    """What is to be written: the module, and what it says of itself."""

    module: Deployed
    spec: ModelSpec
    parts: tuple[Loaded, ...]

    def example(self, batch: int, seed: int = 0) -> Tensor:
        """(batch, ...) smooth uint8 pictures to try the model with."""
        side = self.spec.resolution
        made = torch.rand(batch, 3, 7, 7, generator=torch.Generator().manual_seed(seed))
        made = nn.functional.interpolate(made, (side, side), mode="bilinear").mul(255).byte()
        return made.permute(0, 2, 3, 1).contiguous() if self.spec.layout == "nhwc" else made

    def reference(self) -> Callable[[Tensor], list[Tensor]]:
        """Photos -> outputs of the models as trained: nothing folded, nothing exported."""

        @torch.inference_mode()
        def answer(images: Tensor) -> list[Tensor]:
            images = images.permute(0, 3, 1, 2) if self.spec.layout == "nhwc" else images
            tensors: list[Tensor] = []
            for (_, model, _), (name, head) in zip(self.parts, self.module.heads.items(), strict=True):
                maps = model.backbone(images)
                tensors += flat(head(*(maps[stride] for stride in self.module.strides[name])))
            return tensors

        return answer


def flat(output: Any) -> list[Tensor]:
    """A head's output as a list of tensors, dicts in the order of their keys."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in flat(part)]


def load_parts(runs: Sequence[Path], weights: str | None, app: str | None = None) -> tuple[Loaded, ...]:
    """The runs, or the pretrained network, that a model is made of; all on one backbone.

    Raises:
        FileNotFoundError: a run or the weights are missing.
        ValueError: nothing or both is given, a run is damaged, or the backbones or their inputs differ.
    """
    if bool(runs) == (weights is not None):
        raise ValueError("give RUN folders made by finetune, or --weights W with a classifier, not both")
    if weights is not None:
        return (load_pretrained(weights, app=app),)
    parts = tuple(load_run(run) for run in runs)
    first = parts[0][2]
    for run, (_, _, config) in zip(runs, parts, strict=False):
        if config.fingerprint != first.fingerprint:
            raise ValueError(
                f"{runs[0]} has backbone {first.fingerprint}, {run} has {config.fingerprint}: one model has "
                "one backbone; train the heads with --freeze on the same weights, or export them apart"
            )
        if config.backbone.preprocessing != first.backbone.preprocessing:
            wanted = [item.backbone.preprocessing for item in (first, config)]
            text = " and ".join(f"resolution {item.resolution}, crop {item.crop:g}" for item in wanted)
            raise ValueError(
                f"{runs[0]} and {run} want different inputs ({text}); train the heads at one --resolution "
                "and --eval-crop, or export them apart"
            )
    return parts


def plan(
    runs: Sequence[Path], weights: str | None, *, layout: str, precision: str, app: str | None = None
) -> Plan:
    """The module and its description, from runs or from what pretrained weights answer for ``app``.

    Raises:
        FileNotFoundError: a run or the weights are missing.
        ValueError: see :func:`load_parts`; or a head cannot be exported.
    """
    parts = load_parts(runs, weights, app)
    heads: dict[str, Any] = {}
    specs: list[HeadSpec] = []
    for task, model, config in parts:
        name = free_name(config.app, heads)
        trained = model.heads[config.app]
        heads[name] = task.graph_head(trained)
        specs.append(describe(name, task, trained, heads[name], config))
    _, model, config = parts[0]
    seen = config.backbone.preprocessing
    spec = ModelSpec(
        config.fingerprint, seen.resolution, seen.crop, layout, precision, about_backbone(config),
        tuple(specs), {library: version(library) for library in LIBRARIES}, resize_of(specs),
        sha256_of(runs[0] / MODEL) if len(runs) == 1 else "",
    )
    return Plan(Deployed(model.backbone, heads, layout), spec, parts)


def resize_of(heads: Sequence[HeadSpec]) -> str:
    """How all heads want a photo to come onto the input's square.

    Raises:
        ValueError: they do not want it alike.
    """
    wanted = {head.extra.get("resize", RESIZES[0]): head.name for head in heads}
    if len(wanted) > 1:
        text = ", ".join(f"{name} wants {mode}" for mode, name in wanted.items())
        raise ValueError(f"the heads want photos on the square differently ({text}); export them apart")
    (mode,) = wanted
    return str(mode)


def free_name(name: str, taken: dict[str, Any]) -> str:
    """The name, or with a number behind it where it is taken."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


@runtime_checkable
class GraphHead(Protocol):
    """A head as it stands in a graph, whose outputs mean something else than the trained head's."""

    def describe(self, spec: HeadSpec) -> HeadSpec:
        """What its outputs mean, from what the trained head's mean."""


def describe(name: str, task: Any, head: Any, graph_head: Any, config: RunConfig) -> HeadSpec:
    """What the outputs of a head mean, as it stands in the graph.

    Args:
        name: of the head in the model.
        task: its task.
        head: as trained.
        graph_head: as :meth:`apps.engine.core.task.Task.graph_head` made it.
        config: of its run.
    """
    spec: HeadSpec = task.head_spec(head, config)
    if isinstance(graph_head, GraphHead):
        spec = graph_head.describe(spec)
    return spec.named(name)


def about_backbone(config: RunConfig) -> dict[str, Any]:
    """What a model says of its backbone, plain types."""
    info = config.backbone.to_dict()
    kept = {key: info[key] for key in ("name", "arch", "source", "licence")}
    return {**kept, "arguments": dict(info["arguments"]), "preprocessing": info["preprocessing"]}
