"""``weights``: published weights listed, fetched and imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER
from apps.cli.output import emit


@click.group()
def weights() -> None:
    """Published MobileNetV1 weights: list them, fetch them, import files of them."""


def _calibration(command: Any) -> Any:
    """The options of everything that imports."""
    few = click.option(
        "--calibrate-photos", "photos", type=click.IntRange(2), default=512, show_default=True,
        help="photos to measure on at most, spread evenly over the folder",
    )
    folder = click.option(
        "--calibrate", type=FOLDER, metavar="DIR",
        help="measure batch-norm, which the file has folded away, on the images in this folder",
    )
    return folder(few(command))


@weights.command("import")
@click.argument("file", type=FOLDER)
@click.option("--out", type=FOLDER, help="file to write  [default: FILE's name with .safetensors, here]")
@_calibration
@click.option("--width", type=click.FloatRange(0, min_open=True), help="the width that it must have")
@click.option("--resolution", type=click.IntRange(32), help="pixels, where the file does not tell")
@click.option(
    "--input", type=click.Choice(["half", "imagenet", "caffe"]),
    help="how its input is normalised: (x-0.5)/0.5, torchvision's mean and deviation, or BGR less mean",
)
@click.option("--padding", type=click.Choice(["same", "symmetric"]), help="as TensorFlow or as PyTorch pads")
@click.option("--source", help="where the file comes from, for the metadata")
@click.option("--licence", help="of the weights, as an SPDX name, for the metadata")
def import_command(file: Path, out: Path | None, **value: Any) -> None:
    """Read a TFLite, Keras .h5 or PyTorch file of MobileNetV1 into a safetensors file of this project.

    The result is checked against the file's own numbers, and against TensorFlow Lite's interpreter where
    ai-edge-litert is installed.
    """
    from apps.engine.core.console import Console
    from apps.zoo.convert.importer import ImportOptions, import_weights

    to = out or Path(f"{file.stem}.safetensors")
    emit(import_weights(file, to, ImportOptions(**value), Console()))


@weights.command("list")
def list_command() -> None:
    """All registered weights, one JSON line each."""
    from apps.zoo.weights import list_weights

    for line in list_weights():
        emit(line)


@weights.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Everything known about one set of weights: address, sum, licence, accuracy, preprocessing."""
    from apps.zoo.weights import show_weights

    emit(show_weights(name))


@weights.command("fetch")
@click.argument("name")
@click.option("--to", type=FOLDER, required=True, help="folder to put NAME.safetensors into")
@click.option("--base-url", help="fetch from a mirror instead of the official place")
@_calibration
def fetch_command(name: str, to: Path, base_url: str | None, calibrate: Path | None, photos: int) -> None:
    """Download registered weights, check and import them; go on where a download broke off."""
    from apps.engine.core.console import Console
    from apps.zoo.convert.importer import ImportOptions
    from apps.zoo.weights import fetch_weights

    console, options = Console(), ImportOptions(calibrate=calibrate, photos=photos)
    with console.downloads() as update:
        emit(fetch_weights(
            name, to, base_url=base_url, options=options, console=console, on_progress=update
        ))
