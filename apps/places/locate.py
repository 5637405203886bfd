"""``locate``: photos in, where they may have been taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.console import Console
from apps.engine.core.files import writable_file
from apps.engine.core.run_values import run_values
from apps.engine.evaluation.classification import log_softmax
from apps.engine.inference.predictions import FailedPrediction
from apps.engine.inference.predictor import Predictor
from apps.engine.inference.preprocess import read_square
from apps.engine.scale.answering import Line, ModelAnswers, about_model
from apps.engine.scale.rows import columns_of
from apps.places.album.neighbours import Near, Neighbours
from apps.places.album.together import AlbumPhoto, album_network, together
from apps.places.answers import describe, moved, named
from apps.places.cells.names import grids_of
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats
from datasets.geo.geotags import taken_at
from datasets.image_io import list_photos

REFINED_CELLS = 5  # likeliest cells in which the nearest training photo is looked for


@dataclass(frozen=True)
class Asked:
    """How ``locate`` answers.

    Args:
        top: cells a photo.
        album: the photos of a folder are one trip: one answer for them together, too.
        neighbours: of an album: photos close in time that tell their position help those that do not.
        gpx: tracks that help as such photos do.
        clock: hours that the cameras' clocks are ahead of UTC, where photos do not tell.
        map: file for a heat map of all photos together; see :func:`apps.places.maps.render.write_map`.
        precise: tell positions as they are, not to a city.
        ten_crop: average over ten views of each photo.
        refine: take the position of the nearest training photo inside the likeliest cells.
        least: confidence below which the model abstains, 0 to 1.
        workers: threads that read photos and compute; None takes one for each core.
        precision: ``auto``, ``fp32`` or ``bf16``.
        engine: that computes; see :class:`apps.engine.inference.predictor.Predictor`.
        device: see there.

    Raises:
        ValueError: ``least`` is out of range, or the map's suffix is unknown.
    """

    top: int = 5
    album: bool = False
    neighbours: bool = True
    gpx: tuple[Path, ...] = ()
    clock: float | None = None
    map: Path | None = None
    precise: bool = False
    ten_crop: bool = False
    refine: bool = False
    least: float = 0.0
    workers: int | None = None
    precision: str = "auto"
    engine: str = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ValueError(f"--min-confidence must be 0 to 1, got {self.least:g}")
        if self.clock is not None and not -14 <= self.clock <= 14:
            raise ValueError(f"--clock must be -14 to 14 hours, got {self.clock:g}")
        if self.map is not None:
            from apps.places.maps.render import check_map

            check_map(self.map)

    def predictor(self, run: Path, threads: int | None) -> Predictor:
        """What computes the answers of a run."""
        views = "ten" if self.ten_crop else None
        return Predictor(str(run), self.engine, self.device, threads, self.precision, views)


def locate(
    paths: Iterable[Path], run: Path, asked: Asked, console: Console
) -> Iterator[dict[str, Any]]:
    """A line a photo, in the order of the paths; with ``album`` a line a folder after its photos.

    Where a photo's own GPS puts it is never asked, unless for its neighbours in an album.

    Raises:
        FileNotFoundError: a path or the run is missing.
        OSError: the folder of the map cannot be written; raised before any photo is read.
        ValueError: the run is damaged, or the folders hold no photo.
    """
    classes = tuple(run_values(run, app="places", weights=False)["classes"])
    images = list_photos(paths)
    if asked.map is not None:
        writable_file(asked.map, "--map")
    if asked.album:
        images.sort(key=lambda path: (str(path.parent), taken_at(path), path.name))
    grid = grids_of(classes)[-1]
    around = _neighbours(grid, images, asked, console)
    predictor = asked.predictor(run, asked.workers or None)
    if predictor.loaded.note:
        console.say(predictor.loaded.note)
    refiner = _Refiner(run, grid, asked, console) if asked.refine else None
    in_album = album_network(run) if asked.album else None
    sums: Floats = np.zeros(len(grid))
    albums: dict[Path, list[AlbumPhoto]] = {}
    good, line, spots = 0, dict[str, Any](), list[Any]()
    features_of = _pooling(run, predictor) if refiner is not None or in_album is not None else _nothing
    for path, answer in _answers(images, predictor):
        if isinstance(answer, FailedPrediction):
            yield {"path": str(path)} | answer.to_dict()
            continue
        log_probabilities, offset = answer
        photo = AlbumPhoto(log_probabilities, features_of(path), around(path))
        probabilities = np.exp(photo.fused(log_probabilities))
        sums, good = sums + probabilities, good + 1
        albums.setdefault(path.parent, []).append(photo)
        line = _line_of(grid, asked, probabilities, offset if photo.near is None else None)
        if photo.near is not None:
            line |= photo.near.line(np.exp(log_probabilities), asked.precise, line["abstains"])
        elif not line["abstains"] and refiner is not None:
            line |= refiner(photo.features, probabilities)
        if asked.map is not None and not line["abstains"]:
            spots.append(_spot(path, line))
        yield {"path": str(path), **line}
    if asked.album and good:
        trips = {folder: together(photos, in_album) for folder, photos in albums.items()}
        sums = np.sum(list(trips.values()), axis=0)
        by = "mean of log-probabilities" if in_album is None else "sequence model"
        for folder, probabilities in trips.items():
            line = describe(probabilities, grid, top=asked.top, least=asked.least, precise=asked.precise)
            yield {"album": str(folder), "photos": len(albums[folder]), "by": by, **line}
    if asked.map is not None and good:
        mean, one_line = sums / sums.sum(), good == 1 or (asked.album and len(albums) == 1)
        shown = line if one_line else describe(
            mean, grid, top=asked.top, least=asked.least, precise=asked.precise
        )
        _draw(asked, grid, mean, shown, good, spots)


def _nothing(_: Path) -> None:
    """Nothing is known of a photo beside what the model says."""


def _neighbours(
    grid: CellPartition, images: Sequence[Path], asked: Asked, console: Console
) -> Callable[[Path], Near | None]:
    if not (asked.album and asked.neighbours):
        return _nothing
    around = Neighbours(grid, images, asked.gpx, asked.clock)
    for note in around.notes:
        console.warn(note)
    return around


def _draw(
    asked: Asked, grid: CellPartition, probabilities: Floats, answer: dict[str, Any], photos: int,
    spots: Sequence[Any],
) -> None:
    """The map of all photos; ``answer`` is the line that was given where there is one for all of them."""
    from apps.places.maps.render import write_map

    title = "Where was it taken?" if photos == 1 else f"Where were these {photos} photos taken?"
    assert asked.map is not None
    write_map(
        asked.map, grid, probabilities, answer, title=title, precise=asked.precise,
        spots=spots if photos > 1 else (), trip=asked.album,
    )


def _spot(path: Path, line: dict[str, Any]) -> Any:
    """The place of a photo on a map, as it was answered."""
    from apps.places.maps.view import Spot

    names = ("lat", "lon", "confidence", "city", "country")
    return Spot(str(path), **{name: line[name] for name in names})


def _answers(
    paths: Sequence[Path], predictor: Predictor
) -> Iterator[tuple[Path, tuple[Floats, Floats | None] | FailedPrediction]]:
    """Each photo with log-probabilities (K,) and offset (2,), or why it is bad.

    The mean of several offsets may lie far from all of them: ten crops are answered by their cell.
    """
    for path, outputs, _ in predictor.outputs(paths):
        if isinstance(outputs, FailedPrediction):
            yield Path(str(path)), outputs
        else:
            yield Path(str(path)), _read(predictor, outputs)


def _read(predictor: Predictor, outputs: Any) -> tuple[Floats, Floats | None]:
    """Log-probabilities (K,) and offset (2,) of one image's outputs."""
    (head,) = predictor.heads
    temperature = float(head.calibration.get("temperature", 1.0))
    logs, *offset = (part[0].astype(np.float64) for part in outputs)
    return log_softmax(logs, temperature), offset[0] if offset and predictor.tta != "ten" else None


