"""``detect`` and ``evaluate objects``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.cli.options import FOLDER, PARTS, SHARE, Seconds, check_model_file, check_suffix, parts_options
from apps.cli.output import (
    ANSWERS,
    DEVICE,
    DOCUMENTS,
    ENGINE,
    EVERY,
    LABEL_CONFIG,
    PRECISION,
    RESULTS,
    VIDEOS,
    WORKERS,
    Answers,
    check_paths,
    check_weights,
    emit,
    emit_images,
    emit_parts,
    note,
    refuse_vain,
    sampling_of,
    wants_parts,
)
from apps.engine.core.device import Compute
from apps.engine.inference.slices.tiles import LARGEST_PX, LEAST_PX, Slices

if TYPE_CHECKING:
    from PIL import Image

    from apps.objects.video.live import Live
    from datasets.file_kinds import Sampling

SLICES = click.option(
    "--slices", is_flag=True, help="look at overlapping tiles of each image, too: finds small objects, slowly"
)
SLICE_SIZE = click.option(
    "--slice-size", type=click.IntRange(LEAST_PX, LARGEST_PX), metavar="PX",
    help="side of the smallest tiles of --slices in pixels of the image  [default: what the detector sees]",
)


def _slices(asked: bool, side: int | None) -> Slices | None:
    """What --slices and --slice-size say."""
    if side is not None and not asked:
        raise click.UsageError("--slice-size is for --slices; give both")
    return Slices(side) if asked else None


@click.command("objects")
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune objects`")
@click.option("--weights", help="pretrained weights with a detector, instead of a run: a path or a name")
@click.option("--predictions", type=FOLDER, help="COCO results of any system, instead of a run; needs --data")
@click.option("--data", type=FOLDER, help="photos with boxes  [default: the run's]")
@click.option(
    "--split", type=click.Choice(["val", "train"]), default="val", show_default=True, help="which photos"
)
@click.option("--report", type=FOLDER, help="write report.html and its plots into this folder")
@click.option("--write-predictions", "results", type=FOLDER, help="COCO result file for the run's answers")
@SLICES
@SLICE_SIZE
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@click.pass_context
def evaluate_objects(
    context: click.Context, /, checkpoint: Path | None, weights: str | None, predictions: Path | None,
    slices: bool, slice_size: int | None, **rest: Any,
) -> None:
    """Evaluate a detector, or a result file of any system, by COCO's figures."""

    if [checkpoint, weights, predictions].count(None) != 2:
        raise click.UsageError("give one of --checkpoint RUN, --weights W and --predictions F")
    if checkpoint is None and rest["data"] is None:
        flag = "--weights" if predictions is None else "--predictions"
        raise click.UsageError(f"{flag} needs the photos and boxes to evaluate on; give --data DIR")
    check_suffix("--write-predictions", rest["results"], ".json")
    if predictions is not None and rest["results"] is not None:
        raise click.UsageError("--write-predictions writes the answers of a run; give --checkpoint RUN")
    if predictions is not None:
        why = "is for --checkpoint: predictions are evaluated as is"
        refuse_vain(context, ("workers", "precision", "engine", "device", "slices", "slice_size"), why)
    if slices:
        refuse_vain(context, ("workers",), "reads batches; with --slices photos are read one by one")
    rest["slices"] = _slices(slices, slice_size)
    check_weights(weights, "objects")
    from apps.engine.core.console import Console
    from apps.objects.evaluate import evaluate_detector, evaluate_predictions

    if predictions is None:
        emit(evaluate_detector(checkpoint=checkpoint, weights=weights, console=Console(), **rest))
    else:
        how = {name: rest[name] for name in ("data", "split", "report")}
        emit(evaluate_predictions(predictions, console=Console(), **how))


LINES_ALONE = ("draw", "crops", "blur", "every", "videos", "seconds", "form", "label_config", "track")


