"""What tests/processors.py starts under each setting of the processor; each command ends in a line of JSON.

    python -m processor_answers probe | make FOLDER | answer FOLDER NAME | compare FOLDER NAME NAME
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from faces_support import draw_crops, write_face_weights
from numpy.typing import NDArray
from processors import THREADS, wide_loops
from support import COLOURS, SHARED, save_colour

from apps.cli.main import main as run
from backbone._cpu import kernels

MOST_APART = 1e-4  # of a probability in fp32
LEAST_COSINE = 0.99999  # of two vectors of one face
IMAGES, FACES = 16, 16  # of the real data
ENGINES = ("torch", "auto")  # auto: ONNX Runtime, where the network can be exported
SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")


def probe() -> dict[str, Any]:
    """What this process computes with; a convolution makes oneDNN say its instruction set."""
    torch.nn.functional.conv2d(torch.rand(4, 32, 32, 32), torch.rand(64, 32, 3, 3))
    return {
        "pytorch": torch.backends.cpu.get_cpu_capability(),
        "numpy": wide_loops(),
        "kernels": _kernels(),
        "bf16": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "threads": torch.get_num_threads(),
    }


def _kernels() -> str:
    """The instruction set that our kernels are compiled for, by what the compiler defines; or ``none``."""
    if kernels.library() is None:
        return "none"
    command = [os.environ.get("CC", "cc"), "-march=native", "-dM", "-E", "-x", "c", "/dev/null"]
    defined = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {"__AVX512F__": "AVX512", "__AVX2__": "AVX2"}
    return next((name for macro, name in names.items() if f"{macro} " in defined), "baseline")


def call(*arguments: object) -> str:
    """What the command line prints, called in this process.

    Raises:
        RuntimeError: it refused.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    if code:
        raise RuntimeError(f"{arguments[0]} ended with {code}: {err.getvalue()}")
    return out.getvalue()


def make(folder: Path) -> dict[str, Any]:
    """Draw images, a small run and face weights into a folder; copy some real images where there are any."""
    for name, colour in COLOURS.items():
        for split, count in (("train", 8), ("val", 8)):
            for number in range(count):
                save_colour(folder / "data" / split / name / f"{number}.png", colour, seed=number)
    call("finetune", "dogs", "--data", folder / "data", "--resolution", 64, "--epochs", 3, "--batch-size", 8,
         "--workers", 0, "--precision", "fp32", "--out", folder / "run")
    draw_crops(folder / "crops", people=4, each=4)
    write_face_weights(folder / "faces.safetensors")
    return {"real": _copy_real(folder / "real")}


def _copy_real(folder: Path) -> bool:
    if not SHARED.is_dir():
        return False
    images, faces = (
        sorted(path for path in (SHARED / "data" / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        for name in ("imagewoof/val", "lfw_colour_112/images")
    )
    for name, paths, count in (("images", images, IMAGES), ("faces", faces, FACES)):
        (folder / name).mkdir(parents=True)
        for number, path in enumerate(paths[:: max(1, len(paths) // count)][:count]):
            shutil.copy(path, folder / name / f"{number}{path.suffix}")
    return bool(images and faces)


def answer(folder: Path, name: str) -> dict[str, Any]:
    """Probabilities of all images by both engines, and embeddings, kept under a name.

    The variables of a setting reach PyTorch alone; what ONNX Runtime answers is held against it, too.
    """
    real = (folder / "real").is_dir()
    arrays: dict[str, Any] = {}
    for engine in ENGINES:
        run = ("--checkpoint", folder / "run", "--engine", engine)
        arrays[f"drawn, {engine}: probabilities"] = _probabilities(folder / "data/val", *run)
        for network in ("mobilenetv1_0.25_128", "mobilenetv1_1.0_224") if real else ():
            named = ("--weights", SHARED / "weights" / f"{network}.safetensors", "--engine", engine)
            arrays[f"{network}, {engine}: probabilities"] = _probabilities(folder / "real/images", *named)
    faces, table = folder / "faces.safetensors", folder / f"{name}.parquet"
    arrays["drawn vectors"] = _vectors(folder / "crops", faces, table)
    if real:
        faces = SHARED / "weights/faces_mobilenetv1_1.0_224.safetensors"
        arrays["real vectors"] = _vectors(folder / "real/faces", faces, folder / f"{name}_real.parquet")
    np.savez(folder / f"{name}.npz", **arrays)
    return {key: list(value.shape) for key, value in arrays.items()}


def _probabilities(images: Path, *source: object) -> NDArray[np.float64]:
    """(images, classes in the order of their names)."""
    text = call("predict", images, *source, "--top", 1000, "--precision", "fp32")
    rows = []
    for line in map(json.loads, text.splitlines()):
        classes = sorted((str(entry["name"]), float(entry["probability"])) for entry in line["predictions"])
        rows.append([probability for _, probability in classes])
    return np.array(rows)


def _vectors(images: Path, weights: Path, table: Path) -> NDArray[np.float64]:
    """(faces, numbers): one face an image, which is a crop already."""
    call("embed-faces", images, "--weights", weights, "--align", "none", "--out", table)
    return np.array(pq.read_table(table).sort_by("path")["vector"].to_pylist())


def compare(folder: Path, first: str, second: str) -> dict[str, Any]:
    """How far two answers are apart, and whether that is near enough."""
    apart, cosines = [0.0], [1.0]
    with np.load(folder / f"{first}.npz") as left, np.load(folder / f"{second}.npz") as right:
        if left.files != right.files:
            raise ValueError(f"{first} has {left.files}, {second} has {right.files}")
        for key in left.files:
            if key.endswith("vectors"):
                lengths = np.linalg.norm(left[key], axis=1) * np.linalg.norm(right[key], axis=1)
                cosines.append(float(((left[key] * right[key]).sum(axis=1) / lengths).min()))
            else:
                apart.append(float(np.abs(left[key] - right[key]).max()))
    text = f"probabilities at most {max(apart):.1e} apart, cosine of embeddings at least {min(cosines):.8f}"
    return {"equal": max(apart) <= MOST_APART and min(cosines) >= LEAST_COSINE, "text": text}


def main(arguments: list[str]) -> int:
    """One command, its answer in a line of JSON."""
    torch.set_num_threads(int(os.environ.get(THREADS, "1")))
    command, *rest = arguments
    folder = Path(rest[0]) if rest else Path()
    if command == "probe":
        value = probe()
    elif command == "make":
        value = make(folder)
    elif command == "answer":
        value = answer(folder, rest[1])
    else:
        value = compare(folder, rest[1], rest[2])
    sys.stdout.write(json.dumps(value) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
