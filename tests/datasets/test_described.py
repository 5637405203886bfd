"""Photos with descriptions, packed, through the real commands: tar shards and Parquet files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from support import COLOURS, Cli, save_colour

from datasets.base import ImageDataset
from datasets.classification.folders import ImageFolders, has_split
from datasets.detection.base import DetectionDataset
from datasets.detection.layouts import read_split
from datasets.image_io import BadImageError, image_size, read_bytes, read_pixels

TRAINING = ("--resolution", 32, "--epochs", 2, "--batch-size", 4, "--width", 0.25, "--lr", 0.01)
NAMES = list(COLOURS)


def drawn(name: str, seed: int, suffix: str = ".png", folder: Path | None = None) -> bytes:
    path = (folder or Path("/tmp")) / f"{name}{seed}{suffix}"
    save_colour(path, COLOURS[name], seed=seed)
    return path.read_bytes()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            shard.addfile(entry, io.BytesIO(data))


def features(**columns: Any) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


CLASS = {"names": NAMES, "_type": "ClassLabel"}


def write_parquet(path: Path, rows: list[dict[str, Any]], group: int = 3, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows).replace_schema_metadata(features(**columns))
    parquet.write_table(table, path, row_group_size=group)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards to train on and one to evaluate: .cls with numbers, .json with names, .txt; and others."""
    root = tmp_path_factory.mktemp("shards")
    for number, (file, count) in enumerate({"train-000000": 4, "train-000001": 4, "val-000000": 2}.items()):
        members: dict[str, bytes] = {"._junk.jpg": b"\0", "000009.mp3": b"ID3"}
        for label, name in enumerate(NAMES):
            for n in range(count):
                key = f"{label}{n:05d}"
                members[f"{key}.{'jpg' if n % 2 else 'png'}"] = drawn(
                    name, 10 * number + n, ".jpg" if n % 2 else ".png", root / "drawn")
                words = [("cls", str(label)), ("json", json.dumps({"label": label, "class_name": name})),
                         ("txt", f"{name}\n")][n % 3]
                members[f"{key}.{words[0]}"] = words[1].encode()
        members["900000.jpg"], members["900001.cls"] = drawn("red", 99, ".jpg", root / "drawn"), b"1"
        write_tar(root / "set" / f"{file}.tar", members)
    (root / "set/classes.txt").write_text("\n".join(NAMES))
    return root / "set"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet as Hugging Face's hub has it; -1 is no label."""
    root = tmp_path_factory.mktemp("hub")
    counts = {"train-00000-of-00002": 4, "train-00001-of-00002": 3, "validation-00000-of-00001": 2}
    for part, (file, count) in enumerate(counts.items()):
        rows = [
            {"image": {"bytes": drawn(name, 9 * part + n, folder=root / "drawn"), "path": ""}, "breed": label}
            for label, name in enumerate(NAMES) for n in range(count)
        ]
        rows.append({"image": {"bytes": rows[0]["image"]["bytes"][:-1] + b"x", "path": None}, "breed": -1})
        write_parquet(root / "set/data" / f"{file}.parquet", rows, image={"_type": "Image"}, breed=CLASS)
    return root / "set"


def images(root: Path, split: str) -> ImageDataset:
    return ImageFolders(root, split)


def right(photos: ImageDataset) -> bool:
    """Whether every photo has the colour that its class says."""
    wanted = [COLOURS[photos.classes[photo.label]] for photo in photos.photos]
    shown = [np.asarray(photos.pixels(n)).reshape(-1, 3).mean(axis=0) for n in range(len(photos))]
    return all(np.abs(np.subtract(a, b)).max() < 12 for a, b in zip(wanted, shown, strict=True))


