"""Teachers of attributes: what each says of a list of images, as one table of probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apps.attributes.names import Layout
from apps.engine.core.console import Console
from apps.engine.core.files import write_whole
from apps.engine.data.loader import eval_loader
from apps.engine.data.samplers import as_floats
from backbone import Preprocessing
from backbone.schema import LARGEST_PX
from datasets.base import ImageDataset, Photo
from datasets.described.label_tables import IMAGE, read_label_table
from datasets.outside import one_line

FACE_NETWORK = "face-network:"
BATCH = 32
MOST_FIXED = 1024  # images that a model of a fixed batch may want
MEND = "give a classifier of images (B, 3, H, W) as ONNX"
SUM_OFF = 0.02  # that the probabilities of a class may miss 1 by, as rounded ones do
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Oracle:
    """A network that answers with probabilities.

    Args:
        layout: which attribute, and which group, each column is of.
        seen: how images are prepared for it.
        answers: images (B, 3, S, S) in [0, 1] to (B, columns).
        finished: all answers (N, columns) to probabilities; NaN stays NaN.
    """

    layout: Layout
    seen: Preprocessing
    answers: Callable[[Tensor], Tensor]
    finished: Callable[[Values], Values] = lambda every: every


def load_oracle(
    spec: str, names: Sequence[str] | None = None, *, precision: str = "auto", engine: str = "auto",
    device: str = "auto", say: Callable[[str], None] = lambda _: None,
) -> Oracle:
    """The network that a ``--teacher`` names.

    Args:
        spec: ``face-network:FILE``, an ``.onnx`` file, or the folder of a run of ``finetune attributes``.
        names: of the columns of an ONNX file, which has none of its own.
        precision: of a run's sums, ``auto``, ``fp32`` or ``bf16``.
        engine: that computes a run; see :class:`apps.engine.inference.predictor.Predictor`.
        device: see there.
        say: takes a line on what computes.

    Raises:
        FileNotFoundError: there is no such file or run.
        ValueError: it answers something else.
    """
    if not spec.startswith(FACE_NETWORK) and not Path(spec).exists():
        raise FileNotFoundError(
            f"--teacher {spec} does not exist; give a run of finetune attributes, {FACE_NETWORK}FILE, an "
            ".onnx file, or a .csv or .parquet table of probabilities"
        )
    if spec.endswith(".onnx") and not Path(spec).is_dir():
        return _onnx(Path(spec), names or ())
    from apps.engine.core.model import load_pretrained, load_run
    from apps.engine.evaluation.forward import evaluated_by

    source = spec.removeprefix(FACE_NETWORK)
    if source != spec:
        task, model, config = load_pretrained(source, app="attributes")
    else:
        task, model, config = load_run(Path(spec), app="attributes")
    head: Any = model.heads[task.name]
    forward = evaluated_by(
        source, app="attributes", precision=precision, engine=engine, device=device, say=say
    )
    return Oracle(
        Layout.of(config.classes), config.backbone.preprocessing,
        lambda images: head.probabilities(forward(images.mul(255).round().byte())),
    )


def _onnx(path: Path, names: Sequence[str]) -> Oracle:
    """An ONNX classifier: images (B, 3, H, W) in [0, 1] to (B, N) logits or probabilities of ``names``."""
    from apps.engine.inference.model_file import onnx_session, run_session

    who = f"--teacher {path}"
    session = onnx_session(path, who, threads=torch.get_num_threads(), mend=MEND)
    wanted, made = next(iter(session.get_inputs()), None), next(iter(session.get_outputs()), None)
    if wanted is None or made is None:
        raise ValueError(f"{who} takes or gives nothing; {MEND}")
    channels = wanted.shape[1] if len(wanted.shape) == 4 else 0
    columns = made.shape[-1] if made.shape else None
    if (channels not in (3, None) and not isinstance(channels, str)) or columns != len(names):
        raise ValueError(
            f"--teacher {path} takes {wanted.shape} and gives {made.shape}; it must take (B, 3, H, W) in "
            f"[0, 1] and give a column for each of {', '.join(names) or 'the attributes: give --names'}"
        )

    fixed = wanted.shape[0] if isinstance(wanted.shape[0], int) else None

    def answers(images: Tensor) -> Tensor:
        parts = [images] if fixed is None else [_filled(part, fixed) for part in torch.split(images, fixed)]
        results = [
            run_session(session, [made.name], {wanted.name: part.numpy()}, who, MEND)[0] for part in parts
        ]
        if any(np.shape(rows) != (len(part), len(names)) for rows, part in zip(results, parts, strict=True)):
            raise ValueError(f"{who} gives {np.shape(results[0])} for {len(parts[0])} images; {MEND}")
        return torch.from_numpy(np.concatenate(results)[: len(images)].astype(np.float32))

    if fixed is not None and not 1 <= fixed <= MOST_FIXED:
        raise ValueError(f"{who} takes {fixed} images at once, not 1 to {MOST_FIXED}; {MEND}")
    side = wanted.shape[2] if isinstance(wanted.shape[2], int) else 224
    if not 1 <= side <= LARGEST_PX:
        raise ValueError(f"{who} takes images of {side} px, not 1 to {LARGEST_PX}; {MEND}")
    seen = Preprocessing(resolution=side, crop=1.0)
    return Oracle(Layout(tuple(names), {}), seen, answers, as_probabilities)


def _filled(images: Tensor, count: int) -> Tensor:
    """As many images as a model of a fixed batch wants; the last is repeated."""
    return torch.cat([images, images[-1:].expand(count - len(images), -1, -1, -1)])


def as_probabilities(every: Values) -> Values:
    """Answers (N, columns) as they are where all lie in [0, 1]; else they are taken for logits.

    All images decide together, so that a batch whose logits happen to be small is not read in another way.
    """
    known = every[~np.isnan(every)]
    if not len(known) or (known.min() >= 0 and known.max() <= 1):
        return every
    return torch.sigmoid(torch.from_numpy(every)).numpy()


@torch.inference_mode()
def asked(
    oracle: Oracle, paths: Sequence[Path], *, workers: int | None = None,
    on_step: Callable[[int], None] = lambda _: None, on_bad: Callable[[str], None] = lambda _: None,
) -> Values:
    """What a network says of photos: (N, columns) probabilities; a row of NaN for one that cannot be read.

    ``on_bad`` is called with the reason for each of the latter.

    Raises:
        FloatingPointError: an answer is not finite; the image is named.
    """
    result = np.full((len(paths), oracle.layout.width), np.nan, np.float32)
    photos = ImageDataset([Photo(path, 0) for path in paths], ["photo"])
    loader = eval_loader(photos, oracle.seen, batch_size=BATCH, workers=workers)
    for done, batch in enumerate(loader.epoch(0), 1):
        if batch.indices:
            answers = oracle.answers(as_floats(batch.images)).numpy()
            bad = ~np.isfinite(answers).all(axis=1)
            if bad.any():
                raise FloatingPointError(
                    f"the teacher's answer for {paths[batch.indices[int(bad.argmax())]]} is not finite; give "
                    "another --teacher, or leave the photo out"
                )
            result[batch.indices] = answers
        for each in batch.bad:
            on_bad(each.reason)
        on_step(done)
    return oracle.finished(result)


def is_table(spec: str) -> bool:
    """Whether a ``--teacher`` is a table of probabilities."""
    return Path(spec).suffix in (".csv", ".parquet") and not Path(spec).is_dir()


def teacher_columns(
    spec: str, layout: Layout, paths: Sequence[Path], images: Sequence[str], *, folder: Path,
    console: Console | None, workers: int | None = None,
) -> NDArray[np.float32]:
    """A teacher's probabilities (N, width) in the columns of ``layout``; NaN where it says nothing.

    The teacher sees each image once, whole; what a network said is kept in ``folder``.

    Args:
        spec: as of :func:`load_oracle`, or a ``.csv`` or ``.parquet`` table of probabilities.
        layout: of the student.
        paths: N images.
        images: their names in a table.
        folder: where answers are kept.
        console: where progress goes; None asks no network, and takes the answers that are kept.
        workers: reading processes.

    Raises:
        FileNotFoundError: there is no such teacher, or without a screen: its answers are not kept.
        ValueError: the teacher knows none of the attributes, or a table lacks an image or holds a NaN.
    """
    if is_table(spec):
        return _of_table(Path(spec), layout, images)
    oracle = load_oracle(spec, layout.names)
    digest = hashlib.sha256(repr((str(Path(spec.removeprefix(FACE_NETWORK)).absolute()), layout)).encode())
    for path in (*_files(spec), *paths):
        status = path.stat() if path.exists() else None
        digest.update(f"{str(path)!a} {status and (status.st_size, status.st_mtime_ns)}\n".encode())
    kept = folder / f"{digest.hexdigest()[:24]}.npy"
    if kept.is_file():
        with one_line(kept, "remove it, and it is computed again", "is damaged"):
            result: NDArray[np.float32] = np.load(kept, allow_pickle=False)
            if result.shape != (len(paths), oracle.layout.width):
                raise ValueError(f"it holds {result.shape} answers")
    elif console is None:
        raise FileNotFoundError(
            f"the answers of --teacher {spec} are not computed for these {len(paths)} photos; `finetune "
            "attributes` does so first"
        )
    else:
        with console.track("teacher", -(-len(paths) // BATCH)) as update:
            result = asked(oracle, paths, workers=workers, on_step=lambda n: update(n, "batches"))
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(kept, lambda temporary: np.save(temporary, result))
    return layout.taken(result, oracle.layout, f"--teacher {spec}")


def _files(spec: str) -> list[Path]:
    path = Path(spec.removeprefix(FACE_NETWORK))
    return sorted(path.glob("*.safetensors")) if path.is_dir() else [path]


def _of_table(path: Path, layout: Layout, images: Sequence[str]) -> NDArray[np.float32]:
    every = read_label_table(path, soft=True, blanks=True)
    rows = {image: n for n, image in enumerate(every.images)}
    lacking = [image for image in images if image not in rows]
    if lacking:
        raise ValueError(
            f"--teacher {path} says nothing of {len(lacking)} of {len(images)} photos, such as {lacking[0]}; "
            f"its column {IMAGE} must name them as the table of labels does"
        )
    reported = Layout.of_columns(every.names)
    values = every.values[
        :, [every.names.index(column) for column in reported.columns if column in every.names]
    ]
    if values.shape[1] != reported.width:
        raise ValueError(f"--teacher {path}: the columns of a class are NAME=0, NAME=1, ..., none left out")
    start = len(reported.names)
    for name, count in reported.groups.items():
        block = values[:, start : start + count]
        total = block.sum(axis=1)
        off = np.flatnonzero(abs(total - 1) > SUM_OFF)
        if len(off):
            raise ValueError(
                f"--teacher {path}, row {off[0] + 1}: the probabilities of {name} add up to "
                f"{total[off[0]]:.3g}, not 1"
            )
        start += count
    return layout.taken(values[[rows[image] for image in images]], reported, f"--teacher {path}")
