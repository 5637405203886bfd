"""What leaves the machine: every output of the real commands, searched for a person and a place."""

from __future__ import annotations

import base64
import gzip
import io
import re
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faces_support import write_face_weights
from PIL import Image
from support import Cli
from task_table import CASES

USER, HOST_NAME, CAMERA = "quentin-planted", "planted-host", "planted camera"
POSITION = "12.345678"
FAST = ("--width", 0.25, "--resolution", 32, "--epochs", 1, "--batch-size", 8, "--workers", 0)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LISTS = {  # they exist to say which photo is which; docs/responsible-use.md names them
    "faces.parquet", "faces.photos.parquet", "faces.arrow", "clusters.jsonl", "faces.problems.jsonl",
    "faces.people.json", "objects.json", "objects.coco.json", "objects.tasks.json", "places.json",
    "trip.geojson",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder and a host with names of their own."""
    folder = tmp_path_factory.mktemp("machine") / USER
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("USER", "LOGNAME"):
            patch.setenv(name, USER)
        patch.setenv("HOME", str(folder))
        patch.setenv("HOSTNAME", HOST_NAME)
        patch.setenv("MOBILENET_APPS_CACHE", str(folder / "cache"))
        patch.setattr(socket, "gethostname", lambda: HOST_NAME)
        yield folder


def tag(folder: Path) -> Path:
    """The photos of a folder as a camera writes them: who took them, with what, and where."""
    exif = Image.Exif()
    exif[0x010F], exif[0x013B] = CAMERA, USER
    exif[0x8825] = {1: "N", 2: (12.0, 20.0, 44.4408), 3: "E", 4: (12.0, 20.0, 44.4408)}
    for path in [*folder.rglob("*.png")]:
        picture = Image.open(path).convert("RGB")
        picture.save(path.with_suffix(".jpg"), exif=exif, comment=POSITION)
        path.with_suffix(".jpg").replace(path)  # known by its content
    return folder


@pytest.fixture(scope="module")
def outputs(cli: Cli, home: Path) -> Path:
    """All that the commands write, in one folder."""
    out = home / "shared"
    out.mkdir()

    def run(*words: object, to: str = "") -> None:
        answer = cli(*words)
        assert answer.code == 0, (words, answer.err)
        if to:
            (out / to).write_text(answer.out)

    data = {}
    for name, case in CASES.items():
        if name == "imagenet":  # as dogs
            continue
        data[name] = case.data(home / "albums" / name)
        tag(home / "albums" / name)
        more = ("--export",) if name == "dogs" else ()
        run("finetune", name, "--data", data[name], *FAST, *case.options, *more, "--out", out / name)
    (home / "albums/dogs/train/red/damaged.jpg").write_bytes(b"\xff\xd8\xff damaged")
    both = [word for name in ("dogs", "attributes") for word in ("--data", f"{name}={data[name]}")]
    run("joint", "dogs", "attributes", *both, *FAST, "--out", out / "joint")
    run("evaluate", "dogs", "--checkpoint", out / "dogs", "--report", out / "report")
    run("evaluate", "places", "--checkpoint", out / "places", "--report", out / "places-report")
    run("evaluate", "objects", "--checkpoint", out / "objects", "--report", out / "objects-report")
    for form, name in (("onnx", "dogs.onnx"), ("openvino", "dogs.xml")):  # a torch program takes minutes
        run("export", out / "dogs", "--to", form, "--out", out / "export" / name)
    run("export", out / "dogs", "--to", "web", "--out", out / "page")
    run("finetune", "dogs", "--data", data["dogs"], *FAST, "--folds", 2, "--out", out / "folds")
    for name in ("dogs", "objects"):
        run("check", name, data[name], "--report", out / f"check-{name}")
    detect = ("detect", home / "albums/objects", "--checkpoint", out / "objects", "--threshold", 0)
    run(*detect, "--draw", out / "drawn", "--crops", out / "crops", to="objects.json")
    run(*detect, "--format", "coco", to="objects.coco.json")
    run(*detect, "--format", "label-studio", "--label-config", out / "label.xml", to="objects.tasks.json")
    for name in ("map.html", "map.png", "trip.kml", "trip.geojson"):
        locate = ("locate", home / "albums/places", "--checkpoint", out / "places", "--map", out / name)
        run(*locate, to="places.json")
    weights = write_face_weights(home / "faces.safetensors")
    table = out / "faces.parquet"
    run("embed-faces", home / "albums/faces", "--out", table, "--weights", weights, "--align", "none")
    run("cluster-faces", table, "--out", out / "people", "--threshold", 0.1)
    run("people", "name", table, min((home / "albums/faces").rglob("*.png")), "Ann")
    run("people", "folders", table, "--out", out / "links")
    run("people", "write-xmp", table, "--out", out / "sidecars")
    run("cells", "build", data["places"], "--t-max", 10, "--t-min", 1, "--out", out / "cells.geojson")
    return out


def unpacked(data: bytes, name: str) -> Iterator[bytes]:
    """A file's bytes, and what is packed in it."""
    yield data
    if name.endswith((".parquet", ".arrow")):
        source = pa.BufferReader(data)
        table = pq.read_table(source) if name.endswith(".parquet") else pa.ipc.open_file(source).read_all()
        yield repr((table.schema.metadata, table.drop(["vector"] if "vector" in table.column_names else [])
                    .to_pylist())).encode()  # fmt: skip
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for item in archive.infolist():
                yield from unpacked(archive.read(item), item.filename)
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    for packed in re.findall(rb"data:[\w/+.;=-]+;base64,([A-Za-z0-9+/=]+)", data):
        yield from unpacked(base64.b64decode(packed), "")


def has_exif(data: bytes) -> bool:
    """Whether an image brings EXIF, XMP or a comment along."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF")) as picture:
            info: dict[Any, Any] = picture.info
            return bool(picture.getexif()) or bool({"exif", "xmp", "comment"} & set(info))
    except Image.UnidentifiedImageError:
        return False


def test_no_output_names_the_user_the_host_or_a_place(outputs: Path, home: Path) -> None:
    """Lists of photos by name hold their paths; nothing holds more."""
    every = sorted(path for path in outputs.rglob("*") if path.is_file() and not path.is_symlink())
    assert {"trip.kml", "label.xml", "objects.coco.json"} <= {path.name for path in every}
    assert {path.suffix for path in every} >= {".xmp", ".jpg", ".html", ".wasm"}
    assert any(path.is_symlink() for path in (outputs / "links").rglob("*"))  # they hold paths, as documented
    assert len(every) > 60
    bad = []
    for path in every:
        for part in unpacked(path.read_bytes(), path.name):
            words = {word for word in (USER, HOST_NAME, CAMERA, POSITION) if word.encode() in part}
            if path.name in LISTS:
                words -= {USER}
            bad += [f"{path.relative_to(outputs)}: {', '.join(sorted(words))}"] if words else []
            bad += [f"{path.relative_to(outputs)}: EXIF"] if has_exif(part) else []
    assert not bad, "\n".join(bad)


def test_the_search_sees_what_it_is_to_find(home: Path, outputs: Path) -> None:
    photo = next((home / "albums/dogs").rglob("*.png")).read_bytes()
    assert has_exif(photo)
    assert CAMERA.encode() in photo and POSITION.encode() in photo
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/page.html", f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}")
    assert any(CAMERA.encode() in part for part in unpacked(packed.getvalue(), "x.zip"))
    table = (outputs / "faces.parquet").read_bytes()
    assert any(str(home).encode() in part for part in unpacked(table, "faces.parquet"))


def test_a_run_finds_its_data_again(cli: Cli, outputs: Path) -> None:
    answer = cli("evaluate", "dogs", "--checkpoint", outputs / "dogs")
    assert answer.code == 0, answer.err
    assert answer.lines[0]["n"] == 12
