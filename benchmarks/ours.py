"""Our engine as a side of the comparison: the only file of the benchmarks that knows how it is called."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as cli.py, before torch starts its threads

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from apps.dogs import DogsSettings
from apps.engine.core.console import Console
from apps.engine.core.distributed import World
from apps.engine.core.machine import choose_precision, keep_memory
from apps.engine.core.model import inference_forward
from apps.engine.core.task import AnyTask
from apps.engine.data.loader import Batch, worker_count
from apps.engine.tracking.monitor import Watching, watching
from apps.engine.training.fit import begin, one_epoch
from apps.engine.training.loop import MetricAccumulator
from apps.engine.training.setup import TrainSetup, prepare
from apps.engine.training.state import TrainState
from backbone import MobileNetV1
from benchmarks.gate import Gate
from benchmarks.rounds import Side
from heads import Classifier, MultiHead

EPOCHS = 1000  # of the schedule: more than a benchmark runs
LEAST_CROP = 0.08  # as the peers' scripts, instead of our 0.35
NEVER = 1e9  # seconds between checkpoints: the peers write none within an epoch either


def photos_in(batch: Batch) -> float:
    """Photos of a batch."""
    return float(len(batch.indices))


@dataclass
class Gated:
    """A loader whose batches pass a gate."""

    loader: Any
    gate: Gate

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, each when its turn comes."""
        return self.gate.through(self.loader.epoch(number, start=start), photos_in)


def settings_of(side: Side, folder: Path, **changes: Any) -> DogsSettings:
    """The settings that make our run the same work as the peers'; caches only in ``folder``."""
    given: dict[str, Any] = {
        "data": Path(side.root), "width": side.width, "resolution": side.resolution, "batch_size": side.batch,
        "epochs": EPOCHS, "min_crop": LEAST_CROP, "seed": side.seed, "save_every": NEVER,
        "precision": side.options.get("precision", "fp32"), "workers": None if side.core is None else 0,
        "cache": folder / "cache" if "epoch" in side.options else None,
    }
    return DogsSettings(**given | changes)


@contextmanager
def prepared(side: Side, **changes: Any) -> Iterator[tuple[TrainSetup, AnyTask]]:
    """Data, network and loaders of a run that leaves nothing behind."""
    keep_memory()
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        run.mkdir()
        yield prepare("dogs", settings_of(side, Path(name), **changes), run, Console(quiet=True), World())


def train(gate: Gate, side: Side) -> None:
    """``finetune dogs`` from scratch, epoch by epoch; ``options`` may hold:

    ``epoch``: ``first`` to fill an empty photo cache, ``later`` to read from a full one;
    ``precision``: as ``--precision``; ``work``: ``read`` to read photos only.
    """
    with prepared(side) as (plain, task):
        loader = plain.train
        if side.options.get("epoch") == "later":
            for _ in loader.epoch(0):
                pass  # fills the cache
        setup = replace(plain, train=Gated(loader, gate))
        gate.say({"workers": worker_count(plain.settings.workers), "threads": torch.get_num_threads()})
        if side.options.get("work") == "read":
            for number in count(1):
                for _ in setup.train.epoch(number):
                    pass
        learn(setup, task, epochs=EPOCHS)


def learn(setup: TrainSetup, task: AnyTask, *, epochs: int) -> None:
    """Epochs of a training as ``finetune`` runs them, without validation."""
    state = begin(setup, task, None)
    state.epoch = 1  # epoch 0 has other crops in the same order; a cache is filled with it
    with watching(setup, state, task) as watch:
        for _ in range(epochs):
            _one_more(setup, state, watch)


def _one_more(setup: TrainSetup, state: TrainState, watch: Watching) -> None:
    one_epoch(setup, state, watch)
    state.epoch, state.step, state.totals = state.epoch + 1, 0, MetricAccumulator()


def frozen(gate: Gate, side: Side) -> None:
    """A step is some epochs over a frozen backbone: on kept features with ``options["cached"]``."""
    from benchmarks.peers import seeded_network

    epochs: int = side.options["epochs"]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "seeded.safetensors"
        save_file(seeded_network(side).state_dict(), weights, {"padding": "symmetric"})
        changes = {"weights": str(weights), "width": None, "freeze": True, "epochs": epochs}
        with prepared(side, **changes, cached_features=side.options["cached"]) as (setup, task):
            gate.say({"photos": len(setup.photos), "threads": torch.get_num_threads()})
            work = float(epochs * len(setup.photos))
            for _ in gate.through(count(), lambda _: work):
                learn(setup, task, epochs=epochs)


def answerer(network: nn.Module, side: Side, classes: int) -> Callable[[Tensor], Tensor]:
    """Photos in [0, 1] to logits, as ``predict`` does it, with the weights of a network of timm's."""
    keep_memory()
    ours = MobileNetV1(side.width, padding="symmetric")
    model = MultiHead(ours, {"classes": Classifier(ours.channels[32], classes)})
    state = {_our_name(name): value for name, value in network.state_dict().items()}
    model.load_state_dict(state)
    model.eval().to(memory_format=torch.channels_last)
    return inference_forward(model, "classes", choose_precision(side.options.get("precision", "fp32")))


def _our_name(name: str) -> str:
    head, _, rest = name.partition(".")
    return f"heads.classes.linear.{rest}" if head == "classifier" else f"backbone.{name}"
