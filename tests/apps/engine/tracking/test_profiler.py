"""Where the time goes, seen on a tiny real training."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from apps.engine.tracking.profiler import LayerTimes, Profiler, layer_kind
from apps.engine.tracking.timer import StageTimer
from backbone import MobileNetV1, optimize_for_training
from heads import Classifier, MultiHead

NAP = 0.01


def small_model() -> MultiHead:
    torch.manual_seed(0)
    backbone = MobileNetV1(width=0.25)
    return optimize_for_training(MultiHead(backbone, {"dogs": Classifier(backbone.channels[32], 3)}))


class Clock:
    """Time that passes when a test says so: how busy the machine is changes nothing."""

    def __init__(self) -> None:
        self.now, self.readings = 0.0, 0

    def perf_counter(self) -> float:
        self.readings += 1
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the stages."""
    ours = Clock()
    monkeypatch.setattr("apps.engine.tracking.timer.time", ours)
    return ours


class Training:
    """Epochs of a few real steps and a validation, with the stages named as the loop names them."""

    def __init__(self, model: MultiHead, sleep: Callable[[float], None] = time.sleep) -> None:
        self.model, self.timer, self.sleep = model, StageTimer(), sleep
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        self.generator = torch.Generator().manual_seed(0)
        self.naps = {"data": 0.0, "validation": 0.0}

    def batches(self, count: int) -> Any:
        for _ in range(count):
            self.sleep(self.naps["data"])
            yield torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=self.generator)

    def step(self, images: Tensor) -> None:
        timer, head = self.timer, self.model.heads["dogs"]
        with timer("float"):
            floats = images / 255
        with timer("forward"):
            output = self.model(floats)["dogs"]
        with timer("loss"):
            loss = torch.stack(list(head.loss(output, torch.arange(4) % 3).values())).sum()
        with timer("backward"):
            loss.backward()
        with timer("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad()

    def run(self, epochs: int, steps: int, profiler: Profiler | None = None) -> None:
        for _ in range(epochs):
            for images in self.timer.each("data", self.batches(steps)):
                self.step(images)
                if profiler is not None:
                    profiler.step()
            with self.timer("validation"), torch.inference_mode():
                self.sleep(self.naps["validation"])
                self.model.eval()
                self.model(torch.rand(1, 3, 32, 32, generator=self.generator))
                self.model.train()


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Training]:
    """Two epochs of ten steps: two warm up, two times three are looked at."""
    run, training = tmp_path_factory.mktemp("profiled"), Training(small_model())
    with Profiler(run, training.model, training.timer, warmup=2, plain=2, steps=3) as profiler:
        training.run(2, 10, profiler)
    return run, json.loads((run / "profile.json").read_text()), training


Profiled = tuple[Path, dict[str, Any], Training]


def test_every_step_after_the_warm_up_is_counted_but_those_looked_at(profiled: Profiled) -> None:
    """20 steps, of which 2 warm up and 2 times 3 are looked at: 12 are left; validation counts too."""
    _, found, _ = profiled
    stages = found["stages"]
    assert found["steps"] == 12
    assert {stages[name]["count"] for name in ("data", "float", "forward", "loss", "backward")} == {12}
    assert stages["validation"]["count"] == 2
    assert sum(one["share"] for one in stages.values()) == pytest.approx(1, abs=1e-4)


def test_a_slow_stage_is_the_one_that_stands_out(tmp_path: Path, clock: Clock) -> None:
    training = Training(small_model(), clock.sleep)
    training.naps |= {"data": 10 * NAP}
    with Profiler(tmp_path, training.model, training.timer, warmup=1, plain=3, steps=1) as profiler:
        training.run(1, 4, profiler)
    found = json.loads((tmp_path / "profile.json").read_text())["stages"]
    assert found["data"]["seconds"] == pytest.approx(3 * 10 * NAP)
    assert max(found, key=lambda name: found[name]["seconds"]) == "data"
    assert found["data"]["share"] == pytest.approx(1)


def test_layers_of_mobilenet_are_timed_by_kind(profiled: Profiled) -> None:
    _, found, training = profiled
    assert {kind: one["calls"] for kind, one in found["layers"].items()} == {
        "stem": 1, "depthwise, stride 1": 9, "depthwise, stride 2": 4, "pointwise": 13,
        "batch-norm": 27, "head": 1,
    }
    assert all(one["seconds"] > 0 for one in found["layers"].values())
    assert sum(one["share"] for one in found["layers"].values()) == pytest.approx(1, abs=1e-4)
    assert found["layer_steps"] == found["operator_steps"] == 3
    for module in training.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_operators_are_told_with_and_without_their_shapes_and_a_trace_is_kept(profiled: Profiled) -> None:
    run, found, _ = profiled
    norms = [one for one in found["operators"] if one["name"] == "_NormReLU6"]
    assert [one["calls"] for one in norms] == [27]
    assert any(one["shapes"][:1] == [[4, 256, 1, 1]] for one in found["operators_by_shape"])
    assert all(0 < one["share"] < 1 for one in found["operators"])
    with gzip.open(run / "trace.json.gz") as file:
        names = {one.get("name") for one in json.load(file)["traceEvents"]}
    assert "_NormReLU6" in names
    text = (run / "profile.txt").read_text()
    for words in ("wall time of 12 steps", "depthwise, stride 2", "_NormReLU6", "told apart"):
        assert words in text
    assert sorted(one.name for one in run.iterdir()) == ["profile.json", "profile.txt", "trace.json.gz"]


