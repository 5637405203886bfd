"""Answers and features are fp32 whatever the processor has; bf16 comes only where it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import Cli
from torch import Tensor, nn

from apps.engine.core import run_dir
from apps.engine.training.distillation import load_teacher
from backbone import MobileNetV1
from heads import Classifier, MultiHead


@pytest.fixture(autouse=True)
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that seems to multiply bfloat16 in hardware."""
    monkeypatch.setattr("apps.engine.core.machine.bf16_pays", lambda: True)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_an_answer_is_fp32_unless_bf16_is_asked_for(
    cli: Cli, colours: Path, colour_run: Path, command: str
) -> None:
    what = ("evaluate", "dogs", "--data", colours) if command == "evaluate" else (
        "predict", colours / "val" / "red" / "0.png"
    )

    def answer(*more: object) -> list[dict[str, Any]]:
        found = cli(*what, "--checkpoint", colour_run, "--workers", 0, *more)
        assert found.code == 0, found.err
        return [{key: line[key] for key in ("metrics", "predictions") if key in line} for line in found.lines]

    assert answer() == answer("--precision", "auto") == answer("--precision", "fp32")
    assert answer("--precision", "bf16") != answer()


def test_a_frozen_backbone_makes_its_features_in_fp32(cli: Cli, colours: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    weights = tmp_path / "w.safetensors"
    save_file(MobileNetV1(0.25).state_dict(), weights, {"padding": "same", "resolution": "32"})
    heads = []
    for number, more in enumerate([(), ("--precision", "fp32"), ("--precision", "bf16")]):
        run = tmp_path / str(number)
        common = ("--data", colours, "--weights", weights, "--resolution", 32, "--workers", 0, "--freeze")
        assert cli("finetune", "dogs", *common, *more, "--out", run).code == 0
        heads.append(load_file(run / run_dir.MODEL)["heads.dogs.linear.weight"])
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    used = run_dir.read_config(tmp_path / "0").precision
    assert (used["backbone"], used["answers"]) == ("fp32", "fp32")
    used = run_dir.read_config(tmp_path / "2").precision
    assert (used["backbone"], used["answers"], used["heads"]) == ("bf16", "bf16", "fp32")


class ImageRecord(nn.Module):
    """A head that keeps the type of what it gets and of what it computes."""

    strides = (32,)

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 3)

    def forward(self, last: Tensor) -> dict[str, Tensor]:
        return {"map": last, "product": self.linear(last.mean(dim=(2, 3)))}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_heads_get_and_compute_fp32_from_a_backbone_in_any_type(dtype: torch.dtype) -> None:
    head: Any = ImageRecord()
    backbone = MobileNetV1(0.25)
    seen: list[torch.dtype] = []
    backbone.blocks[-1].register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    model = MultiHead(backbone, {"x": head})
    model.backbone_dtype = dtype
    found = model(torch.rand(2, 3, 32, 32))["x"]
    assert seen == [dtype]
    assert found["map"].dtype == found["product"].dtype == torch.float32
    with model.in_fp32():
        model(torch.rand(2, 3, 32, 32))
    assert seen == [dtype, torch.float32] and model.backbone_dtype == dtype


def test_a_double_model_keeps_its_type() -> None:
    model = MultiHead(MobileNetV1(0.25), {"x": Classifier(256, 3)}).double()
    assert model(torch.rand(2, 3, 32, 32).double())["x"].dtype == torch.float64


def test_a_teacher_answers_in_fp32_unless_bf16_is_asked_for(colour_run: Path, colours: Path) -> None:
    classes = run_dir.read_config(colour_run).classes
    images = torch.rand(4, 3, 32, 32)
    exact = load_teacher(colour_run, classes=classes)(images)
    assert exact.dtype == torch.float32
    rough = load_teacher(colour_run, classes=classes, dtype=torch.bfloat16)(images)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    assert torch.allclose(rough, exact, atol=0.3)


def test_runs_of_earlier_versions_have_no_precision_and_are_read(colour_run: Path) -> None:
    config = run_dir.read_config(colour_run)
    values = config.to_dict()
    del values["precision"]
    assert run_dir.RunConfig.from_dict(values).precision == {}
