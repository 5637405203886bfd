"""Weights in what trainings leave behind: timm's checkpoints, compiled, distributed and averaged networks."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import Tensor, nn

from backbone import load_weights

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    made: nn.Module = timm.create_model("mobilenetv1_100", num_classes=3)
    return made


def shifted(network: nn.Module) -> State:
    return {key: value + 1 for key, value in network.state_dict().items()}


def same(path: Path, state: State) -> bool:
    """Whether a file gives the network and the classifier of a state."""
    weights = load_weights(path)
    assert weights.state.keys() == {key for key in state if not key.startswith("classifier")}
    assert all(torch.equal(weights.state[key], state[key]) for key in weights.state)
    return torch.equal(weights.classifier["weight"], state["classifier.weight"])


def test_timms_own_checkpoint_gives_its_averaged_weights(
    tmp_path: Path, network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    args = argparse.Namespace(
        model="mobilenetv1_100", input_size=(3, 192, 192), output=tmp_path, lr=np.float64(0.1)
    )
    averaged = ModelEmaV3(network)
    for value in averaged.module.state_dict().values():
        value.add_(1)
    saver = CheckpointSaver(
        network,
        torch.optim.SGD(network.parameters(), 0.1),
        args=args,
        model_ema=averaged,
        checkpoint_dir=str(tmp_path),
        recovery_dir=str(tmp_path),
        amp_scaler=None,
    )
    saver.save_checkpoint(3, metric=np.float64(71.5))
    with caplog.at_level(logging.WARNING, "backbone"):
        assert same(tmp_path / "checkpoint-3.pth.tar", averaged.module.state_dict())
    assert "holds averaged weights beside the last ones: the averaged ones are taken" in caplog.text


WRAPPED: dict[str, Callable[[State], Any]] = {
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "compiled, distributed": lambda state: {f"module._orig_mod.{key}": v for key, v in state.items()},
    "distributed, compiled": lambda state: {f"_orig_mod.module.{key}": v for key, v in state.items()},
    "trainer": lambda state: {"model_state_dict": {f"model.{key}": value for key, value in state.items()}},
    "lightning": lambda state: {
        "epoch": 3,
        "state_dict": {
            **{f"model._orig_mod.{key}": value for key, value in state.items()},
            "criterion.weight": torch.ones(3),
        },
    },
    "lightning with an average": lambda state: {
        "state_dict": {
            **{f"model.{key}": value - 1 for key, value in state.items()},
            **{f"ema_model.module.{key}": value for key, value in state.items()},
        }
    },
    "averaged by torch": lambda state: (
        {"n_averaged": torch.tensor(3)} | {f"module.{key}": value for key, value in state.items()}
    ),
    "with options": lambda state: {
        "model": state,
        "args": argparse.Namespace(data=Path("/data"), best=np.float32(0.5)),
        "best": np.int64(3),
    },
    "averages alone": lambda state: {"state_dict": {}, "ema_state_dict": state},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_network_is_found_inside_whatever_wrapped_it(
    name: str, tmp_path: Path, network: nn.Module
) -> None:
    state = shifted(network)
    content = WRAPPED[name](state)
    torch.save(content, tmp_path / "a.pt")
    assert same(tmp_path / "a.pt", state)
    if all(isinstance(value, Tensor) for value in content.values()):
        save_file({key: value.contiguous() for key, value in content.items()}, tmp_path / "a.safetensors")
        assert same(tmp_path / "a.safetensors", state)


class Runs:
    """What must never be unpacked."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code has run",))


def test_a_checkpoint_that_wants_to_run_code_is_still_refused(
    tmp_path: Path, network: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(
        {"state_dict": network.state_dict(), "args": argparse.Namespace(hook=Runs())}, tmp_path / "a.pt"
    )
    with pytest.raises(ValueError, match="wants to run code"):
        load_weights(tmp_path / "a.pt")
    assert capsys.readouterr().out == ""
