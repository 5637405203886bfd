"""How a job is done, and what does a shard of it: on this machine or any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.engine.scale.answering import Answers
from apps.engine.scale.guard import Guard
from apps.engine.scale.parts import Part, PartsFolder
from apps.engine.scale.shards import Shard
from apps.engine.scale.stores import StoreError
from apps.engine.scale.worker import shard_lines

LOCAL, RAY = "local", "ray"
SHARD_IMAGES, IMAGE_SECONDS = 1000, 30.0


@dataclass(frozen=True)
class Order:
    """How a job is done.

    Args:
        out: folder of the parts, a path or an address of a store.
        runner: ``local``, ``ray`` for a cluster that this machine is in or a new one of its cores, or
            ``ray://HOST:PORT``.
        workers: processes that answer, one core each; None for one a core of the machine or the cluster.
        shard_size: images a part, 1 or more.
        image_seconds: that an image may take before it is named and left out; 0 for no limit: this process
            answers, and an image that ends it ends all.
        gpus: of each worker on a cluster, 0 or more; a part of one is shared.
    """

    out: str
    runner: str = LOCAL
    workers: int | None = None
    shard_size: int = SHARD_IMAGES
    image_seconds: float = IMAGE_SECONDS
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.runner not in (LOCAL, RAY) and not self.runner.startswith("ray://"):
            raise ValueError(f"--runner is local, ray or ray://HOST:PORT, got {self.runner}")
        if not 0 <= self.image_seconds < float("inf"):
            raise ValueError(f"--image-seconds must be 0 or more, got {self.image_seconds:g}")


@dataclass(frozen=True)
class Result:
    """What became of a shard: its part, or why there is none."""

    shard: Shard
    part: Part | None = None
    error: str = ""


class ShardWorker:
    """Shards to parts, on whichever machine; it is made where it works.

    Args:
        answers: what answers.
        out: folder of the parts.
        seconds: that an image may take; 0 for no process of its own.
        columns: of the answers, from who has loaded the model: this need not.
    """

    def __init__(self, answers: Answers, out: str, seconds: float, columns: Any) -> None:
        self.answers, self.folder = answers, PartsFolder(out)
        self.guard = Guard(answers, seconds) if seconds else None
        self.columns = columns

    def __call__(self, shard: Shard) -> Result:
        """Write the part of a shard; a store that fails is reported, and leaves none."""
        try:
            if self.guard is not None:
                lines = self.guard.lines(shard)
            else:
                lines = [line for some in shard_lines(self.answers, shard) for line in some]
            return Result(shard, self.folder.put(shard, lines, self.columns))
        except StoreError as err:
            return Result(shard, error=str(err))

    def close(self) -> None:
        """End the process that answers."""
        if self.guard is not None:
            self.guard.close()