def test_validation_ends_a_look_and_the_next_one_follows_in_the_next_epoch(
    tmp_path: Path, clock: Clock
) -> None:
    """Validation inside of a look would be left out of the stages and mixed into the layers."""
    training = Training(small_model(), clock.sleep)
    training.naps["validation"] = 5 * NAP
    with Profiler(tmp_path, training.model, training.timer, warmup=1, plain=2, steps=3) as profiler:
        training.run(4, 4, profiler)
    found = json.loads((tmp_path / "profile.json").read_text())
    assert found["layer_steps"] == 1
    assert found["layers"]["stem"]["calls"] == 1
    assert found["operator_steps"] == 3
    assert found["stages"]["validation"]["count"] == 4
    assert found["stages"]["validation"]["seconds"] == pytest.approx(4 * 5 * NAP)


def test_a_look_that_saw_no_step_is_made_again(tmp_path: Path) -> None:
    """It begins after the last step of an epoch, so validation ends it at once."""
    training = Training(small_model())
    with Profiler(tmp_path, training.model, training.timer, warmup=1, plain=2, steps=2) as profiler:
        training.run(4, 3, profiler)
    found = json.loads((tmp_path / "profile.json").read_text())
    assert (found["layer_steps"], found["operator_steps"]) == (2, 2)
    assert found["layers"]["stem"]["calls"] == 1


def test_profiling_changes_nothing_in_the_training(profiled: Profiled) -> None:
    _, _, looked_at = profiled
    plain = Training(small_model())
    plain.run(2, 10)
    other = looked_at.model.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in plain.model.state_dict().items())


def test_a_short_training_has_its_stages_and_says_what_it_was_too_short_for(tmp_path: Path) -> None:
    training = Training(small_model())
    with Profiler(tmp_path, training.model, training.timer, warmup=1, plain=5, steps=2) as profiler:
        training.run(1, 3, profiler)
    found = json.loads((tmp_path / "profile.json").read_text())
    assert found["steps"] == found["stages"]["forward"]["count"] == 2
    assert (found["layers"], found["operators"]) == ({}, [])
    text = (tmp_path / "profile.txt").read_text()
    assert text.endswith("The training was too short for a look at operators.\n")


def test_a_training_that_breaks_off_in_a_look_leaves_no_hooks_and_what_was_seen(tmp_path: Path) -> None:
    training = Training(small_model())
    with pytest.raises(KeyboardInterrupt), Profiler(
        tmp_path, training.model, training.timer, warmup=1, plain=1, steps=9
    ) as profiler:
        training.run(1, 5, profiler)
        raise KeyboardInterrupt
    assert not any(module._forward_hooks for module in training.model.modules())
    assert json.loads((tmp_path / "profile.json").read_text())["layer_steps"] == 3


@pytest.mark.parametrize("name", ["warmup", "plain", "steps"])
def test_numbers_of_steps_start_at_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"warmup, plain and steps must be 1 or more, got"):
        Profiler(tmp_path, nn.Linear(1, 1), StageTimer(), **{name: 0})


@pytest.mark.parametrize(("name", "module", "kind"), [
    ("conv1", nn.Conv2d(3, 8, 7, stride=2), "stem"),
    ("a", nn.Conv2d(8, 8, 3, groups=8), "depthwise, stride 1"),
    ("a", nn.Conv2d(8, 8, 3, stride=2, groups=8), "depthwise, stride 2"),
    ("a", nn.Conv2d(8, 16, 1), "pointwise"),
    ("a", nn.Conv2d(8, 16, 3), "other convolution"),
    ("a", nn.Conv2d(8, 16, 3, groups=2), "other convolution"),
    ("a", nn.BatchNorm2d(8), "batch-norm"),
    ("a", nn.Linear(8, 8), "other layer"),
    ("a", nn.Sequential(nn.ReLU()), None),
    ("", nn.Linear(8, 8), None),
    ("heads.dogs", nn.Sequential(nn.Linear(8, 8)), "head"),
    ("module.heads.dogs", nn.Linear(8, 8), "head"),
    ("heads.dogs.linear", nn.Linear(8, 8), None),
    ("heads", nn.ModuleDict({"dogs": nn.Linear(8, 8)}), None),
])
def test_kinds_of_layers_are_told_apart(name: str, module: nn.Module, kind: str | None) -> None:
    assert layer_kind(name, module) == kind


def test_a_layer_that_runs_twice_counts_twice() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), relu, relu)
    with LayerTimes(model) as times:
        model(torch.rand(1, 3, 8, 8))
    assert times.calls == {"stem": 1, "other layer": 2}


def test_a_pause_is_left_out_of_the_stages_and_of_the_whole(clock: Clock) -> None:
    timer = StageTimer()
    timer.reset()
    with timer("forward"):
        clock.sleep(NAP)
    timer.pause()
    with timer("forward"):
        clock.sleep(20 * NAP)
    timer.go_on()
    shares = timer.shares()
    assert shares["forward"]["count"] == 1
    assert sum(one["seconds"] for one in shares.values()) == pytest.approx(NAP)


def test_what_is_done_with_an_item_does_not_count_as_waiting_for_it(clock: Clock) -> None:
    timer = StageTimer()
    for _ in timer.each("data", range(3)):
        clock.sleep(NAP)
    shares = timer.shares()
    assert shares["data"]["count"] == 3
    assert shares["data"]["seconds"] == 0
    assert shares["other"]["seconds"] == pytest.approx(3 * NAP)


def test_naming_a_stage_reads_the_clock_twice_and_makes_nothing(clock: Clock) -> None:
    """It is always on, seven stages a step."""
    timer = StageTimer()
    stage, before = timer("forward"), clock.readings
    for _ in range(10):
        with timer("forward") as nothing:
            assert nothing is None
    assert clock.readings - before == 20
    assert timer("forward") is stage
