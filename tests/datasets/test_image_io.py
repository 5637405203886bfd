"""Photos as people have them: every colour model, every orientation, and files that are none."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.image_io import IMAGE_SUFFIXES, BadImageError, find_images, image_size, list_photos, read_image

SHARED = Path(__file__).parents[2].parent / "shared"
ORIENTATION = 0x0112


def corners(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Red, green, blue and yellow quarters, clockwise from the top left."""
    width, height = size
    image = Image.new("RGB", size, "red")
    image.paste("lime", (width // 2, 0, width, height // 2))
    image.paste("blue", (width // 2, height // 2, width, height))
    image.paste("yellow", (0, height // 2, width // 2, height))
    return image


def quarters(image: Image.Image) -> list[str]:
    """The colours of the quarters, clockwise from the top left, to the nearest pure colour."""
    width, height = image.size
    points = [(1, 1), (3, 1), (3, 3), (1, 3)]
    names = {(1, 0, 0): "red", (0, 1, 0): "lime", (0, 0, 1): "blue", (1, 1, 0): "yellow"}
    pixels = [image.getpixel((width * x // 4, height * y // 4)) for x, y in points]
    return [names.get(tuple(round(v / 255) for v in pixel), str(pixel)) for pixel in pixels]  # type: ignore


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def as_stored(orientation: int) -> Image.Image:
    """``corners()`` as a camera held in that way stores it."""
    turns = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    image = corners()
    for turn in turns[orientation]:
        image = image.transpose(turn)
    return image


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_every_format_gives_the_same_rgb_picture(tmp_path: Path, suffix: str) -> None:
    image = read_image(saved(tmp_path / f"a.{suffix}", corners()))
    assert image.mode == "RGB"
    assert image.size == (64, 32)
    assert quarters(image) == ["red", "lime", "blue", "yellow"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_once_whatever_its_format(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = read_image(saved(tmp_path / f"a.{suffix}", as_stored(orientation), exif=exif))
    assert image.size == (64, 32)
    assert quarters(image) == ["red", "lime", "blue", "yellow"]


def test_unreadable_exif_does_not_cost_the_photo(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", corners(), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quarters(read_image(path)) == ["red", "lime", "blue", "yellow"]


def test_adobe_cmyk_is_not_read_as_its_negative(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", corners().convert("CMYK"), quality=95)
    data = path.read_bytes()
    assert b"Adobe" in data  # the marker that says that the inks are stored inverted
    assert quarters(read_image(path)) == ["red", "lime", "blue", "yellow"]


def test_palette_and_grey_and_one_bit_come_out_in_rgb(tmp_path: Path) -> None:
    palette = corners().convert("P", palette=Image.Palette.ADAPTIVE)
    assert quarters(read_image(saved(tmp_path / "p.png", palette))) == ["red", "lime", "blue", "yellow"]
    grey = read_image(saved(tmp_path / "grey.jpg", Image.new("L", (8, 8), 77)))
    assert (grey.mode, grey.getpixel((4, 4))) == ("RGB", (77, 77, 77))
    bits = Image.new("1", (8, 8), 1)
    bits.putpixel((0, 0), 0)
    read = read_image(saved(tmp_path / "bits.png", bits))
    assert (read.getpixel((0, 0)), read.getpixel((1, 0))) == ((0, 0, 0), (255, 255, 255))


def test_transparent_pixels_become_white_and_half_transparent_ones_pale(tmp_path: Path) -> None:
    layer = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    layer.putpixel((1, 0), (255, 0, 0, 0))
    layer.putpixel((2, 0), (255, 0, 0, 128))
    read = read_image(saved(tmp_path / "a.png", layer))
    assert [read.getpixel((x, 0)) for x in range(3)] == [(255, 0, 0), (255, 255, 255), (255, 127, 127)]


def test_a_transparent_palette_entry_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.putpixel((1, 0), 1)
    for suffix in ("png", "gif"):
        read = read_image(saved(tmp_path / f"a.{suffix}", image, transparency=0))
        assert [read.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (9, 9, 9)]


def test_a_transparent_grey_value_becomes_white(tmp_path: Path) -> None:
    image = Image.new("L", (2, 1), 0)
    image.putpixel((1, 0), 64)
    read = read_image(saved(tmp_path / "a.png", image, transparency=0))
    assert [read.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (64, 64, 64)]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    """Plain conversion would turn everything above 255 of 65535 white."""
    values = np.array([[0, 128, 129, 257, 0x4040, 0x8080, 0xFFFF]], dtype=np.uint16)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(values))
    assert [v[0] for v in np.asarray(read_image(path))[0]] == [0, 0, 1, 1, 64, 128, 255]


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        assert read_image(path).getpixel((4, 4)) == (255, 0, 0)


def test_the_two_picture_jpeg_of_a_phone_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    corners().save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 32))])
    assert quarters(read_image(path, min_side=8)) == ["red", "lime", "blue", "yellow"]


def test_a_photo_of_one_pixel_reads_fine(tmp_path: Path) -> None:
    for suffix in ("png", "jpg"):
        path = saved(tmp_path / f"a.{suffix}", Image.new("RGB", (1, 1), "white"))
        assert read_image(path, min_side=224).size == (1, 1)


def test_a_long_thin_photo_of_twenty_thousand_pixels_reads_fine(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path / "a.png", Image.new("L", (20_000, 3)))).size == (20_000, 3)


def test_min_side_lets_a_jpeg_shrink_but_not_below(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", corners((1000, 600)))
    sizes = [read_image(path, min_side=side).size for side in (75, 76, 150, 300, 301, 600, 2000)]
    assert sizes == [(125, 75), (250, 150), (250, 150), (500, 300), (1000, 600), (1000, 600), (1000, 600)]
    assert quarters(read_image(path, min_side=75)) == ["red", "lime", "blue", "yellow"]
    with pytest.raises(ValueError, match="min_side"):
        read_image(path, min_side=0)


def test_a_box_is_cut_from_the_pixels_as_stored_and_then_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # stored lying on its left side: the red quarter of 32 x 64 is at the bottom left
    path = saved(tmp_path / "a.png", as_stored(6), exif=exif)
    red = read_image(path, box=(0, 32, 16, 64))
    assert red.size == (32, 16)
    assert quarters(red) == ["red"] * 4


def test_a_box_follows_a_jpeg_that_is_decoded_smaller(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", corners((801, 403)), quality=95)
    blue = read_image(path, min_side=30, box=(420, 220, 801, 403))
    assert blue.size == (96, 46)  # a quarter: an eighth would leave 22 px of the box, though 50 of the photo
    assert quarters(blue) == ["blue"] * 4


def test_a_box_over_the_edge_is_cut_and_one_outside_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", corners())
    assert read_image(path, box=(-5, -5, 10, 999)).size == (10, 32)
    with pytest.raises(BadImageError, match="64 x 32"):
        read_image(path, box=(64, 0, 80, 10))


def test_photos_are_found_at_any_depth_in_the_order_of_names(tmp_path: Path) -> None:
    photos = ["b/z.JPEG", "b/a/1.png", "a.jpg", "c.webp"]
    for name in [*photos, "notes.txt", ".hidden.jpg", ".cache/x.jpg", "b/._z.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_images([tmp_path])]
    assert found == ["a.jpg", "b/a/1.png", "b/z.JPEG", "c.webp"]


def test_a_file_that_is_named_is_yielded_whatever_it_is_called(tmp_path: Path) -> None:
    for name in ("b.txt", ".a.jpg"):
        (tmp_path / name).touch()
    named = [tmp_path / "b.txt", tmp_path / ".a.jpg"]
    assert list(find_images(named)) == named


def test_a_missing_path_is_an_error_before_the_first_photo(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        next(find_images([tmp_path, tmp_path / "nowhere"]))


def test_a_list_of_photos_holds_some_or_says_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^no photo in .+, .+b; give photos or folders that hold some$"):
        (tmp_path / "b").mkdir()
        list_photos(iter([tmp_path, tmp_path / "b"]))
    with pytest.raises(ValueError, match=r"; --calibrate wants some$"):
        list_photos([tmp_path], "--calibrate wants some")
    (tmp_path / "a.jpg").touch()
    assert list_photos([tmp_path]) == [tmp_path / "a.jpg"]
    gone = tmp_path / "gone.jpg"
    assert list_photos([gone, tmp_path]) == [gone, tmp_path / "a.jpg"]  # its reader names it
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg does not exist"):
        list_photos([gone])


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "twin").symlink_to(tmp_path / "in")
    assert list(find_images([tmp_path])) == [tmp_path / "in" / "a.jpg"]


def test_a_link_to_nowhere_in_a_folder_is_yielded_so_that_it_gets_named(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    assert list(find_images([tmp_path])) == [tmp_path / "gone.jpg"]


def test_suffixes_are_in_lower_case_as_they_are_compared() -> None:
    assert {suffix.lower() for suffix in IMAGE_SUFFIXES} == IMAGE_SUFFIXES
    assert ".jpeg" in IMAGE_SUFFIXES


def test_real_photos_with_exif_are_all_read_without_a_warning() -> None:
    folder = SHARED / "data" / "geo" / "photos"
    if not folder.is_dir():
        pytest.skip("the shared photos are not on this machine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sizes = [read_image(path, min_side=64).size for path in find_images([folder])]
    assert len(sizes) > 200
    assert min(min(size) for size in sizes) >= 64


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_the_size_in_the_header_is_that_of_the_upright_photo(tmp_path: Path, suffix: str, turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    path = tmp_path / f"one.{suffix}"
    Image.new("RGB", (40, 24)).save(path, exif=exif)
    assert image_size(path) == read_image(path).size
