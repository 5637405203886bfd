"""Files that are no photos, broken ones and too large ones: each refused in one line."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import warnings
import zlib
from pathlib import Path

import pytest
from PIL import Image
from support import unprivileged

from datasets.image_io import MAX_PIXELS, BadImageError, read_image


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def png(width: int, height: int, depth: int, colour: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG written by hand, for what Pillow itself does not write."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in [(b"IHDR", head), *chunks, (b"IEND", b"")]:
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return out


def test_pixels_without_a_known_range_are_refused_in_words(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.new("F", (4, 4), 0.5))
    with pytest.raises(BadImageError, match="save it as 8 or 16 bits"):
        read_image(path)


@pytest.mark.parametrize("width", [20_000, MAX_PIXELS // 20_000 + 1])
def test_a_photo_above_the_limit_is_refused_from_its_header(tmp_path: Path, width: int) -> None:
    """The file has no pixels at all: only a check before decoding can know the size."""
    path = tmp_path / "a.png"
    path.write_bytes(png(width, 20_000, 8, 0, [(b"IDAT", b"")]))
    with pytest.raises(BadImageError, match=f"limit of {MAX_PIXELS} pixels"):
        read_image(path)


def test_the_limit_holds_where_another_library_has_lifted_pillows_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "a.png").write_bytes(png(20_000, 20_000, 8, 0, [(b"IDAT", b"")]))
    with pytest.raises(BadImageError, match=f"20000 x 20000 pixels, above the limit of {MAX_PIXELS} pixels"):
        read_image(tmp_path / "a.png")


def test_a_large_jpeg_is_refused_even_if_it_could_be_decoded_smaller(tmp_path: Path) -> None:
    data = bytearray(saved(tmp_path / "a.jpg", Image.new("RGB", (16, 16))).read_bytes())
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 20_000, 20_000)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(BadImageError, match=f"limit of {MAX_PIXELS} pixels"):
        read_image(tmp_path / "a.jpg", min_side=32)


def test_a_photo_of_half_the_limit_gives_no_warning(tmp_path: Path) -> None:
    """Pillow warns from 89 million pixels on."""
    path = tmp_path / "a.png"
    side = 9_600
    rows = zlib.compress(bytes((side + 7) // 8 + 1) * side)
    path.write_bytes(png(side, side, 1, 0, [(b"IDAT", rows)]))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert read_image(path).size == (side, side)
    assert heard == []


def broken_files(folder: Path) -> dict[str, Path]:
    whole = saved(folder / "whole.jpg", Image.effect_noise((200, 200), 80)).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("this is not a photo\n" * 20)
    (folder / "empty.jpg").touch()
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    reasons = {
        "cut.jpg": "cut off", "text.jpg": "not a photo", "empty.jpg": "empty", "folder.jpg": "a folder",
        "missing.jpg": "not found", "pipe.jpg": "not a regular file", "loop.jpg": "cannot be read",
    }  # fmt: skip
    return {reason: folder / name for name, reason in reasons.items()}


def test_what_is_no_photo_is_refused_in_one_line_with_path_and_reason(tmp_path: Path) -> None:
    for reason, path in broken_files(tmp_path).items():
        with pytest.raises(BadImageError) as caught:
            read_image(path, min_side=10)
        assert reason in caught.value.reason
        assert caught.value.path == path
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        assert "\n" not in str(caught.value)


def test_a_cut_off_file_is_refused_in_every_format(tmp_path: Path) -> None:
    noise = Image.effect_noise((90, 90), 80)
    for suffix in ("jpg", "png", "webp", "bmp", "gif", "tif"):
        path = saved(tmp_path / f"a.{suffix}", noise)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(BadImageError):
            read_image(path)


def test_a_file_without_permission_is_refused_in_words(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (64, 32)))
    path.chmod(0)
    with unprivileged(), pytest.raises(BadImageError, match="no permission"):
        read_image(path)


def test_the_error_crosses_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(BadImageError(Path("a.jpg"), "two\nlines")))  # noqa: S301
    assert (error.path, error.reason) == (Path("a.jpg"), "two lines")


def test_flipped_bytes_give_a_picture_or_our_error_and_nothing_else(tmp_path: Path) -> None:
    """Broken bytes reach Pillow as a dozen kinds of exception; training must survive each."""
    sources = []
    for suffix in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        buffer = io.BytesIO()
        Image.effect_noise((40, 30), 60).convert("RGB").save(buffer, suffix)
        sources.append(buffer.getvalue())
    rng, refused = random.Random(0), 0
    for _ in range(600):
        data = bytearray(rng.choice(sources))
        for _ in range(4):
            data[rng.randrange(min(len(data), rng.choice([60, 300])))] = rng.randrange(256)
        (tmp_path / "a.jpg").write_bytes(data[: rng.choice([None, rng.randrange(len(data))])])
        try:
            assert read_image(tmp_path / "a.jpg", min_side=8, box=(1, 1, 25, 25)).mode == "RGB"
        except BadImageError:
            refused += 1
    assert 100 < refused < 600
