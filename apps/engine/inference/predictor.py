"""Answers for images from Python: ``apps.load("runs/dogs").predict("dog.jpg")[0].name``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.core.machine import usable_cores
from apps.engine.core.spec import HeadSpec
from apps.engine.data.in_order import in_order
from apps.engine.inference.decode import decode_model
from apps.engine.inference.engines import Engine
from apps.engine.inference.loading import OTHER_SIZES, Source, load_engine
from apps.engine.inference.predictions import FailedPrediction, Prediction
from apps.engine.inference.preprocess import ImageLike, pixels_of, read_square, square
from apps.engine.inference.slices.sliced import check_detector, sliced
from apps.engine.inference.slices.tiles import Slices
from apps.engine.inference.tta import averaged
from datasets.image_io import BadImageError, find_images
from datasets.outside import one_line
from datasets.video import Frame

AHEAD = 4  # calls that wait for each thread
Raw = list[Any]  # the outputs of all heads for one image, each (1, ...)


@dataclass(frozen=True)
class Predictor:
    """A model that answers for images; what is pickled is where it is, so that it travels to other processes.

    Args:
        source: a run's folder, a file made by ``export``, or the name of weights with a classifier; or (name,
            run) of several runs on one backbone, which then runs once for all of them.
        engine: ``auto``, ``onnxruntime``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` or ``xpu``.
        threads: that read images and compute; None takes one for each core.
        precision: ``auto``, ``fp32`` or ``bf16``; the last is PyTorch's alone.
        tta: views of an image that are averaged: ``none``, ``mirror``, ``ten`` or ``scales``; None for those
            that each run was calibrated with.
        app: what weights are to answer, such as ``dogs``; None for what their classes say.
        slices: tiles of each image that a detector sees, too; None for none.
    """

    source: Source
    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    tta: str | None = None
    app: str | None = None
    slices: Slices | None = None

    @cached_property
    def loaded(self) -> Engine:
        """The model, loaded when it is first needed."""
        engine = load_engine(
            self.source, engine=self.engine, device=self.device, precision=self.precision, tta=self.tta,
            calls=self._threads, app=self.app,
        )
        if self.slices is not None:
            check_detector(engine, self.source)
        heads = tuple(_seen_as(head, self.tta) for head in engine.spec.heads)
        return replace(engine, spec=replace(engine.spec, heads=heads))

    @property
    def heads(self) -> tuple[HeadSpec, ...]:
        """What it answers."""
        return self.loaded.spec.heads

    @property
    def _threads(self) -> int:
        return self.threads or usable_cores()

    @cached_property
    def _views(self) -> list[str]:
        """The views of each head; those of other sizes, which no file can show, are left to PyTorch."""
        kinds = [self.tta or str(head.extra.get("tta", "none")) for head in self.heads]
        return [kind if kind != OTHER_SIZES or self.loaded.sizes_vary else "none" for kind in kinds]

    def predict(self, images: ImageLike | Iterable[ImageLike], *, top: int | None = None) -> list[Prediction]:
        """One answer an image, in their order.

        Args:
            images: a path, a folder (all images in it), an (H, W, 3) uint8 RGB array, a Pillow image or a
                frame of a video; or several of these.
            top: how many classes, cells or objects an image, 1 or more; None for 5, and for all objects.

        Returns:
            The answers; among several images :class:`FailedPrediction` for one that cannot be read.

        Raises:
            FileNotFoundError: there is no such path.
            ValueError: a single image cannot be read, or a folder holds none.
        """
        answers = [answer for _, answer in self.stream(images, top=top)]
        if len(answers) == 1 and isinstance(answers[0], FailedPrediction):
            raise ValueError(answers[0].error)
        return answers

    def stream(
        self, images: ImageLike | Iterable[ImageLike], *, top: int | None = None
    ) -> Iterator[tuple[ImageLike, Prediction]]:
        """Each image, paths of folders one by one, with its answer, as soon as it is there; in their order.

        Raises:
            FileNotFoundError: there is no such path.
            ValueError: a folder holds no image.
        """
        for image, raw, size in self.outputs(images):
            if isinstance(raw, FailedPrediction):
                yield image, raw
            else:
                yield image, self.decoded(raw, size, top)

    def outputs(
        self, images: ImageLike | Iterable[ImageLike]
    ) -> Iterator[tuple[ImageLike, Raw | FailedPrediction, tuple[int, int]]]:
        """Each image with the outputs of all heads, or why there are none, and its (width, height).

        Args:
            images: as for :meth:`predict`; an iterator, such as of the frames of a video, is read as it goes.

        Raises:
            FileNotFoundError: there is no such path.
            ValueError: a folder holds no image.
        """
        rest = images if isinstance(images, Iterator) else iter(_expanded(images))
        many = self.loaded.batch  # a model that cannot be loaded is refused before images are read
        at_once = self._threads if self.slices is None else 1  # else the threads share its tiles
        batches = iter(lambda: list(islice(rest, many)), [])
        for batch, computed in in_order(lambda some: (some, self.computed(some)), batches, at_once, AHEAD):
            for image, (outputs, size) in zip(batch, computed, strict=True):
                yield image, outputs, size

    def compute(self, pixels: NDArray[np.uint8]) -> Raw:
        """The outputs of all heads, averaged over views where that is asked for.

        Shape:
            pixels: (B, R, R, 3) uint8 RGB, as they come onto the square.
        """
        return averaged(self.loaded, pixels, self._views)

    def answers(self, pixels: NDArray[np.uint8], *, top: int | None = None) -> list[Prediction]:
        """One answer an image that is on its square already, such as a face's crop.

        Shape:
            pixels: (B, R, R, 3) uint8 RGB.
        """
        spec, (height, width) = self.loaded.spec, pixels.shape[1:3]
        return decode_model(spec, self.compute(pixels), [(width, height)] * len(pixels), top=top)

    def computed(self, images: Sequence[ImageLike]) -> list[Any]:
        """(outputs, size) of each image of a call, or the failure to read it."""
        if self.slices is not None:
            return [self._sliced(image, self.slices) for image in images]
        good: list[NDArray[np.uint8]] = []
        results: list[Any] = []
        for image in images:
            try:
                pixels, size = self._square(image)
            except BadImageError as err:
                results.append((FailedPrediction(err.reason), (0, 0)))
            else:
                results.append((len(good), size))
                good.append(pixels)
        with self._in_words():
            outputs = self.compute(np.stack(good)) if good else []
        return [(_of_image(outputs, at) if isinstance(at, int) else at, size) for at, size in results]

    def _sliced(self, image: ImageLike, slices: Slices) -> tuple[Raw | FailedPrediction, tuple[int, int]]:
        """Outputs and size of an image of which tiles are seen, too."""
        try:
            whole = pixels_of(image)
        except BadImageError as err:
            return FailedPrediction(err.reason), (0, 0)
        with self._in_words():
            outputs = sliced(self.loaded, whole, slices, self._threads)
        return _of_image(outputs, 0), (whole.shape[1], whole.shape[0])

    def _in_words(self) -> AbstractContextManager[None]:
        return one_line(self.source, "export or train it again", "does not give what it says of itself")

    def decoded(self, raw: Raw, size: tuple[int, int], top: int | None) -> Prediction:
        """The answer for an image.

        Raises:
            ValueError: the outputs are not such as the model says of itself.
        """
        with self._in_words():
            return decode_model(self.loaded.spec, raw, [size], top=top)[0]

    def _square(self, image: ImageLike) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """(R, R, 3) and (width, height) of an image.

        Raises:
            BadImageError: it cannot be read.
        """
        spec = self.loaded.spec
        how = spec.resolution, spec.crop, spec.resize
        if isinstance(image, bytes):  # of an image file
            return read_square(Path("image"), *how, data=image)
        if isinstance(image, str | Path):
            return read_square(Path(image), *how)
        whole = pixels_of(image)
        return square(whole, *how), (whole.shape[1], whole.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}


def load(
    source: str | Path | Mapping[str, str | Path], *, engine: str = "auto", device: str = "auto",
    threads: int | None = None, precision: str = "auto", tta: str | None = None, app: str | None = None,
    slices: Slices | None = None,
) -> Predictor:
    """A predictor that has its model loaded.

    Args:
        source: a run's folder, a file made by ``export``, or the name of weights with a classifier; or
            several runs of one backbone by the names of their answers.
        engine: ``auto``, ``onnxruntime``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` or ``xpu``.
        threads: that read images and compute; None takes one for each core.
        precision: see :class:`Predictor`.
        tta: see :class:`Predictor`.
        app: what weights are to answer, such as ``dogs``; None for what their classes say.
        slices: see :class:`Predictor`.

    Raises:
        FileNotFoundError: there is no such source.
        ImportError: the engine is not installed.
        ValueError: the source is damaged, the engine cannot run it, or the device is not there.
    """
    runs = tuple((name, str(run)) for name, run in source.items()) if isinstance(source, Mapping) else None
    predictor = Predictor(runs or str(source), engine, device, threads, precision, tta, app, slices)
    predictor.loaded  # noqa: B018 - loads
    return predictor


def _of_image(outputs: Raw, at: int) -> Raw | FailedPrediction:
    """One image's part of the outputs, which is no answer where it holds no numbers."""
    raw = [part[at : at + 1] for part in outputs]
    values = [np.asarray(row) for part in raw for row in part]
    if any(row.dtype.kind == "f" and (np.isnan(row) | np.isposinf(row)).any() for row in values):
        return FailedPrediction("the model's answer holds no finite numbers: its weights are damaged")
    return raw


def _seen_as(head: HeadSpec, tta: str | None) -> HeadSpec:
    """A head without its rule for the unknown where other views are averaged than it was calibrated with.

    Means of log-probabilities hold nothing of the energy that the rule goes by.
    """
    if tta is None or tta == head.extra.get("tta", "none"):
        return head
    kept = {name: value for name, value in head.calibration.items() if name != "unknown"}
    return replace(head, calibration=kept)


def _expanded(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    alone = isinstance(images, str | Path | bytes | Image.Image | np.ndarray | Frame | BadImageError)
    if not alone and not isinstance(images, Iterable):
        raise TypeError(f"expected a path, an array, a Pillow image or several of them, got {images!r}")
    given: list[ImageLike] = [images] if alone else list(images)  # type: ignore[list-item,arg-type]
    expanded: list[ImageLike] = []
    for image in given:
        if not isinstance(image, str | Path) or not (alone or Path(image).exists()):
            expanded.append(image)
            continue
        paths = list(find_images([Path(image)]))
        if not paths:
            raise ValueError(f"no image in {image}; give images or folders that hold some")
        expanded += paths
    return expanded
