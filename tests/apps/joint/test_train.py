"""Several heads on one backbone: taught together, one run a task, resumed bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Cli, same_precision, save_colour
from torch import nn

from apps.classification.task import METRICS
from apps.engine.core import run_dir
from apps.engine.data.loader import Loader, train_transform
from apps.joint.model import JointModel
from apps.joint.sampler import JointLoader, TaskAccumulator, batches_of, spread
from apps.joint.settings import make_tasks
from apps.joint.train import compared, rows_of, table
from datasets.classification.folders import ImageFolders
from heads import Classifier

COMMON = ("--resolution", 32, "--batch-size", 4, "--workers", 0)
SHAPES = {"light": (230, 230, 210), "dark": (30, 30, 40)}


@pytest.fixture(scope="session")
def lights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second data set, of two classes, smaller than the colours."""
    root = tmp_path_factory.mktemp("lights")
    for name, colour in SHAPES.items():
        for split, count in (("train", 5), ("val", 3)):
            for number in range(count):
                save_colour(root / split / name / f"{number}.png", colour, seed=number)
    return root


def words(colours: Path, lights: Path) -> tuple[object, ...]:
    data = ("--data", f"colours={colours}", "--data", f"lights={lights}")
    return ("joint", "colours=dogs", "lights=dogs", *data, *COMMON)


