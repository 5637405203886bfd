"""The drawn sample: same seed same pixels, never half-made, and not to be told by colour or posture."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datasets.synthetic.drawn_dogs import BREEDS, default_cache, draw_dog, drawn_dogs_root

Numbers = npt.NDArray[np.float64]
REPO = Path(__file__).parents[3]


def pixels(breed: object, *entropy: int, size_px: int = 64) -> npt.NDArray[np.uint8]:
    return np.asarray(draw_dog(breed, np.random.default_rng(entropy), size_px))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for the second process to help, and for the baselines to learn what they can."""
    return drawn_dogs_root(tmp_path_factory.mktemp("cache"), train_per_breed=40, val_per_breed=20)


@pytest.mark.parametrize("breed", range(len(BREEDS)))
def test_every_breed_is_drawn_in_every_pose_and_place(breed: int) -> None:
    for number in range(6):
        picture = draw_dog(breed, np.random.default_rng([breed, number]))
        assert (picture.mode, picture.size) == ("RGB", (160, 160))
        assert np.asarray(picture).std() > 5


def test_the_same_chance_gives_the_same_pixels_and_another_gives_others() -> None:
    assert np.array_equal(pixels(3, 7), pixels(3, 7))
    assert not np.array_equal(pixels(3, 7), pixels(3, 8))


def test_a_breed_goes_by_number_name_or_folder() -> None:
    breed = BREEDS[4]
    for which in (breed.name, breed.folder, breed):
        assert np.array_equal(pixels(which, 1), pixels(4, 1))


@pytest.mark.parametrize("which", [10, -1, "beagle"])
def test_an_unknown_breed_is_refused_and_the_known_ones_are_named(which: int | str) -> None:
    with pytest.raises(ValueError, match=r"no drawn breed .*dotted_fenhound"):
        draw_dog(which, np.random.default_rng(0))


def test_a_picture_too_small_for_the_network_is_refused() -> None:
    with pytest.raises(ValueError, match="32 or more, got 31"):
        draw_dog(0, np.random.default_rng(0), 31)


def test_no_single_part_tells_a_breed() -> None:
    """Every ear, muzzle, coat, marking, tail and leg is that of two breeds at least."""
    for values in zip(*(breed.parts for breed in BREEDS), strict=True):
        assert min(Counter(values).values()) >= 2
        assert len(set(values)) >= 3


def test_any_two_breeds_differ_in_three_parts() -> None:
    for one, other in combinations(BREEDS, 2):
        assert sum(a != b for a, b in zip(one.parts, other.parts, strict=True)) >= 3, (one, other)


def test_the_place_in_the_tuple_is_the_label_of_the_folder() -> None:
    assert [breed.folder for breed in BREEDS] == sorted(breed.folder for breed in BREEDS)


@pytest.mark.parametrize("part", ["ear", "muzzle", "coat", "marking", "tail", "legs"])
def test_each_part_is_seen_in_the_picture(part: str) -> None:
    """A part that is named but not drawn would make two breeds more alike than the table says."""
    values = sorted({getattr(breed, part) for breed in BREEDS})
    drawn = [pixels(replace(BREEDS[0], **{part: value}), 5) for value in values]
    for one, other in combinations(drawn, 2):
        assert np.abs(one.astype(int) - other).mean() > 0.2


def test_the_folder_has_the_plain_layout_and_says_that_it_is_drawn(tmp_path: Path) -> None:
    root = drawn_dogs_root(tmp_path, train_per_breed=2, val_per_breed=1)
    for breed in BREEDS:
        assert sorted(p.name for p in (root / "train" / breed.folder).iterdir()) == ["0000.jpg", "0001.jpg"]
        assert [p.name for p in (root / "val" / breed.folder).iterdir()] == ["0000.jpg"]
    assert "drawn by a program, not photographed" in (root / "README.txt").read_text()


def test_held_out_pictures_come_from_another_stream(sample: Path) -> None:
    train = {p.read_bytes() for p in sample.glob("train/*/*.jpg")}
    val = {p.read_bytes() for p in sample.glob("val/*/*.jpg")}
    assert (len(train), len(val)) == (400, 200)
    assert not train & val


