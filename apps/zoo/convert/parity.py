"""Does the imported network answer as its source does?"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from apps.zoo.convert.network import Slot
from apps.zoo.convert.source import RefusedError, Source, run_directly
from backbone import MobileNetV1, Weights, load_state

TOLERANCE = 1e-3
DIRECT_IMAGES = 8
INTERPRETER = "ai_edge_litert"


@dataclass(frozen=True)
class Imported:
    """The imported network, ready to answer."""

    network: MobileNetV1
    classifier: dict[str, Tensor]

    @classmethod
    def of(cls, weights: Weights) -> Imported:
        """Build it from weights as ``load_weights`` gives them."""
        network = MobileNetV1(**weights.info.arguments, preprocessing=weights.info.preprocessing)
        load_state(network, weights)
        return cls(network.eval(), weights.classifier)

    @torch.inference_mode()
    def answer(self, images: Tensor) -> Tensor:
        """Logits, or pooled features without a classifier, of images in [0, 1]."""
        maps: dict[int, Tensor] = self.network(images)
        pooled = maps[32].mean(dim=(2, 3))
        if not self.classifier:
            return pooled
        return F.linear(pooled, self.classifier["weight"], self.classifier["bias"])


def drawn_images(resolution: int) -> Tensor:
    """Coloured blots in [0, 1], always the same: a stand-in where there are no photos."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(DIRECT_IMAGES, 3, 6, 6, generator=generator)
    return F.interpolate(coarse, size=(resolution, resolution), mode="bilinear").clamp(0, 1)


@torch.inference_mode()
def check_direct(
    source: Source, slots: tuple[Slot, ...], imported: Imported, images: Tensor
) -> dict[str, Any]:
    """Hold the network against the file's own numbers, computed layer by layer in double precision.

    Args:
        source: the file's content.
        slots: of its layers.
        imported: what was made of it.
        images: (B, 3, H, W) in [0, 1]; the first eight are used.

    Returns:
        ``{"max_difference", "images"}``; logits are compared, or pooled features without a classifier.

    Raises:
        RefusedError: they differ by more than 1e-3.
    """
    few = images[:DIRECT_IMAGES]
    strides = tuple(slot.stride for slot in slots)
    apart = [
        run_directly(source, strides, imported.network.normalise(image).double()) - imported.answer(image)
        for image in torch.split(few, 1)  # all at once, their maps in double precision would take gigabytes
    ]
    return direct_answer(source, torch.cat(apart).abs().max().item(), len(few))


def direct_answer(source: Source, difference: float, images: int) -> dict[str, Any]:
    """``{"max_difference", "images"}``.

    Raises:
        RefusedError: the difference is above 1e-3.
    """
    if not difference <= TOLERANCE:
        raise RefusedError(
            f"{source.path}: the imported network differs by {difference:.2g} from the file's own numbers, "
            f"more than {TOLERANCE:g}; nothing was written. Please report it with the file's origin"
        )
    return {"max_difference": float(f"{difference:.2g}"), "images": images}


def check_interpreter(source: Source, imported: Imported, pixels: Tensor) -> dict[str, Any] | None:
    """Run a TFLite file in its own interpreter, if that is installed, and compare the top classes.

    Args:
        source: the file's content.
        imported: what was made of it.
        pixels: (B, 3, H, W) uint8.

    Returns:
        ``{"name", "top1_agreement", "images"}``; None if it is not a TFLite file with a classifier, or
        the interpreter is not installed or cannot run the file.
    """
    if not source.kind.startswith("tflite") or not imported.classifier or not len(pixels):
        return None
    interpreter = open_interpreter(source.path)
    if interpreter is None:
        return None
    theirs = np.stack([_run(interpreter, pixel, imported) for pixel in pixels])
    ours = imported.answer(pixels.float() / 255).argmax(dim=1).numpy()
    theirs = theirs[:, theirs.shape[1] - len(imported.classifier["bias"]) :]
    same = theirs[np.arange(len(ours)), ours] == theirs.max(axis=1)  # integers tie
    return {"name": interpreter_name(), "top1_agreement": round(float(same.mean()), 4), "images": len(ours)}


def open_interpreter(path: Path, *, raw: bool = False) -> Any:
    """LiteRT with a file, on one thread and without other engines; None if it is not installed or refuses.

    Args:
        path: of the file.
        raw: keep the values of all tensors.
    """
    try:
        litert = importlib.import_module(f"{INTERPRETER}.interpreter")
        plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = litert.Interpreter(
            str(path), num_threads=1, experimental_op_resolver_type=plain,
            experimental_preserve_all_tensors=raw,
        )
        interpreter.allocate_tensors()
        interpreter.invoke()  # on nothing: some files are refused only then
    except (ImportError, ValueError, RuntimeError):
        return None
    return interpreter


def interpreter_name() -> str:
    """With its version."""
    return f"ai-edge-litert {version('ai-edge-litert')}"


def feed(interpreter: Any, pixels: Tensor, network: MobileNetV1) -> None:
    """Compute one image (3, H, W) uint8: pixels as they are for integers, else normalised."""
    wants = interpreter.get_input_details()[0]
    if wants["dtype"] == np.uint8:
        fed = pixels.numpy()
    elif wants["dtype"] == np.int8:
        fed = (pixels.to(torch.int16) - 128).to(torch.int8).numpy()
    else:
        fed = network.normalise(pixels[None].float() / 255)[0].numpy()
    interpreter.set_tensor(wants["index"], np.ascontiguousarray(fed.transpose(1, 2, 0)[None]))
    interpreter.invoke()


def _run(interpreter: Any, pixels: Tensor, imported: Imported) -> Any:
    """The interpreter's answer for one image."""
    feed(interpreter, pixels, imported.network)
    gives = interpreter.get_output_details()[0]
    return interpreter.get_tensor(gives["index"]).reshape(-1).astype(np.float64)