@click.command("detect")
@click.argument("paths", nargs=-1, required=True)
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune objects`")
@click.option("--weights", help="pretrained weights with a detector, instead of a run: a path or a name")
@click.option("--model", type=FOLDER, help="a file made by export, .onnx or .xml; needs no torch")
@click.option("--draw", type=FOLDER, help="folder for the images with boxes drawn; or FILE.mp4, of one video")
@click.option("--crops", type=FOLDER, help="folder for the objects, cut out, a file each")
@click.option("--blur", help="classes, with commas between, or `faces`: pixelated in --draw and --crops")
@click.option(
    "--threshold", type=SHARE, default=0.3, show_default=True, help="least score"
)
@click.option("--classes", help="the only ones reported, with commas between")
@click.option("--top", type=ANSWERS, help="objects an image  [default: all]")
@SLICES
@SLICE_SIZE
@RESULTS
@LABEL_CONFIG
@EVERY
@VIDEOS
@click.option("--track", is_flag=True, help="give each object of a video an id that stays over its frames")
@click.option("--seconds", type=Seconds(0.1), help="ends a camera or a stream  [default: Ctrl-C]")
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@parts_options
@click.pass_context
def detect(
    context: click.Context, /, paths: tuple[str, ...], checkpoint: Path | None, weights: str | None,
    model: Path | None, classes: str | None, blur: str | None, every: float | None, videos: bool,
    seconds: float | None, form: str, label_config: Path | None, slices: bool, slice_size: int | None,
    **rest: Any,
) -> None:
    """Find objects on images, on all images in folders, or on the frames of videos: one JSON line each.

    PATHS are images, videos and folders; or one camera (camera:0, /dev/video0) or stream (rtsp://, http://,
    udp://, ...), until Ctrl-C. A video that --draw writes has all frames unless --every is given. With --out,
    PATHS may be packed or far away, as for `predict`.
    """
    from apps.engine.core.run_values import run_values
    from apps.objects.detect import FACES
    from apps.objects.detect import detect as answers
    from apps.objects.video.film import is_film

    if blur is not None and not blur.strip(" ,"):
        raise click.UsageError("--blur names nothing; give classes with commas between, or `faces`")
    if blur and rest["draw"] is None and rest["crops"] is None:
        raise click.UsageError("--blur changes what --draw and --crops write; give one of them")
    named = 3 - [checkpoint, weights, model].count(None)
    if named > 1:
        raise click.UsageError("give either --checkpoint RUN, --weights W or --model FILE, or none of them")
    check_model_file(model)
    rest["slices"] = _slices(slices, slice_size)
    sampling = sampling_of(every, videos, 0.0 if is_film(rest["draw"]) else 1.0)
    scale = {name: rest.pop(name) for name in PARTS}
    many = wants_parts(context, scale, LINES_ALONE)
    live = None if many else _live(paths, sampling, seconds)
    if live is not None and form in DOCUMENTS:
        raise click.UsageError(f"--format {form} names files, and a stream leaves none; take csv or json")
    files = [] if live is not None else [Path(path) for path in paths]
    if not named:
        from apps.engine.core.console import Console
        from apps.zoo.defaults import default_weights

        if files and not many:
            check_paths(files)
        weights = default_weights("objects", Console())
    if checkpoint is not None:
        run_values(checkpoint, app="objects", weights=False)
    shown, hidden = (
        [part.strip() for part in (words or "").split(",") if part.strip()] for words in (classes, blur)
    )
    hidden = [FACES if name.lower() == FACES else name for name in hidden]
    source = str(checkpoint or weights or model)
    if many:
        from apps.objects.at_scale import detections

        workers = rest.pop("workers")
        emit_parts(context, paths, detections(source, classes=shown, **_answering(rest)), scale, workers)
        return
    known = Answers(form, Path(source).name, label_config, objects=True, tracked=rest["track"])
    faces = _face_boxes(Compute(rest["engine"], rest["device"])) if FACES in hidden else None
    emit_images(context, answers(
        files, source, classes=shown, blur=hidden, find_faces=faces, sampling=sampling, live=live, say=note,
        know=known.classes.extend, **rest,
    ), known)


def _answering(rest: dict[str, Any]) -> dict[str, Any]:
    return {name: rest[name] for name in ("threshold", "top", "engine", "device", "precision", "slices")}


def _live(paths: tuple[str, ...], sampling: Sampling, seconds: float | None) -> Live | None:
    """The camera or stream that is asked for; None for files."""
    from apps.objects.video.live import Live, is_stream

    streams = [path for path in paths if is_stream(path)]
    if streams and len(paths) > 1:
        raise click.UsageError("a camera or a stream is answered alone; give one, and nothing beside it")
    if not streams and seconds is not None:
        raise click.UsageError("--seconds ends a camera or a stream; leave it out for files")
    return Live(streams[0], sampling.every, seconds, note) if streams else None


def _face_boxes(compute: Compute) -> Callable[[Image.Image], Sequence[Sequence[float]]]:
    """The boxes of the faces of an image, by the detector of `embed-faces`."""
    from apps.faces.detection.detector import DetectionError, Detector

    detector = Detector(compute=compute)

    def boxes(image: Image.Image) -> list[tuple[float, float, float, float]]:
        try:
            return [face.box for face in detector.detect(image)]
        except DetectionError as err:
            raise ValueError(str(err)) from err

    return boxes
