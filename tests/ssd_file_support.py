"""SSD networks that look trained, and TFLite files of them as TensorFlow exports them; for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite
import torch
from flatbuffers import flexbuffers
from importing_support import State, folded, trained
from tflite_writer import OPS, Graph
from torch import Tensor, nn

from apps.engine.core.console import Console
from apps.zoo.convert.importer import ImportOptions, import_weights
from backbone import MobileNetV1
from heads import SSD

SIZE, WIDTH, COLUMNS = 96, 0.25, 6  # columns: background, three classes, two that no class has
LABELS = ["???", "cat", "dog", "???", "owl", "???"]
MAPS = (22, 26, 28, 30, 32, 34)
SCALES = {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
POST_PROCESS = "TFLite_Detection_PostProcess"


@dataclass
class Network:
    """A backbone and a head that were never in a file."""

    state: State
    backbone: MobileNetV1
    head: SSD

    @torch.inference_mode()
    def answer(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(images)
        output: dict[str, Tensor] = self.head(maps[16], maps[32])
        return output


def network() -> Network:
    """As TensorFlow's SSD, small, with batch-norm as if it had learned."""
    state = trained(WIDTH)
    backbone = MobileNetV1(WIDTH).eval()
    backbone.load_state_dict({k: v for k, v in state.items() if "classifier" not in k}, strict=False)
    torch.manual_seed(5)
    head = SSD(
        [backbone.channels[16], backbone.channels[32]], COLUMNS - 1, size=SIZE, width=WIDTH, padding="same",
        anchors="tensorflow", score_converter="sigmoid",
    ).eval()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.5, 0.3)
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    for layer in head.classification:
        nn.init.normal_(layer.bias, 0, 1)
    return Network(state, backbone, head)


def write_ssd(path: Path, made: Network, *, end: str | None = None, anchors: Any = None, **how: Any) -> Path:
    """A float file.

    Args:
        path: of the file.
        made: what it holds.
        end: name of the operator behind the outputs; None leaves boxes and scores raw.
        anchors: (A, 4), y, x, h, w; None for the head's.
        how: ``maps``, the layers that have predictors; ``scales``, of the post-processing; ``score``, the
            operator behind the scores.
    """
    g, size = Graph(), SIZE
    x = g.tensor("input", (1, size, size, 3))
    outputs = []
    for number, (weight, bias, stride) in enumerate([*folded(made.state), *_added(made.head)]):
        size = -(-size // stride)
        depthwise = weight.shape[1] == 1 and number > 0
        x = _convolution(g, x, f"conv{number}", weight, bias, size, stride=stride, depthwise=depthwise)
        outputs.append((x, size))
    ends = []
    for name, layers, last in (("boxes", made.head.box_regression, 4),
                               ("scores", made.head.classification, COLUMNS)):  # fmt: skip
        parts = []
        for at, layer in zip(how.get("maps", MAPS), layers, strict=True):
            x, size = outputs[at]
            weight, bias = layer.weight.detach(), layer.bias.detach()  # type: ignore[operator]
            if name == "boxes":  # TensorFlow's order: y, x, h, w
                order = torch.arange(len(bias)).view(-1, 4)[:, [1, 0, 3, 2]].flatten()
                weight, bias = weight[order], bias[order]
            out = _convolution(g, x, f"{name}{at}", weight.numpy(), bias.numpy(), size, activation=0)
            shape = (1, size * size * len(bias) // last, last)
            new = g.tensor(f"{name}{at}/shape", (3,), "i4", data=np.array(shape, "<i4"))
            parts.append(g.operator(
                OPS.RESHAPE, [out, new], g.tensor(f"{name}{at}/flat", shape), ("ReshapeOptions", {})
            ))
        total = sum(g.tensors[part].shape[1] for part in parts)
        joined = g.tensor(name, (1, total, last))
        ends.append(g.operator(OPS.CONCATENATION, parts, joined, ("ConcatenationOptions", {"Axis": 1})))
    score = how.get("score", OPS.LOGISTIC)
    out = g.tensor("chances", g.tensors[ends[1]].shape)
    options = ("SoftmaxOptions", {"Beta": 1.0}) if score == OPS.SOFTMAX else None
    ends[1] = g.operator(score, [ends[1]], out, options)
    g.outputs = ends
    if end is not None:
        stored = centred(made.head) if anchors is None else anchors
        ends.append(g.tensor("anchors", stored.shape, data=np.asarray(stored, "<f4")))
        said = {
            "max_detections": 10, "max_classes_per_detection": 1, "nms_iou_threshold": 0.5,
            "nms_score_threshold": 0.0, "num_classes": COLUMNS - 1, **how.get("scales", SCALES),
        }
        g.outputs = [g.tensor(f"out{n}", ()) for n in range(4)]
        g.custom(end, ends, g.outputs, bytes(flexbuffers.Dumps(said)))
    g.write(path)
    return path


def _added(head: SSD) -> list[tuple[Any, Any, int]]:
    """The folded convolutions that the head adds."""
    layers = []
    for extra in head.extras:
        for at in (0, 3):
            conv, norm = extra[at], extra[at + 1]  # type: ignore[index]
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight = (conv.weight * gain.view(-1, 1, 1, 1)).detach().numpy()
            layers.append((weight, (norm.bias - norm.running_mean * gain).detach().numpy(), conv.stride[0]))
    return layers


def _convolution(
    g: Graph, x: int, name: str, weight: Any, bias: Any, size: int, *, stride: int = 1,
    depthwise: bool = False, activation: int = tflite.ActivationFunctionType.RELU6,
) -> int:
    laid = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
    w = g.tensor(f"{name}/weights", laid.shape, data=np.ascontiguousarray(laid, "<f4"))
    b = g.tensor(f"{name}/bias", bias.shape, data=bias.astype("<f4"))
    fields = {"StrideW": stride, "StrideH": stride, "FusedActivationFunction": activation,
              "DilationWFactor": 1, "DilationHFactor": 1, "Padding": tflite.Padding.SAME}  # fmt: skip
    out = g.tensor(name, (1, size, size, len(weight)))
    if depthwise:
        return g.operator(OPS.DEPTHWISE_CONV_2D, [x, w, b], out,
                          ("DepthwiseConv2DOptions", fields | {"DepthMultiplier": 1}))  # fmt: skip
    return g.operator(OPS.CONV_2D, [x, w, b], out, ("Conv2DOptions", fields))


def centred(head: SSD) -> Any:
    """The default boxes as TensorFlow stores them: y, x, h, w as shares of the side."""
    boxes = head.default_boxes() / head.size
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return torch.cat([centres.flip(1), sides.flip(1)], 1).numpy()


def import_small_ssd(folder: Path) -> Path:
    """Weights of a small SSD of cat, dog and owl, imported from its file."""
    (folder / "labelmap.txt").write_text("\n".join(LABELS))
    file = write_ssd(folder / "ssd.tflite", network())
    import_weights(file, folder / "small.safetensors", ImportOptions(), Console(quiet=True))
    return folder / "small.safetensors"
