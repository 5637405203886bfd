"""The engine: what a step sees, what learns how fast, what a crash leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from support import Cli
from torch import Tensor, nn

from apps.engine.core import run_dir
from apps.engine.core.files import sha256_of, write_whole
from apps.engine.core.run_dir import RunConfig
from apps.engine.data.loader import Batch, EpochBatches, Loader, eval_transform, train_transform
from apps.engine.training import setup
from apps.engine.training.frozen.linear_probe import fit_probe
from apps.engine.training.loop import MetricAccumulator, TrainStep, train_epoch
from apps.engine.training.optim.optimizers import cosine, decays, make_optimizer, parameter_groups
from apps.engine.training.signals import Stopped
from backbone import MobileNetV1, WeightsInfo
from datasets.classification.folders import ImageFolders
from heads import Classifier, MultiHead


def small_model(classes: int = 3) -> MultiHead:
    torch.manual_seed(0)
    backbone = MobileNetV1(0.25)
    return MultiHead(backbone, {"dogs": Classifier(256, classes)})


def batches_of(root: Path, *, workers: int, epoch: int = 0, seed: int = 0) -> list[Batch]:
    photos = ImageFolders(root, "train")
    loader = Loader(photos, train_transform(32), batch_size=7, seed=seed, shuffle=True, workers=workers)
    return list(loader.epoch(epoch))


def test_the_same_seed_gives_the_same_pixels_whatever_the_workers(colours: Path) -> None:
    alone, helped = batches_of(colours, workers=0), batches_of(colours, workers=2)
    assert [b.indices for b in alone] == [b.indices for b in helped]
    assert all(torch.equal(a.images, b.images) for a, b in zip(alone, helped, strict=True))
    assert alone[0].images.dtype == torch.uint8
    other = batches_of(colours, workers=0, epoch=1)
    assert [b.indices for b in other] != [b.indices for b in alone]
    assert [b.indices for b in batches_of(colours, workers=0, seed=1)] != [b.indices for b in alone]


def test_reading_leaves_the_global_random_generators_as_they_were(colours: Path) -> None:
    """A loader that seeds them would repeat the same dropout in every epoch."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    batches_of(colours, workers=0)
    assert torch.equal(torch.rand(1), expected)


def test_a_batch_floats_to_zero_one_in_channels_last(colours: Path) -> None:
    floats = batches_of(colours, workers=0)[0].floats()
    assert 0 <= floats.min() < floats.max() <= 1
    assert floats.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("count", "size", "shuffle", "sizes"), [
    (10, 4, True, [4, 4, 2]), (9, 4, True, [4, 5]), (9, 4, False, [4, 4, 1]), (1, 4, True, [1]),
    (8, 4, True, [4, 4]),
])
def test_a_last_batch_of_one_joins_the_one_before_it_in_training(
    count: int, size: int, shuffle: bool, sizes: list[int]
) -> None:
    """Batch-norm raises on one photo at 32 px; a dropped photo would never be learned."""
    batches = list(EpochBatches(count, size, seed=0, shuffle=shuffle))
    assert [len(b) for b in batches] == sizes
    assert sorted(index for b in batches for _, index, _ in b) == list(range(count))


def test_a_bad_photo_is_named_and_the_rest_of_its_batch_is_read(tmp_path: Path, colours: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for n in range(2):
            source = colours / "train" / "red" / f"{n}.png"
            (tmp_path / "train" / name / f"{n}.png").write_bytes(source.read_bytes())
    broken = tmp_path / "train" / "a" / "1.png"
    broken.write_bytes(broken.read_bytes()[:200])
    (batch,) = Loader(ImageFolders(tmp_path, "train"), eval_transform(32, 0.875), batch_size=4).epoch(0)
    assert batch.indices == [0, 2, 3]
    assert batch.images.shape == (3, 3, 32, 32)
    assert [str(broken) in bad.reason for bad in batch.bad] == [True]


def test_depthwise_filters_norms_and_biases_do_not_decay() -> None:
    model = small_model()
    kept = {n for n, p in model.named_parameters() if not decays(model, n, p)}
    assert "backbone.blocks.2.1.conv_dw.weight" in kept
    assert "backbone.bn1.weight" in kept
    assert "heads.dogs.linear.bias" in kept
    assert "backbone.conv_stem.weight" not in kept
    assert "backbone.blocks.2.1.conv_pw.weight" not in kept
    assert "heads.dogs.linear.weight" not in kept


def test_the_backbone_learns_at_its_share_of_the_rate_and_all_parameters_learn_once() -> None:
    model = small_model()
    groups = parameter_groups(model, lr=1.0, backbone_lr=0.1, weight_decay=0.5)
    kinds = sorted((g["lr"], g["weight_decay"]) for g in groups)
    assert kinds == [(0.1, 0.0), (0.1, 0.5), (1.0, 0.0), (1.0, 0.5)]
    learning = [p for g in groups for p in g["params"]]
    assert len(learning) == len({id(p) for p in learning}) == len(list(model.parameters()))
    only_head = parameter_groups(model, lr=1.0, backbone_lr=0.0, weight_decay=0.5)
    assert sum(len(g["params"]) for g in only_head) == 2


def test_the_schedule_warms_up_falls_to_zero_and_hangs_on_the_step_alone() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    schedule = cosine(optimizer, steps=100, warmup=10)
    rates = []
    for step in range(100):
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] < 0.3
    assert rates[5] == pytest.approx(1.0, abs=0.2)
    assert max(rates) == pytest.approx(2.0, rel=0.01)
    assert rates[55] == pytest.approx(1.0, abs=0.05)
    assert rates[-1] < 0.01
    again = torch.optim.SGD([parameter], lr=2.0)
    cosine(again, steps=100, warmup=10).step_update(70)
    assert again.param_groups[0]["lr"] == rates[70]


