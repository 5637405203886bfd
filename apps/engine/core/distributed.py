"""The processes of one training: one alone, or those that ``torchrun`` started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from apps.engine.core.device import choose_device

PATIENCE = timedelta(hours=2)  # one process may fit a probe or read a slow disk while the others wait


@dataclass(frozen=True)
class World:
    """What a process knows of the others.

    Args:
        rank: of this process, 0 to size - 1; the first one writes files and words.
        size: how many processes learn together.
        restarts: how often ``torchrun`` has started them again.
        asked: the device that is asked for, one of :data:`apps.engine.core.device.DEVICES`.
    """

    rank: int = 0
    size: int = 1
    restarts: int = 0
    asked: str = "auto"

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """What was asked for; else the GPU of this process where there are any, else the processor."""
        auto = "cuda" if torch.cuda.is_available() else "cpu"  # the others are for those who ask for them
        name = auto if self.asked == "auto" else choose_device(self.asked)
        return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)

    def on(self, device: str) -> World:
        """The same process with the device that is asked for.

        Raises:
            ValueError: there is none such, or the processes talk to each other on another one.
        """
        world = replace(self, asked=device)
        wanted = world.device.type  # raises where there is none
        if self.size > 1 and wanted != self.device.type:
            raise ValueError(f"--device {device}: several processes train on {self.device.type} here")
        return world

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """Each of the values summed over the processes, in double precision."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of their ranks; any plain object or array."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """The first process's value, in all processes."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def broadcast_state(self, module: nn.Module) -> None:
        """Give all processes the first one's parameters and buffers."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that ``torchrun`` started, if it did: nccl on GPUs, gloo on processors."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if size == 1:
        yield World(restarts=restarts)
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # torchrun keeps one store through its restarts: under the old names stand addresses of the dead.
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    prefix_store = PrefixStore(f"restart {restarts} of {size}", store)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=prefix_store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), restarts)
    except RuntimeError as err:
        if "gloo" not in str(err) and not isinstance(err, dist.DistError):
            raise
        raise ConnectionError(
            f"another of the {size} processes died or cannot be reached, so process {rank} ends too; the "
            "last checkpoint is whole: --resume goes on, or torchrun's --max-restarts does so by itself"
        ) from err
    finally:
        dist.destroy_process_group()
