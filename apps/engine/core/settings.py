"""Settings of an application: one frozen dataclass, checked, from which the options are made."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, get_args, get_type_hints

from apps.engine.core.device import DEVICES
from backbone.schema import LARGEST_WIDTH, short


def option(
    default: Any, help_text: str, *, low: float | None = None, high: float | None = None,
    above: float | None = None, below: float | None = None, choices: tuple[str, ...] = (), why: str = "",
) -> Any:
    """A field with the help, the range and the choices of its command-line option.

    Args:
        default: None means "chosen for you", as the help says.
        low: least value allowed; ``above`` the same without the bound itself.
        high: greatest value allowed; ``below`` the same without the bound itself.
        choices: the words allowed, for a text option.
        why: there is a greatest value, for the message.
    """
    limits = {
        "help": help_text, "low": low, "high": high, "above": above, "below": below, "choices": choices,
        "why": why,
    }
    return field(default=default, metadata=limits)


def flag_name(field_name: str) -> str:
    """``batch_size`` as it is typed: ``--batch-size``."""
    return "--" + field_name.replace("_", "-")


MOST_EPOCHS, MOST_WORKERS = 100_000, 256
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path"}
# Options of all tasks that only some can follow: why a task cannot, and what to do instead.
REFUSED = {
    "teacher": "needs class logits; leave it out",
    "sampling": "balanced needs one class a photo; leave it out",
}


@dataclass(frozen=True)
class Settings:
    """The options that the training of every task has; None is resolved before training starts.

    Attributes:
        example: what follows ``finetune NAME`` in the example below its help; empty for none.
        finer_evaluation: networks trained on random crops evaluate at a larger side, where none is given.
        refused: options that must stay as they are, each with what a message says after the flag.
        fits_head: whether ``--freeze`` without ``--epochs`` is a training; a task that brings ``fit_head``
            sets it.
    """

    example: ClassVar[str] = ""
    finer_evaluation: ClassVar[bool] = True
    refused: ClassVar[Mapping[str, str]] = REFUSED
    fits_head: ClassVar[bool] = False
    takes_folds: ClassVar[bool] = False

    data: Path | None = option(None, "folder of images, or an address; without it the drawn sample is used")
    weights: str | None = option(None, "start from weights: a path, a run's folder or a registered name")
    backbone: str = option("mobilenetv1", "mobilenetv1, or the name of any network of timm")
    freeze: bool = option(False, "train the head alone, on cached features of the frozen backbone")
    width: float | None = option(
        None, "width multiplier; default: that of the weights, else 0.25", above=0, high=LARGEST_WIDTH,
        why="wider ones do not fit into memory",
    )
    resolution: int | None = option(
        None, "side of the images in px; default: by mode, from that of the weights", low=32, high=1024
    )
    train_resolution: int | None = option(
        None, "side of the training crops in px; default: that of the weights, or --resolution",
        low=32, high=1024,
    )
    epochs: int | None = option(
        None, "passes over the training images; default: by mode", low=1, high=MOST_EPOCHS,
        why="no training lasts so long",
    )
    batch_size: int | None = option(
        None, "photos a step; default: 32, or all where there are fewer", low=1, high=65_536,
        why="they are in memory together",
    )
    min_crop: float | None = option(
        None, "least share of an image that a training crop shows; default: 0.35", above=0, high=1
    )
    lr: float | None = option(
        None, "learning rate of the head; default: 2e-4 with weights, 1e-2 from scratch", above=0
    )
    backbone_lr: float | None = option(
        None, "the backbone's rate as a share of --lr; default: 1 from scratch, 0.1 with weights", low=0
    )
    weight_decay: float | None = option(
        None, "never on depthwise filters, norms and biases; default: 0.05 decoupled (adamw), else 4e-5",
        low=0,
    )
    warmup_epochs: float | None = option(
        None, "epochs in which the rate rises linearly; default: by mode", low=0
    )
    clip_norm: float = option(1.0, "bound on the norm of the gradient", above=0)
    accumulate: int = option(1, "batches whose gradients make one update", low=1, high=65_536)
    optimizer: str = option("adamw", "adamw, sgd, rmsproptf (the paper's) or any other of timm's")
    momentum: float = option(0.9, "momentum of the optimisers that have one", low=0, high=0.9999)
    schedule: str = option("cosine", "how the rate falls", choices=("cosine", "step", "plateau", "constant"))
    step_epochs: float | None = option(
        None, "epochs between falls of --schedule step; default: a third of --epochs", above=0
    )
    step_rate: float = option(0.1, "what each fall of step and plateau leaves of the rate", above=0, high=1)
    plateau_epochs: int = option(
        3, "epochs without a better figure before --schedule plateau falls", low=1, high=MOST_EPOCHS
    )
    min_lr: float = option(0.0, "least rate, as a share of the highest", low=0, high=1)
    layer_decay: float = option(
        1.0, "rate of each layer of the backbone as a share of that of the layer above", above=0, high=1
    )
    unfreeze_every: int | None = option(
        None, "gradual unfreezing: epochs after which one more stage of the backbone learns", low=1,
        high=MOST_EPOCHS,
    )
    bn: str = option(
        "auto", "batch-norm statistics: frozen (those of the weights) or trained; auto: frozen with weights",
        choices=("auto", "frozen", "train"),
    )
    jitter: float = option(0.2, "greatest change of brightness, contrast and colour", low=0, high=1)
    randaugment: str | None = option(None, "timm's RandAugment, as in m9-mstd0.5")
    erase: float = option(0.0, "probability that a rectangle of an image is erased", low=0, high=1)
    ema: float = option(0.0, "decay of the averaged weights that are evaluated and kept", low=0, below=1)
    sampling: str = option(
        "all", "all: every image once an epoch; balanced: every class as often", choices=("all", "balanced")
    )
    monitor: str | None = option(None, "the figure that tells the best epoch; default: the application's")
    keep: str | None = option(
        None, "epoch whose weights are kept; default: best with --patience, else last",
        choices=("last", "best"),
    )
    patience: int | None = option(
        None, "end after this many epochs without a better --monitor", low=1, high=MOST_EPOCHS
    )
    teacher: str | None = option(None, "learn from the answers of this finished run, too")
    views: int = option(
        0, "with --freeze --epochs: augmented views of each image whose features are kept", low=0, high=100
    )
    cached_features: bool = option(
        True, "with --freeze --epochs: compute the features of the frozen backbone once"
    )
    precision: str = option(
        "auto", "bf16, fp32, or auto: bf16 for a backbone that learns, where it is faster here; else fp32",
        choices=("auto", "fp32", "bf16"),
    )
    fold: str | None = option(None, "evaluate on one part of all photos, as in 2/5; train on the others")
    fix: Path | None = option(None, "table that `check --fix` wrote: images to move or leave out")
    cache: Path | None = option(None, "folder for decoded images, so that each is decoded once")
    cache_gb: float = option(20.0, "bound on the size of --cache, in 10^9 bytes", above=0)
    save_every: float = option(300.0, "seconds between checkpoints; 0: one every step", low=0)
    log: str | None = option(None, "who else takes the figures: tensorboard, mlflow, wandb; with commas")
    profile: bool = option(False, "measure some steps and write where the time went")
    device: str = option(
        "auto", "where it is trained; auto: a GPU where there is one, else the processor", choices=DEVICES
    )
    compile: bool = option(False, "compile the backbone by torch.compile, for a GPU; takes minutes at first")
    export: bool = option(True, "end with model.onnx, from which the run is answered without PyTorch")
    workers: int | None = option(
        None, "processes that read images; default: by the number of cores", low=0, high=MOST_WORKERS,
        why="each is a process",
    )
    seed: int = option(0, "seed of everything random", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field_ in fields(self):
            _check_type(field_.name, getattr(self, field_.name), hints[field_.name])
        for name in ("data", "cache", "fix"):  # a run is used from other folders than the one it was made in
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(local(str(getattr(self, name)))).absolute())
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if isinstance(value, str | Path):
                object.__setattr__(self, field_.name, type(value)(local(str(value))))
            check_value(field_, getattr(self, field_.name))
            if field_.name in self.refused and getattr(self, field_.name) != field_.default:
                raise ValueError(f"{flag_name(field_.name)} {self.refused[field_.name]}")
        if self.fold is not None and not self.takes_folds:
            raise ValueError("--folds: this task draws no folds of its images; give its own splits")
        if self.freeze and self.epochs is None and not self.fits_head:
            raise ValueError("--freeze fits no head of this task at once; give --epochs, too")

    def scaled(self, recipe: Mapping[str, Any], photos: int) -> Mapping[str, Any]:
        """What is chosen where nothing is said, for as many training images: as all tasks have it.

        Args:
            recipe: of the mode, by the names of the fields.
            photos: training images.
        """
        del photos
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written into ``config.json``; paths as :func:`portable` has them."""
        return dict(shareable(asdict(self)))


