"""The vectors that a student learns: read from a file, or computed once and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.files import write_whole
from apps.engine.core.run_dir import CONFIG
from apps.faces.each_view import unit
from apps.faces.extraction.align import square_crop
from apps.faces.extraction.embedder import BATCH, Vectors
from apps.faces.extraction.loading import load_face_model
from apps.faces.verification.evaluate import read_vectors
from apps.faces.verification.protocol import Bools
from backbone.schema import LARGEST_PX
from datasets.image_io import BadImageError, read_image
from datasets.validation import short

FACENET, FACENET_SIDE = "facenet:", 160
FACENETS = ("vggface2", "casia-webface")
MEND = "give a network of faces (B, 3, S, S) to vectors as ONNX"
Crops = Sequence[Image.Image]


def teacher_vectors(
    spec: str, paths: Sequence[Path], names: Sequence[str], *, folder: Path, console: Console
) -> tuple[Vectors, Bools]:
    """A teacher's unit vector of each image, and which images it has none for.

    Args:
        spec: a ``.npz`` file with ``name`` and ``vector``; ``facenet:vggface2`` or
            ``facenet:casia-webface``, whose weights facenet-pytorch downloads; a run of ``finetune faces``;
            or an ``.onnx`` file.
        paths: the images, face crops.
        names: of them, as the file may know them, without suffix.
        folder: where computed vectors are kept, by the teacher's and the photos' content.
        console: where words and progress go.

    Raises:
        OSError: there is no such teacher, or it cannot be downloaded.
        ValueError: the file is damaged or knows none of the images.
    """
    kept = _file(spec, paths, folder)
    if kept.is_file() or kept == Path(spec):
        return read_vectors(kept, names)
    side, answer = open_teacher(spec)
    vectors, gone = _computed(paths, side, answer, console)
    known = [name for name, missing in zip(names, gone, strict=True) if not missing]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(kept, lambda path: _save(path, known, vectors[~gone]))
    return vectors, gone


def kept_vectors(
    spec: str, paths: Sequence[Path], names: Sequence[str], *, folder: Path
) -> tuple[Vectors, Bools]:
    """The same where they are in a file, as given or as :func:`teacher_vectors` left it; no network runs.

    Raises:
        OSError: there is no such file.
        ValueError: the file is damaged or knows none of the images.
    """
    kept = _file(spec, paths, folder)
    if not kept.is_file() and kept != Path(spec):
        raise FileNotFoundError(
            f"the vectors of --teacher {spec} are not computed for these {len(paths)} photos; `finetune "
            "faces` does so first"
        )
    return read_vectors(kept, names)


def _file(spec: str, paths: Sequence[Path], folder: Path) -> Path:
    """The file with a teacher's vectors: the one that the user gave, or one among those that are kept."""
    return Path(spec) if Path(spec).suffix == ".npz" else folder / f"vectors-{_key(spec, paths)}.npz"


def _save(path: Path, names: Sequence[str], vectors: Vectors) -> None:
    with path.open("wb") as file:
        np.savez(file, name=np.array(names), vector=vectors)


def _key(spec: str, paths: Sequence[Path]) -> str:
    """Changes with the teacher's file and with any image's content."""
    digest = hashlib.blake2b(digest_size=16)
    teacher = Path(spec)
    if teacher.is_dir():
        teacher = teacher / CONFIG
    digest.update(teacher.read_bytes() if teacher.is_file() else spec.encode())
    for path in paths:
        digest.update(hashlib.blake2b(path.read_bytes()).digest() if path.is_file() else str(path).encode())
    return digest.hexdigest()


def open_teacher(spec: str) -> tuple[int, Callable[[Crops], Vectors]]:
    """The side of a teacher's crops in pixels, and crops -> vectors of any length.

    Args:
        spec: as for :func:`teacher_vectors`, without the ``.npz`` file.

    Raises:
        OSError: there is no such teacher, or it cannot be downloaded.
        ValueError: the file is damaged.
    """
    if spec.startswith(FACENET):
        return FACENET_SIDE, _facenet(spec.removeprefix(FACENET))
    if Path(spec).suffix == ".onnx":
        return _onnx(Path(spec))
    if not (Path(spec) / CONFIG).is_file():
        raise FileNotFoundError(
            f"--teacher {spec}: no such file or run; give a .npz file of vectors, facenet:vggface2, "
            f"facenet:casia-webface, a run of `finetune faces`, or an .onnx file"
        )
    model = load_face_model(checkpoint=Path(spec))
    return model.info.resolution, model.vectors


