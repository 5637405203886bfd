"""Readers of what the applications keep and exchange: tables, cells, predictions, archives."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from faces_support import unit_vectors, write_table

from apps.attributes.evaluate import evaluate_predictions as attribute_predictions
from apps.attributes.names import Layout
from apps.attributes.teachers import teacher_columns
from apps.cli.main import cli
from apps.cli.options import read_config_file
from apps.engine.core.console import Console
from apps.engine.core.files import json_line
from apps.engine.scale.rows import schema_of, table_of
from apps.engine.tracking.runs import find_runs
from apps.faces.extraction.embedder import ModelInfo
from apps.faces.extraction.manifest import SCHEMA, ledger_path, read_ledger
from apps.faces.extraction.opening import open_source
from apps.faces.extraction.sources import find_sources
from apps.faces.extraction.table import ImageRecord, part_columns, read_about, read_records
from apps.faces.people.gallery import Gallery
from apps.faces.verification.evaluate import read_vectors
from apps.faces.verification.thresholds import find_threshold
from apps.joint.train import _beginning
from apps.objects.evaluate import evaluate_predictions as box_predictions
from apps.places.cells.build import positions_from
from apps.places.cells.files import read_cells, write_cells
from apps.places.cells.partition import Limits, build
from apps.places.prediction_files import read_predictions
from apps.zoo import download
from apps.zoo.unpack import unpack
from fuzz.containers import of_parquet, of_tar, of_zip
from fuzz.mutators import of_bytes, of_json, of_text
from fuzz.runner import Reader
from fuzz.samples import SIDE, encoded, parquet, photos, text


def _faces(root: Path) -> Iterator[Reader]:
    root.mkdir(parents=True)
    table = write_table(root / "faces.parquet", unit_vectors(6, 8), names=["a", "b", "a", "b", "a", "c"])

    def read_gallery(path: Path) -> object:
        path.with_suffix(".arrow").unlink(missing_ok=True)
        gallery = Gallery.open(path)
        return gallery.search(unit_vectors(2, 8), 3)

    yield Reader("table of faces", table, [table.read_bytes()], read_gallery, of_parquet)
    (root / "laid").mkdir()
    laid = Path(shutil.copy(table, root / "laid"))
    read_gallery(laid)

    def read_laid_out(path: Path) -> object:
        gallery = Gallery.open(path.with_suffix(".parquet"))
        return gallery.search(unit_vectors(2, 8), 3)

    arrow = laid.with_suffix(".arrow")
    yield Reader("laid-out table", arrow, [arrow.read_bytes()], read_laid_out, of_bytes)
    yield from _faces_beside(root, table)
    names = [f"p{n}/1" for n in range(4)]
    packed, squeezed = io.BytesIO(), io.BytesIO()
    vectors = {"name": np.array(names), "vector": unit_vectors(4, 8)}
    np.savez(packed, **vectors)
    np.savez_compressed(squeezed, **vectors)
    yield Reader(
        "teacher .npz",
        root / "teacher.npz",
        [packed.getvalue(), squeezed.getvalue()],
        lambda path: read_vectors(path, names),
        of_zip,
    )


def _faces_beside(root: Path, table: Path) -> Iterator[Reader]:
    """The list of photos and the parts."""
    records = [ImageRecord(f"/photos/{n:06d}.jpg", "0" * 64, 9, 0, 0, "all", None, 1) for n in range(6)]
    columns = {name: [asdict(record)[name] for record in records] for name in SCHEMA.names}
    packed = io.BytesIO()
    pq.write_table(pa.table(columns, schema=SCHEMA), packed)
    (root / "ledger").mkdir()
    beside = Path(shutil.copy(table, root / "ledger"))
    yield Reader(
        "list of photos",
        ledger_path(beside),
        [packed.getvalue()],
        lambda _: read_ledger(beside),
        of_parquet,
    )
    about, made = read_about(table), io.BytesIO()
    lines = [{"path": record.path, "sha256": record.sha256, "bytes": 9, "which": "all"} for record in records]
    faces = [{"face": 0, "box": [0, 0, 9, 9], "vector": vector} for vector in unit_vectors(6, 8)]
    rows = [{**line, "rows": [face]} for line, face in zip(lines, faces, strict=True)]
    pq.write_table(table_of(rows, schema_of(part_columns(about), {})), made)
    name = f"part-000000-{'0' * 12}.parquet"
    yield Reader("part of faces", root / name, [made.getvalue()], read_records, of_parquet)


def _notes(root: Path) -> Iterator[Reader]:
    """What the programs note for themselves, in places where others may write."""
    root.mkdir(parents=True)
    url = "https://example.com/net.bin"
    (root / "net.bin.part").write_bytes(b"half")
    note = {"url": url, "etag": "x", "modified": "", "total": 9}

    def read_note(path: Path) -> object:
        path.with_suffix("").write_bytes(b"half")
        return download._Part.beside(root / "net.bin", url).headers()

    seed = json.dumps(note).encode()
    yield Reader("download's note", root / "net.bin.part.json", [seed], read_note, of_json)
    measured = {"calibration": {"faces": {"none": {"source": "x", "thresholds": {"1e-3": 0.5}}}}}
    model = ModelInfo("0" * 16, "drawn", 8, 64, checkpoint=str(root))

    def read_threshold(path: Path) -> object:
        try:
            return find_threshold(model, "none")
        except ValueError as err:  # that none is known names the model, not the file
            if "is known for model" in str(err) or "was not measured" in str(err):
                return None
            raise

    seed = json.dumps(measured).encode()
    yield Reader("measured thresholds", root / "config.json", [seed], read_threshold, of_json)


def _places(root: Path) -> Iterator[Reader]:
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lat, lon = (
        np.array([(48.8, 2.3), (52.5, 13.4), (-33.9, 151.2)])[rng.integers(0, 3, 90)]
        + rng.normal(0, 0.5, (90, 2))
    ).T
    grids = build(lat, lon, Limits(60, 5))
    for kind, mutate in (("csv", of_text), ("parquet", of_parquet), ("geojson", of_json)):
        path = root / f"cells.{kind}"
        write_cells(path, grids)
        yield Reader(f"cells {kind}", path, [path.read_bytes()], read_cells, mutate)
    points = text("lat,lon", *(f"{a:.4f},{b:.4f}" for a, b in zip(lat, lon, strict=True)))
    yield Reader(
        "points of cells",
        root / "points.csv",
        [points],
        positions_from,
        of_text,
    )
    rows = ["path,lat,lon,confidence,true_lat,true_lon", "a.jpg,48.8,2.3,0.5,48.9,2.4", "b.jpg,,,,1.5,2.5"]
    rows += ["c.jpg,-33.9,151.2,0.9,-33.8,151.1"]
    columns = {name: [float(n) for n in range(1, 5)] for name in rows[0].split(",")[1:]}
    answers: dict[str, Any] = {"path": ["a", "b", "c", "d"], **columns}
    yield Reader("predicted places", root / "p.csv", [text(*rows)], read_predictions, of_text)
    yield Reader(
        "predicted places Parquet", root / "p.parquet", [parquet(answers)], read_predictions, of_parquet
    )


def _predictions(root: Path) -> Iterator[Reader]:
    labels = root / "attributes"
    names = [f"p{n}/{n}.png" for n in range(8)]
    photos(labels / "images", *names)
    (labels / "attributes.csv").write_bytes(
        text("image,Red", *(f"{name},{n % 2}" for n, name in enumerate(names)))
    )
    soft = text("image,Red", *(f"{name},0.{n + 1}" for n, name in enumerate(names)))

    def read(path: Path) -> object:
        return attribute_predictions(path, data=labels, console=Console(quiet=True))

    yield Reader("predicted attributes", root / "soft.csv", [soft], read, of_text)
    yield Reader(
        "attribute teacher",
        root / "teacher.csv",
        [soft],
        lambda path: teacher_columns(
            str(path), Layout(("Red",)), [labels / name for name in names], names, folder=root, console=None
        ),
        of_text,
    )
    boxes = root / "boxes"
    photos(boxes / "val2017", "1.png", "2.png")
    photos(boxes / "train2017", "1.png")
    (boxes / "annotations").mkdir()
    truth = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": SIDE, "height": SIDE} for n in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9], "area": 81, "iscrowd": 0}
        ],
    }
    (boxes / "annotations/instances_val2017.json").write_text(json.dumps(truth))
    results = [{"image_id": 1, "category_id": 1, "bbox": [1.5, 2, 9, 9], "score": 0.9}] * 2
    yield Reader(
        "predicted boxes",
        root / "results.json",
        [json.dumps(results).encode()],
        lambda path: box_predictions(path, data=boxes, split="val", report=None, console=Console(quiet=True)),
        of_json,
    )


def _options(root: Path) -> Iterator[Reader]:
    root.mkdir(parents=True)
    group: Any = cli.commands["finetune"]
    command = group.get_command(click.Context(group), "dogs")
    options = [item for item in command.params if isinstance(item, click.Option)]
    seed = text("epochs = 3", 'data = "photos"', "lr = 0.01", "freeze = true", "seed = 7")
    yield Reader("--config", root / "run.toml", [seed], lambda path: read_config_file(path, options), of_text)
    tasks = {"tasks": [{"name": "a", "app": "dogs", "data": "x"}], "settings": {"epochs": 3}}
    yield Reader(
        "joint tasks",
        root / "tasks.json",
        [json.dumps(tasks).encode()],
        lambda path: _beginning((), {}, path.parent, resume=True),
        of_json,
    )


def _archives(root: Path) -> Iterator[Reader]:
    root.mkdir(parents=True)
    members = {"a.jpg": encoded("JPEG"), "folder/b.png": encoded("PNG", 1), "readme.txt": b"words"}
    tar, packed, zipped = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for buffer, mode in ((tar, "w"), (packed, "w:gz")):
        with tarfile.open(fileobj=buffer, mode=mode) as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)

    def shards(path: Path) -> object:
        opened = []
        for source in find_sources([str(path)], io.StringIO()):
            try:
                opened.append(open_source(source).image.size)
            except OSError as err:  # a photo that cannot be read is named, and the others are read
                assert path.name in str(err), err
        return opened

    def unpacked(path: Path) -> object:
        place = root / "unpacked"
        shutil.rmtree(place, ignore_errors=True)
        return unpack(path, place, max_bytes=1 << 26)

    yield Reader("tar shard", root / "shard.tar", [tar.getvalue()], shards, of_tar)
    yield Reader("archive tar", root / "data.tar", [tar.getvalue()], unpacked, of_tar)
    yield Reader("archive tar.gz", root / "data.tar.gz", [packed.getvalue()], unpacked, of_bytes)
    yield Reader("archive zip", root / "data.zip", [zipped.getvalue()], unpacked, of_zip)


def _listed_runs(root: Path) -> Iterator[Reader]:
    """`runs` shows what it can: nothing in a run's folder may hide the others."""
    backbone = {"name": "mobilenetv1", "arch": "mobilenetv1", "arguments": {"width": 0.25}}
    config = {
        "app": "dogs",
        "classes": ["a", "b"],
        "settings": {"resolution": 32, "epochs": 2},
        "backbone": backbone,
        "fingerprint": "0" * 16,
        "metrics": {"top1": 0.5},
        "data": {"train": 4},
        "seconds": 1.5,
        "intervals": {"top1": [0.4, 0.6]},
    }
    lines = [{"epoch": n, "train/loss": 0.5, "val/top1": 0.5, "seconds": 1.0} for n in (1, 2)]
    progress = {
        "app": "dogs",
        "epoch": 1,
        "epochs": 2,
        "pid": 1,
        "phase": "train",
        "backbone": "x",
        "photos": 4,
    }
    files = {
        "config.json": json.dumps(config).encode(),
        "progress.json": json.dumps(progress).encode(),
        "metrics.jsonl": text(*map(json.dumps, lines)),
    }

    def read(path: Path) -> object:
        runs = find_runs(path.parents[1])
        assert len(runs) == 2, "a damaged run hides another"
        return [json_line(run.to_dict()) for run in runs]

    for damaged, seed in files.items():
        for name in ("whole", "damaged"):
            folder = root / damaged / name
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(b"")
            for file, content in files.items():
                (folder / file).write_bytes(content)
        yield Reader(f"runs: {damaged}", root / damaged / "damaged" / damaged, [seed], read, of_json)


def readers(root: Path) -> Iterator[Reader]:
    """All of them, their files below a folder."""
    for make in (_faces, _notes, _places, _predictions, _options, _archives, _listed_runs):
        yield from make(root / make.__name__.strip("_"))