def test_shards_give_their_photos_and_count_what_is_left_out(shards: Path) -> None:
    train, val = images(shards, "train"), images(shards, "val")
    assert (train.classes, train.counts(), val.counts()) == (("blue", "green", "red"), [8] * 3, [2] * 3)
    assert right(train) and right(val)
    notes = "\n".join(train.notes)
    assert "left out 2 files of other kinds: 2 .mp3" in notes and "2 in ._ and hidden members" in notes
    assert "2 samples have no photo and are left out, such as train-000000.tar: 900001" in notes
    assert "2 of 26 photos have no label and are left out, such as 900000.jpg" in notes
    assert all(photo.path.name.startswith("train-") for photo in train.photos)
    some = images(shards / "train-{000000..000001}.tar", "train")
    assert some.counts() == [8] * 3 and not has_split(shards / "train-{000000..000001}.tar", "val")
    assert images(shards / "train-*.tar", "train").counts() == [8] * 3
    assert images(shards / "train-000001.tar", "train").counts() == [4] * 3
    with pytest.raises(FileNotFoundError, match=r"means 2 files that are not there, such as .*000002.tar"):
        images(shards / "train-{000000..000003}.tar", "train")


def test_parquet_files_give_their_photos_by_row(hub: Path) -> None:
    train, val = images(hub, "train"), images(hub, "val")
    assert (train.classes, train.counts(), val.counts()) == (("blue", "green", "red"), [7] * 3, [2] * 3)
    assert right(train) and right(val)
    assert "2 of 23 photos have no label and are left out, such as row 12" in "\n".join(train.notes)
    path = train.photos[0].path
    assert image_size(path) == (48, 48) and (read_bytes(path) or b"").startswith(b"\x89PNG")
    with pytest.raises(BadImageError, match=r"has 13 rows, and no row 99"):
        read_pixels(path.with_name("train-00000-of-00002.parquet::99"))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["shards", "hub"])
def test_packed_photos_train_resume_and_are_evaluated_and_checked(
    layout: str, request: pytest.FixtureRequest, cli: Cli, tmp_path: Path
) -> None:
    root = request.getfixturevalue(layout)
    usual = ("finetune", "classes", "--data", root, *TRAINING, "--seed", 3)
    whole = cli(*usual, "--workers", 2, "--cache", tmp_path / "cache", "--out", tmp_path / "whole")
    assert whole.code == 0, whole.err
    assert cli(*usual, "--workers", 0, "--stop-after", 1, "--out", tmp_path / "parts").code == 0
    resumed = cli("finetune", "classes", "--resume", "--out", tmp_path / "parts")
    assert resumed.code == 0, resumed.err
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "parts")]
    assert weights[0] == weights[1], "bit for bit, whatever the readers, the cache and the interruption"
    evaluated = cli("evaluate", "dogs", "--checkpoint", tmp_path / "whole")
    assert evaluated.lines[0]["n"] == 6
    assert evaluated.lines[0]["metrics"]["top1"] == whole.lines[0]["metrics"]["top1"]
    checked = cli("check", "dogs", root, "--no-network", "--report", tmp_path)
    assert checked.code == 0, checked.err
    problems = checked.lines[0]["problems"]
    assert problems["unreadable_images"] == problems["leaks"] == problems["duplicates"] == 0
    moved = images(root, "train").photos[0].path.relative_to(root).as_posix()
    (tmp_path / "moves.csv").write_text(f"path,action,class\n{moved},leave-out,\n")
    fixed = cli(*usual, "--fix", tmp_path / "moves.csv", "--out", tmp_path / "fixed")
    assert fixed.lines[0]["fixed"] == {"moved": 0, "left_out": 1}, fixed.err


def boxed(seed: int) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 60, (64, 80, 3), dtype=np.uint8)
    pixels[20:44, 16:48] = (220, 40, 40)
    Image.fromarray(pixels).save(data, "JPEG")
    return data.getvalue()


def box_set(root: Path, kind: str) -> None:
    box, classes = [16, 20, 32, 24], {"names": ["cup", "fork"], "_type": "ClassLabel"}
    for split, count in (("train", 6), ("val", 3)):
        if kind == "shards":
            members: dict[str, bytes] = {}
            for n in range(count):
                whole = {"objects": {"bbox": [box], "categories": ["fork"]}}
                single = {"annotations": [{"bbox": box, "category": "fork"}]}
                text = json.dumps([whole, single][n % 2]).encode()
                members |= {f"{n}.jpg": boxed(n + count), f"{n}.json": text}
            write_tar(root / split / "0000.tar", members)
            continue
        feature = {"bbox": {"feature": {"_type": "Value"}, "_type": "Sequence"},
                   "category": {"feature": classes, "_type": "Sequence"}}
        objects: Any = {"bbox": [box], "category": [1]}
        if kind == "list":  # as version 4 of the library writes a list of objects
            feature, objects = [{"bbox": {}, "category": classes}], [{"bbox": box, "category": 1}]  # type: ignore[assignment]
        rows = [{"image": boxed(n + count), "objects": objects} for n in range(count)]
        write_parquet(root / f"{split}.parquet", rows, objects=feature)


