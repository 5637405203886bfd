"""``export`` and ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.options import APP, FOLDER, SHARE
from apps.cli.output import check_weights, emit


@click.command()
@click.argument("runs", nargs=-1, type=FOLDER, metavar="[RUN]...")
@click.option("--weights", help="pretrained weights with a head of their own, instead of runs")
@APP
@click.option(
    "--to", type=click.Choice(["onnx", "openvino", "torch", "web", "tflite", "coreml", "executorch"]),
    default="onnx", show_default=True, help="kind of file; web: a page that needs no server",
)
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True,
    help="of weights and arithmetic",
)
@click.option("--out", type=FOLDER, required=True, help="file to write; for web a folder")
@click.option(
    "--layout", type=click.Choice(["nhwc", "nchw"]), default="nhwc", show_default=True,
    help="of the uint8 RGB input",
)
@click.option("--calibrate", type=FOLDER, help="photos like yours, for the ranges of int8")
@click.option("--validate", type=FOLDER, help="labelled images, to measure the loss of accuracy")
@click.option(
    "--max-drop", type=SHARE, default=0.03, show_default=True,
    help="write nothing where accuracy falls by more",
)
@click.option(
    "--bits", type=click.Choice(["7", "8"]), default="7", show_default=True,
    help="of int8's weights in ONNX and OpenVINO; doctor MODEL says which are right here",
)
@click.option("--overwrite", is_flag=True, help="replace files of the same name")
@click.option("--opset", type=int, default=18, show_default=True, help="of ONNX's operators, 18 to 25")
def export(runs: tuple[Path, ...], **options: Any) -> None:
    """Write runs with one backbone as one model file, checked against PyTorch, with a model card."""
    if bool(runs) == (options["weights"] is not None):
        raise click.UsageError("give RUN folders, or --weights W with a classifier, not both")
    if options["app"] is not None and runs:
        raise click.UsageError("--app goes with --weights W; a run answers what it was trained for")
    if options["precision"] == "int8" and options["calibrate"] is None:
        raise click.UsageError(
            "int8 takes its ranges from photos: give --calibrate DIR with some hundred of yours"
        )
    check_weights(options["weights"], options["app"])
    from apps.export.export import export as write

    options["bits"] = int(options["bits"])
    emit(write(runs, say=lambda line: click.echo(line, err=True), **options))


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one")
def serve(folder: Path, port: int) -> None:
    """Show a page made by export --to web, on this machine only, until Ctrl-C."""
    from apps.export.page.serve import HOST, server

    with server(folder, port) as running:
        address = f"http://{HOST}:{running.server_address[1]}/"
        emit({"url": address, "folder": str(folder)})
        click.echo("open that address in a browser; Ctrl-C stops", err=True)
        running.serve_forever()


COMMANDS = (export, serve)
