"""Readers of networks: weights as others write them, runs, exported files."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from faces_support import write_face_weights
from importing_support import folded, trained, with_background, write_float, write_keras
from safetensors.torch import save_file
from tfjs_writer import mobilenet

import apps
from apps.cli.main import main
from apps.engine.core.console import Console
from apps.engine.core.run_dir import load_training_state
from apps.engine.core.spec import KEY
from apps.engine.inference.graph.run_model import write_run_model
from apps.engine.inference.seal import SUM
from apps.zoo.convert.importer import read_source
from apps.zoo.convert.network import recognise
from backbone import build, load_state, load_weights
from fuzz.containers import of_safetensors, of_zip
from fuzz.mutators import of_bytes, of_json
from fuzz.runner import Reader
from fuzz.samples import photos

WIDTH = 0.25
torch.set_num_threads(1)  # threads do not come along into children


def _loaded(path: Path) -> object:
    weights = load_weights(path)
    network: Any = build(weights.info)
    load_state(network, weights)
    return network


def _imported(path: Path) -> object:
    source = read_source(path)
    return recognise(source, None) if source.detector is None else source


def _weights(root: Path) -> Iterator[Reader]:
    root.mkdir(parents=True)
    ours = write_face_weights(root / "ours.safetensors")
    state = {name: value.contiguous() for name, value in trained(WIDTH, classes=10).items()}
    plain = root / "mobilenetv1_0.25_64.safetensors"
    save_file(state, plain)
    seeds = [ours.read_bytes(), plain.read_bytes()]
    yield Reader("safetensors", plain, seeds, _loaded, of_safetensors)
    yield Reader("import safetensors", root / "import.safetensors", seeds[1:], _imported, of_safetensors)
    packed = io.BytesIO()
    torch.save({"state_dict": state, "epoch": 3}, packed)
    yield Reader("weights .pt", root / "mobilenetv1_0.25_64.pt", [packed.getvalue()], _loaded, of_zip)
    old = io.BytesIO()
    torch.save(state, old, _use_new_zipfile_serialization=False)
    yield Reader("weights .pt, old", root / "mobilenetv1_0.25_64_old.pt", [old.getvalue()], _loaded, of_bytes)
    network = trained(WIDTH)
    lite = write_float(root / "net.tflite", network)
    yield Reader("tflite", lite, [lite.read_bytes()], _imported, of_ends)
    keras = write_keras(root / "net.h5", network)
    yield Reader("Keras .h5", keras, [keras.read_bytes()], _imported, of_ends)
    (root / "tfjs").mkdir()
    page = mobilenet(folded(network), with_background(network), stored="uint8").write(
        root / "tfjs/model.json"
    )
    yield Reader("tfjs model.json", page, [page.read_bytes()], _imported, of_json)


def of_ends(data: bytes, rng: random.Random) -> bytes:
    """Damage of what describes a file, at its beginning or its end, seldom of the numbers between."""
    cut = min(8192, len(data) // 3)
    match rng.randrange(3):
        case 0:
            return of_bytes(data[:cut], rng) + data[cut:]
        case 1:
            return data[:-cut] + of_bytes(data[-cut:], rng)
        case _:
            return of_bytes(data, rng)


def of_onnx(data: bytes, rng: random.Random) -> bytes:
    """What an exported file says of itself changed, or its bytes; mostly without the sum that would tell."""
    model = onnx.load_from_string(data)
    kept = [(item.key, item.value) for item in model.metadata_props if item.key != SUM or rng.random() < 0.1]
    onnx.helper.set_model_props(model, dict(kept))
    if rng.random() < 0.4:
        return of_ends(bytes(model.SerializeToString()), rng)
    for item in model.metadata_props:
        if item.key == KEY:
            item.value = of_json(item.value.encode(), rng).decode("utf-8", "replace")
    return bytes(model.SerializeToString())


def _run_of(app: str, root: Path, *options: object) -> Path:
    """A finished run with its exported file, in a second."""
    from task_table import CASES

    run = root / app
    case = CASES[app]
    words = [
        "finetune",
        app,
        "--data",
        case.data(root / f"{app}-data"),
        "--width",
        WIDTH,
        "--resolution",
        32,
        "--epochs",
        1,
        "--batch-size",
        8,
        "--workers",
        0,
        "--no-export",
        *case.options,
        *options,
        "--out",
        run,
    ]
    if main([str(word) for word in words]) or not write_run_model(run, Console(quiet=True)):
        raise AssertionError(f"no run of {app}")
    return run


def _runs(root: Path) -> Iterator[Reader]:
    photos(root, "photo.png")
    photo = root / "photo.png"

    def answer(source: Path, engine: str = "auto") -> object:
        return [line.to_dict() for line in apps.load(source, engine=engine).predict([photo])]

    run = _run_of("dogs", root)
    by_torch: Callable[[Path], object] = lambda path: answer(path.parent, "torch")  # noqa: E731
    config = (run / "config.json").read_bytes()
    yield Reader("run: config.json", run / "config.json", [config], by_torch, of_json)
    other = Path(shutil.copytree(run, root / "as-weights"))
    yield Reader(
        "run as weights", other / "config.json", [config], lambda path: _loaded(path.parent), of_json
    )
    by_file = Path(shutil.copytree(run, root / "by-file"))
    yield Reader(
        "run: config.json, by file",
        by_file / "config.json",
        [config],
        lambda path: answer(path.parent),
        of_json,
    )
    seed = (run / "model.onnx").read_bytes()
    yield Reader("exported .onnx", root / "exported.onnx", [seed], answer, of_onnx)
    (root / "run-onnx").mkdir()
    beside = Path(shutil.copytree(run, root / "run-onnx/run"))
    yield Reader("run: model.onnx", beside / "model.onnx", [seed], lambda path: answer(path.parent), of_onnx)
    for app in ("places", "attributes"):
        made = _run_of(app, root)
        content = (made / "model.onnx").read_bytes()
        yield Reader(f"exported {app}", root / f"{app}.onnx", [content], answer, of_onnx)
    unfinished = root / "unfinished"
    words = [
        "finetune",
        "dogs",
        "--data",
        root / "dogs-data",
        "--width",
        WIDTH,
        "--resolution",
        32,
        "--epochs",
        2,
        "--batch-size",
        8,
        "--workers",
        0,
        "--stop-after",
        1,
        "--out",
        unfinished,
    ]
    if main([str(word) for word in words]):
        raise AssertionError("no unfinished run")
    state = unfinished / "training.pt"
    yield Reader(
        "training.pt", state, [state.read_bytes()], lambda path: load_training_state(path.parent), of_zip
    )


def readers(root: Path) -> Iterator[Reader]:
    """All of them, their files below a folder."""
    for make in (_weights, _runs):
        yield from make(root / make.__name__.strip("_"))