def _check_type(name: str, value: Any, hint: Any) -> None:
    """Hold the type of one value, such as of a file, against that of its field.

    Raises:
        ValueError: it is of another; the message names the option.
    """
    types = get_args(hint) or (hint,)
    wanted = {*types, *((int,) if float in types else ()), *((str,) if Path in types else ())}
    if isinstance(value, tuple(wanted)) and (not isinstance(value, bool) or bool in wanted):
        return
    words = " or ".join(WORDS.get(item, str(item)) for item in types if item is not NoneType)
    raise ValueError(f"{flag_name(name)} must be {words}, got {short(value)}")


def check_value(item: Field[Any], value: Any) -> None:
    """Hold one value against the range and the choices of its field.

    Raises:
        ValueError: out of range, not finite or not among the choices; the message names the option.
    """
    limits, name = item.metadata, flag_name(item.name)
    if value is None:
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")
    if limits.get("low") is not None and value < limits["low"]:
        raise ValueError(f"{name} must be {limits['low']:g} or more, got {value}")
    if limits.get("above") is not None and value <= limits["above"]:
        raise ValueError(f"{name} must be above {limits['above']:g}, got {value}")
    if limits.get("below") is not None and value >= limits["below"]:
        raise ValueError(f"{name} must be below {limits['below']:g}, got {value}")
    if limits.get("high") is not None and value > limits["high"]:
        why = f", as {limits['why']}" if limits.get("why") else ""
        raise ValueError(f"{name} must be at most {limits['high']:g}{why}, got {short(value)}")
    if limits.get("choices") and value not in limits["choices"]:
        raise ValueError(f"{name} must be one of {', '.join(limits['choices'])}, got {value!r}")


def portable(text: str) -> str:
    """The same text with paths in the user's home folder as ``~/...``: what is shared names nobody.

    Args:
        text: a path, or a sentence with paths in it.
    """
    home = _home()
    return re.sub(rf"(?<![\w./~-]){re.escape(home)}(?=$|[^\w.-])", "~", text) if home else text


def shareable(value: Any) -> Any:
    """Plain types, with every text and path in dicts and lists as :func:`portable` has it."""
    if isinstance(value, dict):
        return {key: shareable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shareable(part) for part in value]
    return portable(str(value)) if isinstance(value, str | Path) else value


def local(text: str) -> str:
    """A path that :func:`portable` has written as one of this user's; also behind a colon."""
    home = _home()
    return re.sub(rf"(^|:)~(?=$|{re.escape(os.sep)})", lambda match: match[1] + home, text) if home else text


def _home() -> str:
    """The user's home folder; empty where there is none, or it is the root of all."""
    try:
        home = Path.home()
    except RuntimeError:
        return ""
    return "" if home == home.parent else str(home)
