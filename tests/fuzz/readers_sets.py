"""Readers of sets of classes and faces: a small whole one of each layout, of which one file is damaged."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import savemat

from datasets.classification.folders import ImageFolders
from datasets.classification.imagenet import ImageNetVal
from datasets.classification.stanford_dogs import StanfordDogs
from datasets.described.label_tables import read_label_table
from datasets.faces.celeba import celeba
from datasets.faces.identities import Identities
from datasets.faces.insightface_bin import VerificationBin
from datasets.faces.lfw import LFW
from fuzz.containers import of_parquet
from fuzz.mutators import of_bytes, of_json, of_text
from fuzz.runner import Reader, below
from fuzz.samples import encoded, parquet, photos, text


def _classes(root: Path) -> Iterator[Reader]:
    for folder in ("folders/train", "folders/val", "table/train", "table/val"):
        photos(root / folder, "1.png", "2.png")
    rows = [{"file_name": f"{n}.png", "label": label} for n, label in ((1, "cat"), (2, "dog"))]
    listing = text(*(json.dumps(row) for row in rows))
    (root / "folders/val/metadata.jsonl").write_bytes(listing)
    yield below(
        "metadata.jsonl",
        root / "folders/train/metadata.jsonl",
        [listing],
        lambda path: ImageFolders(path.parents[1], "train"),
        of_json,
    )
    yield below(
        "metadata.csv",
        root / "table/train/metadata.csv",
        [text("file_name,label", "1.png,cat", "2.png,dog")],
        lambda path: ImageFolders(path.parents[1], "train"),
        of_text,
    )
    yield from _imagenet(root / "imagenet")
    yield from _dogs(root / "dogs")


def _imagenet(root: Path) -> Iterator[Reader]:
    names = [f"ILSVRC2012_val_{n:08d}.png" for n in (1, 2)]
    for folder in ("synsets", "solution", "truth", "meta"):
        photos(root / folder, *names)
    val = lambda path: ImageNetVal(path.parent)  # noqa: E731
    yield below(
        "ImageNet synsets",
        root / "synsets/imagenet_2012_validation_synset_labels.txt",
        [text("n02111889", "n02088364")],
        val,
        of_text,
    )
    solution = text("ImageId,PredictionString", *(f"{Path(n).stem},n02111889 1 2 3 4" for n in names))
    yield below("ImageNet solution", root / "solution/LOC_val_solution.csv", [solution], val, of_text)
    packed = io.BytesIO()
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    synsets = np.array([[(1, "n02111889", 0)], [(2, "n02088364", 0)]], dtype=kinds)
    savemat(packed, {"synsets": synsets})
    (root / "truth/meta.mat").write_bytes(packed.getvalue())
    truth = text("1", "2")
    (root / "meta/ILSVRC2012_validation_ground_truth.txt").write_bytes(truth)
    yield below(
        "ImageNet truth", root / "truth/ILSVRC2012_validation_ground_truth.txt", [truth], val, of_text
    )
    yield below("ImageNet meta.mat", root / "meta/meta.mat", [packed.getvalue()], val, of_bytes)


def _dogs(root: Path) -> Iterator[Reader]:
    breeds = ("n02085620-Chihuahua", "n02111889-Samoyed")
    files = [f"{breed}/{breed.split('-')[0]}_{n}.jpg" for breed in breeds for n in (1, 2)]
    cells = lambda items: np.array([[item] for item in items], dtype=object)  # noqa: E731
    packed = io.BytesIO()
    savemat(
        packed,
        {
            "file_list": cells(files),
            "annotation_list": cells([name[:-4] for name in files]),
            "labels": np.array([[1], [1], [2], [2]], np.uint8),
        },
    )
    box = (
        "<annotation><folder>x</folder><object><name>a</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
        "<xmax>20</xmax><ymax>21</ymax></bndbox></object></annotation>"
    )
    for folder in ("lists", "boxes"):
        photos(root / folder / "Images", *files)
        (root / folder / "lists").mkdir(parents=True)
        (root / folder / "lists/test_list.mat").write_bytes(packed.getvalue())
        (root / folder / "lists/train_list.mat").write_bytes(packed.getvalue())
        for name in files:
            (root / folder / "Annotation" / name[:-4]).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / "Annotation" / name[:-4]).write_text(box)
    yield below(
        "Stanford Dogs list",
        root / "lists/lists/train_list.mat",
        [packed.getvalue()],
        lambda path: StanfordDogs(path.parents[1], "train"),
        of_bytes,
    )
    yield below(
        "Stanford Dogs boxes",
        root / "boxes/Annotation" / files[0][:-4],
        [box.encode()],
        lambda path: StanfordDogs(path.parents[2], "train", crop=True),
        of_text,
    )


def _faces(root: Path) -> Iterator[Reader]:
    yield from _celeba(root / "celeba")
    people = [f"{name}/{name}_{n:04d}.png" for name in ("Ann_A", "Bob_B") for n in (1, 2)]
    photos(root / "lfw/lfw", *people)
    pairs = text("1\t1", "Ann_A\t1\t2", "Ann_A\t1\tBob_B\t2")
    yield below("LFW pairs", root / "lfw/pairs.txt", [pairs], lambda path: LFW(path.parent), of_text)
    photos(root / "people", *people)
    yield below(
        "identity list",
        root / "people/list.txt",
        [text(*(f"{name} {n // 2}" for n, name in enumerate(people)))],
        lambda path: Identities(path.parent, listing=path),
        of_text,
    )
    table = text("image,identity,Smiling,Male", "a.png,p1,1,0", "b.png,p2,-1,yes", "c.png,p3,,no")
    soft = parquet({"image": ["a.png", "b.png"], "Smiling": [0.25, 1.0]})
    scores = text("person\timagenum\tMale\tSmiling", "Ann A\t1\t1.5\t-0.5", "Bob B\t2\t-2.5\t0.5")
    yield below("attribute table", root / "table/attributes.csv", [table], read_label_table, of_text)
    yield below(
        "LFW attributes", root / "lfw_attributes/lfw_attributes.txt", [scores], read_label_table, of_text
    )
    yield below(
        "attribute Parquet",
        root / "soft/a.parquet",
        [soft],
        lambda path: read_label_table(path, soft=True),
        of_parquet,
    )
    images = [encoded("PNG", n) for n in range(4)]

    def read_bin(path: Path) -> object:
        crops = VerificationBin(path)
        return [crops[n].size for n in range(min(len(crops), 8))]

    arrays = [np.frombuffer(image, np.uint8) for image in images]
    seeds = [pickle.dumps((images, [True, False]), protocol) for protocol in (2, 4)]
    yield below(
        "insightface .bin",
        root / "bin/lfw.bin",
        [*seeds, pickle.dumps((arrays, [True, False]), 2)],
        read_bin,
        of_bytes,
    )


def _celeba(root: Path) -> Iterator[Reader]:
    names = [f"{n:06d}.jpg" for n in range(1, 5)]
    lists = {
        "list_attr_celeba.txt": text("4", "Smiling Male", *(f"{name}  1 -1" for name in names)),
        "identity_CelebA.txt": text(*(f"{name} {n // 2}" for n, name in enumerate(names))),
        "list_eval_partition.txt": text(*(f"{name} {n // 2}" for n, name in enumerate(names))),
    }
    for damaged, seed in lists.items():
        folder = root / damaged
        photos(folder / "img_align_celeba", *names)
        for name, content in lists.items():
            (folder / name).write_bytes(content)
        yield below(
            f"CelebA {damaged}", folder / damaged, [seed], lambda path: celeba(path.parent, "train"), of_text
        )


def readers(root: Path) -> Iterator[Reader]:
    """All of them, their files below a folder."""
    for make in (
        _classes,
        _faces,
    ):
        yield from make(root / make.__name__.strip("_"))
