"""What a file is by its first bytes, which suffixes photos have, and how videos among them are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets.packed import beginning

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif",
    ".tiff", ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c",
})
VIDEO_SUFFIXES = frozenset({
    ".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".3g2", ".mpg", ".mpeg", ".mts", ".m2ts",
    ".wmv", ".flv", ".ogv", ".mxf", ".vob", ".dv", ".h264", ".hevc",
})
# Files that are not looked into for photos: labels, papers, weights and videos beside them.
OTHER_SUFFIXES = frozenset({
    ".txt", ".xml", ".json", ".jsonl", ".csv", ".tsv", ".md", ".yaml", ".yml", ".toml", ".html", ".htm",
    ".py", ".log", ".names", ".data", ".cfg", ".cache", ".npy", ".npz", ".pt", ".pth", ".mat", ".pkl",
    ".h5", ".hdf5", ".parquet", ".arrow", ".safetensors", ".onnx", ".tflite", ".xmp", ".aae", ".mp3",
    ".wav", ".m4a", ".pdf", ".zip", ".tar", ".gz",
    ".7z", ".rar", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".db", ".ini", ".lnk", ".exe",
    ".dll", ".sh", ".svg", ".psd", ".ai", ".mp", ".thm",
}) | VIDEO_SUFFIXES
HEAD_BYTES = 512

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
Fits = Callable[[bytes], bool]


def _starts(*prefixes: bytes) -> Fits:
    return lambda head: head.startswith(prefixes)


def _brands(*brands: bytes) -> Fits:
    """Files in boxes (ISO base media): the main brand, and for images the compatible ones."""
    return lambda head: (
        head[4:8] == b"ftyp"
        and any(
            head[at : at + 4] in brands for at in (8, *range(16, min(int.from_bytes(head[:4], "big"), 64), 4))
        )
    )


def _web_page(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<head"))


def _text(head: bytes) -> bool:
    return b"\0" not in head and not any(byte < 9 or 13 < byte < 27 for byte in head)


# The kinds that are read, by their names in messages; the first that fits counts.
IMAGES: tuple[tuple[str, Fits], ...] = (
    ("JPEG", _starts(b"\xff\xd8\xff")),
    ("PNG", _starts(b"\x89PNG\r\n\x1a\n")),
    ("GIF", _starts(b"GIF87a", b"GIF89a")),
    ("WebP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    ("TIFF", _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("JPEG 2000", _starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    ("AVIF", _brands(b"avif", b"avis")),
    ("HEIC", _brands(*_HEIC)),
    ("BMP", lambda head: head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"),
)
VIDEOS: tuple[Fits, ...] = (
    lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"),
    _starts(b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"OggS", b"0&\xb2u\x8ef\xcf\x11"),
    lambda head: head[:4] == b"RIFF" and head[8:11] == b"AVI",
    lambda head: len(head) > 376 and head[0] == head[188] == head[376] == 0x47,  # MPEG's transport stream
)
FROM_VIDEO = "take pictures out of it; predict, detect and embed-faces read it under a video's name"
# Those that are not, with what to do.
OTHERS: tuple[tuple[str, str, Fits], ...] = (
    ("a Git LFS pointer", "get the photo itself with: git lfs pull", _starts(b"version https://git-lfs")),
    ("a web page", "download the photo itself", _web_page),
    ("a JPEG XL file", "save it as JPEG or PNG", _starts(b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    ("a PDF", "save its pictures as JPEG or PNG", _starts(b"%PDF")),
    ("a Photoshop file", "save it as JPEG or PNG", _starts(b"8BPS")),
    ("a raw file of a camera", "save it as JPEG", _starts(b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\0", b"\0MRM")),
    ("an SVG drawing", "save it as PNG", lambda head: b"<svg" in head),
    *(("a video", FROM_VIDEO, fits) for fits in VIDEOS),
    (
        "a packed archive",
        "unpack it",
        _starts(b"PK\3\4", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"),
    ),
    ("what a Mac keeps beside a file (AppleDouble)", "remove it", _starts(b"\0\5\x16\7", b"\0\5\x16\0")),
    ("a program", "remove it", _starts(b"\x7fELF", b"MZ")),
    ("nothing but zeros", "copy or download it again", lambda head: not head.strip(b"\0")),
    ("a text", "download the photo itself", _text),
)


def image_kind(head: bytes) -> str | None:
    """The name of a kind of photo that is read, such as ``JPEG``; None for all else."""
    return next((name for name, fits in IMAGES if fits(head)), None)


def video_kind(head: bytes) -> bool:
    """Whether a file begins as videos do, or as sound in the same containers."""
    return image_kind(head) is None and any(fits(head) for fits in VIDEOS)


def other_kind(head: bytes) -> str | None:
    """What a file is that is no photo, and what to do, such as ``a web page; download the photo itself``."""
    return next((f"{name}; {mend}" for name, mend, fits in OTHERS if fits(head)), None)


def first_bytes(path: Path) -> bytes:
    """The beginning of a regular file; nothing of what cannot be read, or would keep its reader waiting."""
    return beginning(path, HEAD_BYTES)


def is_image_name(name: str) -> bool:
    """Whether a name ends as a photo's does, in capitals or not."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True)
class Sampling:
    """How the videos among photos are read.

    Args:
        every: seconds between two frames that are taken, 0 or more; 0 takes all.
        videos: take the videos in folders, too, not only those that are named.
    """

    every: float = 1.0
    videos: bool = False


ONE_A_SECOND = Sampling()