def _line_of(
    grid: CellPartition, asked: Asked, probabilities: Floats, offset: Floats | None
) -> dict[str, Any]:
    """The line of an image."""
    line = describe(probabilities, grid, top=asked.top, least=asked.least, precise=asked.precise)
    if not line["abstains"] and offset is not None:
        line |= moved(grid, probabilities, offset, precise=asked.precise)
    return line


@dataclass(frozen=True)
class Places(ModelAnswers):
    """The answers of ``locate`` for many images; see :class:`apps.engine.scale.answering.Answers`.

    Args:
        predictor: of a run of ``finetune places``, with one thread.
        asked: how to answer; no album, map or refining, which look at several images together.
    """

    predictor: Predictor
    asked: Asked

    @property
    def about(self) -> Mapping[str, Any]:
        """The model, and how it answers."""
        asked = {name: getattr(self.asked, name) for name in ("top", "precise", "ten_crop", "least")}
        return about_model(self.predictor) | asked

    @property
    def columns(self) -> Any:
        """JSON of the line."""
        return columns_of(["cells"])

    def line(self, raw: Any, size: tuple[int, int]) -> Line:
        """As the line of ``locate``."""
        logs, offset = _read(self.predictor, raw)
        return _line_of(grids_of(self.predictor.heads[0].classes)[-1], self.asked, np.exp(logs), offset)


def _pooling(run: Path, predictor: Predictor) -> Callable[[Path], Floats]:
    """From a photo to the features (C,) of the run's backbone, which only PyTorch gives."""
    import torch

    from apps.engine.core.model import load_run

    backbone: Any = load_run(run)[1].backbone
    seen = predictor.loaded.spec

    @torch.inference_mode()
    def features(path: Path) -> Floats:
        pixels, _ = read_square(path, seen.resolution, seen.crop, seen.resize)
        maps = backbone(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
        pooled: Floats = maps[max(backbone.channels)].mean(dim=(2, 3))[0].numpy()
        return pooled

    return features


class _Refiner:
    """Positions of training photos that look like the one asked for, inside its likeliest cells."""

    def __init__(self, run: Path, grid: CellPartition, asked: Asked, console: Console) -> None:
        from apps.engine.core.model import load_run
        from apps.places.evaluate import features_of

        result = features_of(*load_run(run), "train", asked.workers, console)
        self.features, self.lat, self.lon, _ = result
        self.cells, self.precise = grid.locate(self.lat, self.lon), asked.precise

    def __call__(self, features: Any, probabilities: Floats) -> dict[str, Any]:
        """``lat``, ``lon``, ``country`` and ``city``; empty where none of the cells has a training photo."""
        best = np.argsort(-probabilities, kind="stable")[:REFINED_CELLS]
        rows = np.flatnonzero(np.isin(self.cells, best))
        if not len(rows):
            return {}
        near = rows[int((self.features[rows] @ features).argmax())]
        lat, lon = float(self.lat[near]), float(self.lon[near])
        return {**named(lat, lon, precise=self.precise), "refined": True}


