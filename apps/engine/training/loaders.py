"""How photos become batches, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.engine.core.distributed import World
from apps.engine.data.cache import PhotoCache
from apps.engine.data.loader import Loader, eval_loader, side_for_training, train_transform
from backbone import Preprocessing
from datasets.base import LabelledPhotos

JUDGED_TOGETHER = 64


@dataclass(frozen=True)
class Reading:
    """Loaders of one training; each process reads its part.

    Args:
        settings: with every None chosen.
        world: the processes that share the work.
        cache: of decoded photos, if there is one.
    """

    settings: Any
    world: World
    cache: PhotoCache | None

    def augmented(self, photos: LabelledPhotos, *, shuffle: bool = True) -> Loader:
        """Photos as training shows them; in their own order without ``shuffle``."""
        s = self.settings
        transform = train_transform(
            s.train_resolution, scale=s.min_crop, jitter=s.jitter, randaugment=s.randaugment, erase=s.erase
        )
        return Loader(
            photos, photos.transforms[0] if photos.transforms else transform,
            batch_size=s.batch_size, seed=s.seed, shuffle=shuffle, workers=s.workers,
            min_side=side_for_training(s.train_resolution, s.min_crop), cache=self.cache,
            rank=self.world.rank, world=self.world.size, sampling=s.sampling if shuffle else "all",
        )

    def plain(
        self, photos: LabelledPhotos, preprocessing: Preprocessing, *, kept: bool = True
    ) -> Loader:
        """Photos in order as the weights want to see them; ``kept`` in the cache where they come again."""
        return eval_loader(
            photos, preprocessing, batch_size=JUDGED_TOGETHER, workers=self.settings.workers,
            cache=self.cache if kept else None, rank=self.world.rank, world=self.world.size,
        )
