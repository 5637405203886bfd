"""From settings or a run's folder to a model, and the settings that follow from the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apps.engine.core.registry import load_task
from apps.engine.core.run_dir import CONFIG, MODEL, RunConfig, load_model_state, read_config
from apps.engine.core.settings import Settings
from apps.engine.core.task import AnyTask
from backbone import (
    Backbone,
    Preprocessing,
    Weights,
    WeightsInfo,
    build,
    inference_model,
    load_state,
    load_weights,
)
from backbone.pretrained import IMAGENET
from backbone.schema import LARGEST_PX, LARGEST_WIDTH, Rule, checked, choice, number, one_line
from heads import SSD, MultiHead

SCRATCH_WIDTH, SCRATCH_RESOLUTION, SAMPLE_RESOLUTION = 0.25, 128, 96
SSD_ARGUMENTS: dict[str, Rule] = {
    "size": number(64, LARGEST_PX, whole=True), "width": number(1e-3, LARGEST_WIDTH),
    "padding": choice("symmetric", "same"), "anchors": choice("torchvision", "tensorflow", "stored"),
    "score_converter": choice("softmax", "sigmoid"), "score_thresh": number(0, 1),
    "nms_thresh": number(0, 1), "topk_candidates": number(1, 100_000, whole=True),
    "detections_per_img": number(1, 10_000, whole=True),
}
OURS, HEAD = "mobilenetv1", "head."  # what a detector's tensors begin with in a file of weights


def find_weights(settings: Settings) -> Weights | None:
    """The weights that the settings name, held against the other settings.

    Raises:
        ValueError: ``--width`` or ``--backbone`` says something else than the weights.
    """
    if settings.weights is None:
        return None
    weights = load_weights(settings.weights)
    has_width = weights.info.arguments.get("width")
    if settings.width is not None and settings.width != has_width:
        raise ValueError(
            f"--width {settings.width:g}, but the weights {weights.info.name} are of width {has_width}; "
            "leave --width out, or give other --weights"
        )
    if settings.backbone not in (OURS, weights.info.arch.removeprefix("timm:")):
        raise ValueError(
            f"--backbone {settings.backbone}, but the weights {weights.info.name} are of "
            f"{weights.info.arch}; leave --backbone out, or give other --weights"
        )
    return weights


def describe(settings: Settings, weights: Weights | None, *, sample: bool = False) -> WeightsInfo:
    """What the backbone is: that of the weights, or a new one as the settings say.

    The drawings of the sample fill their frame, so they are seen whole, and smaller.
    """
    if weights is not None:
        return weights.info
    if settings.backbone != OURS:
        if settings.width is not None:
            raise ValueError(f"--width is for mobilenetv1, not for {settings.backbone}; leave it out")
        return WeightsInfo(
            settings.backbone, arch=f"timm:{settings.backbone}", source="trained from scratch here"
        )
    arguments = {"width": settings.width or SCRATCH_WIDTH, "padding": "same"}
    resolution = settings.resolution or (SAMPLE_RESOLUTION if sample else SCRATCH_RESOLUTION)
    seen = Preprocessing(resolution=resolution, crop=1.0 if sample else 0.875)
    return WeightsInfo(
        f"mobilenetv1_{arguments['width']:g}", arguments=arguments, source="trained from scratch here",
        preprocessing=seen,
    )


def make_backbone(
    info: WeightsInfo, weights: Weights | None, resolution: int, crop: float | None = None
) -> tuple[Backbone, WeightsInfo]:
    """The network with its weights, and its description with the resolution, and the crop, in use."""
    network = build(info) if weights is None else build(info, most=weights.count)
    if weights is not None:
        load_state(network, weights)
    preprocessing = replace(network.preprocessing, resolution=resolution)
    if crop is not None:
        preprocessing = replace(preprocessing, crop=crop)
    network.set_preprocessing(preprocessing)
    return network, replace(info, preprocessing=preprocessing)


def make_model(task: AnyTask, network: Backbone, classes: Sequence[str]) -> MultiHead:
    """The backbone with a new head of the application, in channels-last memory."""
    head = task.head(network.channels, classes)
    task.init_head(network, head)
    model = MultiHead(network, {task.name: head})
    return model.to(memory_format=torch.channels_last)


class SingleHead(nn.Module):
    """Images to the output of one head, as a module that processes can share."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, images: Any) -> Any:
        """The head's output."""
        return self.model(images, [self.name])[self.name]


