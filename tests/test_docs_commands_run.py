"""Documented commands started as they stand, where what they name is; added options make them quick."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from bad_photos_support import LAYOUTS, drawing
from documented_commands import documented
from faces_support import draw_crops
from importing_support import trained
from safetensors.torch import save_file

from apps.cli.main import main

QUICK = "--epochs 1 --workers 0"
# In this order: later ones use what earlier ones wrote.
STARTED = {
    "python cli.py weights list": "", "python cli.py weights show mobilenetv1_0.25_128": "",
    "python cli.py cost --width 0.5 --resolution 160": "", "python cli.py cost --table 6": "",
    "python cli.py cells build coordinates.csv --t-max 500 --t-min 25 --out cells.parquet": "",
    "python cli.py cells convert cells.parquet --out cells.geojson": "",
    "python cli.py finetune dogs --data photos --weights mobilenetv1_100.ra4_e3600_r224_in1k --freeze "
    "--out runs/mine": "--workers 0",
    "python cli.py predict holiday/ --checkpoint runs/mine --top 2": "",
    "python cli.py evaluate dogs --checkpoint runs/mine --report runs/mine/again": "--workers 0",
    "python cli.py predict photo.jpg --weights mobilenetv1_1.0_224": "",
    "python cli.py evaluate faces --weights faces_mobilenetv1_1.0_224.safetensors --data lfw "
    "--report report": "",
    "python cli.py finetune objects --data coco/ --weights mobilenetv1_1.0_224.safetensors --head ssd300 "
    "--out runs/objects": f"{QUICK} --resolution 64 --precision fp32",
    "python cli.py evaluate objects --checkpoint runs/objects --report report": "--workers 0",
    "python cli.py detect photos/ --checkpoint runs/objects --draw drawn/": "--workers 0",
    "python cli.py export runs/dogs --out dogs.onnx": "",
    "python cli.py predict photos/ --model dogs.onnx": "",
    "python cli.py runs": "", "python cli.py runs --sort top1": "",
}


@pytest.fixture(scope="module")
def place(colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small things under the names that the pages use."""
    root = tmp_path_factory.mktemp("place")
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("Beagle", "Samoyed")):
            for number in range(count):
                drawing(root / "photos" / split / name / f"{number}.jpg", 10 * label + number)
    drawing(root / "photo.jpg")
    drawing(root / "holiday" / "1.jpg", 3)
    draw_crops(root / "lfw", people=4, each=3)
    LAYOUTS["coco"](root / "coco", {"train": 3, "val": 2})
    rng = np.random.default_rng(0)
    rows = [f"{lat},{lon}" for lat, lon in zip(rng.normal(48, 1, 200), rng.normal(2, 1, 200), strict=True)]
    (root / "coordinates.csv").write_text("lat,lon\n" + "\n".join(rows) + "\n")
    shutil.copytree(colour_run, root / "runs" / "dogs")
    told = {"padding": "same", "resolution": "64", "width": "0.25", "input": "(x-0.5)/0.5 of RGB in [0,1]"}
    (root / "mirror").mkdir()
    for name in ("mobilenetv1_1.0_224", "faces_mobilenetv1_1.0_224", "mobilenetv1_100.ra4_e3600_r224_in1k"):
        save_file(trained(), root / "mirror" / f"{name}.safetensors", told)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("line", STARTED, ids=lambda line: line[14:50])
def test_a_documented_command_does_what_it_says(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(place / "mirror"))
    words = [*shlex.split(line)[2:], *shlex.split(STARTED[line])]
    with contextlib.chdir(place):
        code = main(words)
    told = capsys.readouterr()
    assert code == 0 and told.out, told.err


def test_each_of_them_is_in_the_pages_as_it_stands() -> None:
    assert set(STARTED) <= {" ".join(one.line.split()) for one in documented()}
