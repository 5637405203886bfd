"""``weights import``: a file in, this project's safetensors out, held against its source."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from apps.engine.core.console import Console
from apps.engine.core.files import sha256_of, writable_file, write_whole
from apps.engine.data.loader import eval_loader
from apps.zoo.convert import detector, parity
from apps.zoo.convert.detector import Columns, find_columns, head_arguments, to_head_state
from apps.zoo.convert.keras import read_keras
from apps.zoo.convert.names import class_line, known_weights
from apps.zoo.convert.network import Slot, check_numbers, recognise
from apps.zoo.convert.pytorch import read_pytorch
from apps.zoo.convert.source import Padding, RefusedError, Source
from apps.zoo.convert.tfjs.manifest import is_tfjs
from apps.zoo.convert.tfjs.mobilenet import read_tfjs
from apps.zoo.convert.tflite_read import read_tflite
from apps.zoo.convert.unfold import measure, to_state
from backbone import MobileNetV1, Preprocessing, load_weights
from backbone.mobilenet import BATCH_NORM_EPS
from backbone.pretrained import Registered
from backbone.storage import foreign_kind
from backbone.weights import INPUTS, licence_in, weights_from
from datasets.base import ImageDataset, Photo
from datasets.image_io import find_images

BATCH = 32
FEW_PHOTOS = 100
INPUT_NAMES = dict(zip(("half", "caffe", "imagenet", "unit"), INPUTS, strict=True))


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about a file.

    Args:
        calibrate: folder of photos to measure batch-norm on.
        photos: how many of them at most, 2 or more, spread evenly over the folder.
        width: that the network must have; None tells it from the shapes.
        resolution: pixels; None as the file tells, else 224.
        input: ``half``, ``caffe``, ``imagenet`` or ``unit``; None as the file tells or its kind suggests.
        padding: of the stride-2 layers; None as the file tells or its kind suggests.
        source: words for the metadata; None names the file and its sum.
        licence: SPDX name; None takes it from the registry, if the file's sum is known there.
        reminders: say what a later training of these weights must know.
        labels: of a detector, a line for each column; None takes those beside the file, or COCO's. Of a
            classifier, a line for each class; None takes them from the registry.
    """

    calibrate: Path | None = None
    photos: int = 512
    width: float | None = None
    resolution: int | None = None
    input: str | None = None
    padding: Padding | None = None
    source: str | None = None
    licence: str | None = None
    reminders: bool = True
    labels: Path | None = None