def inference_forward(
    model: MultiHead, name: str, dtype: torch.dtype = torch.float32
) -> Callable[[Tensor], Any]:
    """One head's output on a copy of the backbone that is made for answering: batch-norm is folded in.

    Args:
        model: as trained; the copy does not follow when it learns on.
        name: of the head.
        dtype: in which the backbone computes.
    """
    backbone: Any = model.backbone
    network, head = inference_model(backbone, dtype), model.heads[name].eval()

    def forward(images: Tensor) -> Any:
        maps = network(images)
        return head(*(maps[stride].float() for stride in model.strides[name]))

    return forward


def load_run(run: Path, *, app: str | None = None, **changes: Any) -> tuple[AnyTask, MultiHead, RunConfig]:
    """The application, the model in evaluation mode and the configuration of a finished run.

    Args:
        run: the folder that ``finetune`` wrote.
        app: the application that it must be of; None for any.
        changes: settings to read the application with, such as ``data``.

    Raises:
        FileNotFoundError: the run or a file of it is missing.
        ValueError: it is damaged, or of another application.
    """
    config = read_config(run, app=app)
    task_class = load_task(config.app)
    fields = task_class.Settings.__dataclass_fields__
    known = {key: value for key, value in config.settings.items() if key in fields}
    if not (run / MODEL).is_file():
        raise FileNotFoundError(f"{run / MODEL} is missing; restore it or train again")
    with one_line(run / CONFIG, "restore it or train again", "is damaged"):
        item = task_class(task_class.Settings(**(known | changes)))
        most = (run / MODEL).stat().st_size // 2  # as a number has two bytes or more
        model = make_model(item, build(config.backbone, most=most), config.classes)
    load_model_state(run, model)
    model.eval()
    return item, model, config


def pretrained_ssd(weights: Weights, channels: dict[int, int]) -> SSD:
    """The SSD that weights bring, with its numbers, in evaluation mode.

    Args:
        weights: whose ``info.head`` describes it.
        channels: of the backbone's maps.

    Raises:
        ValueError: they bring none, or its numbers are those of another one.
    """
    head, name = weights.info.head, weights.info.name
    if head.get("kind") != "ssd":
        raise ValueError(
            f"weights {name} bring no detector: give others, such as ssd_mobilenetv1_0.75_coco, or a run of "
            "`finetune objects`"
        )
    try:
        arguments = checked(head["arguments"], SSD_ARGUMENTS, "its arguments")
        ssd = SSD([channels[stride] for stride in SSD.strides], len(head["classes"]), **arguments)
    except (TypeError, ValueError) as err:
        raise ValueError(f"weights {name} bring another SSD ({err}); import them again") from err
    state = {key: value for key, value in ssd.state_dict().items() if key.endswith("num_batches_tracked")}
    mine = {key.removeprefix(HEAD): value for key, value in weights.others.items() if key.startswith(HEAD)}
    try:
        ssd.load_state_dict(state | mine)
    except RuntimeError as err:
        fault = str(err).splitlines()[-1].strip()
        raise ValueError(f"the numbers of weights {name} are those of another SSD: {fault}") from err
    return ssd.eval()


def load_pretrained(
    weights: str, *, app: str | None = None, **changes: Any
) -> tuple[AnyTask, MultiHead, RunConfig]:
    """A model from weights that bring a head along.

    Args:
        weights: a path or a registered name.
        app: ``imagenet`` or ``dogs`` for a classifier of ImageNet's classes, ``dogs`` for one of others,
            ``attributes`` for the face network, ``objects`` for a detector; None takes ``objects`` where
            there is a detector, and else decides between the first two by the classes.
        changes: settings to read the application with, such as ``data``.

    Raises:
        FileNotFoundError: there are no such weights.
        KeyError: there is no such application.
        ValueError: the weights bring no head for it.
    """
    loaded = load_weights(weights)
    ours = bool(loaded.classifier) and IMAGENET not in loaded.info.classes
    classifies = "dogs" if ours else "imagenet"
    task_class = load_task(app or ("objects" if loaded.info.head else classifies))
    item = task_class(task_class.with_weights(task_class.Settings(weights=weights, **changes), loaded))
    network, info = make_backbone(
        loaded.info, loaded, loaded.info.preprocessing.resolution, item.eval_crop
    )
    made = item.pretrained_head(loaded, network.channels)
    model = MultiHead(network, {item.name: made.head}).to(memory_format=torch.channels_last)
    model.eval()
    return item, model, RunConfig(
        item.name, made.classes, item.settings.to_dict(), info, network.fingerprint(), made.calibration
    )


def load_source(source: str | Path, *, app: str | None = None) -> tuple[AnyTask, MultiHead, RunConfig]:
    """A run's folder by :func:`load_run`, or weights that bring a head along by :func:`load_pretrained`."""
    path = Path(source)
    if path.is_dir():
        return load_run(path, app=app)
    return load_pretrained(str(source), app=app)
