"""A small world in which every command with JSON on stdout is run once or more, by the real command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from faces_support import draw_crops, write_face_weights
from importing_support import trained
from PIL import Image
from runs_support import FAST, make_runs
from safetensors.torch import save_file
from support import Answer, Cli
from task_table import CASES

QUICK = ("--workers", 0)
PLAIN = ("--align", "none")
TASKS = ("attributes", "dogs", "faces", "objects", "places")  # imagenet answers as dogs do, and takes longer


@dataclass
class World:
    """What was answered, under the name of the schema that holds for it.

    Args:
        cli: the command line.
        root: a folder for everything.
    """

    cli: Cli
    root: Path
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, schema: str, *arguments: object, code: int = 0) -> Answer:
        """Run a command and keep what it answered."""
        answer = self.cli(*arguments)
        assert answer.code == code, (arguments, answer.err)
        assert answer.lines, arguments
        self.lines += [(schema, line) for line in answer.lines]
        return answer


def explore(cli: Cli, root: Path) -> World:
    """Run the commands."""
    world = World(cli, root)
    runs = make_runs(cli, root, TASKS)
    for name, run in runs.items():
        world.lines.append(("finetune", _finetuned(cli, root, name, run)))
    for part in (_classes, _boxes, _places, _faces, _models):
        part(world, runs)
    return world


def _finetuned(cli: Cli, root: Path, name: str, run: Path) -> dict[str, Any]:
    """A finished run resumed gives its answer again."""
    data = root / name / "photos.csv" if name == "places" else root / name
    answer = cli("finetune", name, "--data", data, *FAST, *CASES[name].options, "--out", run, "--resume")
    assert answer.code == 0, answer.err
    return answer.lines[0]


def _classes(world: World, runs: dict[str, Path]) -> None:
    root, run = world.root, runs["dogs"]
    photo = root / "red.png"
    Image.new("RGB", (64, 48), (220, 30, 30)).save(photo)
    (root / "bad.png").write_bytes(b"none")
    world("predict", "predict", photo, root / "bad.png", "--checkpoint", run)
    world("predict", "predict", photo, "--checkpoint", runs["attributes"], "--crops")
    world("predict", "predict", photo, "--checkpoint", runs["places"])
    world("parts", "predict", photo, "--checkpoint", run, "--out", root / "answers", "--workers", 1)
    data = ("--data", root / "dogs")
    world("evaluate", "evaluate", "dogs", "--checkpoint", run, *data, *QUICK)
    world("evaluate", "evaluate", "attributes", "--checkpoint", runs["attributes"], *QUICK)
    for name in ("dogs", "objects", "faces"):
        world("check", "check", name, root / name, "--no-network")
    world("finetune-find-lr", "finetune", "dogs", *data, *FAST[:4], "--batch-size", 8, *QUICK, "--find-lr",
          "--out", root / "rates")
    world("finetune-folds", "finetune", "dogs", *data, *FAST, "--folds", 2, "--out", root / "folds")
    world("joint", "joint", "dogs", "objects", "--data", f"dogs={root / 'dogs'}", "--data",
          f"objects={root / 'objects'}", *FAST, "--resolution", 64, "--out", root / "both")
    world("predict", "predict", photo, "--heads", f"{run},{runs['places']}", "--allow-separate")
    world("runs", "runs", root / "runs")
    world("runs-compare", "runs", "--compare", run, runs["places"])


def _boxes(world: World, runs: dict[str, Path]) -> None:
    photo = world.root / "objects" / "val0.png"
    world("detect", "detect", photo, world.root / "bad.png", "--checkpoint", runs["objects"],
          "--threshold", 0.01)
    world("evaluate", "evaluate", "objects", "--checkpoint", runs["objects"], *QUICK)


def _places(world: World, runs: dict[str, Path]) -> None:
    table = world.root / "coordinates.csv"
    rng = np.random.default_rng(0)
    rows = zip(rng.normal(48, 1, 200), rng.normal(2, 1, 200), strict=True)
    table.write_text("lat,lon\n" + "\n".join(f"{lat},{lon}" for lat, lon in rows) + "\n")
    cells = world.root / "cells.parquet"
    world("cells-build", "cells", "build", table, "--t-max", 50, "--t-min", 5, "--out", cells)
    world("cells-report", "cells", "report", cells, "--points", table)
    world("cells-convert", "cells", "convert", cells, "--out", world.root / "cells.geojson")
    photo = world.root / "places" / "red0.png"
    world("locate", "locate", photo, world.root / "bad.png", "--checkpoint", runs["places"])
    world("locate", "locate", photo, "--checkpoint", runs["places"], "--precise")
    world("evaluate", "evaluate", "places", "--checkpoint", runs["places"], *QUICK)


def _faces(world: World, runs: dict[str, Path]) -> None:
    root = world.root
    weights = write_face_weights(root / "tiny.safetensors")
    album, table = root / "album", root / "faces.parquet"
    photos = draw_crops(album, people=4, each=3)
    (album / "bad.png").write_bytes(b"none")
    world("embed-faces", "embed-faces", album, "--out", table, "--weights", weights, *PLAIN)
    world("parts", "embed-faces", album, "--out", f"{root / 'parts'}/", "--weights", weights, *PLAIN,
          "--workers", 1)
    model = ("--weights", weights, *PLAIN)
    world("verify-faces", "verify-faces", *photos[:2], *model, "--threshold", 0.5)
    world("enroll", "enroll", "Ada", photos[0], "--gallery", table, *PLAIN)
    world("search-faces", "search-faces", photos[1], root / "bad.png", "--gallery", table,
          "--threshold", 0.5)
    world("cluster-faces", "cluster-faces", table, "--out", root / "people", "--threshold", 0.9)
    _people(world, table, photos)
    world("evaluate-faces", "evaluate", "faces", "--checkpoint", runs["faces"], "--data", album)


def _people(world: World, table: Path, photos: list[Path]) -> None:
    people = ("people",)
    world("people-list", *people, "list", table, "--all")
    faces = world("people-list-faces", *people, "list", table, "--faces", "--all").lines
    signs = {Path(line["path"]).name: line["id"] for line in faces}
    first, second, third = (signs[photo.name] for photo in (photos[0], photos[3], photos[6]))
    world("people-correction", *people, "name", table, second, "Grace")
    world("people-correction", *people, "merge", table, "Grace", third)
    world("people-correction", *people, "split", table, third)
    world("people-correction", *people, "same", table, first, signs[photos[1].name])
    world("people-correction", *people, "not-same", table, first, second)
    world("people-undo", *people, "undo", table)
    world("people-folders", *people, "folders", table, "--out", world.root / "by-person")
    world("people-write-xmp", *people, "write-xmp", table)
    world("people-read-xmp", *people, "read-xmp", table)
    world("people-forget", *people, "forget", table, "Grace")


def _models(world: World, runs: dict[str, Path]) -> None:
    root = world.root
    world("export", "export", runs["dogs"], "--out", root / "dogs.onnx")
    world("predict", "predict", root / "red.png", "--model", root / "dogs.onnx")
    world("cost", "cost", "--json", "--layers")
    world("cost", "cost", "--table", 13, "--json")
    world("doctor", "doctor")
    world("weights-list", "weights", "list")
    world("weights-show", "weights", "show", "mobilenetv1_0.25_128")
    file = root / "own.safetensors"
    save_file(trained(), file)
    world("weights-import", "weights", "import", file, "--out", root / "imported.safetensors",
          "--resolution", 64)
