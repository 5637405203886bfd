"""A frozen backbone: its features are computed once, and the head learns from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apps.engine.core.task import AnyTask
from apps.engine.data.collate import taken
from apps.engine.data.loader import EVAL_BATCH, Batch, Loader
from apps.engine.data.samplers import EpochBatches
from apps.engine.training.frozen.features import cached_features, data_key, pooled_features
from apps.engine.training.loop import rate
from apps.engine.training.setup import TrainSetup
from datasets.base import ImageDataset


def pools(setup: TrainSetup) -> bool:
    """Whether the task's head can be fitted to pooled features of one map."""
    return bool(setup.head.uses_global_pool) and len(setup.head.strides) == 1


def fit_head(setup: TrainSetup, task: AnyTask) -> None:
    """Fit the task's head to the features of the images as they are; the first process fits."""
    setup.backbone.freeze()
    with setup.console.track("features", len(setup.plain)) as update:
        features, targets, _, bad = pooled_features(
            setup.backbone, setup.plain, stride=setup.head.strides[0], world=setup.world,
            dtype=setup.precision,
            on_step=lambda n, totals: update(n, rate(totals)),
        )
    setup.skipped.note(bad)
    if setup.world.is_main:
        setup.console.say(task.fit_head(setup.head, features, as_tensors(targets)))
    setup.world.broadcast_state(setup.head)


def as_tensors(targets: Any) -> Any:
    """Targets (N, ...) as the losses take them: a tensor, or a dict of such."""
    return targets if isinstance(targets, dict) else torch.as_tensor(targets)


class FeatureLoader:
    """Epochs over features that are held in memory; stands where a :class:`Loader` stood.

    The images of its batches are features already, (B, C, 1, 1) float32.

    Args:
        photos: the dataset that they are of.
        features: (V, N, C), V views of N images; each epoch sees one view of an image, drawn anew.
        targets: (N, ...), or a dict of such.
        indices: N positions in the dataset.
        batches: the order, by (epoch, position in ``indices``).
        seed: of the draw of views.
    """

    def __init__(
        self, photos: ImageDataset, features: NDArray[np.float32], targets: Any,
        indices: list[int], batches: EpochBatches, seed: int,
    ) -> None:
        self.photos, self.batches, self.seed, self.indices = photos, batches, seed, indices
        self.features = torch.as_tensor(features)
        self.targets = as_tensors(targets)

    def __len__(self) -> int:
        return self.batches.total

    def empty(self, side: int) -> Batch:
        """A batch without images, for a process that has none."""
        return Batch(self.features[0, :0, :, None, None], taken(self.targets, []), [], [])

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from ``start`` on."""
        self.batches.epoch = number
        draw = np.random.default_rng((self.seed, number)).integers(len(self.features), size=len(self.indices))
        views = torch.as_tensor(draw)
        self.batches.start = start
        for keys in self.batches:
            rows = torch.as_tensor([key[1] for key in keys], dtype=torch.long)
            images = self.features[views[rows], rows][:, :, None, None]
            targets = taken(self.targets, rows.tolist())
            yield Batch(images, targets, [self.indices[int(row)] for row in rows], [])


def with_cached_features(setup: TrainSetup) -> tuple[FeatureLoader, FeatureLoader]:
    """The features of the training images, plain and augmented, and of those to evaluate on."""
    s = setup.settings
    if not pools(setup):
        raise ValueError(
            f"{setup.name}'s head sees whole maps, so features cannot be cached; give "
            "--no-cached-features"
        )

    def loader(view: int) -> Loader:
        return setup.plain if view == 0 else setup.reading.augmented(setup.photos, shuffle=False)

    with setup.console.track("features", (s.views + 1) * len(setup.plain)) as update:
        key = None if s.cache is None else data_key(*(loader(view) for view in range(min(s.views, 1) + 1)))
        features, targets, indices, bad = cached_features(
            setup.backbone, loader, views=s.views, stride=setup.head.strides[0], folder=s.cache,
            key=key or "",
            world=setup.world, dtype=setup.precision, on_step=lambda n, totals: update(n, rate(totals)),
            on_note=setup.console.warn,
        )
    setup.skipped.note(bad)
    labels = [int(target) for target in targets] if s.sampling == "balanced" else None
    order = EpochBatches(
        len(indices), s.batch_size, seed=s.seed, shuffle=True, rank=setup.world.rank, world=setup.world.size,
        labels=labels,
    )
    train = FeatureLoader(setup.photos, features, targets, indices, order, s.seed)
    return train, _val_features(setup, setup.head.strides[0])


def _val_features(setup: TrainSetup, stride: int) -> FeatureLoader:
    """The features of the validation images, in their order."""
    with setup.console.track("validation features", len(setup.val)) as update:
        features, targets, indices, bad = pooled_features(
            setup.backbone, setup.val, stride=stride, world=setup.world, dtype=setup.precision,
            on_step=lambda n, totals: update(n, rate(totals)),
        )
    setup.skipped.note(bad)
    order = EpochBatches(
        len(indices), EVAL_BATCH, seed=0, shuffle=False, rank=setup.world.rank, world=setup.world.size
    )
    return FeatureLoader(setup.val.photos, features[None], targets, indices, order, 0)
