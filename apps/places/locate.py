"""``locate``: photos in, where they may have been taken out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apps.engine.core.console import Console
from apps.engine.core.files import writable_folder
from apps.engine.core.machine import choose_precision
from apps.engine.core.model import inference_forward, load_run
from apps.engine.core.run_dir import RunConfig
from apps.engine.data.loader import eval_loader
from apps.engine.evaluation.classification import log_softmax
from apps.engine.inference.tta import tta_logits
from apps.places.answers import album_log_probabilities, coarse, describe
from apps.places.cells.names import grids_of
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats
from apps.places.evaluate import features_of
from apps.places.maps.gazetteer import gazetteer
from apps.places.maps.render import check_map, write_map
from apps.places.sequence import AlbumNetwork, in_album, load_sequence
from apps.places.targets import move
from datasets.base import ImageDataset, Photo
from datasets.geo.geotags import taken_at
from datasets.image_io import list_photos
from heads import MultiHead

BATCH = 32
REFINED_CELLS = 5  # likeliest cells in which the nearest training photo is looked for


@dataclass(frozen=True)
class Asked:
    """How ``locate`` answers.

    Args:
        top: cells a photo.
        album: the photos of a folder are one trip: one answer for them together, too.
        map: file for a heat map of all photos together; see :func:`apps.places.maps.render.write_map`.
        precise: tell positions as they are, not to a city.
        ten_crop: average over ten views of each photo.
        refine: take the position of the nearest training photo inside the likeliest cells.
        least: confidence below which the model abstains, 0 to 1.
        workers: reading processes.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Raises:
        ValueError: ``least`` is out of range, or the map's suffix is unknown.
    """

    top: int = 5
    album: bool = False
    map: Path | None = None
    precise: bool = False
    ten_crop: bool = False
    refine: bool = False
    least: float = 0.0
    workers: int | None = None
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ValueError(f"--min-confidence must be 0 to 1, got {self.least:g}")
        if self.map is not None:
            check_map(self.map)


def locate(
    paths: Iterable[Path], run: Path, asked: Asked, console: Console
) -> Iterator[dict[str, Any]]:
    """A line a photo, in the order of the paths; with ``album`` a line a folder after its photos.

    The photos' own GPS is never read.

    Raises:
        FileNotFoundError: a path or the run is missing.
        OSError: the folder of the map cannot be written; told before any photo is read.
        ValueError: the run is damaged, or the folders hold no photo.
    """
    task, model, config = load_run(run, app="places")
    images = list_photos(paths)
    if asked.map is not None:
        writable_folder(asked.map.parent, "--map")
    if asked.album:
        images.sort(key=lambda path: (str(path.parent), taken_at(path), path.name))
    grid = grids_of(config.classes)[-1]
    refiner = _Refiner(task, model, config, grid, asked, console) if asked.refine else None
    network = load_sequence(run, config) if asked.album else None
    sums: Floats = np.zeros(len(grid))
    albums: dict[Path, list[tuple[Floats, Any]]] = {}
    good, line = 0, dict[str, Any]()
    pooled = asked.refine or network is not None
    for path, log_probabilities, features, reported in _answers(images, model, config, asked, pooled=pooled):
        if log_probabilities is None:
            yield {"path": str(path), "error": reported}
            continue
        probabilities = np.exp(log_probabilities)
        sums, good = sums + probabilities, good + 1
        albums.setdefault(path.parent, []).append((log_probabilities, features))
        line = describe(probabilities, grid, top=asked.top, least=asked.least, precise=asked.precise)
        if not line["abstains"]:
            line |= {} if reported is None else moved(grid, probabilities, reported, precise=asked.precise)
            line |= {} if refiner is None else refiner(features, probabilities)
        yield {"path": str(path), **line}
    if asked.album and good:
        together = {folder: _together(photos, network) for folder, photos in albums.items()}
        sums = np.sum(list(together.values()), axis=0)
        by = "mean of log-probabilities" if network is None else "sequence model"
        for folder, probabilities in together.items():
            line = describe(probabilities, grid, top=asked.top, least=asked.least, precise=asked.precise)
            yield {"album": str(folder), "photos": len(albums[folder]), "by": by, **line}
    if asked.map is not None and good:
        mean, one_line = sums / sums.sum(), good == 1 or (asked.album and len(albums) == 1)
        answer = line if one_line else describe(
            mean, grid, top=asked.top, least=asked.least, precise=asked.precise
        )
        _draw(asked, grid, mean, answer, good)


def moved(grid: CellPartition, probabilities: Floats, offset: Floats, *, precise: bool) -> dict[str, Any]:
    """Position, country and city that an offset (2,) leads to from the likeliest cell."""
    best = np.array([int(probabilities.argmax())])
    lat, lon = (float(item[0]) for item in move(grid, best, offset[None]))
    return named(lat, lon, precise=precise)


def named(lat: float, lon: float, *, precise: bool) -> dict[str, Any]:
    """A position with its country and city, to a tenth of a degree unless ``precise``."""
    (place,) = gazetteer().places([lat], [lon])
    lat, lon = (lat, lon) if precise else coarse(lat, lon)
    return {"lat": lat, "lon": lon, "country": place.country_code, "city": place.city}


def _together(photos: Sequence[tuple[Floats, Any]], network: AlbumNetwork | None) -> Floats:
    """The probabilities (K,) of an album, its photos in time order."""
    logs = np.stack([item for item, _ in photos])
    if network is not None:
        logs = in_album(network, np.stack([pooled for _, pooled in photos]), logs)
    return np.exp(album_log_probabilities(logs))


def _draw(
    asked: Asked, grid: CellPartition, probabilities: Floats, answer: dict[str, Any], photos: int
) -> None:
    """The map of all photos; ``answer`` is the line that was told where there is one for all of them."""
    title = "Where was it taken?" if photos == 1 else f"Where were these {photos} photos taken?"
    assert asked.map is not None
    write_map(asked.map, grid, probabilities, answer, title=title, precise=asked.precise)


def _answers(
    paths: Sequence[Path], model: MultiHead, config: RunConfig, asked: Asked, *, pooled: bool
) -> Iterator[tuple[Path, Floats | None, Any, Any]]:
    """Each photo with log-probabilities (K,), features (C,) and offset (2,); or with why it is bad."""
    photos = ImageDataset([Photo(path, 0) for path in paths], ["place"])
    loader = eval_loader(
        photos, config.backbone.preprocessing, batch_size=BATCH, workers=asked.workers
    )
    look = _looking(model, config, asked, pooled=pooled)
    for batch in loader.epoch(0):
        lines: dict[int, tuple[Path, Floats | None, Any, Any]] = {
            bad_image.index: (paths[bad_image.index], None, None, bad_image.reason) for bad_image in batch.bad
        }
        if batch.indices:
            rows, features, offsets = look(batch.images)
            for row, index in enumerate(batch.indices):
                feature, offset = (None if item is None else item[row] for item in (features, offsets))
                lines[index] = (paths[index], rows[row], feature, offset)
        yield from (lines[index] for index in sorted(lines))


def _looking(model: MultiHead, config: RunConfig, asked: Asked, *, pooled: bool) -> Any:
    """images -> log-probabilities (B, K), features (B, C) or None, offsets (B, 2) or None, as arrays.

    The mean of several offsets may lie far from all of them: ten crops are answered by their cell.
    """
    head: Any = model.heads["places"]
    forward = inference_forward(model, "places", choose_precision(asked.precision))
    trunk: Any = model.backbone
    temperature = config.calibration.get("temperature", 1.0)

    def one_view(images: torch.Tensor) -> torch.Tensor:
        tensor: torch.Tensor = head.log_probabilities(forward(images)).float()
        return tensor

    @torch.inference_mode()
    def look(images: torch.Tensor) -> tuple[Floats, Any, Any]:
        offset = None
        if asked.ten_crop:
            raw = tta_logits(one_view, images, "ten")
        else:
            output = forward(images)
            raw, offset = head.log_probabilities(output).float(), head.split(output)[1]
        features = trunk(images)[max(trunk.channels)].mean(dim=(2, 3)).numpy() if pooled else None
        away = None if offset is None else offset.double().numpy()
        return log_softmax(raw.numpy(), temperature), features, away

    return look


class _Refiner:
    """Positions of training photos that look like the one asked for, inside its likeliest cells."""

    def __init__(
        self,
        task: Any,
        model: MultiHead,
        config: RunConfig,
        grid: CellPartition,
        asked: Asked,
        console: Console,
    ) -> None:
        result = features_of(task, model, config, "train", asked.workers, console)
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


