"""The page's search for faces: the networks that it is given, and in Chromium what it finds with them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from page_support import Visit, served, web_page
from support import Cli

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.export.page.write import FINDING
from apps.faces.detection.networks import OUTPUTS, cascade_networks
from apps.faces.extraction.extractor import Extraction, FaceExtractor
from apps.faces.extraction.loading import load_face_model
from apps.faces.extraction.sources import find_sources
from apps.faces.verification.protocol import Operating
from apps.faces.verification.thresholds import write_thresholds

FOUND = 0.987  # a threshold for faces found on photos
PHOTOS = ("data_multiface.jpg", "data_test_images_kate_siegel_1.jpg", "data_test_images_paul_rudd_1.jpg")


def _model(*apps: str) -> ModelSpec:
    heads = tuple(HeadSpec(app, app, "classes", (app,)) for app in apps)
    return ModelSpec("0", 32, 1.0, "nhwc", "fp32", {}, heads)


def test_faces_are_looked_for_where_every_head_answers_for_faces() -> None:
    assert _model("faces").of_faces
    assert _model("attributes", "faces").of_faces
    assert not _model("faces", "dogs").of_faces


def test_the_page_searches_as_the_commands_do() -> None:
    """One set of limits: those of ``embed-faces``."""
    assert (FINDING["search_px"], FINDING["min_face_px"], FINDING["min_probability"]) == (1024, 40, 0.9)
    assert (FINDING["thresholds"], FINDING["factor"]) == ((0.6, 0.7, 0.7), 0.709)
    assert np.shape(FINDING["template"]) == (5, 2)


@pytest.mark.slow
@torch.inference_mode()
def test_the_networks_answer_as_facenet_pytorchs_do() -> None:
    """At other sizes and numbers of pictures than they were written with."""
    import onnxruntime
    from facenet_pytorch import MTCNN

    cascade = MTCNN()
    for name, shape in (("pnet", (1, 3, 33, 58)), ("rnet", (5, 3, 24, 24)), ("onet", (1, 3, 48, 48))):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        file = cascade_networks()[f"{name}.onnx"]
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        got = session.run(OUTPUTS[name], {"x": x.numpy()})
        for one, wanted in zip(got, getattr(cascade, name)(x), strict=True):
            np.testing.assert_allclose(one, wanted, atol=1e-5)


def _looked(photos: list[Path], student: Path) -> list[Extraction]:
    looker = FaceExtractor(load_face_model(checkpoint=student).info.resolution)
    return [looker(source) for source in find_sources(map(str, photos), sys.stdin)]


@pytest.fixture(scope="module")
def page(cli: Cli, student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "measured"
    shutil.copytree(student, run)
    write_thresholds(run, "five-point", [Operating(1e-3, FOUND, 1.0)], "made up")
    return web_page(cli, tmp_path_factory.mktemp("web") / "page", run)


@pytest.mark.slow
def test_the_page_finds_and_compares_the_faces_that_embed_faces_finds(
    browser: Any, shared: Path, page: Path, student: Path
) -> None:
    """Boxes within two pixels, and likeness within 0.02, of six small faces, a large and a very large one."""
    photos = [shared / "data" / "faces_colour" / "group" / name for name in PHOTOS]
    model, found = load_face_model(checkpoint=student), _looked(photos, student)
    own = [model.vectors(one.images) for one in found]
    with served(page) as address:
        visit = Visit(browser, address).ready()
        for photo, looked in zip(photos, found, strict=True):
            visit.upload(photo)
            faces = visit.page.locator("article").first.locator("section.face").all()
            assert len(faces) == len(looked.crops)
            for face, crop in zip(faces, looked.crops, strict=True):
                box = [float(side) for side in face.get_attribute("data-box").split(",")]
                assert box == pytest.approx(crop.face.box, abs=2.0)
        (row, *_) = visit.page.locator("article").nth(0).locator("li").all()
        wanted = max(float(own[2][0] @ other) for other in (*own[0], *own[1]))
        cosine = float(row.get_attribute("data-cosine"))
        assert cosine == pytest.approx(wanted, abs=2e-2)
        verdict = "one person" if cosine >= FOUND else "two people"
        assert f"{cosine:.3f}, taken for {verdict}" in row.inner_text()
        told = visit.page.inner_text("#notes")
        assert f"From {FOUND:.3f} two are taken for one person; of pairs of different people 1 in 10" in told
        assert visit.said == []
        visit.page.close()


@pytest.mark.slow
def test_crops_are_compared_as_they_are_when_the_box_is_ticked(
    browser: Any, page: Path, people: Path
) -> None:
    """Drawn faces, which no detector finds; the run's threshold for crops decides."""
    one, other = sorted(people.rglob("*.png"))[:2]
    assert "MTCNN networks that come with facenet-pytorch (MIT)" in (page / "model-card.md").read_text()
    with served(page) as address:
        visit = Visit(browser, address).ready()
        visit.upload(one)
        assert "No face found" in visit.page.inner_text("article")
        assert f"From {FOUND:.3f}" in visit.page.inner_text("#notes")
        visit.page.keyboard.press("Tab")
        while visit.page.locator(":focus").get_attribute("id") != "crops":
            visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Space")
        assert 'checkbox "The photos are face crops already: look for no faces" [checked]' in (
            visit.page.locator("body").aria_snapshot()
        )
        told = visit.page.inner_text("#notes")
        assert "two are taken for one person; of pairs" in told
        assert f"From {FOUND:.3f}" not in told, "that is of faces found, not of crops"
        visit.upload(one)
        visit.upload(one, other)
        texts = [card.inner_text() for card in visit.page.locator("article").all()]
        assert f"Likeness to {one.name}: 1.000, taken for one person" in texts[1]
        assert "taken for" in texts[0]
        visit.page.close()
