"""The loops that people use now, written anew from what their scripts do at their defaults, on a CPU.

Sources:
    timm: ``train.py`` of huggingface/pytorch-image-models, 1.0 (read at commit 2aabaef), over the library as
        installed; its options are left as they are, but for model, classes, batch, size and folder.
    torchvision: ``references/classification/train.py`` and ``presets.py`` of pytorch/vision (read at
        commits 017e9b9 and 080836e), likewise; the network is timm's, as torchvision has no MobileNetV1.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from timm import create_model
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy, random_seed
from torch import nn
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from backbone import register_timm_models
from benchmarks.gate import Gate
from benchmarks.rounds import Side

TIMM_WORKERS, TORCHVISION_WORKERS = 4, 16  # the scripts' defaults
LOG_EVERY, PRINT_EVERY = 50, 10
CLASSES = 1000
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES = {1.0: "mobilenetv1_100", 0.75: "mobilenetv1_075", 0.5: "mobilenetv1_050", 0.25: "mobilenetv1_025"}


def timm_network(width: float, num_classes: int) -> nn.Module:
    """timm's MobileNetV1 with random weights and timm's own padding, which is its faster one.

    Raises:
        ValueError: there is no network of this width.
    """
    if width not in NAMES:
        raise ValueError(f"timm has MobileNetV1 of width {', '.join(map(str, NAMES))}; got {width}")
    register_timm_models()
    network: nn.Module = create_model(NAMES[width], num_classes=num_classes, pad_type="")
    return network


def class_count(root: str) -> int:
    """Folders in ``train``."""
    return sum(path.is_dir() for path in (Path(root) / "train").iterdir())


def photos_in(batch: Any) -> float:
    """Photos of an (images, targets) batch."""
    return float(len(batch[0]))


def read_only(gate: Gate, loader: Iterable[Any]) -> None:
    """Read batches and do nothing with them."""
    while True:
        for _ in gate.through(loader, photos_in):
            pass


def timm_script(gate: Gate, side: Side) -> None:
    """What ``train.py DIR --model M --num-classes K -b B --img-size R`` does, epoch by epoch."""
    random_seed(side.seed)
    network = timm_network(side.width, class_count(side.root))
    network.to(device=torch.device("cpu"))
    config = resolve_data_config({"img_size": side.resolution}, model=network)
    rate = 0.1 * side.batch / 256
    optimizer = create_optimizer_v2(network, opt="sgd", lr=rate, weight_decay=2e-5, momentum=0.9)
    photos = create_dataset(
        "", root=side.root, split="train", is_training=True, batch_size=side.batch, seed=side.seed
    )
    workers = TIMM_WORKERS if side.core is None else 0
    loader = create_loader(
        photos, input_size=config["input_size"], batch_size=side.batch, is_training=True, use_prefetcher=True,
        scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), hflip=0.5, color_jitter=0.4, interpolation="random",
        mean=config["mean"], std=config["std"], num_workers=workers, device=torch.device("cpu"),
    )
    schedule, _ = create_scheduler_v2(
        optimizer, num_epochs=300, warmup_epochs=5, updates_per_epoch=len(loader)
    )
    gate.say({"workers": workers, "threads": torch.get_num_threads(), "optimizer": "SGD"})
    if side.options.get("work") == "read":
        read_only(gate, loader)
    for epoch in count():
        _timm_epoch(gate, network, loader, optimizer, schedule, epoch)
        schedule.step(epoch + 1)


def _timm_epoch(
    gate: Gate, network: nn.Module, loader: Any, optimizer: torch.optim.Optimizer, schedule: Any, epoch: int
) -> None:
    """One pass: meters for the time, the reading and the loss, and a log line every 50 updates."""
    loss_of = LabelSmoothingCrossEntropy(smoothing=0.1)
    update_time, data_time, losses = AverageMeter(), AverageMeter(), AverageMeter()
    network.train()
    optimizer.zero_grad()
    updates = epoch * len(loader)
    data_start = update_start = time.time()
    for number, (images, targets) in enumerate(gate.through(loader, photos_in)):
        data_time.update(time.time() - data_start)
        loss = loss_of(network(images), targets)
        loss.backward(create_graph=False)
        optimizer.step()
        losses.update(loss.item(), images.size(0))
        updates += 1
        optimizer.zero_grad()
        now = time.time()
        update_time.update(now - update_start)
        update_start = now
        if number % LOG_EVERY == 0:
            print(f"train {epoch} [{number}] loss {losses.avg:.3g} time {update_time.avg:.3f}")  # noqa: T201
        schedule.step_update(num_updates=updates, metric=losses.avg)
        data_start = time.time()


def torchvision_recipe(gate: Gate, side: Side) -> None:
    """What ``train.py --data-path DIR -b B --train-crop-size R --device cpu`` does, epoch by epoch."""
    distort = transforms.Compose([
        transforms.RandomResizedCrop(side.resolution, interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(0.5), transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])
    photos = ImageFolder(str(Path(side.root) / "train"), distort)
    workers = TORCHVISION_WORKERS if side.core is None else 0
    loader: DataLoader[Any] = DataLoader(
        photos, batch_size=side.batch, sampler=RandomSampler(photos), num_workers=workers, pin_memory=True
    )
    network = timm_network(side.width, len(photos.classes))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    gate.say({"workers": workers, "threads": torch.get_num_threads(), "optimizer": "SGD"})
    if side.options.get("work") == "read":
        read_only(gate, loader)
    for _ in count():
        _torchvision_epoch(gate, network, loader, optimizer)
        schedule.step()


def _torchvision_epoch(
    gate: Gate, network: nn.Module, loader: Any, optimizer: torch.optim.Optimizer
) -> None:
    """One pass: the loss, top-1 and top-5 of each batch go into meters, and a line is printed every ten."""
    loss_of = nn.CrossEntropyLoss()
    losses, top1, top5, speed = (AverageMeter() for _ in range(4))
    network.train()
    for number, (images, targets) in enumerate(gate.through(loader, photos_in)):
        start = time.time()
        output = network(images)
        loss = loss_of(output, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right1, right5 = accuracy(output, targets, topk=(1, 5))
        losses.update(loss.item())
        top1.update(right1.item(), len(images))
        top5.update(right5.item(), len(images))
        speed.update(len(images) / (time.time() - start))
        if number % PRINT_EVERY == 0:
            print(f"[{number}] loss {losses.avg:.4f} acc1 {top1.avg:.1f} img/s {speed.val:.1f}")  # noqa: T201


def seeded_network(side: Side) -> nn.Module:
    """timm's network in evaluation mode with weights and statistics that let no channel die."""
    torch.manual_seed(side.seed)
    network = timm_network(side.width, CLASSES)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.normal_(module.bias, 0.2, 0.2)
            nn.init.normal_(torch.as_tensor(module.running_mean), 0.0, 0.2)
            nn.init.uniform_(torch.as_tensor(module.running_var), 0.8, 1.6)
    nn.init.normal_(network.get_submodule("classifier").weight, std=0.05)  # type: ignore[arg-type]
    return network.eval()
