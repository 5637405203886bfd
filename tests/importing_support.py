"""Networks that look trained, and files of them as others write them; for tests of the importer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from tflite_writer import Folded, write_mobilenet
from torch import Tensor, nn

from backbone import MobileNetV1

SIZE = 64
State = dict[str, Tensor]


def trained(width: float = 0.25, *, classes: int = 1000, eps: float = 1e-5, padding: Any = "same") -> State:
    """A network whose batch-norm is as if it had learned: nothing in it is an identity."""
    torch.manual_seed(3)
    network = MobileNetV1(width, eps=eps, padding=padding)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.5, 0.3)
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    channels = network.channels[32]
    state = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    return state | {
        "classifier.weight": torch.randn(classes, channels) / 4, "classifier.bias": torch.randn(classes),
    }


def answer(state: State, images: Tensor, width: float = 0.25, **arguments: Any) -> Tensor:
    """What the network itself says, before any export."""
    network = MobileNetV1(width, **arguments).eval()
    network.load_state_dict({k: v for k, v in state.items() if "classifier" not in k}, strict=False)
    with torch.inference_mode():
        pooled = network(images)[32].mean(dim=(2, 3))
        return F.linear(pooled, state["classifier.weight"], state["classifier.bias"])


def pairs() -> list[tuple[str, str, int]]:
    """(convolution, batch-norm, stride), from the image to the last map."""
    strides = {"blocks.1.0", "blocks.2.0", "blocks.3.0", "blocks.4.0"}
    found = [("conv_stem", "bn1", 2)]
    for stage, count in enumerate((1, 2, 2, 6, 2)):
        for block in range(count):
            name = f"blocks.{stage}.{block}"
            found.append((f"{name}.conv_dw", f"{name}.bn1", 2 if name in strides else 1))
            found.append((f"{name}.conv_pw", f"{name}.bn2", 1))
    return found


def folded(state: State, eps: float = 1e-5) -> Folded:
    """Batch-norm multiplied into the weights, as TensorFlow's converter does."""
    layers: Folded = []
    for conv, norm, stride in pairs():
        gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + eps).sqrt()
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain
        layers.append(((state[f"{conv}.weight"] * gain.view(-1, 1, 1, 1)).numpy(), bias.numpy(), stride))
    return layers


def with_background(state: State) -> tuple[Any, Any]:
    """1001 classes, the first of which no photo is of."""
    weight, bias = state["classifier.weight"].numpy(), state["classifier.bias"].numpy()
    return np.concatenate([weight[:1] * 0 + 9, weight]), np.concatenate([[99.0], bias]).astype(np.float32)


def write_float(path: Path, state: State, **how: Any) -> Path:
    write_mobilenet(path, folded(state), with_background(state), resolution=SIZE, **how)
    return path


def write_keras(path: Path, state: State, *, top: bool = True, whole_model: bool = False) -> Path:
    """As Keras 2 saves: groups named by layer, ``weight_names``, datasets below a second name."""
    layers: dict[str, dict[str, Any]] = {"input_1": {}, "conv1_relu": {}}
    names = ["conv1"] + [f"conv_{kind}_{n}" for n in range(1, 14) for kind in ("dw", "pw")]
    for name, (conv, norm, _) in zip(names, pairs(), strict=True):
        weight = state[f"{conv}.weight"].numpy()
        depthwise = "dw" in name
        laid = weight.transpose(2, 3, 0, 1) if depthwise else weight.transpose(2, 3, 1, 0)
        layers[name] = {"depthwise_kernel" if depthwise else "kernel": laid}
        keys = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
                "moving_variance": "running_var"}  # fmt: skip
        layers[f"{name}_bn"] = {theirs: state[f"{norm}.{ours}"].numpy() for theirs, ours in keys.items()}
    if top:
        kernel = state["classifier.weight"].numpy().T[None, None]
        layers["conv_preds"] = {"kernel": kernel, "bias": state["classifier.bias"].numpy()}
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole_model else file
        root.attrs["layer_names"] = [name.encode() for name in layers]
        root.attrs["backend"], root.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for name, variables in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in variables]
            for key, value in variables.items():
                group.create_dataset(f"{name}/{key}:0", data=value)
    return path
