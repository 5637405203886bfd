"""Features of a frozen backbone, plain and augmented, computed once and found again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.engine.data.loader import Loader, eval_transform, train_transform
from apps.engine.training.frozen.features import Views, cached_features, data_key, pooled_features
from backbone import MobileNetV1
from datasets.classification.folders import ImageFolders

pytestmark = pytest.mark.computes


def network(seed: int = 0) -> MobileNetV1:
    torch.manual_seed(seed)
    made = MobileNetV1(0.25)
    made.freeze()
    return made


class Computing:
    """Two loaders, and a count of the views that were computed."""

    def __init__(self, root: Path, *, scale: float = 0.35) -> None:
        photos = ImageFolders(root, "train")
        self.plain = Loader(photos, eval_transform(32, 1.0), batch_size=8, workers=0)
        self.random = Loader(photos, train_transform(32, scale=scale), batch_size=8, workers=0)
        self.views: list[int] = []

    def __call__(self, view: int) -> Loader:
        self.views.append(view)
        return self.random if view else self.plain

    def features(self, folder: Path | None, *, views: int = 2, seed: int = 0) -> Views:
        key = data_key(self.plain, self.random)
        return cached_features(network(seed), self, views=views, stride=32, folder=folder, key=key)


def test_the_first_row_is_plain_and_the_others_are_views_of_the_same_photos(colours: Path) -> None:
    computing = Computing(colours)
    found = computing.features(None)
    assert computing.views == [0, 1, 2]
    assert found.features.shape == (3, 24, 256)
    plain, targets, indices, _ = pooled_features(network(), computing.plain, stride=32)
    np.testing.assert_array_equal(found.features[0], plain)
    np.testing.assert_array_equal(found.targets, targets)
    assert found.indices == indices == list(range(24))
    assert not np.allclose(found.features[1], found.features[2])


def test_a_second_run_computes_nothing_and_finds_the_same(colours: Path, tmp_path: Path) -> None:
    first = Computing(colours).features(tmp_path)
    again = Computing(colours)
    second = again.features(tmp_path)
    assert again.views == []
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.targets, second.targets)
    assert (first.indices, first.bad) == (second.indices, second.bad)


def test_another_backbone_photo_transform_or_number_of_views_is_computed_anew(
    colours: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(colours, data)
    Computing(data).features(tmp_path)
    photo = data / "train" / "red" / "0.png"
    other = Computing(data, scale=0.5)
    other.features(tmp_path)
    backbone, more = Computing(data), Computing(data)
    backbone.features(tmp_path, seed=1)
    more.features(tmp_path, views=1)
    photo.write_bytes((data / "train" / "red" / "1.png").read_bytes())
    changed = Computing(data)
    changed.features(tmp_path)
    assert [len(one.views) for one in (other, backbone, more, changed)] == [3, 3, 2, 3]
    assert len(list(tmp_path.glob("features-*.safetensors"))) == 5


def test_photos_that_moved_are_the_same_photos(colours: Path, tmp_path: Path) -> None:
    Computing(colours).features(tmp_path)
    shutil.copytree(colours, tmp_path / "moved")
    moved = Computing(tmp_path / "moved")
    moved.features(tmp_path)
    assert moved.views == []


def test_bad_photos_are_told_from_the_file_too(colours: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(colours, data)
    broken = data / "train" / "blue" / "3.png"
    broken.write_bytes(broken.read_bytes()[:120])
    first, second = (Computing(data).features(tmp_path) for _ in range(2))
    for found in (first, second):
        assert found.features.shape[1] == len(found.indices) == len(found.targets) == 23
        assert [str(broken) in bad.reason for bad in found.bad] == [True]
    assert first.bad == second.bad


def test_a_damaged_file_is_computed_anew(colours: Path, tmp_path: Path) -> None:
    Computing(colours).features(tmp_path)
    (file,) = tmp_path.glob("features-*.safetensors")
    file.write_bytes(file.read_bytes()[:-50])
    again = Computing(colours)
    again.features(tmp_path)
    assert again.views == [0, 1, 2]
    final = Computing(colours)
    final.features(tmp_path)
    assert final.views == []


def test_a_folder_that_takes_no_file_costs_a_note_and_not_the_features(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    computing, notes = Computing(colours), list[str]()
    found = cached_features(
        network(), computing, views=0, stride=32, folder=tmp_path / "file", key="x", on_note=notes.append
    )
    assert found.features.shape == (1, 24, 256)
    assert len(notes) == 1
    assert "the features are not kept" in notes[0]


def test_a_negative_number_of_views_is_refused(colours: Path) -> None:
    with pytest.raises(ValueError, match="views must be 0 or more, got -1"):
        Computing(colours).features(None, views=-1)