def _facenet(name: str) -> Callable[[Crops], Vectors]:
    """facenet-pytorch's network; pixels go in as (value - 127.5) / 128."""
    if name not in FACENETS:
        raise ValueError(f"--teacher facenet:{name}: there are {', '.join(FACENETS)}")
    import torch
    from facenet_pytorch import InceptionResnetV1

    try:
        network = InceptionResnetV1(pretrained=name).eval()
    except OSError as err:
        raise OSError(
            f"facenet-pytorch could not download the weights {name} ({err}); try again with a network, or "
            f"give another --teacher"
        ) from err

    @torch.inference_mode()
    def answer(crops: Crops) -> Vectors:
        vectors: Vectors = network(torch.from_numpy(_centred(crops))).numpy()
        return vectors

    return answer


def _onnx(file: Path) -> tuple[int, Callable[[Crops], Vectors]]:
    """A network of one input (B, 3, S, S) in RGB: bytes as they are, floats as (value - 127.5) / 127.5."""
    if not file.is_file():
        raise FileNotFoundError(f"--teacher {file}: there is no such file")
    from apps.engine.inference.model_file import onnx_session, run_session

    who = f"--teacher {file}"
    session = onnx_session(file, who, threads=os.cpu_count() or 1, mend=MEND)
    shapes = [item.shape for item in session.get_inputs()]
    side = shapes[0][3] if len(shapes) == 1 and len(shapes[0]) == 4 else None
    if not isinstance(side, int) or shapes[0][1] != 3 or not 1 <= side <= LARGEST_PX:
        raise ValueError(f"{who} should take one input (B, 3, S, S), it takes {short(shapes)}; {MEND}")
    given = session.get_inputs()[0]
    raw = "uint8" in given.type

    def answer(crops: Crops) -> Vectors:
        pixels = np.stack([np.asarray(crop) for crop in crops]).transpose(0, 3, 1, 2) if raw else (
            _centred(crops) * (128 / 127.5)
        )
        result = run_session(session, None, {given.name: np.ascontiguousarray(pixels)}, who, MEND)[0]
        vectors = np.asarray(result)
        if vectors.dtype.kind not in "fiu" or not vectors.size or vectors.size % len(crops):
            raise ValueError(f"{who} gives no vector for each of {len(crops)} faces; {MEND}")
        if not np.isfinite(vectors).all():
            raise ValueError(f"{who} gives vectors that are not finite; {MEND}")
        return vectors.astype(np.float32).reshape(len(crops), -1)

    return side, answer


def _centred(crops: Crops) -> Vectors:
    """(N, 3, S, S), each value less 127.5 and divided by 128."""
    pixels = np.stack([np.asarray(crop, np.float32) for crop in crops])
    return np.ascontiguousarray(((pixels - 127.5) / 128).transpose(0, 3, 1, 2))


def _computed(
    paths: Sequence[Path], side: int, answer: Callable[[Crops], Vectors], console: Console
) -> tuple[Vectors, Bools]:
    rows: dict[int, Any] = {}
    crops: list[Image.Image] = []
    waiting: list[int] = []
    with console.track("teacher", len(paths)) as update:
        for index, path in enumerate(paths):
            try:
                crops.append(square_crop(read_image(path, min_side=side), side))
                waiting.append(index)
            except BadImageError as err:
                console.warn(f"skipped: {err}")
            if crops and (len(crops) == BATCH or index == len(paths) - 1):
                rows |= dict(zip(waiting, answer(crops), strict=True))
                crops, waiting = [], []
            update(index + 1, "photos")
    if not rows:
        raise ValueError("none of the photos could be shown to the teacher")
    dim = len(next(iter(rows.values())))
    vectors, gone = np.zeros((len(paths), dim), np.float32), np.ones(len(paths), bool)
    for index, row in rows.items():
        vectors[index], gone[index] = row, False
    return unit(vectors), gone


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Unit vectors (N, D) less a mean (D,), brought to length 1 again."""
    return unit(vectors - mean)
