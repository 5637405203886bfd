"""Answers for images from Python: ``apps.load("runs/dogs").predict("dog.jpg")[0].name``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.core.machine import usable_cores
from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import decode_model
from apps.engine.inference.engines import Engine, load_engine
from apps.engine.inference.predictions import FailedPrediction, Prediction
from apps.engine.inference.preprocess import read_square, square
from datasets.image_io import BadImageError, find_images

ImageLike = str | Path | Image.Image | NDArray[np.uint8]
AHEAD = 4  # images that wait for each thread


@dataclass(frozen=True)
class Predictor:
    """A model that answers for images; what is pickled is where it is, so that it travels to other processes.

    Args:
        source: a run's folder, a file made by ``export``, or the name of weights with a classifier.
        engine: ``auto``, ``onnxruntime``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` or ``xpu``.
        threads: that read images and compute; None takes one for each core.
        app: what weights are to answer, such as ``dogs``; None for what their classes say.
    """

    source: str
    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    app: str | None = None

    @cached_property
    def loaded(self) -> Engine:
        """The model, loaded when it is first needed."""
        return load_engine(
            self.source, engine=self.engine, device=self.device, calls=self._threads, app=self.app
        )

    @property
    def heads(self) -> tuple[HeadSpec, ...]:
        """What it answers."""
        return self.loaded.spec.heads

    @property
    def _threads(self) -> int:
        return self.threads or usable_cores()

    def predict(self, images: ImageLike | Iterable[ImageLike], *, top: int = 5) -> list[Prediction]:
        """One answer an image, in their order.

        Args:
            images: a path, a folder (all images in it), an (H, W, 3) uint8 RGB array or a Pillow image; or
                several of these.
            top: how many classes, cells or objects an image, 1 or more.

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
        self, images: ImageLike | Iterable[ImageLike], *, top: int = 5
    ) -> Iterator[tuple[ImageLike, Prediction]]:
        """Each image, paths of folders one by one, with its answer, as soon as it is there; in their order.

        Raises:
            FileNotFoundError: there is no such path.
            ValueError: a folder holds no image.
        """
        expanded = _expanded(images)
        self.loaded  # noqa: B018 - a model that cannot be loaded is refused before images are read
        with ThreadPoolExecutor(self._threads) as pool:
            waiting: deque[tuple[ImageLike, Future[Prediction]]] = deque()
            for image in expanded:
                waiting.append((image, pool.submit(self._answer, image, top)))
                if len(waiting) > AHEAD * self._threads:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            for image, answer in waiting:
                yield image, answer.result()

    def _answer(self, image: ImageLike, top: int) -> Prediction:
        spec = self.loaded.spec
        how = spec.resolution, spec.crop, spec.resize
        try:
            if isinstance(image, str | Path):
                pixels, size = read_square(Path(image), *how)
            else:
                whole = _pixels(image)
                pixels, size = square(whole, *how), (whole.shape[1], whole.shape[0])
        except BadImageError as err:
            return FailedPrediction(err.reason)
        batch = pixels[None] if spec.layout == "nhwc" else pixels.transpose(2, 0, 1)[None]
        return decode_model(spec, self.loaded.run(np.ascontiguousarray(batch)), [size], top=top)[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "loaded"}


def load(
    source: str | Path, *, engine: str = "auto", device: str = "auto", threads: int | None = None,
    app: str | None = None,
) -> Predictor:
    """A predictor that has its model loaded.

    Args:
        source: a run's folder, a file made by ``export``, or the name of weights with a classifier.
        engine: ``auto``, ``onnxruntime``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` or ``xpu``.
        threads: that read images and compute; None takes one for each core.
        app: what weights are to answer, such as ``dogs``; None for what their classes say.

    Raises:
        FileNotFoundError: there is no such source.
        ImportError: the engine is not installed.
        ValueError: the source is damaged, the engine cannot run it, or the device is not there.
    """
    predictor = Predictor(str(source), engine, device, threads, app)
    predictor.loaded  # noqa: B018 - loads
    return predictor


def _expanded(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    given = [images] if isinstance(images, str | Path | Image.Image | np.ndarray) else list(images)
    expanded: list[ImageLike] = []
    for image in given:
        if not isinstance(image, str | Path):
            expanded.append(image)
            continue
        paths = list(find_images([Path(image)]))
        if not paths:
            raise ValueError(f"no image in {image}; give images or folders that hold some")
        expanded += paths
    return expanded


def _pixels(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of an image in memory.

    Raises:
        BadImageError: it is none.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise BadImageError("array", f"expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    return image
