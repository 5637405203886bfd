"""What is refused changes no file: refused commands over existing outputs, the whole folder byte by byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from faces_support import embed, write_face_weights
from safetensors.torch import load_file, save_file
from support import COLOURS, Cli, save_colour
from torch import Tensor
from torchvision.io import read_image
from torchvision.transforms.v2.functional import resize

from apps.engine.core.files import sha256_of
from apps.engine.core.model import load_run

Files = dict[str, bytes]

REFUSED: dict[str, tuple[int, str]] = {
    # faces
    "enroll a photo that broke": (1, "enroll Ada {d}/crops/broken.png --gallery {d}/faces.parquet"),
    "enroll nobody": (1, "enroll Ada {d}/nowhere.png --gallery {d}/faces.parquet"),
    "enroll by another model": (
        1, "enroll Ada {d}/crops/a.png --gallery {d}/faces.parquet --weights {d}/other.safetensors"
    ),
    "embed a photo that broke": (
        1, "embed-faces {d}/crops/broken.png --out {d}/faces.parquet --weights {d}/tiny.safetensors "
        "--align none"
    ),
    "embed by another model": (
        1, "embed-faces {d}/crops --out {d}/faces.parquet --weights {d}/other.safetensors --align none"
    ),
    "embed nothing": (
        1, "embed-faces {d}/nowhere --out {d}/faces.parquet --weights {d}/tiny.safetensors --align none"
    ),
    "embed over what is no table": (
        1, "embed-faces {d}/crops --out {d}/out/junk.parquet --weights {d}/tiny.safetensors --align none"
    ),
    "embed over a page": (
        2, "embed-faces {d}/crops --out {d}/out/map.html --weights {d}/tiny.safetensors --align none"
    ),
    "cluster at no cosine": (1, "cluster-faces {d}/faces.parquet --out {d}/out --threshold 2"),
    "cluster at an unknown rate": (1, "cluster-faces {d}/faces.parquet --out {d}/out --far 0.5"),
    "cluster what is no table": (1, "cluster-faces {d}/out/cells.csv --out {d}/out --threshold 0.5"),
    # places
    "cells of no positions": (
        1, "cells build {d}/out/junk.csv --t-max 9 --t-min 0 --out {d}/out/cells.csv"
    ),
    "cells of a format": (1, "cells convert {d}/out/cells.csv --out {d}/out/map.html"),
    "cells of no cells": (1, "cells convert {d}/out/junk.csv --out {d}/out/cells.csv"),
    "locate by another application": (
        1, "locate {d}/crops/a.png --checkpoint {d}/run --map {d}/out/map.html"
    ),
    "judge no predictions of places": (
        1, "evaluate places --predictions {d}/out/junk.csv --report {d}/out"
    ),
    # objects
    "detect by another application": (1, "detect {d}/crops/a.png --checkpoint {d}/run --draw {d}/out"),
    "judge no results of objects": (
        1, "evaluate objects --predictions {d}/out/junk.csv --data {d}/crops --report {d}/out"
    ),
    "judge objects by another run": (
        1, "evaluate objects --checkpoint {d}/run --report {d}/out --write-predictions {d}/out/found.json"
    ),
    # attributes
    "judge no table of attributes": (
        1, "evaluate attributes --predictions {d}/out/junk.csv --data {d}/crops --report {d}/out"
    ),
    # one class a photo
    "judge without photos": (
        1, "evaluate dogs --checkpoint {d}/run --data {d}/nowhere --report {d}/out"
    ),
    "judge a broken run": (1, "evaluate dogs --checkpoint {d}/out --report {d}/out"),
    "train over a run": (1, "finetune dogs --data {colours} --out {d}/run"),
    "train without photos over a failed run": (
        1, "finetune dogs --data {d}/nowhere --resolution 32 --out {d}/failed"
    ),
    "go on with another rate": (1, "finetune dogs --resume --lr 0.7 --out {d}/begun"),
    "go on with other photos": (1, "finetune dogs --resume --data {d}/crops --out {d}/begun"),
    "go on with nothing": (1, "finetune dogs --resume --out {d}/out"),
    "rate of no photos": (1, "finetune dogs --find-lr --data {d}/nowhere --out {d}/out"),
    "joint over a run": (
        1, "joint a=dogs b=dogs --data a={colours} --data b={colours} --resolution 32 --out {d}/run"
    ),
    "joint without photos": (
        1, "joint a=dogs b=dogs --data a={colours} --data b={d}/nowhere --resolution 32 --out {d}/out"
    ),
    "joint without photos, the heads alone": (
        1, "joint a=dogs b=dogs --data a={d}/nowhere --data b={colours} --resolution 32 "
        "--weights {d}/run --freeze --out {d}/out"
    ),
    # files of models
    "export of no run": (1, "export {d}/nowhere --out {d}/out/model.onnx"),
    "export of old operators": (1, "export {d}/run --opset 3 --out {d}/out/model.onnx"),
    "export that cannot be validated": (
        1, "export {d}/run --precision int8 --calibrate {colours}/val --validate {d}/nowhere "
        "--out {d}/out/model.onnx"
    ),
    "export that loses too much": (
        1, "export {d}/coarse --precision int8 --calibrate {colours}/val --validate {colours} "
        "--out {d}/out/model.onnx"
    ),
    "import of no weights": (1, "weights import {d}/out/junk.csv --out {d}/tiny.safetensors"),
    "import of another width": (
        1, "weights import {d}/other.safetensors --width 0.75 --out {d}/tiny.safetensors"
    ),
    "import over itself": (1, "weights import {d}/tiny.safetensors --out {d}/tiny.safetensors"),
    "fetch of no weights": (1, "weights fetch nosuch --to {d}"),
    "fetch of no data": (1, "fetch nosuch --root {d}/out"),
}


def files(folder: Path) -> Files:
    """Every file below a folder, hidden ones included, and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_close_logits(run: Path, colours: Path, out: Path) -> None:
    """A copy of a run whose logits are right and 1000 all: eight bits hold the 1000 alone, floats all of it.

    The head is that of the nearest mean of the colours. In eight bits every image is of the same class, on
    any processor: the greatest logit is the greatest number that there is, and the others round to it.
    """
    shutil.copytree(run, out)
    _, model, config = load_run(run)
    images = [
        read_image(str(colours / "val" / name / f"{number}.png"))
        for name in config.classes for number in range(4)
    ]
    features: list[Tensor] = []
    linear = model.heads["dogs"].linear
    linear.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    with torch.inference_mode():
        model.eval()(resize(torch.stack(images), [32, 32], antialias=True))
    means = features[0].double().unflatten(0, (-1, 4)).mean(1)
    centred = means - means.mean(0)
    scale = 1 / torch.cdist(means, means).square().max()  # so that logits differ by half at most
    bias = -scale * (centred * (means + means.mean(0))).sum(1) / 2
    state = load_file(out / "model.safetensors")
    state["heads.dogs.linear.weight"], state["heads.dogs.linear.bias"] = (
        (scale * centred).float(), (bias + 1000).float()
    )
    save_file(state, out / "model.safetensors")
    described = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(
        described | {"model_sha256": sha256_of(out / "model.safetensors")}
    ))


