"""What finds and embeds the faces of images on a worker of :mod:`apps.engine.scale`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.device import AS_USUAL, Compute
from apps.engine.data.in_order import in_order
from apps.engine.scale.answering import Line
from apps.engine.scale.rows import ROWS
from apps.faces.extraction.embedder import Align, FaceModel, ModelInfo
from apps.faces.extraction.extractor import (
    DetectorName,
    Extraction,
    FaceExtractor,
    Which,
    make_detector,
)
from apps.faces.extraction.loading import load_face_model
from apps.faces.extraction.sources import Source, source_by_name, with_frames
from apps.faces.people.corrections import Box, FaceRef
from datasets.image_io import BadImageError

if TYPE_CHECKING:
    from apps.engine.inference.preprocess import ImageLike

AT_ONCE = 8  # images that a process may have at hand while a time limit runs
TOGETHER = 32  # images whose faces are embedded at once by a card; a processor gains 2 % by it
Vector = NDArray[np.float32]  # (D,)


@dataclass(frozen=True)
class FaceAnswers:
    """The rows of faces; see :class:`apps.engine.scale.answering.Answers`.

    What a processor says of an image does not depend on the others, nor on the number of threads.

    Args:
        info: of the model.
        align: how faces are cut out.
        which: faces of an image: all, the largest, or exactly one.
        detector: what finds the faces.
        name: of the person whom all images show; None leaves faces nameless.
        moved: sum of an image's bytes -> name of the person who was enrolled from it.
        forgotten: sum of an image's bytes -> boxes of faces that are never to be embedded again.
        compute: by what, and where, faces are found and embedded.
        threads: that read and detect.
        batch: images given at once.
    """

    info: ModelInfo
    align: Align = "five-point"
    which: Which = "all"
    detector: DetectorName = "mtcnn"
    name: str | None = None
    moved: Mapping[str, str] = field(default_factory=dict)
    forgotten: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    compute: Compute = AS_USUAL
    threads: int = 1
    batch: int = AT_ONCE
    _loaded: list[tuple[FaceModel, FaceExtractor]] = field(default_factory=list, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is loaded: that is done again where it arrives."""
        return self.__dict__ | {"_loaded": []}

    @property
    def about(self) -> Mapping[str, Any]:
        """The model, which faces are asked for, and what finds them."""
        return {
            "fingerprint": self.info.fingerprint, "dim": self.info.dim, "align": self.align,
            "faces": self.which, "detector": self.detector, "name": self.name,
        }

    @property
    def columns(self) -> Any:
        """Of a part of a table of faces."""
        from apps.faces.extraction.table import About, part_columns

        return part_columns(About(self.info, self.align))

    def load(self, model: FaceModel | None = None) -> tuple[FaceModel, FaceExtractor]:
        """What embeds and what finds faces.

        Args:
            model: that is loaded already; None to load the one that is named.

        Raises:
            ImportError, OSError, ValueError: it cannot be loaded, or is another one here.
        """
        if not self._loaded:
            info = self.info
            if model is None:
                run = None if info.checkpoint is None else Path(info.checkpoint)
                model = load_face_model(weights=info.weights, checkpoint=run, compute=self.compute)
            if model.info.fingerprint != info.fingerprint:
                raise ValueError(
                    f"{info.weights or info.checkpoint} is another model here: {model.info.fingerprint}, not "
                    f"{info.fingerprint}; give all machines the same file"
                )
            finder = make_detector(self.detector, self.align, compute=self.compute)
            if self.align != "none":
                finder.load()  # its networks are made once, which takes long
            self._loaded.append((model, FaceExtractor(info.resolution, self.which, self.align, finder)))
        return self._loaded[0]

    def lines(self, images: Sequence[ImageLike]) -> list[Line]:
        """Of each image its sum and stamp, and a row a face."""
        model, extractor = self.load()
        looked = in_order(extractor, with_frames(map(_source, images)), self.threads)
        kept = (_without(look, self.forgotten) for look in looked)
        together = 1 if self.compute.device in ("auto", "cpu") else TOGETHER
        lines: list[Line] = []
        while some := list(islice(kept, together)):
            vectors = iter(model.vectors([image for look in some for image in look.images]))
            lines += [self._line(look, [next(vectors) for _ in look.crops]) for look in some]
        return lines

    def _line(self, look: Extraction, vectors: Sequence[Vector]) -> Line:
        name = self.moved.get(look.sha256, self.name) if look.crops else self.name
        size, modified, changed = look.stamp
        line: Line = {
            "sha256": look.sha256, "bytes": size, "modified_ns": modified, "changed_ns": changed,
            "which": self.which, "name": name, "date": look.date, "time": look.source.time,
        }
        if not look.readable:
            return {**line, "error": look.problem}
        return {**line, "problem": look.problem or None, ROWS: self._rows(look, vectors)}

    def _rows(self, look: Extraction, vectors: Sequence[Vector]) -> list[dict[str, Any]]:
        return [
            {
                "face": number, "box": list(crop.face.box), "probability": crop.face.probability,
                "landmarks": None if crop.face.landmarks is None else crop.face.landmarks.ravel().tolist(),
                "size_px": crop.quality.size_px, "sharpness": crop.quality.sharpness,
                "pose": crop.quality.pose, "vector": vector, "model": self.info.fingerprint,
            }
            for number, (crop, vector) in enumerate(zip(look.crops, vectors, strict=True))
        ]


def _source(image: ImageLike) -> Source:
    if isinstance(image, bytes):
        return Source("image", Path("image"), data=image)
    name = str(image)
    try:
        return source_by_name(name)
    except (OSError, ValueError) as err:  # the file that holds it has gone or changed
        return Source(name, Path(name), frame=BadImageError(name, str(err)))


def _without(look: Extraction, forgotten: Mapping[str, Sequence[Box]]) -> Extraction:
    """What was found in a photo, without the faces of people who were forgotten."""
    kept = [
        (crop, image) for crop, image in zip(look.crops, look.images, strict=True)
        if not FaceRef(look.sha256, crop.face.box, "").is_among(forgotten)
    ]
    return replace(look, crops=[crop for crop, _ in kept], images=[image for _, image in kept])