def test_two_processes_share_the_work_and_the_pictures_are_the_same(
    sample: Path, tmp_path: Path
) -> None:
    alone = drawn_dogs_root(tmp_path, train_per_breed=3, val_per_breed=2)
    for path in alone.rglob("*.jpg"):
        assert path.read_bytes() == (sample / path.relative_to(alone)).read_bytes()


def test_the_second_call_draws_nothing_and_another_seed_has_its_own_folder(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []

    def ask(seed: int) -> Path:
        return drawn_dogs_root(
            tmp_path, seed=seed, train_per_breed=1, val_per_breed=1, on_progress=lambda *at: steps.append(at)
        )

    first = ask(0)
    assert steps == [(n, 20) for n in range(1, 21)]
    assert ask(0) == first
    assert len(steps) == 20
    other = ask(1)
    assert other != first
    name = Path("train") / BREEDS[0].folder / "0000.jpg"
    assert (first / name).read_bytes() != (other / name).read_bytes()


def test_an_interrupted_first_use_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn_dogs_root(tmp_path, train_per_breed=1, val_per_breed=1, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_two_first_uses_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from datasets.synthetic.drawn_dogs import drawn_dogs_root; "
        f"print(drawn_dogs_root(Path({str(tmp_path)!r}), train_per_breed=3, val_per_breed=1))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert said == {str(root) for root in tmp_path.iterdir()}
    assert len(list(Path(said.pop()).rglob("*.jpg"))) == 40


def test_what_a_killed_process_left_is_swept_but_not_what_is_being_drawn(tmp_path: Path) -> None:
    old, young = (tmp_path / f".unfinished-drawn-dogs-{name}" for name in ("old", "young"))
    for folder in (old, young):
        (folder / "train").mkdir(parents=True)
    os.utime(old, (time.time() - 7200,) * 2)
    drawn_dogs_root(tmp_path, train_per_breed=1, val_per_breed=1)
    assert not old.exists()
    assert young.exists()


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "there"))
    root = drawn_dogs_root(train_per_breed=1, val_per_breed=1)
    assert root.parent == tmp_path / "there"
    monkeypatch.delenv("MOBILENET_APPS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert default_cache() == tmp_path / "mobilenet-apps"


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file .*MOBILENET_APPS_CACHE"):
        drawn_dogs_root(tmp_path / "file", train_per_breed=1, val_per_breed=1)


def test_half_a_sample_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    root = drawn_dogs_root(tmp_path, train_per_breed=1, val_per_breed=1)
    (root / "README.txt").unlink()
    with pytest.raises(OSError, match="no whole sample; delete it"):
        drawn_dogs_root(tmp_path, train_per_breed=1, val_per_breed=1)
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize("bad", [{"seed": -1}, {"train_per_breed": 0}, {"val_per_breed": 0}])
def test_senseless_counts_are_refused(bad: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed must be 0 or more and the counts 1 or more"):
        drawn_dogs_root(tmp_path, **bad)  # type: ignore[arg-type]


def colours(picture: Image.Image) -> Numbers:
    red, green, blue = np.moveaxis(np.asarray(picture) // 64, 2, 0).astype(int)
    counts: Numbers = np.bincount((red * 16 + green * 4 + blue).ravel(), minlength=64) / red.size
    return counts


def thumbnail(picture: Image.Image) -> Numbers:
    grey = picture.convert("L").resize((16, 16), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float64).ravel() / 255


@pytest.mark.parametrize(("features", "limit"), [(colours, 0.30), (thumbnail, 0.60)])
def test_colours_and_rough_shapes_do_not_tell_the_breeds(
    sample: Path, features: Callable[[Image.Image], Numbers], limit: float
) -> None:
    """Chance is 0.10: were colour or posture the breed's, these would go up at once."""

    def load(split: str) -> tuple[Numbers, list[str]]:
        paths = sorted(sample.glob(f"{split}/*/*.jpg"))
        return np.stack([features(Image.open(path)) for path in paths]), [path.parent.name for path in paths]

    train, val = load("train"), load("val")
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    for model in (linear, KNeighborsClassifier(5)):
        assert model.fit(*train).score(*val) < limit
