"""Exported models, and folders of photos, as sides of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from apps.engine.core.spec import KEY, ModelSpec
from apps.engine.inference.engines import Engine
from apps.engine.inference.mobile.files import RUNTIMES, load_mobile
from apps.engine.inference.model_file import load_model
from apps.engine.inference.predictor import Predictor
from benchmarks.gate import Gate
from benchmarks.peers import seeded_network
from benchmarks.rounds import Side
from datasets.image_io import find_images

CHUNK = 32  # photos of a step through a folder
CROP = 0.875
TOP = 5


def load_form(path: Path) -> Engine:
    """An exported file of any kind, on one thread.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not one of ours.
    """
    if path.suffix in RUNTIMES:
        return load_mobile(path)
    return _load_program(path) if path.suffix == ".pt2" else load_model(path)


def _load_program(path: Path) -> Engine:
    results = {KEY: ""}
    module = torch.export.load(path, extra_files=results).module()

    @torch.inference_mode()
    def run(images: Any) -> list[Any]:
        return [output.numpy() for output in module(torch.tensor(images))]

    return Engine(ModelSpec.from_json(results[KEY], path), run)


def shape_of(spec: ModelSpec, batch: int) -> tuple[int, ...]:
    """Of a batch as the model wants it."""
    side = spec.resolution
    return (batch, side, side, 3) if spec.layout == "nhwc" else (batch, 3, side, side)


def file_form(gate: Gate, side: Side) -> None:
    """The exported model in ``options["file"]`` on bytes that are in memory already."""
    model = load_form(Path(side.options["file"]))
    random = np.random.default_rng(side.seed)
    images = random.integers(0, 256, shape_of(model.spec, side.batch), dtype=np.uint8)
    gate.say({"threads": torch.get_num_threads()})
    for _ in gate.through(repeat(images), lambda images: float(len(images))):
        model.run(images)


def chunks(root: str) -> Iterator[list[Path]]:
    """The photos of a folder round and round, some at a time."""
    photos = cycle(sorted(find_images([Path(root)])))
    while True:
        yield list(islice(photos, CHUNK))


def folder_file(gate: Gate, side: Side) -> None:
    """What one worker of ``predict --model`` does with the photos of a folder."""
    model = Predictor(side.options["file"], threads=1)
    gate.say({"threads": torch.get_num_threads()})
    for paths in gate.through(chunks(side.root), lambda paths: float(len(paths))):
        model.predict(paths, top=TOP)


def folder_timm(gate: Gate, side: Side) -> None:
    """The same in the usual way: Pillow, torchvision's transforms, timm's network, ``batch`` at a time."""
    from torchvision import transforms

    network = seeded_network(side)
    prepare = transforms.Compose([
        transforms.Resize(int(side.resolution / CROP)), transforms.CenterCrop(side.resolution),
        transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3),
    ])
    gate.say({"threads": torch.get_num_threads()})
    with torch.inference_mode():
        for paths in gate.through(chunks(side.root), lambda paths: float(len(paths))):
            for start in range(0, len(paths), side.batch):
                some = paths[start : start + side.batch]
                images = torch.stack([prepare(Image.open(path).convert("RGB")) for path in some])
                network(images).softmax(dim=1).topk(TOP)
