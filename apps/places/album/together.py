"""One answer for the photos of a trip: each with its neighbours, then all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from apps.places import SEQUENCE
from apps.places.album.neighbours import Near
from apps.places.answers import album_log_probabilities
from apps.places.cells.s2 import Floats

InAlbum = Callable[[Floats, Floats], Floats]  # (T, C) features and (T, K) log-probabilities -> (T, K)


@dataclass(frozen=True, eq=False)
class AlbumPhoto:
    """What is known of a photo of an album: (K,) of the model, (C,) of the backbone, and its neighbours."""

    log_probabilities: Floats
    features: Any
    near: Near | None

    def fused(self, logs: Floats) -> Floats:
        """Log-probabilities (K,) of this photo with what its neighbours say."""
        return logs if self.near is None else self.near.fused(logs)


def together(photos: Sequence[AlbumPhoto], in_album: InAlbum | None) -> Floats:
    """The probabilities (K,) of an album, its photos in time order."""
    logs = np.stack([photo.log_probabilities for photo in photos])
    if in_album is not None:
        logs = in_album(np.stack([photo.features for photo in photos]), logs)
    fused = [photo.fused(row) for photo, row in zip(photos, logs, strict=True)]
    return np.exp(album_log_probabilities(np.stack(fused)))


def album_network(run: Path) -> InAlbum | None:
    """What reads the photos of an album together, where the run has learned that."""
    if not (run / SEQUENCE).is_file():
        return None
    from apps.engine.core.run_dir import read_config
    from apps.places.album.sequence import in_album, load_sequence

    network = load_sequence(run, read_config(run))
    return None if network is None else partial(in_album, network)
