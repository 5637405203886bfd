"""PlaNet's model of albums: an LSTM over the features of a trip's images in time order.

Source: Weyand, Kostrikov and Philbin 2016, PlaNet, section 5: the last features of the network that sees
single images go into an LSTM, and a softmax over the same cells stands on each of its outputs. The LSTM here
reads the probabilities of the finest cells beside the features, and its layer adds to their logarithms, so
that it starts as the model of single images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from apps.engine.core.files import write_whole
from apps.engine.core.run_dir import RunConfig
from apps.engine.data.loader import eval_loader
from apps.engine.evaluation.classification import log_softmax
from apps.engine.training.frozen.features import pooled_features
from apps.places import SEQUENCE
from apps.places.cells.files import fingerprint
from apps.places.cells.names import grids_of
from apps.places.cells.s2 import Floats
from backbone.weights_files import read_safetensors
from datasets.geo.geotagged import GeoDataset

BATCH = 64
HIDDEN, EPOCHS, PATIENCE, RATE, DECAY, DROPOUT = 64, 60, 5, 3e-3, 1e-2, 0.5
LONGEST = 25  # images, as PlaNet's albums
HELD_OUT = 4  # every fourth album tells when to stop
GAP_HOURS = 24.0  # without an image that end a trip


class AlbumNetwork(nn.Module):
    """Features of the images of an album to logits over cells, one row an image.

    Args:
        channels: of the features, C.
        cells: of the finest partition, K.
        hidden: width of the LSTM in each direction of time.

    Shape:
        features: (T, C); logs: (T, K) log-probabilities of single images.
        returns: (T, K) log-probabilities.
    """

    def __init__(self, channels: int, cells: int, *, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.squeeze = nn.Linear(channels + cells, hidden)
        self.lstm = nn.LSTM(hidden, hidden, bidirectional=True)
        self.out = nn.Linear(2 * hidden, cells)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, features: Tensor, logs: Tensor) -> Tensor:
        """Log-probabilities for each image, in the light of those before and after it."""
        scaled = (features - self.get_buffer("mean")) / self.get_buffer("std")
        seen = torch.tanh(self.squeeze(self.dropout(torch.cat([scaled, logs.exp()], dim=1))))
        states, _ = self.lstm(seen)
        return torch.log_softmax(logs + self.out(states), dim=1)


@dataclass(frozen=True, eq=False)
class Features:
    """What is known of the images of a split.

    Args:
        pooled: (N, C) of the backbone.
        logs: (N, K) log-probabilities of single images, calibrated.
        cells: (N,) true finest cells, -1 where none holds the image.
        albums: rows of each album, in time order.
    """

    pooled: Tensor
    logs: Tensor
    cells: Tensor
    albums: list[list[int]]


def albums_of(
    folders: Sequence[str], times: Sequence[str], *, gap_hours: float = GAP_HOURS
) -> list[list[int]]:
    """Photos of one folder with no long gap between them, in time order; those without a time are left out.

    Args:
        folders: where each image lies, or who took it.
        times: ``YYYY:MM:DD HH:MM:SS`` or any other text that numpy takes for a time, empty if not known.
        gap_hours: without an image that end an album.

    Returns:
        rows of albums of two images or more.
    """
    seconds = [_seconds(time) for time in times]
    rows = sorted(
        (row for row, at in enumerate(seconds) if at is not None), key=lambda r: (folders[r], seconds[r], r)
    )
    albums: list[list[int]] = [rows[:1]] if rows else []
    for before, row in pairwise(rows):
        gap = (seconds[row] or 0) - (seconds[before] or 0)
        if folders[row] == folders[before] and gap <= gap_hours * 3600 and len(albums[-1]) < LONGEST:
            albums[-1].append(row)
        else:
            albums.append([row])
    return [album for album in albums if len(album) > 1]


def _seconds(time: str) -> int | None:
    date, _, clock = time.strip().replace("T", " ").partition(" ")
    text = f"{date.replace(':', '-').replace('/', '-')}T{clock or '00:00:00'}"
    try:
        return int(np.datetime64(text[:19], "s").astype(np.int64))
    except ValueError:
        return None


def albums_in(photos: GeoDataset) -> list[list[int]]:
    """The albums among some photos: those of an author where authors are named, else of a folder."""
    positions = photos.positions
    folders = positions.authors if any(positions.authors) else [str(Path(p).parent) for p in positions.paths]
    result = albums_of(folders, positions.times or [""] * len(positions))
    return [album for album in result if (photos.cells[album, -1] >= 0).any()]


def check_albums(photos: GeoDataset) -> None:
    """Refuse images with fewer than two albums: one to learn from and one that tells when to stop.

    Raises:
        ValueError: there are fewer that have an image in a cell.
    """
    count = len(albums_in(photos))
    if count < 2:
        raise ValueError(
            f"--sequence needs 2 albums or more to learn from, got {count}: give photos whose EXIF, or a "
            f"column time, tells when they were taken, two or more of a folder or an author within "
            f"{GAP_HOURS:g} hours; or leave --sequence out"
        )


def fit_sequence(known: Features, *, seed: int) -> AlbumNetwork:
    """Train an LSTM on the true cells of the images of albums, an album a step.

    What is kept is the epoch that does best on every fourth album, which nothing is learned from; that may
    be the start, which answers as the model of single images does.

    Args:
        known: of the training images, two albums or more.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    network = AlbumNetwork(known.pooled.shape[1], known.logs.shape[1])
    network.get_buffer("mean").copy_(known.pooled.mean(dim=0))
    network.get_buffer("std").copy_(known.pooled.std(dim=0, correction=0) + 1e-6)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(known.albums)).tolist()
    held = max(1, len(order) // HELD_OUT)
    others = replace(known, albums=[known.albums[number] for number in order[:held]])
    best, kept, waited = np.inf, network.state_dict(), 0
    for _ in range(EPOCHS):
        loss = cross_entropies(network.eval(), others)[1]
        waited += 1
        if loss < best:
            best, waited = loss, 0
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        if waited == PATIENCE:
            break
        network.train()
        for number in rng.permutation(order[held:]):
            rows = known.albums[number]
            answer, truth = network(known.pooled[rows], known.logs[rows]), known.cells[rows]
            optimizer.zero_grad()
            F.nll_loss(answer[truth >= 0], truth[truth >= 0]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.load_state_dict(kept)
    return network.eval()


@torch.no_grad()
def cross_entropies(network: AlbumNetwork, known: Features) -> tuple[float, float, int]:
    """Cross-entropy an image without and with the LSTM, and of how many images of albums in cells."""
    sums, count = torch.zeros(2), 0
    for rows in known.albums:
        truth = known.cells[rows]
        held = truth >= 0
        for number, answer in enumerate((known.logs[rows], network(known.pooled[rows], known.logs[rows]))):
            sums[number] += F.nll_loss(answer[held], truth[held], reduction="sum")
        count += int(held.sum())
    alone, together = (sums / count).tolist() if count else (float("nan"), float("nan"))
    return alone, together, count


def features_in(task: Any, model: Any, config: RunConfig, split: str) -> Features:
    """What a run says of the images of one of its splits; images that cannot be read are left out."""
    photos: GeoDataset = task.dataset(split, classes=config.classes)
    head: Any = model.heads[config.app].eval()
    loader = eval_loader(
        photos, config.backbone.preprocessing, batch_size=BATCH, workers=task.settings.workers
    )
    pooled, targets, indices, _ = pooled_features(model.backbone, loader, stride=head.strides[0])
    row = {index: number for number, index in enumerate(indices)}
    cells = targets["cells"][:, -1]
    read = [[row[index] for index in album if index in row] for album in albums_in(photos)]
    seen = torch.from_numpy(pooled)
    return Features(
        seen, single(head, seen, config), cells, [item for item in read if bool((cells[item] >= 0).any())]
    )


@torch.no_grad()
def single(head: Any, pooled: Tensor, config: RunConfig) -> Tensor:
    """The calibrated log-probabilities (N, K) of images by themselves, from pooled features (N, C)."""
    raw = head.log_probabilities(head.from_pooled(pooled)).numpy()
    return torch.from_numpy(log_softmax(raw, config.calibration.get("temperature", 1.0))).float()


def train_sequence(run: Path, task: Any, model: Any, config: RunConfig) -> str:
    """Learn from the albums among a run's training images; returns a sentence on how well it went."""
    network = fit_sequence(features_in(task, model, config, "train"), seed=task.settings.seed)
    alone, together, count = cross_entropies(network, features_in(task, model, config, "val"))
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    kept = {"cells": fingerprint(grids_of(config.classes))}
    write_whole(run / SEQUENCE, lambda temporary: save_file(state, temporary, kept))
    evaluated = (
        f"cross-entropy of {count} photos of val's albums {alone:.3f} alone, {together:.3f} in their album"
        if count else "val has no album to evaluate it by"
    )
    return f"sequence model: {evaluated}"


def load_sequence(run: Path, config: RunConfig) -> AlbumNetwork | None:
    """The LSTM of a run, or None where it was trained without.

    Raises:
        ValueError: the file is damaged, or of other cells than the run.
    """
    path = run / SEQUENCE
    if not path.exists():
        return None
    try:
        state, metadata = read_safetensors(path)
        cells = metadata.get("cells")
        network = AlbumNetwork(len(state["mean"]), len(state["out.bias"]))
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{path} is damaged; train again with --sequence, or remove it") from err
    if cells != fingerprint(grids_of(config.classes)):
        raise ValueError(f"{path} is of other cells than the run; train again with --sequence, or remove it")
    try:
        network.load_state_dict(state)
    except RuntimeError as err:
        raise ValueError(f"{path} is damaged; train again with --sequence, or remove it") from err
    return network.eval()


@torch.no_grad()
def in_album(network: AlbumNetwork, pooled: Floats, logs: Floats) -> Floats:
    """(T, C) features and (T, K) log-probabilities in time order to (T, K) log-probabilities."""
    answer = network(torch.from_numpy(pooled).float(), torch.from_numpy(logs).float())
    values: Floats = answer.double().numpy()
    return values
