"""An update that is not finite in bfloat16 is done again in float, as if the first attempt had not been."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from support import Cli
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from apps.engine.core import run_dir
from apps.engine.core.distributed import World
from apps.engine.data.samplers import Batch
from apps.engine.training.loop import MetricAccumulator, TrainStep, update
from backbone import MobileNetV1
from heads import Classifier, MultiHead

PHOTOS = 4


class Breaks(nn.Module):
    """Stands before a backbone; gives NaN in bfloat16, forward (``loss``) or backward (``gradient``)."""

    def __init__(self, network: Any, what: str | None, *, always: bool = False) -> None:
        super().__init__()
        self.network, self.what, self.always = network, what, always

    def forward(self, images: Tensor) -> Any:
        maps = self.network(images)
        if self.what is None or not (self.always or torch.is_autocast_enabled("cpu")):
            return maps
        return {stride: one * torch.nan if self.what == "loss" else NanBackward.apply(one)
                for stride, one in maps.items()}


class NanBackward(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.nan


def make(
    what: str | None, *, always: bool = False, share: Callable[[nn.Module], nn.Module] = lambda one: one,
    **options: Any,
) -> tuple[MultiHead, TrainStep, list[str]]:
    """A model with dropout and batch-norm; in bfloat16, which breaks, or in float where ``what`` is None."""
    torch.manual_seed(0)
    backbone = MobileNetV1(0.25)
    model = MultiHead(
        Breaks(backbone, what or "loss", always=always), {"x": Classifier(256, 3, dropout=0.5)}
    )
    model.train()
    head: Any = model.heads["x"]
    repeats: list[str] = []
    if what is not None:
        model.backbone_dtype = torch.bfloat16
        options |= {"in_fp32": model.in_fp32, "on_repeat": repeats.append}
    module = share(model)
    train_step = TrainStep(
        module, lambda x, network, wanted: head.loss(network(x)["x"], wanted),
        torch.optim.AdamW(model.parameters(), lr=0.01), **{"nominal": 2 * PHOTOS} | options,
    )
    return model, train_step, repeats


def group(rank: int = 0, size: int = 2) -> list[Batch]:
    """The batches of one update."""
    images = torch.randint(0, 256, (size, PHOTOS, 3, 32, 32), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(rank))
    return [Batch(one, torch.arange(PHOTOS) % 3, list(range(PHOTOS)), []) for one in images]


def updates(train_step: TrainStep, rank: int = 0) -> MetricAccumulator:
    totals = MetricAccumulator()
    for step in range(2):
        torch.manual_seed(step)
        update(train_step, group(rank), step, totals)
    return totals


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_an_update_that_breaks_in_bf16_is_bit_for_bit_that_of_fp32(what: str) -> None:
    """Weights, batch-norm's statistics, dropout's choices, sums and the generator: two batches an update."""
    exact, train_step, _ = make(None)
    wanted = updates(train_step)
    after = torch.rand(1)
    model, train_step, repeats = make(what)
    found = updates(train_step)
    assert torch.equal(torch.rand(1), after)
    assert repeats == [what, what]
    assert found.fp32_repeats == 2 and wanted.fp32_repeats == 0
    assert found.sums == wanted.sums and found.photos == wanted.photos == 4 * PHOTOS
    assert all(torch.equal(model.state_dict()[name], value) for name, value in exact.state_dict().items())
    assert model.backbone_dtype == torch.bfloat16, "the next update is to be tried in bfloat16 again"


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_in_fp32_either_stops_and_names_the_photos(what: str) -> None:
    model, train_step, repeats = make(
        what, always=True, name_photos=lambda indices: f"photos {sorted(set(indices))}"
    )
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(FloatingPointError, match=rf"the {what} is not finite \(.*photos \[0, 1, 2, 3\]; the"):
        updates(train_step)
    assert repeats == [what]
    assert all(map(torch.equal, before, model.parameters()))


def test_a_gradient_that_is_not_finite_stops_a_training_in_fp32_at_once() -> None:
    model, train_step, _ = make("gradient", always=True)
    model.backbone_dtype, train_step.in_fp32 = torch.float32, None
    with pytest.raises(FloatingPointError, match="the gradient is not finite"):
        updates(train_step)


def run_process(rank: int, folder: str, what: str) -> None:
    """Two processes, of which the first alone meets what breaks."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = f"file://{Path(folder) / 'rendezvous'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    found = []
    for kind in (None, what):
        model, train_step, repeats = make(
            kind, share=lambda one: DistributedDataParallel(one, broadcast_buffers=False),
            world=World(rank, 2), nominal=4 * PHOTOS,
        )
        network: Any = model.backbone
        network.what = what if rank == 0 else None
        updates(train_step, rank)
        found.append((model.state_dict(), repeats))
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_processes_repeat_together_though_one_alone_saw_it(what: str, tmp_path: Path) -> None:
    mp.spawn(run_process, args=(str(tmp_path), what), nprocs=2)  # type: ignore[no-untyped-call]
    for rank in range(2):
        (exact, _), (state, repeats) = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert repeats == [what, what]
        assert all(torch.equal(state[name], value) for name, value in exact.items())


def test_a_run_counts_repeats_says_so_once_and_tells_what_was_computed_in_what(
    cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``auto`` on a processor with units, in which every update breaks, learns what ``fp32`` learns."""
    common = ("finetune", "dogs", "--data", colours, "--resolution", 32, "--batch-size", 12, "--workers", 0,
              "--epochs", 2)
    assert cli(*common, "--precision", "fp32", "--out", tmp_path / "fp32").code == 0
    features = MobileNetV1.features

    def broken(self: MobileNetV1, normalised: Tensor) -> dict[int, Tensor]:
        found: dict[int, Tensor] = Breaks(lambda x: features(self, x), "gradient")(normalised)
        return found

    monkeypatch.setattr(MobileNetV1, "features", broken)
    monkeypatch.setattr("apps.engine.core.machine.bf16_pays", lambda: True)
    answer = cli(*common, "--out", tmp_path / "auto")
    assert answer.code == 0, answer.err
    assert answer.err.count("is done again in fp32") == 1
    assert [row["fp32_repeats"] for row in run_dir.read_metrics(tmp_path / "auto")] == [2, 2]
    assert not any("fp32_repeats" in row for row in run_dir.read_metrics(tmp_path / "fp32"))
    one, other = (load_file(tmp_path / run / run_dir.MODEL) for run in ("fp32", "auto"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert run_dir.read_config(tmp_path / "auto").precision == {
        "asked": "auto", "backbone": "bf16", "heads": "fp32", "answers": "fp32", "fp32_repeats": 4,
    }
    assert run_dir.read_config(tmp_path / "fp32").precision == {
        "asked": "fp32", "backbone": "fp32", "heads": "fp32", "answers": "fp32", "fp32_repeats": 0,
    }
