"""The options of a training reach the training: each is seen in what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import COLOURS, Cli, save_colour

from apps.engine.core import run_dir
from backbone import MobileNetV1

SMALL = ("--resolution", 32, "--batch-size", 8, "--workers", 0, "--precision", "fp32")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(MobileNetV1(0.25).state_dict(), path, {"padding": "same", "resolution": "32"})
    return path


def run_of(cli: Cli, colours: Path, out: Path, *more: object) -> dict[str, Any]:
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, *more, "--out", out)
    assert answer.code == 0, answer.err
    return {"answer": answer, "weights": load_file(out / run_dir.MODEL)}


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    pairs = zip(one["weights"].values(), other["weights"].values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("more", [
    ("--optimizer", "sgd"), ("--optimizer", "rmsproptf"), ("--schedule", "step"), ("--accumulate", 2),
    ("--ema", 0.5), ("--mixup", 0.4), ("--cutmix", 1.0), ("--erase", 1.0), ("--jitter", 0.0),
    ("--randaugment", "m9-mstd0.5"), ("--sampling", "balanced"), ("--layer-decay", 0.5),
    ("--dropout", 0.5), ("--precision", "bf16"), ("--bn", "frozen"),
], ids=lambda more: more[0] + "=" + str(more[1]))
def test_an_option_changes_what_is_learned(
    cli: Cli, colours: Path, tmp_path: Path, plain: dict[str, Any], more: tuple[object, ...]
) -> None:
    assert not equal(run_of(cli, colours, tmp_path / "run", "--epochs", 2, *more), plain)


@pytest.fixture(scope="module")
def plain(cli: Cli, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_of(cli, colours, tmp_path_factory.mktemp("plain") / "run", "--epochs", 2)


def test_a_cache_changes_no_bit_and_the_second_run_decodes_nothing(
    cli: Cli, colours: Path, tmp_path: Path, plain: dict[str, Any]
) -> None:
    data = tmp_path / "data"
    for path in sorted(colours.rglob("*.png")):
        target = data / path.relative_to(colours)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    cache = ("--epochs", 2, "--cache", tmp_path / "cache")
    assert equal(run_of(cli, data, tmp_path / "a", *cache), plain)
    assert equal(run_of(cli, data, tmp_path / "b", *cache), plain)
    save_colour(data / "train" / "red" / "0.png", COLOURS["blue"])
    assert not equal(run_of(cli, data, tmp_path / "c", *cache), plain), "a changed photo was served stale"


@pytest.mark.computes
def test_gradual_unfreezing_leaves_the_lower_stages_as_they_were(
    cli: Cli, colours: Path, tmp_path: Path, seeded: Path
) -> None:
    more = ("--weights", seeded, "--epochs", 2, "--unfreeze-every", 1, "--weight-decay", 0.05)
    learned = run_of(cli, colours, tmp_path / "run", *more)["weights"]
    before = load_file(seeded)
    moved = {n for n, value in before.items() if not torch.equal(value, learned[f"backbone.{n}"])}
    assert moved
    assert all(name.startswith("blocks.4") for name in moved), moved


def test_patience_ends_a_run_and_the_best_epoch_is_kept(cli: Cli, colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ("--epochs", 40, "--patience", 2, "--monitor", "top1", "--lr", 1e-7)
    answer = run_of(cli, colours, run, *more)["answer"]
    rows = run_dir.read_metrics(run)
    best = max(row["val/top1"] for row in rows)
    assert len(rows) < 40
    assert answer.lines[0]["metrics"]["top1"] == pytest.approx(best)
    assert "kept: epoch" in answer.err


@pytest.mark.computes
def test_a_head_is_taught_on_features_computed_once(
    cli: Cli, colours: Path, tmp_path: Path, seeded: Path
) -> None:
    cache = ("--cache", tmp_path / "cache", "--views", 2)
    more = ("--weights", seeded, "--freeze", "--epochs", 30, "--lr", 0.1, *cache)
    first = run_of(cli, colours, tmp_path / "a", *more)
    assert len(run_dir.read_metrics(tmp_path / "a")) == 30
    assert first["answer"].lines[0]["metrics"]["top1"] == 1.0
    before = load_file(seeded)
    assert all(torch.equal(first["weights"][f"backbone.{name}"], value) for name, value in before.items())
    assert list((tmp_path / "cache").glob("features-*.safetensors"))
    assert equal(run_of(cli, colours, tmp_path / "b", *more), first)
    assert not equal(run_of(cli, colours, tmp_path / "c", *more, "--no-cached-features"), first)


@pytest.mark.computes
def test_a_teacher_teaches_and_one_of_other_classes_is_refused_at_once(
    cli: Cli, colours: Path, tmp_path: Path, plain: dict[str, Any], colour_run: Path
) -> None:
    taught = run_of(cli, colours, tmp_path / "run", "--epochs", 2, "--teacher", colour_run)
    assert not equal(taught, plain)
    row = run_dir.read_metrics(tmp_path / "run")[-1]
    parts = row["train/cross_entropy"] + row["train/distillation"]
    assert row["train/loss"] == pytest.approx(parts, rel=1e-5)
    other = tmp_path / "other"
    for name in ("cat", "cow"):
        for number in range(12):
            save_colour(other / "train" / name / f"{number}.png", (9, 9, 99), seed=number)
    given = ("--data", other, *SMALL, "--teacher", colour_run)
    answer = cli("finetune", "dogs", *given, "--out", tmp_path / "x")
    assert answer.code == 1
    assert "knows 3 classes" in answer.last_error
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("more", "code", "words"), [
    (("--optimizer", "adamv"), 1, "there is no optimizer 'adamv'; did you mean"),
    (("--monitor", "top2"), 1, "--monitor top2: dogs has no such figure; it has top1"),
    (("--teacher", "{tmp}/none"), 1, "config.json is missing"),
    (("--class-weights", "balanced", "--sampling", "balanced"), 2, "do the same twice"),
    (("--ema", "1"), 2, "--ema must be below 1"),
    (("--cache", "{tmp}/file"), 1, "file"),
    (("--schedule", "line"), 2, "line"),
])
def test_what_cannot_work_is_refused_before_anything_is_written(
    cli: Cli, colours: Path, tmp_path: Path, more: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "file").write_text("")
    filled = [one.format(tmp=tmp_path) for one in more]
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, *filled, "--out", tmp_path / "run")
    assert answer.code == code, answer.err
    assert words in answer.last_error
    assert not (tmp_path / "run").exists()


def test_options_that_do_nothing_say_so(cli: Cli, colours: Path, tmp_path: Path) -> None:
    answer = run_of(cli, colours, tmp_path / "run", "--epochs", 1, "--views", 2, "--step-epochs", 3)["answer"]
    assert "--views has no effect" in answer.err
    assert "--step-epochs has no effect" in answer.err


def test_a_run_whose_loss_broke_at_once_says_failed_and_its_folder_can_be_used_again(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    broken = cli(
        "finetune", "dogs", "--data", colours, *SMALL, "--epochs", 3, "--optimizer", "sgd", "--lr", 1e30,
        "--clip-norm", 1e30, "--out", run,
    )
    assert broken.code == 1
    assert "not finite" in broken.last_error
    assert "lower --lr" in broken.last_error
    assert run_dir.read_progress(run)["state"] == "failed"
    assert not (run / run_dir.MODEL).exists()
    assert run_dir.load_training_state(run)["epoch"] == 0
    run_of(cli, colours, run, "--epochs", 1)


def test_a_rate_is_found_and_nothing_is_trained(cli: Cli, colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "lr"
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, "--epochs", 20, "--find-lr", "--out", out)
    assert answer.code == 0, answer.err
    found = json.loads((out / "lr.json").read_text())
    assert found["lrs"] == sorted(found["lrs"])
    assert answer.lines[0]["lr"] in (None, found["suggestion"])
    assert {path.name for path in out.iterdir()} == {"lr.json", "lr.png"}


def test_views_that_a_run_was_judged_with_are_those_that_it_answers_with(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    made = run_of(cli, colours, run, "--epochs", 12, "--tta", "ten")["answer"].lines[0]["metrics"]
    judge = ("evaluate", "dogs", "--checkpoint", run, "--data", colours, "--workers", 0)
    again = cli(*judge).lines[0]["metrics"]
    single = cli(*judge, "--tta", "none").lines[0]["metrics"]
    assert again["cross_entropy"] == pytest.approx(made["cross_entropy"], rel=1e-5)
    assert single["cross_entropy"] != pytest.approx(made["cross_entropy"], rel=1e-5)


def test_event_files_and_a_profile_are_written_and_change_no_bit(
    cli: Cli, colours: Path, tmp_path: Path, plain: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    more = ("--epochs", 2, "--log", "tensorboard", "--profile", "--save-every", 0)
    assert equal(run_of(cli, colours, run, *more), plain)
    assert list((run / "tensorboard").glob("events.*"))
    assert (run / "profile.json").is_file()
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
