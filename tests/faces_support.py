"""What the tests of the faces share: small face weights, drawn crops, tables made by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support import Cli

from apps.engine.scale.parts import PartsFolder
from apps.faces.extraction import planning
from apps.faces.extraction.embedder import ModelInfo
from apps.faces.extraction.table import About, face_schema
from backbone import MobileNetV1, Preprocessing, WeightsInfo

PEOPLE, EACH, DIM = 8, 6, 128  # of the drawn people that students learn from
FAST = ("--width", 0.25, "--resolution", 32, "--epochs", 2, "--val-share", 0.5, "--workers", 0)


def write_face_weights(path: Path, *, seed: int = 0, width: float = 0.25, resolution: int = 64) -> Path:
    """A file of face weights as ours are, with random numbers in it: 256 numbers a face."""
    torch.manual_seed(seed)
    network = MobileNetV1(width=width, padding="same")
    info = WeightsInfo(
        path.stem,
        arguments={"width": width, "padding": "same"},
        preprocessing=Preprocessing(resolution=resolution),
    )
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, path, metadata={"mobilenet_apps": json.dumps(info.to_dict())})
    return path


def draw_crops(folder: Path, people: int, each: int, *, size: int = 48) -> list[Path]:
    """Crops in folders by person: blocks of colour, a little noise; ``PERSON_0/PERSON_0_0001.png``."""
    paths = []
    for person in range(people):
        blocks = np.random.default_rng(person).integers(0, 255, (4, 4, 3))
        for number in range(1, each + 1):
            noise = np.random.default_rng((person, number)).integers(-12, 12, (size, size, 3))
            pixels = np.clip(blocks.repeat(size // 4, 0).repeat(size // 4, 1) + noise, 0, 255)
            path = folder / f"PERSON_{person}" / f"PERSON_{person}_{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            paths.append(path)
    return paths


def unit_vectors(count: int, dim: int, *, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    vectors: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True)
    return vectors


def write_table(
    path: Path,
    vectors: np.ndarray,
    *,
    fingerprint: str = "0123456789abcdef",
    names: list[str] | None = None,
    paths: list[str] | None = None,
) -> Path:
    """A table of faces with these vectors, one face a photo."""
    count, dim = vectors.shape
    about = About(ModelInfo(fingerprint, "drawn", dim, 64, weights="nowhere.safetensors"), "none")
    schema = face_schema(about)
    photos = paths or [f"/photos/{i:06d}.jpg" for i in range(count)]
    columns = {
        "path": photos,
        "sha256": [hashlib.sha256(str(path).encode()).hexdigest() for path in photos],
        "face": [0] * count,
        "name": list(names) if names else [None] * count,
        "box": [[0.0, 0.0, 9.0, 9.0]] * count,
        "landmarks": [None] * count,
        "probability": [None] * count,
        "size_px": [9.0] * count,
        "sharpness": [1.0] * count,
        "pose": [0.0] * count,
        "date": [None] * count,
        "time": [None] * count,
        "vector": list(vectors.astype(np.float32)),
        "model": [fingerprint] * count,
    }
    arrays = {key: pa.array(values, schema.field(key).type) for key, values in columns.items()}
    pq.write_table(pa.table(arrays, schema=schema), path)
    return path


def embed(
    cli: Cli, weights: Path, out: Path, *paths: object, align: str = "none", **more: object
) -> dict[str, object]:
    """The answer of ``embed-faces``, which must go well."""
    told = [f"--{key.replace('_', '-')}={value}" for key, value in more.items()]
    answer = cli("embed-faces", *paths, "--out", out, "--weights", weights, "--align", align, *told)
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    return line


def small_parts(monkeypatch: pytest.MonkeyPatch, photos: int) -> None:
    """Parts of so many photos, whatever the number of cores."""
    monkeypatch.setattr(planning, "CHUNK", photos)
    monkeypatch.setattr(planning, "CHUNK_OF_THREAD", 0)


@contextmanager
def dying_after_a_part() -> Iterator[None]:
    """Runs are broken off when they have written a part."""
    put = PartsFolder.put

    def dies_after_one(self: PartsFolder, *rest: Any) -> Any:
        put(self, *rest)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartsFolder, "put", dies_after_one)
        yield


def names_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.png"))


def write_teacher(file: Path, names: list[str]) -> Path:
    """A direction a person, with a little of each photo's own."""
    rng = np.random.default_rng(0)
    own = {name: rng.normal(size=DIM) for name in sorted({name.split("/")[0] for name in names})}
    vectors = np.array([own[name.split("/")[0]] + 0.1 * rng.normal(size=DIM) for name in names])
    np.savez(file, name=np.array(names), vector=vectors.astype(np.float16))
    return file


def config_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "config.json").read_text())
    return found
