"""Photos of today: HEIC, AVIF, JPEG 2000, cut-off JPEGs, and files that are no photos."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import jpeg
from datasets.geo.geotags import read_geotag
from datasets.image_io import BadImageError, image_size, read_image, read_pixels, stored_size

# 64 x 48: blue and green above, red and grey below. No library of the project writes HEIC.
PLAIN = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAA"
    "AAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAADsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAA"
    "AA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNw"
    "AAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFz"
    "wIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAA"
    "Av////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAENtZGF0AAAANygBrxmA94RJf+7L"
    "iNBfYDNXivsJST6TfHZmsrjMQ8YqH/AALjApVZOErl0IjqHQ7uCeXWTSefg="
)
# The same with EXIF's orientation 6 and a position, 48.856667 north and 2.35 east.
TURNED = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAA"
    "AAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAADsAAgAAAAACJwABAAAAAAAAAJYAAAA4aWluZgAAAAAAAgAAABVp"
    "bmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZo"
    "dmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAA"
    "AwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAA"
    "AAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90"
    "AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAANltZGF0AAAANygBrxmA94RJ"
    "f+7LiNBfYDNXivsJST6TfHZmsrjMQ8YqH/AALjApVZOErl0IjqHQ7uCeXWTSefgAAAAGRXhpZgAATU0AKgAAAAgAAgESAAMA"
    "AAABAAYAAIglAAQAAAABAAAAJgAAAAAABAABAAIAAAACTgAAAAACAAUAAAADAAAAXAADAAIAAAACRQAAAAAEAAUAAAADAAAA"
    "dAAAAAAAAAAwAAAAAQAAADMAAAABAAAAGAAAAAEAAAACAAAAAQAAABUAAAABAAAAAAAAAAE="
)


def drawn(size: tuple[int, int] = (64, 48)) -> Image.Image:
    image = Image.new("RGB", size, (200, 40, 40))
    image.paste((40, 40, 200), (0, 0, size[0] // 2, size[1] // 2))
    image.paste((40, 200, 40), (size[0] // 2, 0, size[0], size[1] // 2))
    image.paste((220, 220, 220), (size[0] // 2, size[1] // 2, *size))
    return image


def near(image: Image.Image, wanted: Image.Image, tolerance: int = 24) -> None:
    """Equal but for what a lossy format changes, away from the edges between colours."""
    assert image.size == wanted.size and image.mode == "RGB"
    width, height = image.size
    for x in (width // 4, 3 * width // 4):
        for y in (height // 4, 3 * height // 4):
            differences = np.subtract(image.getpixel((x, y)), wanted.getpixel((x, y)))
            assert np.abs(differences).max() <= tolerance, (x, y)


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.jpg", "a"])
def test_a_heic_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PLAIN)
    near(read_image(tmp_path / name), drawn())
    assert image_size(tmp_path / name) == (64, 48)
    assert np.array_equal(read_pixels(tmp_path / name), read_pixels(tmp_path / name, data=PLAIN))
    near(read_image(tmp_path / name, box=(0, 0, 32, 24)), Image.new("RGB", (32, 24), (40, 40, 200)))


def test_a_turned_heic_comes_upright_once_and_tells_its_position(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(TURNED)
    near(read_image(tmp_path / "a.heic"), drawn().transpose(Image.Transpose.ROTATE_270))
    assert image_size(tmp_path / "a.heic") == (48, 64) and stored_size(tmp_path / "a.heic") == (48, 64, 1)
    tag = read_geotag(tmp_path / "a.heic")
    assert (tag.lat, tag.lon) == pytest.approx((48 + 51 / 60 + 24 / 3600, 2.35))


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "BMP", "DIB", "TIFF", "WEBP", "GIF"])
def test_other_kinds_are_read_under_any_name(tmp_path: Path, kind: str) -> None:
    for name in ("a.jpg", "b"):
        drawn().save(tmp_path / name, kind)
        near(read_image(tmp_path / name), drawn())
        assert image_size(tmp_path / name) == (64, 48)


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_an_avif_comes_upright(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    drawn().save(tmp_path / "a.avif", exif=exif.tobytes())
    rotations = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    near(read_image(tmp_path / "a.avif"), drawn().transpose(rotations[turn]) if turn > 1 else drawn())
    assert image_size(tmp_path / "a.avif") == ((48, 64) if turn in (6, 8) else (64, 48))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_is_read(tmp_path: Path, kind: str) -> None:
    others = [Image.new("RGB", (64, 48), colour) for colour in ("black", "white")]
    drawn().save(tmp_path / "a.bin", kind, save_all=True, append_images=others, duration=100)
    first = read_image(tmp_path / "a.bin")
    near(first, drawn(), 40)
    assert first.size == (64, 48) and len(set(first.getdata())) > 1, "neither black nor white alone"


def encoded(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90, **options)
    return out.getvalue()


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("min_side", [None, 32])
def test_a_jpeg_without_its_end_mark_is_read_whole_and_noted(
    tmp_path: Path,
    cut: int,
    options: dict[str, object],
    min_side: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 255, (90, 130, 3), np.uint8)), **options)
    (tmp_path / "whole.jpg").write_bytes(data)
    for name, content in (("cut.jpg", data[:-cut]), ("padded.jpg", data[:-2] + bytes(100))):
        (tmp_path / name).write_bytes(content)
        with caplog.at_level(logging.WARNING, "datasets"):
            pixels = read_pixels(tmp_path / name, min_side=min_side)
        assert np.array_equal(pixels, read_pixels(tmp_path / "whole.jpg", min_side=min_side))
    assert f"{tmp_path / 'cut.jpg'} lacks its last bytes, but no row of pixels: it is read" in caplog.text


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_jpeg_that_lacks_rows_is_refused(tmp_path: Path, share: float) -> None:
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 255, (90, 130, 3), np.uint8)))
    (tmp_path / "a.jpg").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadImageError, match="damaged or cut off: "):
        read_pixels(tmp_path / "a.jpg")


def test_without_the_strict_decoder_nothing_is_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg, "_decoder", lambda: None)
    (tmp_path / "a.jpg").write_bytes(encoded(drawn())[:-2])
    with pytest.raises(BadImageError, match="damaged or cut off: "):
        read_pixels(tmp_path / "a.jpg")


OTHERS = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
    "page": (b"\n<!DOCTYPE html><html>404", "a web page"),
    "page with a mark": (b"\xef\xbb\xbf<html>", "a web page"),
    "jxl": (b"\xff\x0a" + bytes(range(20)), "a JPEG XL file"),
    "pdf": (b"%PDF-1.7\n", "a PDF"),
    "psd": (b"8BPS\0\1", "a Photoshop file"),
    "svg": (b"<?xml version='1.0'?><svg>", "an SVG drawing"),
    "mov": (b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", "a video"),
    "mkv": (b"\x1aE\xdf\xa3" + bytes(9), "a video"),
    "zip": (b"PK\3\4" + bytes(30), "a packed archive"),
    "zeros": (bytes(4096), "nothing but zeros"),
    "apple": (b"\0\5\x16\7\0\2\0\0Mac OS X", "what a Mac keeps beside a file"),
    "text": (b"[1, 2]", "a text"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_photo_is_called_by_what_it_is(tmp_path: Path, name: str) -> None:
    data, words = OTHERS[name]
    (tmp_path / "a.jpg").write_bytes(data)
    for call in (read_image, image_size):
        with pytest.raises(BadImageError, match=f"not a photo but {words}.* named .jpg; ") as caught:
            call(tmp_path / "a.jpg")
        assert "\n" not in str(caught.value)
    (tmp_path / "b").write_bytes(b"\x07" * 40)
    with pytest.raises(BadImageError, match=r"not a photo in a known format .*HEIC"):
        read_image(tmp_path / "b")


def test_the_photos_of_the_case_of_suffixes_are_all_found_and_read(shared: Path) -> None:
    from datasets.folders import list_photos

    root = shared / "cases/02-suffixes"
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    photos = list_photos([root])
    assert len(photos) == len(list(root.iterdir())) == 12
    assert {read_image(path).size for path in photos} == {(120, 100)}
