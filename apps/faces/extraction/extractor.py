"""One photo to its faces: read, detected, aligned, rated."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.device import AS_USUAL, Compute
from apps.faces import NO_FACE
from apps.faces.detection.detector import DetectionError, Detector, Face
from apps.faces.detection.ssd import MIN_PROBABILITY, SSDFinder
from apps.faces.extraction.align import Quality, align_face, pose, sharpness, square_crop
from apps.faces.extraction.embedder import Align
from apps.faces.extraction.opening import Opened, open_source
from apps.faces.extraction.sources import Source, Stamp
from datasets.image_io import BadImageError

Which = Literal["all", "largest", "one"]
WHICH: tuple[Which, ...] = get_args(Which)
DetectorName = Literal["mtcnn", "ssd"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)  # the usual one first


@dataclass(frozen=True)
class Crop:
    """A face cut out.

    Args:
        face: where it is, in pixels of the photo.
        quality: how good a picture of it this is.
    """

    face: Face
    quality: Quality


@dataclass(frozen=True)
class Extraction:
    """What was found in a photo.

    Args:
        source: the photo.
        sha256: of its bytes; empty where they cannot be read.
        stamp: size and times of change when it was read.
        crops: its faces.
        images: RGB squares, one for each of the crops.
        problem: why there is none, in one line; empty where all is well.
        readable: False where the photo itself is at fault.
        date: when it was taken; None where unknown.
    """

    source: Source
    sha256: str
    stamp: Stamp
    crops: list[Crop] = field(default_factory=list)
    images: list[Image.Image] = field(default_factory=list)
    problem: str = ""
    readable: bool = True
    date: str | None = None


@dataclass(frozen=True)
class FaceExtractor:
    """How photos are looked at.

    Args:
        resolution: side of the crops in pixels.
        which: all faces of a photo, the largest, or one: photos with several are refused then.
        align: by five landmarks, or none for photos that are face crops already.
        detector: shared by all threads; unused where nothing is aligned.
    """

    resolution: int
    which: Which = "all"
    align: Align = "five-point"
    detector: Detector = field(default_factory=Detector)

    def __call__(self, source: Source) -> Extraction:
        """Look at one photo; whatever is wrong with it is reported, not raised."""
        stamp = source.stamp()
        try:
            opened = open_source(source)
        except BadImageError as err:
            return Extraction(source, source.sha256(), stamp, problem=err.reason, readable=False)
        if source.frame is not None and source.time is not None:
            source = replace(source, frame=None)  # its pixels are let go
        try:
            faces = self._faces(opened.image)
        except DetectionError as err:
            return Extraction(source, opened.sha256, stamp, problem=str(err), readable=False)
        if not faces:
            return Extraction(source, opened.sha256, stamp, problem=NO_FACE)
        if self.which == "one" and len(faces) > 1:
            problem = f"{len(faces)} faces found, and exactly one was asked for"
            return Extraction(source, opened.sha256, stamp, problem=problem)
        chosen = [self._cut(opened, face) for face in (faces if self.which == "all" else faces[:1])]
        return Extraction(
            source, opened.sha256, stamp, [item for item, _ in chosen], [item for _, item in chosen],
            date=opened.date,
        )

    def _faces(self, image: Image.Image) -> list[Face]:
        """Of a photo, largest first; the whole of a ready crop.

        Raises:
            DetectionError: the detector failed on it.
        """
        if self.align == "none":
            return [Face((0.0, 0.0, float(image.width), float(image.height)), None, None)]
        return [face for face in self.detector.detect(image) if face.landmarks is not None]

    def _cut(self, opened: Opened, face: Face) -> tuple[Crop, Image.Image]:
        """A face cut out and rated."""
        image, points = opened.image, face.landmarks
        if points is None:
            return _rated(opened, face, square_crop(image, self.resolution), 0.0)
        return _rated(opened, face, align_face(image, points, self.resolution), pose(points))


def _rated(opened: Opened, face: Face, crop: Image.Image, turned: float) -> tuple[Crop, Image.Image]:
    face = face.scaled(opened.enlarge)
    return Crop(face, Quality(face.size_px, sharpness(crop), turned)), crop


def as_detector(name: str | None) -> DetectorName:
    """The detector of a name; None for the usual one.

    Raises:
        ValueError: there is none of that name.
    """
    for known in DETECTORS:
        if name in (known, None):
            return known
    raise ValueError(f"the detector must be one of {', '.join(DETECTORS)}, got {name!r}")


def make_detector(
    name: DetectorName, align: Align = "five-point", console: Console | None = None,
    compute: Compute = AS_USUAL,
) -> Detector:
    """What finds faces.

    Args:
        name: ``mtcnn``, whose weights come with its package, or ``ssd``, fetched once.
        align: with ``none`` no detector is used, so nothing is fetched.
        console: where a line says what is fetched.
        compute: by what, and where, its networks are computed.

    Raises:
        ConnectionError: its weights are not here and cannot be fetched.
        ImportError: the engine is not installed.
        ValueError: the device is not there.
    """
    if name == "mtcnn" or align == "none":
        return Detector(compute=compute)
    return Detector(finder=SSDFinder.load(console, compute), min_probability=MIN_PROBABILITY)
