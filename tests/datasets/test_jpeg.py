"""The short way for JPEGs gives Pillow's pixels, and leaves to Pillow what only Pillow can judge."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets import jpeg
from datasets.image_io import MAX_PIXELS, BadImageError, _pillow_pixels, find_images, read_image, read_pixels
from datasets.jpeg import jpeg_pixels

pytest.importorskip("simplejpeg")
ORIENTATION = 0x0112


def picture(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 3))
    return Image.fromarray(small.astype(np.uint8)).resize(size).convert(mode)


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [
    {}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"keep_rgb": True, "subsampling": 0},
    {"quality": 20}, {"mode": "L"},
])  # fmt: skip
@pytest.mark.parametrize("min_side", [None, 1, 30, 31, 60, 119])
@pytest.mark.parametrize("box", [None, (3, 5, 150, 90), (-9, 60, 999, 999)])
def test_the_short_way_gives_pillows_pixels(
    options: dict[str, Any], min_side: int | None, box: tuple[int, int, int, int] | None
) -> None:
    mode = options.get("mode", "RGB")
    rest = {name: value for name, value in options.items() if name != "mode"}
    data = encoded(picture((241, 167), mode), **rest)
    fast = jpeg_pixels(data, min_side, box, MAX_PIXELS)
    assert fast is not None
    np.testing.assert_array_equal(fast, _pillow_pixels(Path("a.jpg"), data, min_side, box))
    assert fast.flags.c_contiguous
    assert fast.flags.writeable


@pytest.mark.parametrize("turn", range(10))
def test_it_is_turned_as_pillow_turns_it(turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    data = encoded(picture((90, 70)), exif=exif)
    fast = jpeg_pixels(data, None, (0, 0, 40, 70), MAX_PIXELS)
    assert fast is not None
    np.testing.assert_array_equal(fast, _pillow_pixels(Path("a.jpg"), data, None, (0, 0, 40, 70)))


def test_inks_and_large_ones_and_what_is_no_jpeg_are_left_to_pillow() -> None:
    assert jpeg_pixels(encoded(picture((80, 80), "CMYK")), None, None, MAX_PIXELS) is None
    assert jpeg_pixels(encoded(picture((80, 80))), None, None, 80 * 80 - 1) is None
    assert jpeg_pixels(b"\x89PNG", None, None, MAX_PIXELS) is None
    assert jpeg_pixels(encoded(picture((80, 80))), None, (80, 0, 90, 9), MAX_PIXELS) is None


def test_a_cut_off_jpeg_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    """libjpeg-turbo alone would paint the missing part grey."""
    data = encoded(picture((64, 64)))
    for length in [*range(2, len(data) - 2, 97), len(data) - 3, len(data) - 4]:
        (tmp_path / "a.jpg").write_bytes(data[:length])
        with pytest.raises(BadImageError):
            read_pixels(tmp_path / "a.jpg")


def test_damaged_jpegs_come_out_as_from_pillow_alone() -> None:
    rng, same = random.Random(0), 0
    for seed in range(150):
        data = bytearray(encoded(picture((70, 66), seed=seed), progressive=seed % 2 == 0))
        for _ in range(2):
            data[rng.randrange(len(data))] = rng.randrange(256)
        fast = jpeg_pixels(bytes(data), 20, None, MAX_PIXELS)
        if fast is not None:
            np.testing.assert_array_equal(fast, _pillow_pixels(Path("a.jpg"), bytes(data), 20, None))
            same += 1
    assert 5 < same < 150


def test_without_simplejpeg_pillow_gives_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture((200, 300))))
    fast = read_pixels(path, min_side=90)
    monkeypatch.setattr(jpeg, "_decoder", lambda: None)
    assert jpeg_pixels(path.read_bytes(), 90, None, MAX_PIXELS) is None
    np.testing.assert_array_equal(read_pixels(path, min_side=90), fast)
    np.testing.assert_array_equal(np.asarray(read_image(path, min_side=90)), fast)


def test_the_bytes_at_hand_are_read_and_not_the_file(tmp_path: Path) -> None:
    for image, kind in ((picture((80, 40)), "JPEG"), (picture((80, 40)), "PNG")):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        assert read_pixels(tmp_path / "nowhere", data=buffer.getvalue()).shape == (40, 80, 3)


def test_real_photos_come_the_short_way_with_pillows_pixels(imagewoof: Path, shared: Path) -> None:
    short = 0
    for folder in (imagewoof / "val", shared / "data" / "geo" / "photos"):
        for path in [*find_images([folder])][:20]:
            fast = jpeg_pixels(path.read_bytes(), 150, None, MAX_PIXELS)
            if fast is not None:
                np.testing.assert_array_equal(fast, _pillow_pixels(path, None, 150, None))
                short += 1
    assert short >= 35
