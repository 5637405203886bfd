"""The built-in sample: ten invented breeds of cartoon dogs, drawn at first use, never photographed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from datasets.synthetic.breeds import BREEDS, Breed, breed_of
from datasets.synthetic.dog import Group, dog
from datasets.synthetic.light import cast_shadow, develop, expose, out_of_focus, shade
from datasets.synthetic.scene import paint_in_front, paint_scene
from datasets.synthetic.shapes import Pen, Points, Rng, darker, turned

__all__ = ["BREEDS", "Breed", "draw_dog", "drawn_dogs_root"]

VERSION = 1  # of the drawings: a change of any pixel is a new number, and so a new folder
OVERSAMPLING = 2
TRAIN_PER_BREED = 160
VAL_PER_BREED = 40
JPEG_QUALITY = 90
MIN_SIZE_PX = 32
HELPED_FROM = 200  # pictures; for fewer a second process does not pay
HELPER = "import sys, datasets.synthetic.drawn_dogs as drawn; drawn.draw_second_half(*sys.argv[1:])"
UNFINISHED = ".unfinished-drawn-dogs-"

README = """\
Drawn dogs, version {version}, seed {seed}: {train} + {val} pictures of each of {breeds} breeds.

These pictures are drawn by a program, not photographed. The breeds are invented: no such dogs exist.
They differ in ears, muzzle, coat, marking, tail and legs only; colours, pose, place and light are chance.
They exist so that the project can be tried without a download. An accuracy on them says nothing
about real dogs. The folder is a cache: delete it and it will be drawn again, pixel by pixel the same.

{table}
"""


def draw_dog(breed: int | str | Breed, rng: Rng, size_px: int = 160) -> Image.Image:
    """One picture of a dog of an invented breed; everything but the breed is chance.

    Args:
        breed: index, name or folder of one of ``BREEDS``, or a breed of your own.
        rng: decides colours, pose, place, light and camera.
        size_px: side of the square picture, 32 or more.

    Returns:
        An RGB image of size_px x size_px pixels.

    Raises:
        ValueError: there is no such breed, or size_px is below 32.
    """
    kind = breed_of(breed)
    if size_px < MIN_SIZE_PX:
        raise ValueError(f"size_px must be {MIN_SIZE_PX} or more, got {size_px}")
    canvas_px = size_px * OVERSAMPLING
    groups = dog(kind, rng)
    matrix, origin, foot_y = _framing(groups, canvas_px, rng)
    scene = out_of_focus(paint_scene(size_px, rng), rng)
    cutout = _cutout(groups, matrix, origin, canvas_px, rng)
    alpha = cutout.getchannel("A")
    ground = cast_shadow(np.asarray(scene, dtype=np.float32), alpha, foot_y / OVERSAMPLING, rng)
    figure = shade(np.asarray(cutout, dtype=np.float32)[..., :3], alpha, rng)
    cover = np.asarray(alpha, dtype=np.float32)[..., None] / np.float32(255)
    return develop(expose(ground + (figure - ground) * cover, rng), rng)


def _framing(groups: list[Group], canvas_px: int, rng: Rng) -> tuple[Points, Points, float]:
    """Scale, flip, rotation and place: the affine map from dog to canvas, and the row of the feet."""
    flip = np.array([-1.0 if rng.random() < 0.5 else 1.0, 1.0])
    tilt = rng.normal(0, 4)
    corners = turned(np.vstack([shape.points for group in groups for shape in group]) * flip, tilt)
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = float((high - low).max())
    scale = canvas_px * rng.uniform(0.82, 1.0) / size
    spare = canvas_px - (high - low) * scale
    place = rng.uniform(0, 1, 2) * [1, 0.6] + [0, 0.4]
    origin = spare * place - low * scale
    matrix = (turned(np.diag(flip), tilt) * scale).T
    return matrix, origin, float(origin[1])


def _cutout(groups: list[Group], matrix: Points, origin: Points, canvas_px: int, rng: Rng) -> Image.Image:
    fur = groups[2][0].colour
    canvas = Image.new("RGBA", (canvas_px, canvas_px), (*fur, 0))
    ink_px = rng.choice([0.7, 0.9, 1.1]) * canvas_px / 160
    pen = Pen(ImageDraw.Draw(canvas), matrix, origin, ink=darker(fur, rng.uniform(0.25, 0.5)), ink_px=ink_px)
    for group in groups:
        pen.group(group)
    if rng.random() < 0.2:
        paint_in_front(canvas, rng)
    return canvas.reduce(OVERSAMPLING)


def drawn_dogs_root(
    cache: Path | None = None,
    *,
    seed: int = 0,
    train_per_breed: int = TRAIN_PER_BREED,
    val_per_breed: int = VAL_PER_BREED,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The folder of the drawn sample, drawn at first use: ``train/BREED/0000.jpg``, ``val/BREED/0000.jpg``.

    Args:
        cache: where it is kept; ``$MOBILENET_APPS_CACHE`` or the user's cache folder by default.
        seed: 0 or more; the same seed gives the same pictures, pixel by pixel.
        train_per_breed: pictures of each breed to learn from, 1 or more.
        val_per_breed: pictures of each breed to hold out, 1 or more; from another stream of chance.
        on_progress: called with (pictures drawn, pictures in all) after each picture.

    Raises:
        ValueError: seed is below 0 or a count is below 1.
        OSError: the cache cannot be written, or a folder that is no whole sample is in the way.
    """
    if seed < 0 or min(train_per_breed, val_per_breed) < 1:
        raise ValueError(
            f"seed must be 0 or more and the counts 1 or more, got seed={seed}, "
            f"train_per_breed={train_per_breed}, val_per_breed={val_per_breed}"
        )
    home = default_cache() if cache is None else Path(cache)
    root = home / f"drawn-dogs-v{VERSION}-seed{seed}-{train_per_breed}+{val_per_breed}"
    if (root / "README.txt").is_file():
        return root
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        half_made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=home))
    except OSError as error:
        raise OSError(
            f"cannot write to {home} ({error.strerror}); set MOBILENET_APPS_CACHE to another folder"
        ) from error
    try:
        _draw_all(half_made, seed, train_per_breed, val_per_breed, on_progress)
        return _publish(half_made, root)
    finally:
        shutil.rmtree(half_made, ignore_errors=True)


