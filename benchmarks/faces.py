"""Photos to vectors beside facenet-pytorch's own route: MTCNN in batches and InceptionResnetV1."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import peak_memory

BATCH, THEIR_PX = 32, 160
Figures = dict[str, float]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--photos", type=Path, required=True, help="photos of one size, a face each")
    parser.add_argument("--weights", help="face weights")
    parser.add_argument("--checkpoint", type=Path, help="a run of finetune faces, instead")
    parser.add_argument("--onnx", type=Path, help="the same exported, such as to int8: a further route")
    parser.add_argument("--detector", choices=("mtcnn", "ssd"), help="what finds faces; without it, each")
    parser.add_argument("--count", type=int, default=200, help="photos at most")
    parser.add_argument("--rounds", type=int, default=3, help="rounds A B A B")
    parser.add_argument("--threads", type=int, default=1, help="threads of facenet-pytorch; ours has one")


def run(options: argparse.Namespace) -> None:
    """Print one JSON object: CPU seconds of each stage, peak memory, and how many times as fast ours is.

    Each route runs in a process of its own, so that its peak memory is its own.
    """
    from datasets.image_io import find_images

    photos = list(find_images([options.photos]))[: options.count]
    routes = routes_of(options)
    results: dict[str, list[Figures]] = {name: [] for name in routes}
    for _ in range(options.rounds):
        for name, route in routes.items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                results[name].append(pool.apply(_measured, (route, photos, options)))
    middle = {
        name: {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
        for name, rows in results.items()
    }
    theirs = middle.pop("facenet")
    parts = ("embedding_seconds", "whole_seconds")
    times = {
        name: {part: round(theirs[part] / ours[part], 2) for part in parts} for name, ours in middle.items()
    }
    print(json.dumps({  # noqa: T201
        "photos": len(photos), "rounds": options.rounds, "facenet": theirs, **middle, "times_as_fast": times,
    }))


def routes_of(options: argparse.Namespace) -> dict[str, Callable[..., Figures]]:
    """What is compared, by name; called with the photos and the options."""
    detectors = ("mtcnn", "ssd") if options.detector is None else (options.detector,)
    routes: dict[str, Callable[..., Figures]] = {"facenet": facenet_route}
    for detector in detectors:
        routes[detector] = partial(our_route, detector, None)
        if options.onnx is not None:
            routes[f"{detector}, exported"] = partial(our_route, detector, options.onnx)
    return routes


def _measured(route: Callable[..., Figures], photos: list[Path], options: argparse.Namespace) -> Figures:
    warnings.simplefilter("ignore")
    return route(photos, options) | {"peak_memory_mb": peak_memory() / 2**20}


def facenet_route(photos: list[Path], options: argparse.Namespace) -> Figures:
    """As the package's own examples do it; its network has random weights, which take the same time."""
    import torch
    from facenet_pytorch import MTCNN, InceptionResnetV1
    from PIL import Image

    torch.set_num_threads(options.threads)
    detector, network = MTCNN(image_size=THEIR_PX), InceptionResnetV1(pretrained=None).eval()
    with torch.inference_mode():
        network(torch.zeros(1, 3, THEIR_PX, THEIR_PX))
        began, embedding = time.process_time(), 0.0
        for start in range(0, len(photos), BATCH):
            images = [Image.open(path).convert("RGB") for path in photos[start : start + BATCH]]
            crops = [crop for crop in detector(images) if crop is not None]
            middle = time.process_time()
            network(torch.stack(crops))
            embedding += time.process_time() - middle
    return {"embedding_seconds": embedding, "whole_seconds": time.process_time() - began}


def our_route(
    detector: str, exported: Path | None, photos: list[Path], options: argparse.Namespace
) -> Figures:
    """As ``embed-faces --faces largest`` does it, without the table; then reading and finding alone."""
    from apps.faces.extraction.extractor import FaceExtractor, as_detector, make_detector
    from apps.faces.extraction.loading import load_face_model
    from apps.faces.extraction.opening import open_source
    from apps.faces.extraction.sources import Source
    from datasets.image_io import read_image

    model = load_face_model(weights=options.weights, checkpoint=options.checkpoint)
    if exported is not None:
        model = exported_model(exported, model.info)
    size = model.info.resolution
    model.vectors([read_image(photos[0]).resize((size, size))])
    finder = make_detector(as_detector(detector))
    looker = FaceExtractor(size, "largest", detector=finder)
    sources = [Source(str(path), path) for path in photos]
    looker(sources[0])  # everything is loaded
    began, embedding = time.process_time(), 0.0
    for start in range(0, len(sources), BATCH):
        crops = [crop for source in sources[start : start + BATCH] for crop in looker(source).images]
        middle = time.process_time()
        model.vectors(crops)
        embedding += time.process_time() - middle
    whole, began = time.process_time() - began, time.process_time()
    images = [open_source(source).image for source in sources]
    reading, began = time.process_time() - began, time.process_time()
    for image in images:
        finder.detect(image)
    finding = time.process_time() - began
    return {
        "reading_seconds": reading, "finding_seconds": finding,
        "aligning_seconds": whole - reading - finding - embedding,
        "embedding_seconds": embedding, "whole_seconds": whole,
    }


def exported_model(file: Path, info: Any) -> Any:
    """An exported file that embeds in the place of the network it was made of; ``info`` is that one's."""
    from apps.engine.inference.model_file import load_model
    from apps.faces.extraction.loading import FaceModelFile

    return FaceModelFile(info, load_model(file))
