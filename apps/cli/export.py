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
@click.option("--add", is_flag=True, help="with --to web: a further model of the page in --out")
@click.option(
    "--bits", type=click.Choice(["7", "8"]), default="7", show_default=True,
    help="of int8's weights in ONNX and OpenVINO; doctor MODEL says which are right here",
)
@click.option("--overwrite", is_flag=True, help="replace files of the same name")
@click.option("--opset", type=int, default=18, show_default=True, help="of ONNX's operators, 18 to 25")
def export(runs: tuple[Path, ...], **options: Any) -> None:
    """Write runs with one backbone as one model file, checked against PyTorch, with a model card.

    Where no RUN and no --weights are named, --to web takes the network that answers where none is named.
    """
    if options["to"] == "web" and not runs and options["weights"] is None:
        from apps.engine.core.console import Console
        from apps.zoo.defaults import default_weights

        options["weights"] = default_weights(options["app"] or "imagenet", Console())
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
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
    help="of this machine to serve at; 0.0.0.0: for all devices of its network",
)
@click.option(
    "--https-self-signed", "https", is_flag=True,
    help="HTTPS by a certificate made now, which browsers warn of: the camera of a phone wants it",
)
def serve(folder: Path, port: int, host: str, https: bool) -> None:
    """Show a page made by export --to web, on this machine only unless --host is given, until Ctrl-C."""
    from apps.export.page.network import addresses, check_host, is_loopback, qr_code, self_signed
    from apps.export.page.serve import server

    try:
        host = check_host(host)
    except ValueError as err:
        raise click.UsageError(str(err)) from err
    reached = addresses(host)
    context, fingerprint = self_signed([*reached, "127.0.0.1"]) if https else (None, "")
    with server(folder, port, host, context) as running:
        scheme = "https" if https else "http"
        urls = [f"{scheme}://{address}:{running.server_address[1]}/" for address in reached]
        emit({"url": urls[0], "folder": str(folder)} | ({"certificate_sha256": fingerprint} if https else {}))
        if not is_loopback(host):
            code = qr_code(urls[0])
            click.echo(code or "(pip install segno: a QR code for the phone's camera)", err=True)
            camera = "" if https else "; a phone's camera wants --https-self-signed"
            click.echo(f"warning: every device of this network can open the page{camera}", err=True)
        click.echo(f"open {' or '.join(urls)} in a browser; Ctrl-C stops", err=True)
        running.serve_forever()


COMMANDS = (export, serve)
