"""The shared engine's options for detectors, on tiny photos: of mixed sizes, one of them without boxes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from support import ROOT, Cli

from apps.engine.core import run_dir
from apps.engine.core.model import make_model
from apps.engine.training.optim.layer_decay import apply_unfreezing, backbone_layers, learning_layers
from apps.engine.training.optim.optimizers import parameter_groups
from apps.objects.task import Objects, ObjectsSettings
from backbone import MobileNetV1
from heads import SSD

pytestmark = pytest.mark.computes

HEADS = ("ssd300", "frcnn300")
SMALL = ("--resolution", 64, "--batch-size", 2, "--workers", 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven photos of two shapes; the second has no box."""
    root = tmp_path_factory.mktemp("boxes")
    for split, count in (("train", 7), ("val", 3)):
        rows = ["path,x1,y1,x2,y2,class"]
        for n in range(1, count + 1):
            image = Image.new("RGB", (120, 90) if n % 2 else (70, 110), (90, 120, 30 * n))
            ImageDraw.Draw(image).rectangle((10, 15, 49, 59), fill=(220, 30, 30))
            image.save(root / f"{split}{n}.png")
            rows.append(f"{split}{n}.png," + (",,,," if n == 2 else "10,15,50,60,red"))
        (root / f"{split}.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(MobileNetV1(0.25).state_dict(), path, {"padding": "same", "resolution": "64"})
    return path


def rows(run: Path) -> list[dict[str, float]]:
    """The lines of a run without its times."""
    times = ("seconds", "photos_per_second")
    return [{k: v for k, v in row.items() if k not in times} for row in run_dir.read_metrics(run)]


def state(run: Path) -> dict[str, Any]:
    """The weights of a run that was stopped after some epochs."""
    kept: dict[str, Any] = torch.load(run / run_dir.TRAINING, weights_only=True)["model"]
    return kept


def tensors(found: dict[str, Any]) -> dict[str, list[float]]:
    return {name: one.tolist() for name, one in found.items() if isinstance(one, torch.Tensor)}


def taught(cli: Cli, out: Path, *arguments: object) -> Path:
    """The folder of a run that stops after one of two epochs: without its page, which takes longest."""
    answer = cli("finetune", "objects", *SMALL, "--epochs", 2, "--stop-after", 1, *arguments, "--out", out)
    assert answer.code == 0, answer.err
    assert all(math.isfinite(value) for row in rows(out) for value in row.values())
    return out


@pytest.mark.parametrize("head", HEADS)
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(
    head: str, cli: Cli, data: Path, tmp_path: Path
) -> None:
    """With averaged weights, augmented photos and updates of two batches; bit for bit."""
    common = (
        "finetune", "objects", "--data", data, "--head", head, *SMALL, "--epochs", 3, "--ema", 0.9,
        "--accumulate", 2, "--width", 0.25,
    )
    assert cli(*common, "--stop-after", 2, "--out", tmp_path / "whole").code == 0
    assert cli(*common, "--stop-after", 1, "--out", tmp_path / "parts").code == 0
    again = cli("finetune", "objects", "--resume", "--stop-after", 1, "--out", tmp_path / "parts")
    assert again.code == 0, again.err
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole") and len(rows(tmp_path / "whole")) == 2
    whole, parts = (torch.load(tmp_path / one / run_dir.TRAINING, weights_only=True)
                    for one in ("whole", "parts"))
    assert tensors(whole["model"]) == tensors(parts["model"])
    average = tensors(whole["average"]["average"])
    assert average == tensors(parts["average"]["average"]) != tensors(whole["model"])


@pytest.mark.parametrize("head", HEADS)
def test_a_frozen_backbone_does_not_move_while_the_head_learns(
    head: str, cli: Cli, data: Path, weights: Path, tmp_path: Path
) -> None:
    run = taught(cli, tmp_path / "run", "--data", data, "--head", head, "--weights", weights, "--freeze")
    more = taught(
        cli, tmp_path / "more", "--data", data, "--head", head, "--weights", weights, "--freeze", "--lr", 0.1
    )
    first, second, given = state(run), state(more), load_file(weights)
    for name, value in given.items():
        assert torch.equal(first[f"backbone.{name}"], value)
    assert any(not torch.equal(first[name], second[name]) for name in first if name.startswith("heads."))


def test_cached_photos_give_the_same_training(cli: Cli, data: Path, tmp_path: Path) -> None:
    common = ("--data", data, "--width", 0.25)
    plain = taught(cli, tmp_path / "plain", *common)
    for name in ("filled", "read"):
        run = taught(cli, tmp_path / name, *common, "--cache", tmp_path / "cache")
        assert rows(run) == rows(plain)
    assert any((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_learns_nearly_the_same(head: str, cli: Cli, data: Path, tmp_path: Path) -> None:
    common = ("--data", data, "--head", head, "--width", 0.25, "--augment", "none", "--lr", 1e-4)
    full, half = (
        rows(taught(cli, tmp_path / kind, *common, "--precision", kind))[0]["train/loss"]
        for kind in ("fp32", "bf16")
    )
    assert half != full and half == pytest.approx(full, rel=0.15)


@pytest.mark.parametrize("head", HEADS)
def test_batches_of_one_photo_train_on_weights(
    head: str, cli: Cli, data: Path, weights: Path, tmp_path: Path
) -> None:
    """SSD's last maps are 1 x 1: with one photo, batch-norm would have one value to take a variance of."""
    run = taught(
        cli, tmp_path / "run", "--data", data, "--head", head, "--weights", weights, "--batch-size", 1
    )
    assert all(math.isfinite(row["train/loss"]) for row in rows(run))
    learned = state(run)
    given = load_file(weights)
    assert any(not torch.equal(learned[f"backbone.{name}"], value) for name, value in given.items())
    assert all(value.isfinite().all() for value in learned.values())


def test_a_lone_photo_takes_the_statistics_so_far_and_leaves_them() -> None:
    head = SSD([8, 8], 2, size=64).train()
    last = head.extras[-1][1]  # type: ignore[index]
    mean = last.running_mean.clone()
    head(torch.rand(1, 8, 4, 4), torch.rand(1, 8, 2, 2))
    assert torch.equal(last.running_mean, mean)
    head(torch.rand(2, 8, 4, 4), torch.rand(2, 8, 2, 2))
    assert not torch.equal(last.running_mean, mean)


def retired() -> tuple[Any, Any]:
    model = make_model(Objects(ObjectsSettings(head="frcnn300", resolution=64)), MobileNetV1(0.25), ["red"])
    return model, model.backbone


def test_the_stage_that_the_box_head_copies_never_learns_whatever_thaws_the_backbone() -> None:
    _, network = retired()
    last = {name for name, _ in network.named_parameters() if name.startswith("blocks.4.")}
    assert last and network.unused_parameters == last
    network.freeze()
    network.unfreeze()
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == last
    apply_unfreezing(network, backbone_layers(network))
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == last


def test_a_retired_stage_is_no_layer_of_thawing_or_of_decay() -> None:
    """Else the first thaw would wake nothing, and the layer below the head would learn at a lower rate."""
    model, network = retired()
    assert len(backbone_layers(network, coarse=True)) == len(learning_layers(network, coarse=True)) + 1
    groups = parameter_groups(model, lr=1.0, backbone_lr=1.0, weight_decay=0.0, layer_decay=0.5)
    rates = {group["lr"] for group in groups if group["name"].startswith("backbone")}
    assert max(rates) == 0.5
    learned = {id(p) for group in groups for p in group["params"]}
    assert not learned & {id(p) for p in network.blocks[-1].parameters()}


@pytest.mark.parametrize(("option", "said"), [
    (("--erase", 0.5), "--erase would move no box"), (("--randaugment", "m9"), "--randaugment would move no"),
    (("--jitter", 0.5), "--jitter would move no box"), (("--min-crop", 0.5), "--min-crop would move no box"),
    (("--teacher", "run"), "--teacher needs class logits"), (("--resolution", 32), "must be 64 or more"),
    (("--sampling", "balanced"), "needs one class a photo"),
])
def test_options_that_would_do_nothing_to_boxes_are_refused(
    option: tuple[object, ...], said: str, cli: Cli, data: Path, tmp_path: Path
) -> None:
    answer = cli("finetune", "objects", "--data", data, *option, "--out", tmp_path / "run")
    assert answer.code == 2 and said in answer.last_error and not (tmp_path / "run").exists()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("head", [HEADS[0], pytest.param(HEADS[1], marks=pytest.mark.long)])
def test_two_processes_train_one_detector(head: str, data: Path, tmp_path: Path) -> None:
    """Seven photos in batches of three: the last one leaves a process with nothing."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        ROOT / "cli.py", "finetune", "objects", "--data", data, "--head", head, "--width", 0.25,
        "--resolution", 64, "--batch-size", 3, "--workers", 0, "--epochs", 2, "--out", tmp_path / "run",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(told) == 1 and "ap50" in told[0]["metrics"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"] == {"train": 7, "val": 3, "skipped": []}
    assert all(math.isfinite(row["train/loss"]) for row in rows(tmp_path / "run"))
