"""MTCNN without torch: on real photos the faces that facenet-pytorch's own code finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import run_without_torch

from apps.engine.inference.made_once import cached
from apps.faces.detection.area_means import bins_of, corners_of, means_of, sums_of
from apps.faces.detection.cascade_graph import Blocked
from apps.faces.detection.detector import SEARCH_PX
from apps.faces.detection.mtcnn import FACTOR, SIDES, THRESHOLDS, Cascade, nms
from apps.faces.detection.networks import load_cascade
from apps.faces.extraction.torch_embedder import load_torch_face_model

LEAST_PX = 40


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return load_cascade()


@pytest.fixture(scope="module")
def theirs() -> Any:
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, min_face_size=LEAST_PX)


def test_thresholds_and_scales_are_those_of_facenet_pytorch(theirs: Any) -> None:
    assert (tuple(theirs.thresholds), theirs.factor) == (THRESHOLDS, FACTOR)


def test_faces_boxes_and_landmarks_are_those_of_facenet_pytorch(
    shared: Path, cascade: Cascade, theirs: Any
) -> None:
    """Single faces of 250 px, groups, and a photo of which the first network proposes much."""
    folder = shared / "data" / "faces_colour"
    photos = [*sorted((folder / "images").rglob("*.jpg"))[::25], *sorted((folder / "group").glob("*.jpg"))]
    counts = []
    for path in photos:
        photo = Image.open(path).convert("RGB")
        photo.thumbnail((SEARCH_PX, SEARCH_PX))
        pixels = np.array(photo)
        answer = theirs.detect(pixels, landmarks=True)
        boxes, scores, points = (np.array(part if part is not None else [], np.float32) for part in answer)
        found = cascade(pixels, LEAST_PX)
        counts.append(len(boxes))
        assert len(found.scores) == counts[-1], path
        if counts[-1]:
            mine, order = np.lexsort(found.boxes.round().T), np.lexsort(boxes.round().T)
            np.testing.assert_allclose(found.boxes[mine], boxes[order], atol=0.05)
            np.testing.assert_allclose(found.scores[mine], scores[order], atol=1e-4)
            np.testing.assert_allclose(found.landmarks[mine], points[order], atol=0.05)
    assert sum(counts) > len(photos)


def test_boxes_of_another_detector_are_finished_from_the_pixels_around_them(
    shared: Path, cascade: Cascade
) -> None:
    """As from the whole image, wherever the boxes lie."""
    (path,) = (shared / "data" / "faces_colour" / "group").glob("data_multiface.jpg")
    pixels = np.array(Image.open(path).convert("RGB"))
    faces = cascade(pixels, LEAST_PX)
    height, width = pixels.shape[:2]
    for shift in ((0, 0), (7.3, -5.2), (-300, 0), (0, 400)):
        boxes = (faces.boxes + np.tile(np.array(shift, np.float32), 2)).clip(0, [width, height] * 2)
        for some in (boxes, boxes[:1], boxes[:0]):
            made, wanted = cascade.finish(pixels, some.astype(np.float32)), whole(cascade, pixels, some)
            for ours, theirs in zip(made, wanted, strict=True):
                np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert len(cascade.finish(pixels, faces.boxes).scores) == len(faces.scores) > 3


def whole(cascade: Cascade, pixels: np.ndarray, boxes: np.ndarray) -> Any:
    """With sums over the whole image: a box in each of its corners makes it what is around the boxes."""
    height, width = pixels.shape[:2]
    corners = [[0, 0, 2, 2], [width - 2, height - 2, width, height]]
    return cascade.finish(pixels, np.concatenate([boxes, np.array(corners)]).astype(np.float32))


@pytest.mark.parametrize("name", SIDES)
def test_the_networks_without_prelu_answer_as_those_with_it(theirs: Any, name: str) -> None:
    side = SIDES[name]
    shape = (1, 3, 37, 52) if name == "pnet" else (5, 3, side, side)
    network, images = getattr(theirs, name), torch.rand(shape) * 255
    with torch.inference_mode():
        *wanted, chances = network((images - 127.5) / 128)
        (made,) = Blocked(network)(images)
        made[:, -1].sigmoid_()
    torch.testing.assert_close(made, torch.cat([*wanted, chances[:, 1:]], 1), atol=2e-6, rtol=1e-5)


def test_means_over_bins_are_those_of_the_pixels_however_large_the_image() -> None:
    """White ones, so that the sums over all of it overflow."""
    pixels = np.random.default_rng(0).integers(250, 256, (900, 1000, 3), np.uint8)
    rows, columns = bins_of(np.array([[0], [3]]), np.array([[900], [50]]), 12), bins_of(0, 1000, 17)
    means = means_of(sums_of(pixels), corners_of(rows, (columns[0][None], columns[1][None]), 1001))
    assert means.shape == (2, 3, 12, 17)
    for crop, row, column in np.ndindex(2, 12, 17):
        some = pixels[rows[0][crop, row] : rows[1][crop, row], columns[0][column] : columns[1][column]]
        np.testing.assert_allclose(means[crop, :, row, column], some.mean(axis=(0, 1)), rtol=1e-6)


def test_an_image_whose_sums_do_not_fit_is_refused(cascade: Cascade) -> None:
    with pytest.raises(ValueError, match="faces are looked for on smaller images"):
        cascade(np.zeros((2000, 2000, 3), np.uint8), LEAST_PX)


def test_an_image_without_faces_gives_none(cascade: Cascade) -> None:
    for side in (40, 300):
        found = cascade(np.full((side, side, 3), 128, np.uint8), LEAST_PX)
        assert (found.boxes.shape, found.scores.shape, found.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


def test_suppression_is_that_of_torchvision_and_of_the_smaller_box_by_hand() -> None:
    from torchvision.ops import nms as wanted

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 80, (200, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (200, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0, 1, 200).astype(np.float32)
    expected = wanted(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5)
    np.testing.assert_array_equal(nms(boxes, scores, 0.5), expected)
    copies = rng.integers(0, 3, 200)
    kept = nms(boxes, scores, 0.5, groups=copies)
    each = [np.flatnonzero(copies == copy) for copy in range(3)]
    alone = [int(place) for some in each for place in some[nms(boxes[some], scores[some], 0.5)]]
    assert sorted(kept.tolist()) == sorted(alone)
    assert (np.diff(scores[kept]) <= 0).all()
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []
    inside = np.array([[0, 0, 99, 99], [10, 10, 29, 29]], np.float32)  # a fifth of a side, and wholly within
    assert nms(inside, np.array([0.9, 0.8], np.float32), 0.7).tolist() == [0, 1]
    assert nms(inside, np.array([0.9, 0.8], np.float32), 0.7, of_smaller=True).tolist() == [0]


def test_a_file_of_the_cache_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = [cached("a.onnx", lambda content=content: content).read_bytes() for content in (b"one", b"two")]
    assert made == [b"one", b"one"]


def test_faces_are_embedded_verified_and_searched_without_torch(shared: Path, tmp_path: Path) -> None:
    """And the vectors are those of PyTorch."""
    import pyarrow.parquet as pq

    from apps.faces.extraction.extractor import FaceExtractor
    from apps.faces.extraction.loading import load_face_model
    from apps.faces.extraction.sources import Source

    weights = str(shared / "weights" / "faces_mobilenetv1_1.0_224.safetensors")
    folder = shared / "data" / "faces_colour" / "images" / "Tony_Blair"
    photos = [str(path) for path in sorted(folder.glob("*.jpg"))[:2]]
    load_face_model(weights=weights)  # writes the file where it is not in the cache yet
    table = str(tmp_path / "f.parquet")
    for command in (
        ("embed-faces", *photos, "--out", table, "--weights", weights),
        ("verify-faces", *photos, "--weights", weights, "--threshold", "0.5"),
        ("search-faces", photos[0], "--gallery", table, "--threshold", "0.5"),
        ("enroll", "Tony", photos[1], "--gallery", table),
    ):
        run_without_torch(*command)
    model = load_torch_face_model(weights=weights)
    looked = FaceExtractor(model.info.resolution)(Source(photos[0], Path(photos[0])))
    (wanted,) = model.vectors(looked.images)
    rows = {row["path"]: row for row in pq.read_table(table).to_pylist()}
    row = rows[photos[0]]
    assert row["model"] == model.info.fingerprint
    assert float(np.array(row["vector"]) @ wanted) >= 0.9999
