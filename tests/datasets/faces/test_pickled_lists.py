"""insightface's files as data: every way in which such lists were ever pickled, and nothing else."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_support import assert_read_or_refused
from PIL import Image

from datasets.faces.insightface_bin import VerificationBin
from datasets.faces.pickled_lists import PickleError, UnsafeError, read_lists

PHOTOS = [b"\xff\xd8 one \n", b"two'\\", b'three"', b""]
# As Python 2 wrote them: strings of the first protocol, in quotation marks; booleans as numbers.
PYTHON2 = (
    b"((lp0\nS'\\xff\\xd8 one \\n'\np1\naS\"two'\\\\\"\np2\naS'three\"'\np3\naS''\np4\n"
    b"a(lp5\nI01\naI00\natp6\n."
)


def test_python_2s_files_are_read() -> None:
    assert pickle.loads(PYTHON2, encoding="bytes") == (PHOTOS, [True, False])  # noqa: S301
    assert read_lists(PYTHON2) == [PHOTOS, [True, False]]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [
    lambda photo: photo, bytearray, lambda photo: np.frombuffer(photo, np.uint8),
    lambda photo: np.frombuffer(photo, np.uint8).reshape(-1, 1),
])
def test_bytes_and_arrays_of_any_protocol_are_read(wrap: Any, protocol: int) -> None:
    content = [wrap(photo) for photo in PHOTOS], [True, False]
    assert read_lists(pickle.dumps(content, protocol)) == [PHOTOS, [True, False]]


@pytest.mark.parametrize(
    "same", [[np.bool_(True), np.bool_(False)], np.array([True, False]), [1, 0], (True, False)]
)
def test_pairs_in_numpys_booleans_are_read(tmp_path: Path, same: Any) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps((PHOTOS, same)))
    assert VerificationBin(tmp_path / "a.bin").same == [True, False]


def objects_from_bytes() -> bytes:
    """An array whose bytes are taken for addresses of objects, as numpy's own constructors make it."""
    return (
        b"\x80\x02]cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89U\x10" + b"\x41" * 16 + b"tba]\x88a\x86."
    )


@pytest.mark.parametrize(("content", "message"), [
    (objects_from_bytes(), "it has numbers of the type 'O8', not bytes"),
    (pickle.dumps(([np.array([b"x", 3], object)], [True])), "numbers of the type 'O8'"),
    (pickle.dumps(([np.ones(3)], [True])), "numbers of the type 'f8'"),
    (pickle.dumps(([{"a": 1}], [True])), "opcode b'}'"),
    (pickle.dumps(([Path("/")], [True])), r"asks for pathlib"),
    (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
    (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "asks for builtins.eval"),
    (b"(lp0\n(lg0\nt.", "no mark"), (b"\x80\x02" + b"(" * 10_000 + b".", "no lists"),
    (b"\x80\x04]\x94h\x00a.", "it holds|no lists"), (b"C\xff", "cut off"),
])
def test_everything_else_is_refused_and_no_process_dies(content: bytes, message: str) -> None:
    with pytest.raises(PickleError, match=message):
        read_lists(content)


def test_names_are_told_from_damage() -> None:
    with pytest.raises(UnsafeError):
        read_lists(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(PickleError, match="more than it is"):
        encoded = b"c_codecs\nencode\n(X\xe8\x03\x00\x00" + b"x" * 1000 + b"q\x01X\x06\x00\x00\x00latin1tR0"
        read_lists(b"(" + encoded + b"c_codecs\nencode\n(h\x01X\x06\x00\x00\x00latin1tR0" * 9 + b"t.")


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    for seed, protocol in enumerate((2, 4)):
        content = [np.frombuffer(buffer.getvalue(), np.uint8)] * 2 + [buffer.getvalue()] * 2, [True, False]
        data = pickle.dumps(content, protocol)
        assert_read_or_refused(tmp_path / "a.bin", data, VerificationBin, 300, seed)


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bin")
    with pytest.raises(OSError, match="not a regular file"):
        VerificationBin(tmp_path / "a.bin")
