"""A tiny finished run of every application, on drawn photos, made by the real command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from faces_support import draw_crops
from PIL import Image, ImageDraw
from support import COLOURS, Cli, save_colour

FAST = ("--width", 0.25, "--resolution", 32, "--epochs", 1, "--batch-size", 8, "--workers", 0)
CITIES = {"red": (48.8, 2.3), "green": (40.7, -74.0), "blue": (-33.8, 151.2)}
WNIDS = ("n02111889", "n02088364")


def classes(root: Path, names: tuple[str, ...]) -> Path:
    """Folders of photos by class, for training and for evaluation."""
    for split, count in (("train", 6), ("val", 4)):
        for name, colour in zip(names, COLOURS.values(), strict=False):
            for number in range(count):
                save_colour(root / split / name / f"{number}.png", colour, seed=number)
    return root


def attributes(root: Path) -> Path:
    """Crops of twelve people with one attribute each."""
    rows = ["image,Red"]
    for number in range(24):
        name = f"p{number // 2}/{number}.png"
        save_colour(root / "images" / name, COLOURS["red" if number % 4 < 2 else "blue"], seed=number)
        rows.append(f"{name},{int(number % 4 < 2)}")
    (root / "attributes.csv").write_text("\n".join(rows) + "\n")
    return root


def faces(root: Path) -> Path:
    """Crops by person."""
    draw_crops(root, people=8, each=3)
    return root


def objects(root: Path) -> Path:
    """Photos with a red box each."""
    root.mkdir(parents=True)
    for split, count in (("train", 8), ("val", 3)):
        rows = ["path,x1,y1,x2,y2,class"]
        for number in range(count):
            image = Image.new("RGB", (120, 90), (90, 120, 30 * number))
            ImageDraw.Draw(image).rectangle((10, 15, 49, 59), fill=(220, 30, 30))
            image.save(root / f"{split}{number}.png")
            rows.append(f"{split}{number}.png,10,15,50,60,red")
        (root / f"{split}.csv").write_text("\n".join(rows))
    return root


def places(root: Path) -> Path:
    """A table of photos in three cities."""
    rows = ["path,lat,lon"]
    for name, (lat, lon) in CITIES.items():
        for number in range(8):
            save_colour(root / f"{name}{number}.png", COLOURS[name], seed=number)
            rows.append(f"{name}{number}.png,{lat + 0.1 * number},{lon}")
    (root / "photos.csv").write_text("\n".join(rows) + "\n")
    return root / "photos.csv"


MAKERS = {
    "attributes": (attributes, ("--names", "Red")),
    "dogs": (lambda root: classes(root, tuple(COLOURS)), ()),
    "faces": (faces, ("--margin-loss", "arcface", "--val-share", 0.5)),
    "imagenet": (lambda root: classes(root, WNIDS), ()),
    "objects": (objects, ("--resolution", 64, "--precision", "fp32")),
    "places": (places, ("--t-max", 10, "--t-min", 1, "--split-km", 0.5, "--val-share", 0.3)),
}


def make_runs(cli: Cli, root: Path, names: Iterable[str] = tuple(MAKERS)) -> dict[str, Path]:
    """Name of the application -> its run."""
    runs = {}
    for name in names:
        make, options = MAKERS[name]
        run = root / "runs" / name
        answer = cli("finetune", name, "--data", make(root / name), *FAST, *options, "--out", run)
        assert answer.code == 0, (name, answer.err)
        runs[name] = run
    return runs