def one_batch(images: Tensor, targets: Tensor) -> Batch:
    return Batch(images, targets, list(range(len(targets))), [])


def train_step(model: MultiHead, optimizer: torch.optim.Optimizer, nominal: int, **options: Any) -> TrainStep:
    head: Any = model.heads["dogs"]
    terms = options.pop("terms", lambda x, network, targets: head.loss(network(x)["dogs"], targets))
    return TrainStep(model, terms, optimizer, nominal, **options)


def test_eight_images_are_overfitted() -> None:
    """A sign error, a frozen layer or a stale gradient anywhere in the chain would stop this."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    batch = one_batch(images, torch.arange(8) % 4)
    model = small_model(4)
    optimizer = make_optimizer(parameter_groups(model, lr=3e-3, backbone_lr=1.0, weight_decay=0.0))
    model.train()
    for _ in range(60):
        totals = train_epoch(train_step(model, optimizer, 8), [batch])
    assert totals.means()["loss"] < 0.02
    assert totals.photos == 8


def test_the_first_loss_of_a_training_is_log_k() -> None:
    model = small_model(10)
    model.train()
    images = torch.randint(0, 256, (32, 3, 96, 96), dtype=torch.uint8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch = one_batch(images, torch.arange(32) % 10)
    totals = train_epoch(train_step(model, optimizer, 32), [batch])
    assert totals.means()["loss"] == pytest.approx(np.log(10), rel=0.02)


def test_a_loss_that_is_not_finite_stops_and_names_its_term_and_its_photos() -> None:
    model = small_model()
    batch = one_batch(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    broken = train_step(
        model, torch.optim.SGD(model.parameters(), lr=1.0), 4,
        terms=lambda x, network, _: {"made_up": network(x)["dogs"].sum() * float("nan")},
        name_photos=lambda indices: f"photos {indices} of a.jpg",
    )
    said = r"made_up is nan\); lower --lr or --clip-norm.*photos \[0, 1, 2, 3\] of a.jpg; the last"
    with pytest.raises(FloatingPointError, match=said):
        train_epoch(broken, [batch])
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())


class Constant(nn.Module):
    """A loss that is handed to it, and a parameter for the optimiser."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean(dim=(1, 2, 3)) * self.weight


def numbers(*values: int) -> Batch:
    """A batch of one-colour photos: the loss of each is its number."""
    images = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 32, 32).contiguous()
    return one_batch(images, torch.zeros(len(values)))


def of_numbers(optimizer_lr: float, nominal: int) -> TrainStep:
    model = Constant()
    return TrainStep(
        model, lambda x, network, _: {"x": network(x).mean()},
        torch.optim.SGD(model.parameters(), lr=optimizer_lr), nominal, clip_norm=1e9,
    )


def test_terms_are_weighed_by_photos_not_by_batches() -> None:
    """Losses 1 on three photos and 5 on one are 2 a photo; the mean of batch means would say 3."""
    totals = train_epoch(of_numbers(0.0, 3), [numbers(1, 1, 1), numbers(5)])
    assert totals.means()["loss"] == pytest.approx(2.0)


@pytest.mark.parametrize("batches", [[(1, 1, 1), (5,)], [(1, 5), (1, 1)], [(1, 1, 1, 5)]])
def test_batches_that_are_gathered_make_the_update_of_one_large_batch(batches: list[tuple[int, ...]]) -> None:
    """The gradient is the mean over photos, 2, however unequal the batches and whatever is nominal."""
    for nominal in (4, 32):
        one = of_numbers(0.1, nominal)
        train_epoch(one, [numbers(*values) for values in batches], accumulate=len(batches))
        assert one.model.weight.item() == pytest.approx(1 - 0.1 * 2)


def test_an_epoch_that_goes_on_counts_and_seeds_its_updates_from_there() -> None:
    seeded: list[int] = []
    steps: list[int] = []
    one = of_numbers(0.0, 1)
    one.before_update = steps.append
    totals = train_epoch(
        one, [numbers(3), numbers(3)],
        totals=MetricAccumulator(photos=2, sums={"x": 2.0, "loss": 2.0}), done=2,
        epoch_start=10, seed=seeded.append,
    )
    assert (seeded, steps) == ([2, 3], [12, 13])
    assert (totals.photos, totals.means()["loss"]) == (4, 2.0)


