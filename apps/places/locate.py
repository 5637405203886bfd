"""``locate``: photos in, where they may have been taken out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apps.engine.checkpoint import RunConfig
from apps.engine.loader import looking_loader
from apps.engine.machine import choose_precision
from apps.engine.tta import tta_logits
from apps.model import answering, load_run
from apps.places.answers import album_log_probabilities, coarse, describe
from apps.places.cell_names import grids_of
from apps.places.evaluate import features_of
from apps.places.gazetteer import gazetteer
from apps.places.judged import tempered
from apps.places.maps import check_map, write_map
from apps.places.partition import Grid
from apps.places.s2 import Floats
from apps.progress import Screen
from datasets.geotags import taken_at
from datasets.images import find_photos
from datasets.photos import LabelledPhotos, Photo
from heads import MultiHead

BATCH = 32
REFINED_CELLS = 5  # likeliest cells in which the nearest training photo is looked for


@dataclass(frozen=True)
class Asked:
    """How ``locate`` answers.

    Args:
        top: cells a photo.
        album: the photos of a folder are one trip: one answer for them together, too.
        map: file for a heat map of all photos together; see :func:`apps.places.maps.write_map`.
        precise: tell positions as they are, not to a city.
        ten_crop: average over ten views of each photo.
        refine: take the position of the nearest training photo inside the likeliest cells.
        least: sureness below which the model abstains, 0 to 1.
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
    paths: Iterable[Path], run: Path, asked: Asked, screen: Screen
) -> Iterator[dict[str, Any]]:
    """A line a photo, in the order of the paths; with ``album`` a line a folder after its photos.

    The photos' own GPS is never read.

    Raises:
        FileNotFoundError: a path or the run is missing.
        ValueError: the run is damaged, or the folders hold no photo.
    """
    app, model, config = load_run(run, app="places")
    found = list(find_photos(paths))
    if not found:
        raise ValueError(f"no photo in {', '.join(map(str, paths))}; give photos or folders that hold some")
    if asked.album:
        found.sort(key=lambda path: (str(path.parent), taken_at(path), path.name))
    grid = grids_of(config.classes)[-1]
    refiner = _Refiner(app, model, config, grid, asked, screen) if asked.refine else None
    sums: Floats = np.zeros(len(grid))
    albums: dict[Path, list[Floats]] = {}
    good = 0
    for path, log_probabilities, features, problem in _answers(found, model, config, asked):
        if log_probabilities is None:
            yield {"path": str(path), "error": problem}
            continue
        probabilities = np.exp(log_probabilities)
        sums, good = sums + probabilities, good + 1
        albums.setdefault(path.parent, []).append(log_probabilities)
        line = describe(probabilities, grid, top=asked.top, least=asked.least, precise=asked.precise)
        if refiner is not None and not line["abstains"]:
            line |= refiner(features, probabilities)
        yield {"path": str(path), **line}
    if asked.album:
        yield from _albums(albums, grid, asked)
    if asked.map is not None and good:
        _draw(asked, grid, sums / sums.sum(), good)


def _albums(albums: dict[Path, list[Floats]], grid: Grid, asked: Asked) -> Iterator[dict[str, Any]]:
    for folder, rows in albums.items():
        together = np.exp(album_log_probabilities(np.stack(rows)))
        line = describe(together, grid, top=asked.top, least=asked.least, precise=asked.precise)
        yield {"album": str(folder), "photos": len(rows), **line}


def _draw(asked: Asked, grid: Grid, probabilities: Floats, photos: int) -> None:
    order = np.argsort(-probabilities, kind="stable")[: asked.top]
    places = gazetteer().places(grid.lat[order], grid.lon[order])
    named = [f"{place.city}, {place.country}" if place.country else place.city for place in places]
    title = "Where was it taken?" if photos == 1 else f"Where were these {photos} photos taken?"
    assert asked.map is not None
    write_map(asked.map, grid, probabilities, title=title, precise=asked.precise, named=named)


def _answers(
    paths: Sequence[Path], model: MultiHead, config: RunConfig, asked: Asked
) -> Iterator[tuple[Path, Floats | None, Any, str]]:
    """Each photo with log-probabilities (K,) and features (C,), or why it cannot be read."""
    photos = LabelledPhotos([Photo(path, 0) for path in paths], ["place"])
    loader = looking_loader(
        photos, config.backbone.preprocessing, batch_size=BATCH, workers=asked.workers
    )
    head: Any = model.heads["places"]
    forward = answering(model, "places", choose_precision(asked.precision))
    trunk: Any = model.backbone
    temperature = config.calibration.get("temperature", 1.0)

    def one_view(images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = head.log_probabilities(forward(images)).float()
        return found

    for batch in loader.epoch(0):
        lines: dict[int, tuple[Path, Floats | None, Any, str]] = {
            one.index: (paths[one.index], None, None, one.reason) for one in batch.bad
        }
        if batch.indices:
            with torch.inference_mode():
                raw = tta_logits(one_view, batch.images, "ten" if asked.ten_crop else "none").numpy()
                features = trunk(batch.images)[max(trunk.channels)].mean(dim=(2, 3)) if asked.refine else None
            rows = tempered(raw, temperature)
            for row, index in enumerate(batch.indices):
                feature = None if features is None else features[row].numpy()
                lines[index] = (paths[index], rows[row], feature, "")
        yield from (lines[index] for index in sorted(lines))


class _Refiner:
    """Positions of training photos that look like the one asked for, inside its likeliest cells."""

    def __init__(
        self, app: Any, model: MultiHead, config: RunConfig, grid: Grid, asked: Asked, screen: Screen
    ) -> None:
        found = features_of(app, model, config, "train", asked.workers, screen)
        self.features, self.lat, self.lon, _ = found
        self.cells, self.precise = grid.locate(self.lat, self.lon), asked.precise

    def __call__(self, features: Any, probabilities: Floats) -> dict[str, Any]:
        """``lat``, ``lon``, ``country`` and ``city``; empty where none of the cells has a training photo."""
        best = np.argsort(-probabilities, kind="stable")[:REFINED_CELLS]
        rows = np.flatnonzero(np.isin(self.cells, best))
        if not len(rows):
            return {}
        near = rows[int((self.features[rows] @ features).argmax())]
        lat, lon = float(self.lat[near]), float(self.lon[near])
        (place,) = gazetteer().places([lat], [lon])
        lat, lon = (lat, lon) if self.precise else coarse(lat, lon)
        return {"lat": lat, "lon": lon, "country": place.country_code, "city": place.city, "refined": True}


