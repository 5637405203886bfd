"""What each process of test_sync_batchnorm.py runs; of its own, so that spawned processes can import it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from apps.engine.training.sync_batchnorm import synchronise_batch_norm
from backbone import MobileNetV1, optimize_for_training

SIZES = (3, 5)
EVERY = {"each process has photos": SIZES, "one process has none": (0, 8)}


def make_model(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Batch-norm of several kinds, with and without scale, momentum and activation."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=True), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), BatchNormAct2d(4),
        nn.BatchNorm2d(4, momentum=None), nn.Flatten(), nn.Linear(4 * 16, 5), nn.BatchNorm1d(5, affine=False),
    )
    return model.to(dtype).train()


def make_network() -> MobileNetV1:
    """A small network whose layers are swapped for training; its batch-norm is still that of this process."""
    torch.manual_seed(0)
    return optimize_for_training(MobileNetV1(0.25)).train()


def network_images() -> Tensor:
    return torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def network_step(network: nn.Module, images: Tensor) -> dict[str, Any]:
    """The deepest map, gradients of its sum of squares, and the state after a step."""
    last = network(images)[32]
    last.square().sum().backward()
    return {
        "outputs": last.detach(), "parameters": {name: p.grad for name, p in network.named_parameters()},
        "state": {name: value.clone() for name, value in network.state_dict().items()},
    }


def far_from_zero() -> Tensor:
    """Values of mean 1000 and deviation 1: a mean of squares in float32 loses their variance."""
    return 1000 + torch.randn(64, 2, generator=torch.Generator().manual_seed(2))


def whole_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(8, 3, 8, 8, generator=generator), torch.rand(8, 5, generator=generator)


def two_steps(model: nn.Module, images: Tensor, wanted: Tensor) -> dict[str, Any]:
    """Outputs, gradients (of the sum over the whole batch) and the state after two passes."""
    images = images.clone().requires_grad_()
    with torch.no_grad():
        model(images)
    outputs = model(images)
    ((outputs - wanted) ** 3).sum().backward()
    return {
        "outputs": outputs.detach(), "images": images.grad,
        "parameters": {name: p.grad for name, p in model.named_parameters()},
        "state": {name: value.clone() for name, value in model.state_dict().items()},
    }


def run(rank: int, folder: str) -> None:
    """Two passes on this process's share of the batch; the findings go into a file."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    rendezvous = Path(folder) / "rendezvous"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    found: dict[str, Any] = {}
    images, wanted = (one.double() for one in whole_batch())
    for title, sizes in EVERY.items():
        own = slice(0, sizes[0]) if rank == 0 else slice(sizes[0], None)
        found[title] = two_steps(synchronise_batch_norm(make_model()), images[own], wanted[own])
    single = synchronise_batch_norm(make_model(torch.float32))
    wrapped = DistributedDataParallel(single, broadcast_buffers=False)
    own = slice(0, 3) if rank == 0 else slice(3, None)
    found["wrapped"] = two_steps(wrapped, images[own].float(), wanted[own].float())
    found["network"] = network_step(synchronise_batch_norm(make_network()), network_images()[own])
    layer = synchronise_batch_norm(nn.BatchNorm1d(2, momentum=1.0))
    found["far"] = layer(far_from_zero()[rank::2]).detach(), layer.state_dict()["running_var"]
    judged = synchronise_batch_norm(make_model()).eval()
    found["judged"] = judged(images[own]).detach()
    found["alone"] = _message_for_one_photo(rank)
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def _message_for_one_photo(rank: int) -> str:
    layer = synchronise_batch_norm(nn.BatchNorm1d(2)).train()
    try:
        layer(torch.ones(1 - rank, 2))
    except ValueError as err:
        return str(err)
    return "nothing was raised"
