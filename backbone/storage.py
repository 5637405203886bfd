"""Where weights and files that are made once lie on this machine, and of what kind they are; no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from backbone.pretrained import REGISTRY
from backbone.schema import regular_file

MIRROR_VARIABLE = "MOBILENET_WEIGHTS"
CACHE_VARIABLE = "MOBILENET_APPS_CACHE"
SUFFIX = ".safetensors"
MIRRORED = tuple(name for name, entry in REGISTRY.items() if entry.kind != "timm")
_HEAD_BYTES = 512
_IMPORT = "import it first: python cli.py weights import {path} --out NAME.safetensors"
_UNPACK = "unpack it, and give the file in it or `weights import` that file"
_ANSWER = "answer with it by predict --model {path}; --weights takes PyTorch weights"
_KERAS3 = (
    "save it with model.save('x.h5') in Keras, then: python cli.py weights import x.h5 --out NAME.safetensors"
)


def cache_folder() -> Path:
    """Where this user's caches are kept: below ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux."""
    from platformdirs import user_cache_path

    return user_cache_path("mobilenet-apps", appauthor=False)


def weights_cache() -> Path:
    """Where fetched weights are kept: below ``$MOBILENET_APPS_CACHE``, else below the user's caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (Path(chosen).expanduser() if chosen else cache_folder()) / "weights"


def in_mirror(file: str) -> Path | None:
    """A file of the folder that MOBILENET_WEIGHTS names; None if it is not there."""
    folder = os.environ.get(MIRROR_VARIABLE)
    path = Path(folder) / file if folder and file else None
    return path if path is not None and path.is_file() else None


def on_disk(file: str) -> Path | None:
    """A file of the folder that MOBILENET_WEIGHTS names, or else of the cache; None if neither holds it."""
    cached = weights_cache() / file
    return in_mirror(file) or (cached if cached.is_file() else None)


def local_weights(spec: str | Path) -> Path | None:
    """Where weights are, without reading them: a file or a run's folder; None for a name that timm may know.

    Args:
        spec: a path, or a name with or without ``.safetensors``.

    Raises:
        FileNotFoundError: there is no such file, or weights of a registered name are not here.
        ValueError: by its content the file is of another kind, such as TFLite.
    """
    path, name = Path(spec), str(spec).removesuffix(SUFFIX)
    if path.exists():
        if not path.is_dir() and (foreign := foreign_kind(path) or _unknown_kind(path)):
            raise ValueError(foreign)
        return path
    plain = path.name == str(spec)
    local = on_disk(f"{name}{SUFFIX}") if plain else None
    if local is not None:
        return local
    if name in MIRRORED:
        raise _not_here(name)
    if name not in REGISTRY and (path.suffix in (SUFFIX, ".pt", ".pth", ".bin", ".ckpt") or not plain):
        raise FileNotFoundError(f"there is no weights file {spec}; check the path")
    return None


def _not_here(name: str) -> FileNotFoundError:
    folder, file = os.environ.get(MIRROR_VARIABLE), f"{name}{SUFFIX}"
    where = f"weights {name} are not on this machine: set {MIRROR_VARIABLE} to a folder that holds {file}"
    if folder:
        where = f"{Path(folder) / file} is missing; {MIRROR_VARIABLE}={folder} should hold it"
    return FileNotFoundError(
        f"{where}, or get it by python cli.py weights fetch {name}, or give the file's path"
    )


def _starts(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(prefixes)


def _is_web_page(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<head"))


def _is_openvino(head: bytes) -> bool:
    return head.startswith(b"<?xml") and b"<net " in head


def _is_onnx(head: bytes) -> bool:
    """Protobuf: ir_version (1) of 3 to 15, then producer, graph or opset."""
    return head[:1] == b"\x08" and 3 <= head[1:2][0] <= 15 and head[2:3] in (b"\x12", b"\x3a", b"\x42")


def _is_saved_model(head: bytes) -> bool:
    """Protobuf: schema version (1) of 1, then a graph with its description."""
    return head[:3] == b"\x08\x01\x12"


def _is_graph(head: bytes) -> bool:
    """Protobuf: a node (1) that begins with its name (1)."""
    length = next((n for n in range(1, 6) if len(head) > n and head[n] < 128), 0)
    return head[:1] == b"\x0a" and bool(length) and head[length + 1 : length + 2] == b"\x0a"


# (what it is, how to mend it, whether the first bytes are of that kind); the first that fits counts.
_KINDS: tuple[tuple[str, str, Callable[[bytes], bool]], ...] = (
    ("a TFLite file", _IMPORT, lambda head: head[4:8] == b"TFL3"),
    ("an HDF5 file, as Keras writes them", _IMPORT, _starts(b"\x89HDF\r\n\x1a\n")),
    ("a Git LFS pointer, not the file itself", "get the file with: git lfs pull",
     _starts(b"version https://git-lfs")),
    ("a saved web page, not the file itself", "download the file by its raw address", _is_web_page),
    ("an OpenVINO model", _ANSWER, _is_openvino),
    ("a NumPy array", "save the weights as a PyTorch state dict or .safetensors", _starts(b"\x93NUMPY")),
    ("a packed archive", _UNPACK, _starts(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f")),
    ("a packed archive", _UNPACK, lambda head: head[257:262] == b"ustar"),
    ("a photo", "give a file of weights", _starts(b"\xff\xd8\xff", b"\x89PNG", b"GIF8")),
    ("a TensorFlow SavedModel", "convert it to TFLite, then: python cli.py weights import", _is_saved_model),
    ("an ONNX model", _ANSWER, lambda head: len(head) > 2 and _is_onnx(head)),
    ("a TensorFlow graph", "convert it to TFLite, then: python cli.py weights import", _is_graph),
)


def foreign_kind(path: Path) -> str | None:
    """What a file is and how to mend it, in one line, if by its content it is no file of PyTorch weights.

    Args:
        path: an existing file, whatever its name ends in.
    """
    with regular_file(path).open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return f"{path} is empty; copy or download it again"
    if is_safetensors(path):
        return None
    for name, mend, fits in _KINDS:
        if fits(head):
            return f"{path} is {name}; {mend.format(path=path)}"
    return _foreign_zip(path) if head.startswith(b"PK\x03\x04") else None


def _unknown_kind(path: Path) -> str | None:
    """A line on a file that by its first bytes no reader of weights takes."""
    with regular_file(path).open("rb") as file:
        head = file.read(4)
    if path.suffix == SUFFIX or is_safetensors(path) or head.startswith((b"PK\x03\x04", b"\x80")):
        return None
    return f"{path} is not a whole PyTorch file; copy or download it again"


def _foreign_zip(path: Path) -> str | None:
    """None for PyTorch's own zip, and for one that is cut off: torch says what is wrong with that."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        scripted = any("/code/" in name for name in names)
        mend = "save its state_dict(), best as .safetensors"
        return f"{path} is a TorchScript program, not weights; {mend}" if scripted else None
    if any(name.endswith("model.weights.h5") for name in names):
        return f"{path} is a Keras 3 file; {_KERAS3}"
    if names and all(name.endswith(".npy") for name in names):
        mend = "save the weights as a PyTorch state dict or .safetensors"
        return f"{path} is a NumPy archive of arrays; {mend}"
    return f"{path} is a zip archive; {_UNPACK}"


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as a safetensors file: the length of its header, then JSON."""
    with regular_file(path).open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32
