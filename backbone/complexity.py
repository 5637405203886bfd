"""What a network costs: mult-adds and parameters by layer, by kind and in total."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

CONVENTION = (
    "A mult-add is one multiplication with its addition, of convolutions and linear layers, for one image; "
    "batch-norm is folded, and biases, pooling, activations and products of activations are not counted. "
    "Parameters are all that are learnt, batch-norm's scale and shift and the biases among them."
)
BATCH_NORM, LINEAR, OTHER = "batch-norm", "fully connected", "other"


@dataclass(frozen=True)
class Layer:
    """A module that holds parameters itself, over all its runs.

    Args:
        name: dotted, as in ``named_modules``.
        kind: ``conv 1x1``, ``conv dw 3x3``, ``conv 3x3``, ``fully connected``, ``batch-norm``, ``other``.
        mult_adds: of all its runs, for one image.
        parameters: all of the module's own; those shared with an earlier layer are counted there.
        weights: those that multiply: the parameters without biases and batch-norm.
        output: shape of the last run's output, the batch first; empty for a module that did not run.
        runs: how often the network calls it on one image.
    """

    name: str
    kind: str
    mult_adds: int
    parameters: int
    weights: int
    output: tuple[int, ...]
    runs: int


@dataclass(frozen=True)
class Share:
    """What the layers of one kind cost together; fields as in :class:`Layer`."""

    mult_adds: int = 0
    parameters: int = 0
    weights: int = 0


@dataclass(frozen=True)
class Cost:
    """What a network costs on one image: its layers in the order in which they run."""

    layers: tuple[Layer, ...]

    @property
    def mult_adds(self) -> int:
        """Of all layers together."""
        return sum(layer.mult_adds for layer in self.layers)

    @property
    def parameters(self) -> int:
        """All that are learnt, also of layers that do not run."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def weights(self) -> int:
        """The parameters of convolutions and linear layers without their biases, as Table 2 has them."""
        return sum(layer.weights for layer in self.layers)

    @property
    def unused(self) -> tuple[str, ...]:
        """Convolutions and linear layers that the network holds but did not call."""
        return tuple(layer.name for layer in self.layers if layer.weights and not layer.runs)

    def kinds(self) -> dict[str, Share]:
        """The cost of each kind of layer, dearest first."""
        names = dict.fromkeys(layer.kind for layer in self.layers)
        shares = {name: self._share(name) for name in names}
        return dict(sorted(shares.items(), key=lambda item: (-item[1].mult_adds, -item[1].parameters)))

    def _share(self, kind: str) -> Share:
        layers = [layer for layer in self.layers if layer.kind == kind]
        return Share(*(sum(getattr(layer, name) for layer in layers) for name in Share.__dataclass_fields__))


def cost(model: nn.Module, image_size: int | tuple[int, int]) -> Cost:
    """Count a network by letting it run once on an image without content.

    It runs on the meta device, where shapes are worked out and nothing is computed; a network that
    cannot do so runs for real on the device it is on. The model stays as it was.

    Args:
        model: any module from images to something; counted as in evaluation.
        image_size: side in pixels, or (height, width); what the network takes.

    Returns:
        Mult-adds and parameters by :data:`CONVENTION`; a module that runs twice is counted twice.

    Raises:
        ValueError: the size is not above 0, or the network refuses it.

    Source: Howard et al. 2017, section 3.1, equations 2 to 5.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < 1:
        raise ValueError(f"an image has 1 pixel or more on each side, got {height} x {width}")
    with _eval_mode(model), torch.no_grad():
        try:
            runs = _observe(model, lambda: _run_on_meta(model, height, width))
        except (RuntimeError, AssertionError):
            runs = _observe(model, lambda: _run_for_real(model, height, width))
    return Cost(tuple(_layers(model, runs)))


@dataclass
class _Runs:
    """What a module's hook has seen."""

    count: int = 0
    mult_adds: int = 0
    output: tuple[int, ...] = field(default=())


def _observe(model: nn.Module, run: Callable[[], Any]) -> dict[nn.Module, _Runs]:
    """What each module with parameters did during ``run``, in order of first use."""
    seen: dict[nn.Module, _Runs] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        runs = seen.setdefault(module, _Runs())
        runs.count += 1
        if isinstance(output, Tensor):
            runs.output = tuple(output.shape)
            runs.mult_adds += _mult_adds(module, inputs[0] if inputs else output, output)

    hooks = [module.register_forward_hook(note) for module in model.modules() if _has_parameters(module)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _mult_adds(module: nn.Module, given: Tensor, output: Tensor) -> int:
    """Multiplications of one run of a layer."""
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, _ConvTransposeNd):
        return given.numel() * (module.out_channels // module.groups) * prod(module.kernel_size)
    if isinstance(module, _ConvNd):
        return output.numel() * (module.in_channels // module.groups) * prod(module.kernel_size)
    return 0


def _run_on_meta(model: nn.Module, height: int, width: int) -> None:
    """Shapes only: parameters and buffers are replaced for this one call."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    hollow = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    image = torch.empty(1, 3, height, width, device="meta", dtype=_dtype(model))
    functional_call(model, hollow, (image,))


def _run_for_real(model: nn.Module, height: int, width: int) -> None:
    first = next(model.parameters(), torch.empty(0))
    try:
        model(torch.zeros(1, 3, height, width, device=first.device, dtype=_dtype(model)))
    except (RuntimeError, AssertionError) as err:
        raise ValueError(f"the network does not run on {height} x {width} pixels: {err}") from err


def _has_parameters(module: nn.Module) -> bool:
    """Whether a module holds parameters itself."""
    return any(True for _ in module.parameters(recurse=False))


def _dtype(model: nn.Module) -> torch.dtype:
    return next((parameter.dtype for parameter in model.parameters()), torch.float32)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _layers(model: nn.Module, seen: dict[nn.Module, _Runs]) -> Iterator[Layer]:
    """A layer for each module that holds parameters: those that ran, in order, then the others."""
    names = {module: name for name, module in model.named_modules() if _has_parameters(module)}
    counted: set[int] = set()
    for module in (*seen, *(module for module in names if module not in seen)):
        parameters = {
            key: value for key, value in module.named_parameters(recurse=False)
            if id(value) not in counted
        }
        counted.update(id(value) for value in parameters.values())
        multiplies = isinstance(module, nn.Linear | _ConvNd)
        runs = seen.get(module, _Runs())
        yield Layer(
            names[module], kind_of(module), runs.mult_adds,
            sum(value.numel() for value in parameters.values()),
            sum(value.numel() for key, value in parameters.items() if multiplies and key == "weight"),
            runs.output, runs.count,
        )


def kind_of(module: nn.Module) -> str:
    """The kind of a layer in the words of the paper's Table 2."""
    if isinstance(module, nn.Linear):
        return LINEAR
    if isinstance(module, _BatchNorm):
        return BATCH_NORM
    if not isinstance(module, _ConvNd):
        return OTHER
    size = "x".join(str(side) for side in module.kernel_size)
    if isinstance(module, _ConvTransposeNd):
        return f"conv transposed {size}"
    if module.groups == 1:
        return f"conv {size}"
    return f"conv dw {size}" if module.groups == module.in_channels else f"conv grouped {size}"
