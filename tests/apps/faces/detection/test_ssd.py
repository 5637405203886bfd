"""The face detector on our backbone: real weights, real photos, no torch where it answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT, Cli

from apps.faces.detection.detector import Detector
from apps.faces.detection.ssd import SQUARES, ssd_networks
from apps.faces.extraction.extractor import make_detector
from backbone.pretrained import FACE_SSD
from backbone.storage import weights_cache

pytestmark = pytest.mark.slow  # networks are exported


@pytest.fixture(scope="module")
def networks(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    """Made in caches that are empty at first; the weights' own files lie in a folder of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILENET_WEIGHTS", str(shared / "weights" / "face_ssd_mobilenetv1"))
        patch.setenv("MOBILENET_APPS_CACHE", str(tmp_path_factory.mktemp("weights")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("networks")))
        yield ssd_networks()


@pytest.fixture(scope="module")
def detector(networks: dict[int, Path]) -> Detector:
    return make_detector("ssd")


@pytest.fixture(scope="module")
def colour(shared: Path) -> list[Path]:
    return sorted((shared / "data" / "faces_colour" / "images").rglob("*.jpg"))[::10]


def test_the_networks_are_made_once_and_the_users_own_files_stay(
    networks: dict[int, Path], shared: Path
) -> None:
    assert set(networks) == set(SQUARES)
    assert [path.stem for path in weights_cache().glob("*.*") if path.suffix != ".lock"] == [FACE_SSD]
    before = {path: path.stat().st_mtime_ns for path in networks.values()}
    assert ssd_networks() == networks
    assert {path: path.stat().st_mtime_ns for path in networks.values()} == before
    assert len(list((shared / "weights" / "face_ssd_mobilenetv1").iterdir())) == 3


def test_faces_and_landmarks_are_where_mtcnn_finds_them(detector: Detector, colour: list[Path]) -> None:
    """On small photos and on the same enlarged, which go through the larger squares."""
    theirs = Detector()
    for path in colour:
        photo = Image.open(path).convert("RGB")
        known = theirs.detect(photo)[0]
        assert known.landmarks is not None
        for factor in (1, 2, 3):
            enlarged = photo.resize((photo.width * factor, photo.height * factor))
            face = detector.detect(enlarged)[0].scaled(1 / factor)
            assert face.landmarks is not None
            eyes = np.linalg.norm(known.landmarks[1] - known.landmarks[0])
            apart = np.linalg.norm(face.landmarks - known.landmarks, axis=1).mean()
            assert apart < 0.2 * eyes, (path.name, factor, apart / eyes)


def test_a_photo_with_several_faces_gives_all_of_them_the_largest_first(
    detector: Detector, shared: Path
) -> None:
    photo = Image.open(shared / "data" / "faces_colour" / "group" / "data_multiface.jpg")
    faces = detector.detect(photo)
    assert len(faces) == len(Detector().detect(photo)) > 1
    assert [face.size_px for face in faces] == sorted((face.size_px for face in faces), reverse=True)
    assert all(0 <= face.box[0] < face.box[2] <= photo.width for face in faces)


def test_photos_without_a_face_and_of_odd_kinds(detector: Detector, colour: list[Path]) -> None:
    photo = Image.open(colour[0]).convert("RGB")
    for size in ((8, 8), (300, 19), (64, 64), (2000, 40)):
        assert detector.detect(Image.new("RGB", size, (90, 120, 60))) == []
    for mode in ("L", "RGBA", "P", "CMYK"):
        assert len(detector.detect(photo.convert(mode))) >= 1, mode


def test_finding_faces_imports_no_torch(detector: Detector, colour: list[Path]) -> None:
    code = (
        "import sys; from PIL import Image; from apps.faces.detection.detector import Detector\n"
        "from apps.faces.detection.ssd import SSDFinder\n"
        f"faces = Detector(finder=SSDFinder.load()).detect(Image.open({str(colour[0])!r}))\n"
        "print(len(faces) > 0, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ
    )
    assert done.stdout == "True False\n", done.stderr


def test_embed_faces_and_verify_faces_take_it(
    detector: Detector, cli: Cli, weights: Path, colour: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "faces.parquet"
    done = cli("embed-faces", *colour[:3], "--weights", weights, "--detector", "ssd", "--out", out)
    assert (done.code, done.lines[0]["photos"]) == (0, 3), done.err
    assert done.lines[0]["faces"] >= 3
    done = cli(
        "verify-faces", colour[0], colour[0], "--weights", weights, "--detector", "ssd", "--threshold", 0.5
    )
    assert done.code == 0 and done.lines[0]["similarity"] > 0.999, done.err