@pytest.mark.parametrize(
    "kind", ["list", *(pytest.param(name, marks=pytest.mark.slow) for name in ("shards", "lists"))]
)
def test_boxes_in_packed_photos(kind: str, cli: Cli, tmp_path: Path) -> None:
    box_set(tmp_path / "set", kind)
    photos = DetectionDataset(read_split(tmp_path / "set", "train"))
    assert (len(photos), photos.classes, photos.notes) == (6, ("fork",), [])
    for index in range(len(photos)):
        boxes, labels, *_ = photos.target(index)
        assert boxes.tolist() == [[16, 20, 48, 44]] and labels.tolist() == [0]
    if kind == "list":
        return
    run = tmp_path / "run"
    trained = cli(
        "finetune", "objects", "--data", tmp_path / "set", "--resolution", 64, "--width", 0.25, "--epochs", 1,
        "--batch-size", 3, "--workers", 0, "--out", run,
    )
    assert trained.code == 0, trained.err
    assert cli("evaluate", "objects", "--checkpoint", run).lines[0]["n"] == 3
    checked = cli("check", "objects", tmp_path / "set", "--no-network").lines[0]
    assert checked["images"] == 9 and checked["problems"]["boxes_outside"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train-0.tar.gz", "train-0.tar.gz is compressed, so its photos cannot be found again; unpack it"),
        ("data-00000-of-00001.arrow", "was written by save_to_disk; write Parquet, with to_parquet, instead"),
        ("metadata.json", "metadata.json is not read; Hugging Face's file is metadata.jsonl"),
        ("annotations.xml", "annotations.xml is CVAT's own format; export COCO 1.0"),
        ("project-1-at-2026-11-29.json", "is Label Studio's own format; export YOLO or COCO"),
    ],
)
def test_nearly_right_names_are_explained(name: str, words: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"{}")
    for app in ("dogs", "objects"):
        answer = cli("finetune", app, "--data", tmp_path, "--out", tmp_path / "run")
        assert answer.code == 1 and words in answer.last_error, answer.err


def test_what_is_wrong_in_packed_files_is_one_line(tmp_path: Path, shards: Path) -> None:
    photo = drawn("red", 1, folder=tmp_path / "drawn")
    write_tar(tmp_path / "a/x.tar", {f"{n}.png": photo for n in range(30)} | {
        f"{n}.txt": f"a photo of {n} red things".encode() for n in range(30)})
    with pytest.raises(ValueError, match=r"30 different texts, such as .*: captions, not classes"):
        images(tmp_path / "a", "train")
    write_tar(tmp_path / "b/x.tar", {"1.png": photo, "1.json": b"[1]"})
    with pytest.raises(ValueError, match=r"x.tar::1.json must be an object, got \[1\]"):
        images(tmp_path / "b", "train")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/x.tar").write_bytes((shards / "val-000000.tar").read_bytes()[:4000])
    with pytest.raises(ValueError, match=r"x.tar is not a whole tar file"):
        images(tmp_path / "c", "train")
    rows = [{"image": {"bytes": photo, "path": None}, "fine": 0, "coarse": 1}]
    write_parquet(tmp_path / "d/train.parquet", rows, fine=CLASS, coarse=CLASS)
    with pytest.raises(ValueError, match=r"columns fine and coarse are classes; rename the one that counts"):
        images(tmp_path / "d", "train")
    elsewhere = [{"image": {"bytes": None, "path": "/x/1.jpg"}, "label": n} for n in (0, 1)]
    table = pa.table({"image": pa.array([row["image"] for row in elsewhere], pa.struct(
        [("bytes", pa.binary()), ("path", pa.string())])), "label": [0, 1]})
    (tmp_path / "e").mkdir()
    parquet.write_table(table, tmp_path / "e/train.parquet")
    with pytest.raises(BadImageError, match=r"row 0 of train.parquet holds no bytes, only the path"):
        images(tmp_path / "e", "train").pixels(0)