def default_cache() -> Path:
    """``$MOBILENET_APPS_CACHE``, or the user's cache folder (on Linux ``~/.cache/mobilenet-apps``)."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("MOBILENET_APPS_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("mobilenet-apps", appauthor=False)


def _sweep(home: Path) -> None:
    """Remove what a killed process left behind; an hour is long past the end of any drawing."""
    for folder in home.glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > 3600:
                shutil.rmtree(folder)


def _publish(half_made: Path, root: Path) -> Path:
    """Give the finished folder its name, unless another process was first: then theirs is the same."""
    half_made.chmod(0o755)
    try:
        half_made.rename(root)
    except OSError as error:
        if not (root / "README.txt").is_file():
            raise OSError(
                f"{root} is in the way ({error.strerror}) and is no whole sample; delete it and try again"
            ) from error
    return root


@dataclass(frozen=True)
class _Job:
    """One picture to draw: its file, its breed and where its chance begins."""

    path: Path
    label: int
    entropy: list[int]

    def run(self) -> None:
        picture = draw_dog(self.label, np.random.default_rng(self.entropy))
        picture.save(self.path, quality=JPEG_QUALITY)


def _jobs(root: Path, seed: int, train: int, val: int) -> list[_Job]:
    return [
        _Job(root / split / breed.folder / f"{number:04d}.jpg", label, [seed, stream, label, number])
        for stream, (split, count) in enumerate({"train": train, "val": val}.items())
        for label, breed in enumerate(BREEDS)
        for number in range(count)
    ]


def draw_second_half(root: str, seed: str, train: str, val: str) -> None:
    """What the helping process does: every other picture; the arguments are those of a command line."""
    for job in _jobs(Path(root), int(seed), int(train), int(val))[1::2]:
        job.run()


def _draw_all(
    root: Path, seed: int, train: int, val: int, on_progress: Callable[[int, int], None] | None
) -> None:
    jobs = _jobs(root, seed, train, val)
    for folder in {job.path.parent for job in jobs}:
        folder.mkdir(parents=True)
    helper = None
    if len(jobs) >= HELPED_FROM and (os.cpu_count() or 1) > 1:
        command = [sys.executable, "-c", HELPER, str(root.resolve()), str(seed), str(train), str(val)]
        helper = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    try:
        _run(jobs[:: 2 if helper else 1], 2 if helper else 1, len(jobs), on_progress)
        if helper and helper.wait() != 0:
            _run(jobs[1::2], 0, len(jobs), None)
    finally:
        if helper:
            helper.kill()
            helper.wait()
    table = "\n".join(f"{breed.name:20} " + "".join(f"{part:9}" for part in breed.parts) for breed in BREEDS)
    text = README.format(version=VERSION, seed=seed, train=train, val=val, breeds=len(BREEDS), table=table)
    (root / "README.txt").write_text(text, encoding="utf-8")


def _run(jobs: list[_Job], pace: int, total: int, on_progress: Callable[[int, int], None] | None) -> None:
    for number, job in enumerate(jobs, start=1):
        job.run()
        if on_progress:
            on_progress(min(number * pace, total), total)