def test_a_signal_ends_the_epoch_after_the_update_under_way() -> None:
    one, done = of_numbers(0.0, 1), list[int]()

    def on_step(number: int, _: MetricAccumulator) -> None:
        done.append(number)
        one.signals.number = 15

    with pytest.raises(Stopped) as stopped:
        train_epoch(one, [numbers(1)] * 5, on_step=on_step)
    assert stopped.value.code == 128 + 15
    assert done == [1, 2]


@pytest.mark.parametrize("classes", [2, 4])
def test_the_probe_is_scikit_learns_regression_on_raw_features(classes: int) -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(120) % classes
    apart = targets[:, None] * rng.normal(size=16)
    features = (rng.normal(size=(120, 16)) * 3 + 5 + apart).astype(np.float32)
    head = Classifier(16, classes)
    probe = fit_probe(head, features, targets)
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    model = LogisticRegression(C=probe.strength, max_iter=300).fit(scaled, targets)
    with torch.no_grad():
        ours = torch.softmax(head(torch.as_tensor(features)[:, :, None, None]), dim=1).numpy()
    np.testing.assert_allclose(ours, model.predict_proba(scaled), atol=1e-4)
    best = max(probe.accuracy_by_strength.values())
    assert probe.accuracy_by_strength[probe.strength] >= best - (best * (1 - best) / 120) ** 0.5
    assert all(s >= probe.strength for s, a in probe.accuracy_by_strength.items() if a == best)


def test_a_class_without_photos_is_never_the_probes_answer() -> None:
    targets = np.array([0, 2] * 10)
    features = (np.random.default_rng(0).normal(size=(20, 4)) + targets[:, None]).astype(np.float32)
    head = Classifier(4, 3)
    fit_probe(head, features, targets)
    said = head(torch.as_tensor(features)[:, :, None, None]).argmax(1)
    assert set(said.tolist()) <= {0, 2}


def config_for(model: MultiHead) -> RunConfig:
    backbone: Any = model.backbone
    info = WeightsInfo("x", arguments={"width": 0.25, "padding": "same"})
    return RunConfig("dogs", ("a", "b", "c"), {"seed": 0}, info, backbone.fingerprint())


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    model = small_model()
    config = config_for(model)
    run_dir.save_checkpoint(tmp_path, model, config)
    assert run_dir.read_config(tmp_path, app="dogs") == config
    other = small_model()
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    run_dir.load_model_state(tmp_path, other)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(("spoil", "word"), [
    (lambda run: (run / "model.safetensors").write_bytes(b"x" * 100), "is not the file that config"),
    (lambda run: (run / "config.json").write_text('{"app": "dogs"'), "damaged"),
    (lambda run: (run / "config.json").write_text("[]"), "damaged"),
    (lambda run: (run / "config.json").unlink(), "config.json is missing"),
    (lambda run: (run / "model.safetensors").unlink(), "model.safetensors is missing"),
])
def test_a_damaged_checkpoint_is_one_clear_error(tmp_path: Path, spoil: Any, word: str) -> None:
    model = small_model()
    run_dir.save_checkpoint(tmp_path, model, config_for(model))
    spoil(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=word):
        run_dir.read_config(tmp_path)


def test_a_checkpoint_of_another_application_is_refused(tmp_path: Path) -> None:
    model = small_model()
    run_dir.save_checkpoint(tmp_path, model, config_for(model))
    with pytest.raises(ValueError, match="a run of 'dogs', not of 'faces'"):
        run_dir.read_config(tmp_path, app="faces")


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]
    assert len(sha256_of(path)) == 64


def test_help_comes_without_torch() -> None:
    """`import torch` takes seconds; nobody waits that long for a list of options."""
    code = (
        "import sys; from apps.cli.main import main\n"
        "for words in (['--help'], ['finetune', '--help'], ['finetune', 'dogs', '--help'],"
        " ['evaluate', 'imagenet', '--help'], ['predict', '--help']): main(words)\n"
        "print(sorted({'torch', 'timm', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--batch-size" in done.stdout


def test_metrics_rows_are_json_lines(tmp_path: Path) -> None:
    run_dir.append_metrics(tmp_path, {"epoch": 1})
    run_dir.append_metrics(tmp_path, {"epoch": 2})
    assert run_dir.read_metrics(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_compiled_backbone_learns_the_same(
    cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the tracer alone: the compiler behind it takes minutes."""
    graphs: list[Any] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(setup, "COMPILER", backend)
    words = ("--data", colours, "--width", "0.25", "--resolution", "32", "--epochs", 1, "--workers", 0)
    losses = []
    for name, more in (("plain", ()), ("compiled", ("--compile",))):
        answer = cli("finetune", "dogs", *words, "--precision", "fp32", "--out", tmp_path / name, *more)
        assert answer.code == 0, answer.err
        rows = (tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append(json.loads(rows[0])["train/loss"])
    assert graphs
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
