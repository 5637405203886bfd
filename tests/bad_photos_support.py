"""Data sets of every application with damaged photos among the good ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

TRUNCATED, GARBAGE = "cut.jpg", "junk.jpg"
SIZE = (90, 70)
BOX = (10, 15, 50, 60)


def drawing(path: Path, number: int = 0) -> Path:
    """A photo as JPEG: noise, so that its second half is missed, and a red box."""
    noise = np.random.default_rng(number).integers(60, 140, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    image = Image.fromarray(noise)
    ImageDraw.Draw(image).rectangle(BOX, fill=(200, 30 + number % 100, 30))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG")
    return path


def spoiled(path: Path, number: int) -> Path:
    """The same photo damaged: an even number cuts it off, an odd one leaves no photo at all."""
    data = drawing(path, number).read_bytes()
    path.write_bytes(data[: len(data) // 2] if number % 2 == 0 else b"\x00garbage" * 400)
    return path


def split_photos(folder: Path, good: int) -> list[str]:
    """Names of some photos in a folder, two damaged ones in the middle of them."""
    names = [f"{number}.jpg" for number in range(good)]
    for number, name in enumerate(names):
        drawing(folder / name, number)
    spoiled(folder / TRUNCATED, 0)
    spoiled(folder / GARBAGE, 1)
    return [names[0], TRUNCATED, GARBAGE, *names[1:]]


def coco(root: Path, counts: dict[str, int]) -> Path:
    """COCO's layout."""
    (root / "annotations").mkdir(parents=True)
    for split, good in counts.items():
        names = split_photos(root / f"{split}2017", good)
        x1, y1, x2, y2 = BOX
        told = {
            "images": [
                {"id": n, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
                for n, name in enumerate(names, 1)
            ],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
                for n in range(1, len(names) + 1)
            ],
            "categories": [{"id": 1, "name": "red"}],
        }
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(told))
    return root


def voc(root: Path, counts: dict[str, int]) -> Path:
    """Pascal VOC's layout; the photos of the splits lie in one folder there."""
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, good in counts.items():
        stems = []
        for name in split_photos(root / "drawn", good):
            stem = f"{split}-{Path(name).stem}"
            photo, told = root / "JPEGImages" / f"{stem}.jpg", root / "Annotations" / f"{stem}.xml"
            photo.parent.mkdir(parents=True, exist_ok=True)
            told.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(root / "drawn" / name, photo)
            stems.append(stem)
            told.write_bytes(_voc_xml(stem))
        (lists / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return root


def _voc_xml(stem: str) -> bytes:
    tree = ElementTree.Element("annotation")
    ElementTree.SubElement(tree, "filename").text = f"{stem}.jpg"
    size = ElementTree.SubElement(tree, "size")
    for name, value in zip(("width", "height", "depth"), (*SIZE, 3), strict=True):
        ElementTree.SubElement(size, name).text = str(value)
    thing = ElementTree.SubElement(tree, "object")
    ElementTree.SubElement(thing, "name").text = "red"
    box = ElementTree.SubElement(thing, "bndbox")
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True):
        ElementTree.SubElement(box, name).text = str(value)
    return ElementTree.tostring(tree)


def yolo(root: Path, counts: dict[str, int]) -> Path:
    """YOLO's layout."""
    for split, good in counts.items():
        labels = root / "labels" / split
        labels.mkdir(parents=True)
        for name in split_photos(root / "images" / split, good):
            (labels / name).with_suffix(".txt").write_text("0 0.4 0.5 0.4 0.6\n")
    (root / "classes.txt").write_text("red\n")
    return root


def boxes_csv(root: Path, counts: dict[str, int]) -> Path:
    """A table of boxes."""
    for split, good in counts.items():
        rows = ["path,x1,y1,x2,y2,class"]
        for name in split_photos(root / split, good):
            rows.append(f"{split}/{name},{','.join(map(str, BOX))},red")
        (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return root


LAYOUTS = {"coco": coco, "voc": voc, "yolo": yolo, "csv": boxes_csv}


def classes(root: Path, counts: dict[str, int]) -> Path:
    """Two classes in folders; each has the damaged photos."""
    for split, good in counts.items():
        for name in ("one", "two"):
            split_photos(root / split / name, good)
    return root


def attributes(root: Path, people: int) -> Path:
    """Faces with one attribute; each person has a damaged photo, too, or everybody would be whole."""
    rows = ["image,Red,Bright"]
    for person in range(people):
        for number in range(3):
            name = f"p{person}/{number}.jpg"
            bad = number == 2 and person % 2 == 0
            (spoiled if bad else drawing)(root / "images" / name, person // 2 if bad else person * 3 + number)
            rows.append(f"{name},{person % 2},{(person // 2) % 2}")
    (root / "attributes.csv").write_text("\n".join(rows) + "\n")
    return root


def faces(root: Path, people: int, each: int) -> Path:
    """Crops in folders by person; every second person has a damaged one."""
    for person in range(people):
        for number in range(1, each + 1):
            bad = number == each and person % 2 == 0
            path = root / f"PERSON_{person}" / f"PERSON_{person}_{number:04d}.jpg"
            (spoiled if bad else drawing)(path, person // 2 if bad else person * 10 + number)
    return root


def placed(root: Path, each: int) -> Path:
    """A table of photos with places in two cities; two photos of each are damaged."""
    rows = ["path,lat,lon"]
    for city, (lat, lon) in {"paris": (48.86, 2.35), "sydney": (-33.87, 151.21)}.items():
        for number, name in enumerate(split_photos(root / city, each)):
            rows.append(f"{city}/{name},{lat + 0.02 * (number % 5)},{lon + 0.04 * (number // 5)}")
    (root / "places.csv").write_text("\n".join(rows) + "\n")
    return root
