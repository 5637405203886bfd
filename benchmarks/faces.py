"""Photos to vectors beside facenet-pytorch's own route: MTCNN in batches and InceptionResnetV1."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

BATCH, THEIR_PX = 32, 160


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--photos", type=Path, required=True, help="photos of one size, a face each")
    parser.add_argument("--weights", help="face weights")
    parser.add_argument("--checkpoint", type=Path, help="a run of finetune faces, instead")
    parser.add_argument(
        "--onnx", type=Path, help="the same network exported, such as to int8, timed on the same crops"
    )
    parser.add_argument("--count", type=int, default=200, help="photos at most")
    parser.add_argument("--rounds", type=int, default=3, help="rounds A B A B")
    parser.add_argument("--threads", type=int, default=1, help="threads of both")


def run(options: argparse.Namespace) -> None:
    """Print one JSON object: CPU seconds of each stage, peak memory, and how many times as fast ours is.

    Each route runs in a process of its own, so that its peak memory is its own.
    """
    from datasets.image_io import find_images

    photos = list(find_images([options.photos]))[: options.count]
    results: dict[str, list[dict[str, float]]] = {"facenet": [], "ours": []}
    for _ in range(options.rounds):
        results["facenet"].append(_apart(facenet_route, photos, options))
        results["ours"].append(_apart(our_route, photos, options))
    middle = {
        name: {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
        for name, rows in results.items()
    }
    theirs, ours = middle["facenet"], middle["ours"]
    exported = {} if options.onnx is None else {
        "exported_times_as_fast": round(theirs["embedding_seconds"] / ours["exported_seconds"], 2)
    }
    print(json.dumps({  # noqa: T201
        "photos": len(photos), "threads": options.threads, **middle,
        "embedding_times_as_fast": round(theirs["embedding_seconds"] / ours["embedding_seconds"], 2),
        "whole_times_as_fast": round(theirs["whole_seconds"] / ours["whole_seconds"], 2), **exported,
    }))


def _apart(route: Callable[..., dict[str, float]], photos: list[Path], options: argparse.Namespace) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (route, photos, options))


def _measured(
    route: Callable[..., dict[str, float]], photos: list[Path], options: argparse.Namespace
) -> dict[str, float]:
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    return route(photos, options) | {
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    }


@torch.inference_mode()
def facenet_route(photos: list[Path], _: argparse.Namespace) -> dict[str, float]:
    """As the package's own examples do it; its network has random weights, which take the same time."""
    from facenet_pytorch import MTCNN, InceptionResnetV1
    from PIL import Image

    detector, network = MTCNN(image_size=THEIR_PX), InceptionResnetV1(pretrained=None).eval()
    network(torch.zeros(1, 3, THEIR_PX, THEIR_PX))
    began, embedding = time.process_time(), 0.0
    for start in range(0, len(photos), BATCH):
        images = [Image.open(path).convert("RGB") for path in photos[start : start + BATCH]]
        crops = [crop for crop in detector(images) if crop is not None]
        middle = time.process_time()
        network(torch.stack(crops))
        embedding += time.process_time() - middle
    return {"embedding_seconds": embedding, "whole_seconds": time.process_time() - began}


def our_route(photos: list[Path], options: argparse.Namespace) -> dict[str, float]:
    """As ``embed-faces --faces largest`` does it, without the table."""
    from apps.faces.extraction.extractor import FaceExtractor
    from apps.faces.extraction.loading import load_face_model
    from apps.faces.extraction.sources import Source
    from datasets.image_io import read_image

    model = load_face_model(weights=options.weights, checkpoint=options.checkpoint)
    size = model.info.resolution
    first = [read_image(photos[0]).resize((size, size))]
    model.vectors(first)
    exported = None if options.onnx is None else exported_network(options.onnx, options.threads)
    if exported is not None:
        exported(first)
    looker = FaceExtractor(size, "largest")
    looker(Source(str(photos[0]), photos[0]))  # both have loaded their detector
    began, embedding, cut = time.process_time(), 0.0, []
    for start in range(0, len(photos), BATCH):
        looks = [looker(Source(str(path), path)) for path in photos[start : start + BATCH]]
        crops = [crop for look in looks for crop in look.images]
        middle = time.process_time()
        model.vectors(crops)
        embedding += time.process_time() - middle
        cut.append(crops)
    results = {"embedding_seconds": embedding, "whole_seconds": time.process_time() - began}
    if exported is None:
        return results
    began = time.process_time()
    for crops in cut:
        exported(crops)
    return results | {"exported_seconds": time.process_time() - began}


def exported_network(file: Path, threads: int) -> Callable[[list[Any]], Any]:
    """Crops to vectors by ONNX Runtime.

    Args:
        file: a model of one input (B, 3, S, S): bytes, or floats in [0, 1].
        threads: 1 or more.
    """
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    fixed = given.shape[0] if isinstance(given.shape[0], int) else None

    def answer(crops: list[Any]) -> Any:
        pixels = np.stack([np.asarray(crop) for crop in crops]).transpose(0, 3, 1, 2)
        if given.type != "tensor(uint8)":
            pixels = pixels.astype(np.float32) / 255
        parts = [pixels] if fixed is None else [pixels[n : n + fixed] for n in range(0, len(pixels), fixed)]
        return np.concatenate([session.run(None, {given.name: part})[0] for part in parts])

    return answer