def read_source(path: Path) -> Source:
    """The content of a file of weights, whatever it is called.

    Raises:
        FileNotFoundError: there is no such file.
        RefusedError: it is of no known kind, damaged, or another network.
        ValueError: it is a damaged PyTorch file, or a pickle that wants to run code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a .tflite, .h5, .pt or .safetensors file")
    reader = _reader(path)
    if reader not in (read_tflite, read_keras, read_tfjs) and (foreign := foreign_kind(path)):
        raise RefusedError(foreign)
    reader = reader or {".tflite": read_tflite, ".safetensors": read_pytorch}.get(path.suffix.lower())
    if reader is None:
        raise RefusedError(
            f"{path} is no file of weights in a known format (TFLite, Keras HDF5, TensorFlow.js, PyTorch, "
            "safetensors)"
        )
    source = reader(path)
    check_numbers(source)
    return source


def _reader(path: Path) -> Callable[[Path], Source] | None:
    """By the first bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"TFL3":
        return read_tflite
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return read_keras
    if is_tfjs(head):
        return read_tfjs
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80" or head[8:9] == b"{":
        return read_pytorch
    return None


def import_weights(path: Path, out: Path, options: ImportOptions, console: Console) -> dict[str, Any]:
    """Read a file, un-fold its batch-norm, check it against its source, and write it whole or not at all.

    Args:
        path: the file.
        out: the ``.safetensors`` file to write.
        options: what the user says about it.
        console: where words go.

    Returns:
        ``{"file", "out", "kind", "width", "resolution", "classes", "parameters", "calibrated",
        "batch_norm", "parity"}``.

    Raises:
        OSError: a file or folder is missing, or ``out`` cannot be written.
        ValueError: the file is refused, or the folder holds no photo.
    """
    source = read_source(path)
    width, slots = recognise(source, options.width)
    known = known_weights(path)
    source = _with_options(source, options, known)
    columns = None if source.detector is None else find_columns(source, options.labels)
    classes = class_line(source, options.labels, known)
    _check_out(path, out)
    for note in source.notes:
        console.warn(note)
    resolution = source.resolution or 224
    pixels = _photos(options, resolution, console) if options.calibrate else None
    if pixels is None and source.folded and options.reminders:
        console.warn(
            f"{path} has its batch-norm folded and no --calibrate DIR was given: the network answers as the "
            "file does, but batch-norm that trains would collapse; keep it frozen, or import with photos"
        )
    measured = _measured(source, slots, pixels) if pixels is not None and source.folded else None
    metadata = _metadata(source, options, known, width, resolution, classes, measured is not None)
    state = to_state(source, slots, measured)
    if columns is not None:
        state |= to_head_state(source, columns)
        metadata |= columns.metadata(head_arguments(source, width))
    checks = _parity(source, slots, state, metadata, out, pixels, columns)

    def write(temporary: Path) -> None:
        save_file(state, temporary, metadata)
        load_weights(temporary)  # what cannot be read again takes no file's place

    write_whole(out, write)
    return _answer(path, out, source, metadata, state, checks)


def _with_options(source: Source, options: ImportOptions, known: Registered | None) -> Source:
    """What the user says goes before what the registry says, and that before what the file says."""
    reported = INPUT_NAMES[options.input] if options.input else known.input if known else source.input
    if reported not in INPUTS:
        raise RefusedError(
            f"{source.path} wants an unknown input {reported!r}; say which it is with --input "
            f"{'/'.join(INPUT_NAMES)}"
        )
    notes = source.notes
    if source.input_note and options.input is None and known is None:
        notes = (*notes, source.input_note)
    if source.assumed and (options.resolution is None or options.padding is None):
        notes = (*notes, source.assumed)
    padding = options.padding or source.padding
    resolution = options.resolution or source.resolution
    return replace(source, input=reported, padding=padding, resolution=resolution, notes=notes)


def _check_out(path: Path, out: Path) -> None:
    if out.is_dir():
        raise IsADirectoryError(f"--out {out} is a folder; give the name of a .safetensors file")
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {out} must end in .safetensors")
    if out.exists() and out.samefile(path):
        raise ValueError(f"--out {out} is the file itself; give another name with --out")
    writable_file(out)


def _photos(options: ImportOptions, resolution: int, console: Console) -> Tensor:
    """(B, 3, H, W) uint8: some photos of the folder, as ``evaluate`` would show them to the network."""
    assert options.calibrate is not None
    results = list(find_images([options.calibrate]))
    if len(results) < 2:
        raise ValueError(
            f"--calibrate {options.calibrate} holds {len(results)} photos; give a folder with two or more, "
            "best a few hundred like those that the network will see"
        )
    step = max(len(results) / options.photos, 1)
    chosen = [Photo(results[int(n * step)], 0) for n in range(min(len(results), options.photos))]
    listing = ImageDataset(chosen, ("photo",))
    preprocessing = Preprocessing(resolution=resolution)
    loader = eval_loader(listing, preprocessing, batch_size=BATCH, workers=None)
    batches = []
    with console.track("reading photos", len(loader)) as update:
        for number, batch in enumerate(loader.epoch(0), start=1):
            batches.append(batch.images)
            for bad_image in batch.bad:
                console.warn(f"skipped: {bad_image.reason}")
            update(number, "")
    good = torch.cat([item for item in batches if len(item)] or [torch.empty(0, 3, 1, 1, dtype=torch.uint8)])
    if len(good) < 2:
        raise ValueError(f"--calibrate {options.calibrate}: fewer than two of its photos can be read")
    if len(good) < FEW_PHOTOS:
        console.warn(f"batch-norm is measured on {len(good)} photos only; a few hundred are better")
    return good


def _measured(source: Source, slots: tuple[Slot, ...], pixels: Tensor) -> Any:
    """In two batches or more."""
    normalise = MobileNetV1(0.25, preprocessing=Preprocessing(**INPUTS[source.input or ""])).normalise
    size = min(BATCH, -(-len(pixels) // 2))
    return measure(source, slots, (normalise(batch.float() / 255) for batch in torch.split(pixels, size)))


def _metadata(
    source: Source, options: ImportOptions, known: Registered | None, width: float, resolution: int,
    classes: str, measured: bool,
) -> dict[str, str]:
    """What travels with the weights; every value is text."""
    results = dict(source.declared)
    text = f"{source.path.name} (sha256 {sha256_of(source.path)[:16]}), {source.kind}"
    origin = f"{known.source}, {source.kind}" if known else results.get("source", text)
    licence = known.licence if known else results.get("licence", licence_in(origin))
    batch_norm = "original" if not source.folded else "measured" if measured else "identity"
    values = results | {
        "input": str(source.input), "width": repr(float(width)),
        "padding": source.padding, "resolution": str(resolution), "act": source.activation,
        "classes": classes,
        "source": options.source or origin,
        "licence": options.licence or licence, "batch_norm": batch_norm,
        "calibrated": "false" if batch_norm == "identity" else "true",
    }
    eps = source.eps
    values |= {"resize": known.resize} if known and known.resize != "crop" else {}
    return values if eps is None or eps == BATCH_NORM_EPS else values | {"eps": f"{eps:g}"}


def _parity(
    source: Source, slots: tuple[Slot, ...], state: dict[str, Tensor], metadata: dict[str, str], out: Path,
    pixels: Tensor | None, columns: Columns | None,
) -> dict[str, Any]:
    weights, resolution = weights_from(out, state, metadata), int(metadata["resolution"])
    images = parity.drawn_images(resolution)
    if pixels is not None:
        images = pixels[: parity.DIRECT_IMAGES].float() / 255
    else:
        pixels = torch.empty(0) if "int" in source.kind else (images * 255).round().to(torch.uint8)
    if columns is None:
        imported = parity.Imported.of(weights)
        direct = parity.check_direct(source, slots, imported, images)
        return {"direct": direct, "interpreter": parity.check_interpreter(source, imported, pixels)}
    ssd = detector.ImportedDetector.of(source, weights, columns)
    direct = detector.check_direct(source, slots, ssd, images)
    return {"direct": direct, "interpreter": detector.check_interpreter(source, ssd, pixels)}


def _answer(
    path: Path, out: Path, source: Source, metadata: dict[str, str], state: dict[str, Tensor],
    checks: dict[str, Any],
) -> dict[str, Any]:
    classes = 0 if source.classifier is None else len(source.classifier[1])
    if "head" in metadata:
        classes = len(json.loads(metadata["head"])["classes"])
    learned = sum(value.numel() for name, value in state.items() if ".running_" not in name)
    return {
        "file": str(path), "out": str(out), "kind": source.kind, "width": float(metadata["width"]),
        "resolution": int(metadata["resolution"]), "padding": source.padding,
        "classes": classes, "parameters": learned,
        "calibrated": metadata["calibrated"] == "true", "batch_norm": metadata["batch_norm"],
        "licence": metadata["licence"], "parity": checks,
    }