@pytest.fixture(scope="module")
def outputs(
    cli: Cli, colours: Path, colour_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with outputs of every kind: tables, runs, reports, models, weights."""
    root = tmp_path_factory.mktemp("outputs")
    write_face_weights(root / "tiny.safetensors")
    write_face_weights(root / "other.safetensors", seed=1)
    for name in ("a", "b", "broken"):
        save_colour(root / "crops" / f"{name}.png", COLOURS["red"])
    embed(cli, root / "tiny.safetensors", root / "faces.parquet", root / "crops")
    (root / "crops" / "broken.png").write_bytes(b"it was whole when it was embedded")
    out = root / "out"
    out.mkdir()
    (out / "junk.csv").write_text("nothing,of,use\n1,2,3\n")
    for name in ("report.html", "index.html", "clusters.jsonl", "map.html", "lr.json", "model.onnx",
                 "junk.parquet", "model.md", "0000-a.jpg"):
        (out / name).write_text(f"an older {name}")
    (out / "cells.csv").write_text("token\n47a1\n4791\n")
    shutil.copytree(colour_run, root / "run")
    with_close_logits(colour_run, colours, root / "coarse")
    (root / "failed").mkdir()
    (root / "failed" / "training.pt").write_bytes(b"of a loss that was not finite")
    (root / "failed" / "progress.json").write_text(json.dumps({"state": "failed", "epoch": 0}))
    answer = cli(
        "finetune", "dogs", "--data", colours, "--resolution", 32, "--batch-size", 8, "--workers", 0,
        "--epochs", 2, "--stop-after", 1, "--out", root / "begun",
    )
    assert answer.code == 0, answer.err
    return root


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_command_changes_no_file(name: str, cli: Cli, outputs: Path, colours: Path) -> None:
    code, line = REFUSED[name]
    before = files(outputs)
    answer = cli(*line.format(d=outputs, colours=colours).split())
    assert answer.code == code, answer.err
    assert answer.last_error and "unforeseen" not in answer.err
    after = files(outputs)
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == set()


def test_eight_bits_lose_what_they_are_refused_for(cli: Cli, outputs: Path, colours: Path) -> None:
    """The case above is refused for its loss, and for nothing else."""
    arguments = (
        "export", outputs / "coarse", "--precision", "int8", "--calibrate", colours / "val",
        "--validate", colours, "--overwrite",
    )
    refused = cli(*arguments, "--out", outputs / "out" / "model.onnx")
    assert "more than --max-drop 0.03; nothing was written" in refused.last_error
    written = cli(*arguments, "--max-drop", 1, "--out", outputs.parent / "written" / "model.onnx")
    assert written.code == 0, written.err
    assert written.lines[0]["drop"]["dogs/top1"] > 0.03


def test_a_refused_photo_keeps_its_faces_where_others_are_enrolled(
    cli: Cli, outputs: Path, tmp_path: Path
) -> None:
    for name in ("faces.parquet", "faces.photos.parquet"):
        shutil.copy(outputs / name, tmp_path)
    table, crops = tmp_path / "faces.parquet", outputs / "crops"
    save_colour(tmp_path / "new.png", COLOURS["blue"])
    (tmp_path / "worse.png").write_text("no photo at all")
    answer = cli(
        "enroll", "Ada", tmp_path / "new.png", tmp_path / "worse.png", crops / "broken.png",
        "--gallery", table,
    )
    assert answer.code == 0, answer.err
    assert [Path(one["path"]).name for one in answer.lines[0]["refused"]] == ["broken.png", "worse.png"]
    rows = pq.read_table(table).to_pylist()
    assert {Path(row["path"]).name: row["name"] for row in rows} == {
        "a.png": None, "b.png": None, "broken.png": None, "new.png": "Ada",
    }
    reasons = (tmp_path / "faces.problems.jsonl").read_text()
    assert "worse.png" in reasons and "broken.png" in reasons
    save_colour(tmp_path / "other.png", COLOURS["red"])
    assert cli("enroll", "Eve", tmp_path / "other.png", "--gallery", table).code == 0
    assert "worse.png" in (tmp_path / "faces.problems.jsonl").read_text(), "of photos not looked at again"
    save_colour(tmp_path / "worse.png", COLOURS["green"])
    embed(cli, outputs / "tiny.safetensors", table, tmp_path)
    names = {Path(row["path"]).name: row["name"] for row in pq.read_table(table).to_pylist()}
    assert names["worse.png"] is None and names["new.png"] == "Ada", "a refused photo is nobody's"


def test_a_photo_with_several_faces_keeps_them_when_enrolling_is_refused(
    cli: Cli, shared: Path, tmp_path: Path
) -> None:
    photo = next(iter(sorted((shared / "data").rglob("data_multiface.jpg"))), None)
    trunk = shared / "weights" / "faces_mobilenetv1_1.0_224.safetensors"
    if photo is None or not trunk.is_file():
        pytest.skip("no photo with several faces, or no face weights in ../shared")
    shutil.copy(photo, tmp_path / "group.jpg")
    table = tmp_path / "faces.parquet"
    embed(cli, trunk, table, tmp_path / "group.jpg", align="five-point")
    before = files(tmp_path)
    assert pq.read_table(table).num_rows == 6
    for faces in ("enroll Ada {}/group.jpg --gallery {}/faces.parquet",):
        answer = cli(*faces.format(tmp_path, tmp_path).split())
        assert (answer.code, answer.lines[0]["faces"]) == (1, 0)
        assert "6 faces found" in answer.lines[0]["refused"][0]["reason"]
        assert files(tmp_path) == before
    again = embed(cli, trunk, table, tmp_path / "group.jpg", align="five-point")
    assert (again["skipped"], pq.read_table(table).num_rows) == (1, 6)


def test_a_photo_that_an_older_version_lost_is_embedded_again(
    cli: Cli, outputs: Path, tmp_path: Path
) -> None:
    from apps.faces.extraction.manifest import read_ledger, write_ledger
    from apps.faces.extraction.table import ImageRecord

    save_colour(tmp_path / "lost.png", COLOURS["blue"])
    table = tmp_path / "faces.parquet"
    embed(cli, outputs / "tiny.safetensors", table, outputs / "crops" / "a.png")
    known = read_ledger(table)
    stat = (tmp_path / "lost.png").stat()
    lost = ImageRecord(
        str(tmp_path / "lost.png"), "0" * 64, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, "one", "Ada",
        0, "6 faces found, and exactly one was asked for",
    )
    write_ledger(table, [*known.values(), lost])
    embed(cli, outputs / "tiny.safetensors", table, tmp_path / "lost.png")
    assert pq.read_table(table).num_rows == 2