@pytest.fixture(scope="session")
def joint_run(
    cli: Cli, colours: Path, lights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished joint training from scratch with statistics of all tasks together."""
    run = tmp_path_factory.mktemp("joint") / "run"
    answer = cli(*words(colours, lights), "--epochs", 4, "--bn", "train", "--out", run)
    assert answer.code == 0, answer.err
    return run


@pytest.mark.computes
def test_a_joint_training_writes_a_run_a_task_with_one_backbone(
    cli: Cli, joint_run: Path, colours: Path
) -> None:
    told = json.loads((joint_run / "joint.json").read_text())
    configs = {name: run_dir.read_config(joint_run / name, app="dogs") for name in ("colours", "lights")}
    assert {one.fingerprint for one in configs.values()} == {told["fingerprint"]}
    assert configs["lights"].classes == ("dark", "light")
    judged = cli("evaluate", "dogs", "--checkpoint", joint_run / "colours", "--workers", 0, *same_precision())
    assert judged.code == 0, judged.err
    figures = judged.lines[0]["metrics"]
    assert figures["top1"] == pytest.approx(told["metrics"]["colours/top1"])
    assert (joint_run / "lights" / "report.html").exists()
    assert judged.lines[0]["n"] == 12
    assert cli("predict", colours / "val", "--checkpoint", joint_run / "colours").code == 0


def test_runs_lists_the_joint_training_and_its_tasks_as_finished(cli: Cli, joint_run: Path) -> None:
    lines = cli("runs", joint_run, "--json").lines
    assert [(Path(one["run"]).name, one["app"], one["state"]) for one in lines] == [
        ("run", "joint", "finished"), ("colours", "dogs", "finished"), ("lights", "dogs", "finished")
    ]


@pytest.mark.computes
def test_the_heads_of_a_joint_training_answer_from_one_pass_as_they_do_alone(
    cli: Cli, joint_run: Path, colours: Path
) -> None:
    runs = [joint_run / name for name in ("colours", "lights")]
    both = cli("predict", colours / "val", "--heads", ",".join(map(str, runs)), "--workers", 0)
    assert both.code == 0, both.err
    assert len(both.lines) == 12
    for run in runs:
        alone = cli("predict", colours / "val", "--checkpoint", run, "--workers", 0).lines
        for one, other in zip(both.lines, alone, strict=True):
            assert one["path"] == other["path"]
            got = {p["name"]: p["probability"] for p in one["answers"][run.name]["predictions"]}
            wanted = {p["name"]: p["probability"] for p in other["predictions"]}
            assert got == pytest.approx(wanted, abs=1e-5)


def test_runs_of_other_backbones_are_refused_by_fingerprint_and_answer_separately_if_allowed(
    cli: Cli, joint_run: Path, colour_run: Path, colours: Path
) -> None:
    runs = f"{joint_run / 'lights'},{colour_run}"
    answer = cli("predict", colours / "val", "--heads", runs, "--workers", 0)
    prints = [run_dir.read_config(run).fingerprint for run in (joint_run / "lights", colour_run)]
    assert answer.code == 1
    assert all(one in answer.last_error for one in prints)
    assert "--allow-separate" in answer.last_error
    allowed = cli("predict", colours / "val", "--heads", runs, "--allow-separate", "--workers", 0)
    assert allowed.code == 0, allowed.err
    assert set(allowed.lines[0]["answers"]) == {"lights", "colours"}


def test_one_run_twice_gets_a_number_and_a_bad_photo_is_an_error_line(
    cli: Cli, joint_run: Path, tmp_path: Path
) -> None:
    save_colour(tmp_path / "a.png", (200, 40, 40))
    (tmp_path / "b.jpg").write_text("no photo")
    run = joint_run / "lights"
    answer = cli("predict", tmp_path, "--heads", f"{run},{run}", "--tta", "mirror", "--workers", 0)
    assert set(answer.lines[0]["answers"]) == {"lights", "lights-2"}
    assert "not a photo" in answer.lines[1]["error"]


@pytest.mark.parametrize("extra", [
    ("--bn", "apart", "--loss-weights", "learned", "--task-sampling", "size"),
    ("--bn", "train", "--ema", 0.9, "--task-sampling", "weighted", "--share", "lights=3"),
])
def test_a_joint_training_that_is_broken_off_goes_on_bit_for_bit(
    cli: Cli, colours: Path, lights: Path, tmp_path: Path, extra: tuple[object, ...]
) -> None:
    """Weights, statistics, optimiser, average and place: all that the state holds is that of no break."""
    common = (*words(colours, lights), *extra, "--epochs", 3, "--keep", "best")
    assert cli(*common, "--stop-after", 2, "--out", tmp_path / "whole").code == 0
    assert cli(*common, "--stop-after", 1, "--out", tmp_path / "run").code == 0
    again = cli("joint", "--resume", "--stop-after", 1, "--out", tmp_path / "run")
    assert again.code == 0, again.err
    assert again.lines[0]["epochs_done"] == 2
    whole, run = (run_dir.load_training_state(tmp_path / one) for one in ("whole", "run"))
    assert whole["epoch"] == run["epoch"] == 2
    assert_same(whole["model"], run["model"])
    assert_same(whole["optimizer"]["state"], run["optimizer"]["state"])
    if whole["average"] is not None:
        assert_same(whole["average"]["average"], run["average"]["average"])


def assert_same(one: Any, other: Any) -> None:
    """The same structure with the same tensors, bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert one == other


def test_an_epoch_begun_in_its_middle_has_the_batches_that_were_left(colours: Path, lights: Path) -> None:
    """A task that began anew within an epoch goes on from the right place of its own second pass."""

    def loader() -> JointLoader:
        sources = {
            name: Loader(
                ImageFolders(root, "train"), train_transform(32), batch_size=4, shuffle=True, workers=0
            )
            for name, root in (("colours", colours), ("lights", lights))
        }
        counts = batches_of({name: len(one) for name, one in sources.items()}, "balanced", {})
        return JointLoader(sources, counts)

    whole = loader()
    batches = [batch for number in (0, 1) for batch in whole.epoch(number)]
    assert [batch.targets[0] for batch in batches[:4]] == ["colours", "lights", "colours", "lights"]
    assert all(index >= 24 for batch in batches for index in batch.indices if batch.targets[0] == "lights")
    rest = list(loader().epoch(1, start=3))
    assert len(rest) == len(whole) - 3
    for one, other in zip(rest, batches[len(whole) + 3 :], strict=True):
        assert (one.indices, one.targets[0]) == (other.indices, other.targets[0])
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets[1], other.targets[1])


