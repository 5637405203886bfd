"""CPU time of a photo through SSD300 1.0, boxes and suppression included, beside torchvision's detectors."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large

from apps.engine.core.model import inference_forward
from apps.objects.transforms import ToSquare
from backbone import MobileNetV1
from datasets.image_io import find_images, read_pixels
from heads import SSD, MultiHead

CLASSES = 91  # with the background
Detector = Callable[[Tensor], int]  # (3, S, S) in [0, 1] -> boxes found


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--photos", type=Path, required=True, help="a photo, or a folder of photos")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of all detectors (default: 15)")
    parser.add_argument(
        "--candidates", type=int, default=200,
        help="pairs of box and class that suppression gets of each detector (default: 200)",
    )
    parser.add_argument("--vgg", action=argparse.BooleanOptionalAction, default=True, help="time VGG, too")


def run(options: argparse.Namespace) -> None:
    """Write one JSON object to stdout.

    Weights are random, with batch-norm's statistics of the first photo; each detector gets the threshold
    that ``candidates`` pairs of box and class pass on it.

    Raises:
        FileNotFoundError: there is no photo.
    """
    torch.set_num_threads(1)
    paths = list(find_images([options.photos]))[: options.rounds]
    if not paths:
        raise FileNotFoundError(f"{options.photos} holds no photo; give a folder that does")
    makers: dict[str, tuple[int, Callable[[Tensor, int], Detector]]] = {
        "ours": (300, ours), "ssdlite320_mobilenet_v3_large": (320, ssdlite),
    }
    if options.vgg:
        makers["ssd300_vgg16"] = (300, vgg)
    photos = {side: [squashed(path, side) for path in paths] for side in (300, 320)}
    with torch.inference_mode():
        detectors = {
            name: (make(photos[side][0], options.candidates), photos[side])
            for name, (side, make) in makers.items()
        }
        times, result = interleaved(detectors, options.rounds)
    medians = {name: statistics.median(item) for name, item in times.items()}
    sys.stdout.write(json.dumps({
        "cpu_ms": {name: round(1000 * median, 2) for name, median in medians.items()},
        "times_as_fast": {
            name: round(statistics.median(a / b for a, b in zip(item, times["ours"], strict=True)), 2)
            for name, item in times.items() if name != "ours"
        },
        "boxes": result, "candidates": options.candidates, "rounds": options.rounds,
    }) + "\n")


def squashed(path: Path, side: int) -> Tensor:
    """A photo as (3, side, side) in [0, 1]."""
    return ToSquare(side, keep_aspect=False)(read_pixels(path)).float() / 255


def interleaved(
    detectors: dict[str, tuple[Detector, list[Tensor]]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """CPU seconds of each detector in each round, A B C A B C, and boxes found in all; one round warms up."""
    times: dict[str, list[float]] = {name: [] for name in detectors}
    result = dict.fromkeys(detectors, 0)
    for number in range(rounds + 1):
        for name, (detect, photos) in detectors.items():
            start = time.process_time()
            boxes = detect(photos[number % len(photos)])
            if number:
                times[name].append(time.process_time() - start)
                result[name] += boxes
    return times, result


def ours(photo: Tensor, candidates: int) -> Detector:
    """SSD300 on MobileNetV1 1.0, as ``detect`` runs it."""
    torch.manual_seed(0)
    trunk = MobileNetV1(1.0)
    head = SSD([trunk.channels[16], trunk.channels[32]], CLASSES - 1, size=300)
    model = MultiHead(trunk, {"objects": head})
    measure_norms(model, model, photo)
    forward = inference_forward(model, "objects")
    head.score_thresh = threshold_for(forward(photo[None])["cls_logits"][0], candidates)
    return lambda item: len(head.decode(forward(item[None]))[0].boxes)


def ssdlite(photo: Tensor, candidates: int) -> Detector:
    """torchvision's SSDlite 320 on MobileNetV3, Large."""
    torch.manual_seed(0)
    make: Any = ssdlite320_mobilenet_v3_large
    return torchvisions(make(weights=None, weights_backbone=None, num_classes=CLASSES), photo, candidates)


def vgg(photo: Tensor, candidates: int) -> Detector:
    """torchvision's SSD 300 on VGG16."""
    torch.manual_seed(0)
    make: Any = ssd300_vgg16
    return torchvisions(make(weights=None, weights_backbone=None, num_classes=CLASSES), photo, candidates)


def torchvisions(model: nn.Module, photo: Tensor, candidates: int) -> Detector:
    """A detector of torchvision that gives suppression so many candidates."""
    whole: Any = model

    def raw(images: Tensor) -> Any:
        return whole.head(list(whole.backbone(images).values()))

    seen = whole.transform([photo])[0].tensors
    measure_norms(model, raw, seen[0])
    logits = raw(seen)["cls_logits"][0]
    whole.score_thresh = threshold_for(logits, candidates)
    return lambda item: len(whole([item])[0]["boxes"])


def measure_norms(model: nn.Module, forward: Callable[[Tensor], Any], photo: Tensor) -> None:
    """Give batch-norm the statistics of a photo and its mirror image, then leave training mode.

    Without them random layers shrink every signal to nothing, and all scores are one and the same.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()
    forward(torch.stack([photo, photo.flip(-1)]))
    model.eval()


def threshold_for(logits: Tensor, candidates: int) -> float:
    """The score that ``candidates`` pairs of box and class are above.

    Shape:
        logits: (A, K + 1), the background first.
    """
    scores = logits.softmax(1)[:, 1:].flatten()
    return float(scores.topk(candidates + 1).values[-1])