@pytest.mark.slow
def test_batch_norm_apart_gives_each_task_its_own_statistics_and_says_that_no_pass_serves_both(
    cli: Cli, colours: Path, lights: Path, tmp_path: Path
) -> None:
    answer = cli(
        *words(colours, lights), "--bn", "apart", "--epochs", 1, "--loss-weights", "learned",
        "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["fingerprint"] is None
    assert "no one pass serves them all" in answer.err
    rows = run_dir.read_metrics(tmp_path / "run")
    assert 0 < rows[0]["weight/lights"] != 1


def test_freeze_gives_heads_of_the_backbone_as_it_was(
    cli: Cli, colours: Path, lights: Path, colour_run: Path, tmp_path: Path
) -> None:
    answer = cli(
        *words(colours, lights), "--weights", colour_run, "--freeze", "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["fingerprint"] == run_dir.read_config(colour_run).fingerprint
    assert answer.lines[0]["metrics"]["lights/top1"] == 1.0


@pytest.mark.slow
def test_compare_trains_each_task_alone_and_sets_the_figures_side_by_side(
    cli: Cli, colours: Path, lights: Path, tmp_path: Path
) -> None:
    answer = cli(*words(colours, lights), "--epochs", 1, "--compare", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    got = answer.lines[0]["compare"]["lights"]["top1"]
    alone = run_dir.read_config(tmp_path / "run" / "separate" / "lights").metrics["top1"]
    assert got == [answer.lines[0]["metrics"]["lights/top1"], alone]
    assert "separate" in answer.err


def test_bad_usage_is_refused_in_one_line(cli: Cli, colours: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    cases = {
        ("joint", "dogs"): "two tasks or more",
        ("joint", "dogs", "dogs"): "terriers=dogs hounds=dogs",
        ("joint", "dogs", "cats"): "no application 'cats'",
        ("joint", "dogs", "separate=dogs"): "no name of a task",
        ("joint", "dogs", "imagenet", "--data", "cats=x"): "there is no such task",
        ("joint", "dogs", "imagenet", "--share", "dogs=0"): "must be above 0",
        ("joint", "dogs", "imagenet", "--share", "dogs=2"): "is for --task-sampling weighted",
        ("joint", "dogs", "imagenet", "--loss-weights", "learned", "--weight", "dogs=2"):
            "is for --loss-weights fixed",
        ("joint", "dogs", "imagenet", "--set", "dogs.nothing=1"): "no option 'nothing'",
        ("joint", "dogs", "imagenet", "--bn", "apart", "--ema", "0.9"): "give one",
    }
    for given, words_of in cases.items():
        answer = cli(*given, *out)
        assert (answer.code, words_of in answer.last_error) == (2, True), answer.err
    two = ("joint", "one=dogs", "two=dogs", "--data", f"one={colours}", "--data", f"two={colours}")
    answer = cli(*two, *COMMON, "--monitor", "one/cross_entropy", *out)
    assert (answer.code, "can be watched by mean, one/top1" in answer.last_error) == (1, True), answer.err
    assert not (tmp_path / "run").exists()
    answer = cli("joint", "--resume", *out)
    assert (answer.code, "nothing to resume" in answer.last_error) == (1, True)
    both = cli("predict", colours, "--heads", "a", "--checkpoint", "b")
    assert (both.code, "give one of" in both.last_error) == (2, True)
    assert cli("predict", colours, "--heads", ",").code == 2


def test_a_task_without_data_beside_one_with_data_is_refused(cli: Cli, colours: Path, tmp_path: Path) -> None:
    """It would be taught the drawn sample, which nobody meant."""
    run = tmp_path / "run"
    answer = cli("joint", "a=dogs", "b=dogs", "--data", f"a={colours}", *COMMON, "--out", run)
    assert answer.code == 2
    assert "task b has no data; give --data b=DIR" in answer.last_error
    assert not run.exists()


def test_an_epoch_has_as_many_batches_as_all_data_and_spreads_each_task_evenly() -> None:
    sizes = {"a": 6, "b": 2}
    assert batches_of(sizes, "size", {}) == sizes
    assert batches_of(sizes, "balanced", {}) == {"a": 4, "b": 4}
    assert batches_of(sizes, "weighted", {"a": 1.0, "b": 3.0}) == {"a": 2, "b": 6}
    assert batches_of({"a": 99, "b": 1}, "weighted", {"a": 1.0, "b": 1e-6}) == {"a": 100, "b": 1}
    assert spread({"a": 2, "b": 2}) == ["a", "b", "a", "b"]
    assert spread({"a": 4, "b": 1}) == ["a", "a", "b", "a", "a"]


@pytest.mark.computes
def test_a_term_is_divided_by_the_photos_of_its_task_not_by_all() -> None:
    totals = TaskAccumulator()
    totals.add(4, {"a/loss": 8.0, "loss": 8.0})
    totals.add(1, {"b/loss": 3.0, "loss": 3.0})
    assert totals.means() == {"a/loss": 2.0, "b/loss": 3.0, "loss": 11 / 5}
    again = TaskAccumulator(**totals.to_dict())
    assert again.means() == totals.means()


class Body(nn.Module):
    """Images to one map through a batch-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        return {32: self.norm(images)}


def joint_model(*, learned: bool = False, apart: bool = False) -> JointModel:
    heads = {name: Classifier(3, 2) for name in ("a", "b")}
    return JointModel(Body(), heads, weights={"a": 2.0, "b": 1.0}, learned=learned, apart=apart)


@pytest.mark.computes
def test_statistics_kept_apart_are_those_of_one_task_alone() -> None:
    model = joint_model(apart=True).train()
    for _ in range(200):
        model(torch.randn(8, 3, 4, 4) + 5, ["a"])
        model(torch.randn(8, 3, 4, 4) - 5, ["b"])
    norm = model.get_submodule("backbone.norm")
    for name, mean in (("a", 5.0), ("b", -5.0), ("a", 5.0)):
        model.switch(name)
        assert torch.allclose(torch.as_tensor(norm.running_mean), torch.full((3,), mean), atol=0.2)
    state = model.state_dict()
    again = joint_model(apart=True)
    again.load_state_dict(state)
    again.switch("b")
    assert torch.as_tensor(again.get_submodule("backbone.norm").running_mean).mean() < -4


def test_learned_weights_settle_at_one_over_twice_the_loss() -> None:
    """exp(-s) L + s / 2 is least where exp(-s) = 1 / (2 L)."""
    model = joint_model(learned=True)
    optimizer = torch.optim.SGD(model.log_variance.parameters(), lr=0.2)
    for _ in range(400):
        optimizer.zero_grad()
        terms = model.weigh("a", {"loss": torch.tensor(2.0)}) | model.weigh("b", {"loss": torch.tensor(0.1)})
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    assert model.current_weights() == pytest.approx({"a": 0.25, "b": 5.0}, rel=1e-2)
    assert joint_model().weigh("a", {"loss": torch.tensor(3.0)})["a/loss"] == 6.0


def test_a_task_named_as_pytorch_names_its_own_things_is_told() -> None:
    with pytest.raises(ValueError, match="a task cannot be called 'items' here"):
        JointModel(Body(), {"items": Classifier(3, 2)}, weights={"items": 1.0})


def test_a_task_gets_the_options_that_it_knows_and_its_own_win() -> None:
    first, second = make_tasks(
        ["a=dogs", "b=imagenet"], data={"a": Path("x"), "b": Path("y")}, share={}, weight={"b": 2.0},
        given={"a": {"smoothing": 0.3}},
    )
    common = {"smoothing": 0.2, "bn": "apart", "monitor": "mean", "task_sampling": "size"}
    assert first.settings(common) == {
        "smoothing": 0.3, "bn": "train", "data": Path("x").absolute(),
    }
    assert second.settings(common)["smoothing"] == 0.2
    assert second.weight == 2.0


def test_rows_and_tables_tell_a_task_in_its_own_names() -> None:
    row = {"epoch": 1, "train/a/x": 1.0, "train/a/y": 2.0, "train/b/x": 9.0, "val/a/top1": 0.5, "val/mean": 1}
    assert rows_of("a", [row]) == [
        {"epoch": 1, "train/x": 1.0, "train/y": 2.0, "train/loss": 3.0, "val/top1": 0.5}
    ]
    figures = compared({"a": {"metrics": {"top1": 0.75}}}, {"a": {"metrics": {"top1": 0.5, "ece": 0.1}}})
    assert figures == {"a": {"top1": [0.75, 0.5]}}
    assert table(figures, {"a": METRICS}).splitlines()[1].split() == [
        "a", "top1", "0.7500", "0.5000", "+0.2500", "better"
    ]
    worse = table({"a": {"ece": [0.2, 0.02], "top1": [0.5, 0.5]}}, {"a": METRICS}).splitlines()
    assert [line.split()[-1] for line in worse[1:]] == ["worse", "+0.0000"]
