"""Archives that are unpacked whole, and archives that bite."""

from __future__ import annotations

import io
import os
import random
import resource
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from apps.zoo.unpack import unpack

S, H, REGULAR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def entry(name: str, kind: bytes = REGULAR, target: str = "", data: bytes = b"x") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = len(data) if kind == REGULAR else 0
    return info


def tar_of(path: Path, *entries: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info in entries:
            tar.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


def zip_of(path: Path, *names: str, mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            zipped.writestr(info, "x")
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_is_unpacked_with_its_links(tmp_path: Path, mode: str) -> None:
    archive = tar_of(
        tmp_path / "a.tar", entry(".", tarfile.DIRTYPE), entry("./d", tarfile.DIRTYPE), entry("./d/e/f.txt"),
        entry("d/hard", tarfile.LNKTYPE, "./d/e/f.txt"), entry("d/e/soft", tarfile.SYMTYPE, "../hard"),
        entry("empty", tarfile.DIRTYPE), mode=mode,
    )  # fmt: skip
    to = tmp_path / "out"
    assert unpack(archive, to) == 2
    assert names(to) == ["d", "empty"]
    assert [(to / name).read_text() for name in ("d/e/f.txt", "d/e/soft", "d/hard")] == ["x"] * 3


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "d/e/f.txt", "g.txt")
    assert unpack(archive, tmp_path / "out") == 2
    assert (tmp_path / "out/d/e/f.txt").read_text() == "x"


def test_what_the_folder_holds_already_stays_and_is_not_replaced(tmp_path: Path) -> None:
    to = tmp_path / "out"
    to.mkdir()
    (to / "mine").write_text("mine")
    unpack(tar_of(tmp_path / "a.tar", entry("d/f")), to)
    assert names(to) == ["d", "mine"]
    with pytest.raises(FileExistsError, match=r"mine is there already; remove it to unpack"):
        unpack(tar_of(tmp_path / "b.tar", entry("a"), entry("mine")), to)
    assert names(to) == ["d", "mine"]
    assert (to / "mine").read_text() == "mine"


EVIL = {
    "an absolute path": [entry("/tmp/evil")],
    "a path upwards": [entry("../evil")],
    "a path upwards in the middle": [entry("d/../../evil")],
    "a Windows drive": [entry("C:\\evil")],
    "a Windows path upwards": [entry("d\\..\\..\\evil")],
    "an absolute symlink": [entry("link", S, "/etc")],
    "a symlink upwards": [entry("link", S, "..")],
    "a deep symlink upwards": [entry("a/b/link", S, "../../../evil")],
    "a symlink past a name": [entry("a/b", S, "."), entry("link", S, "a/b/../../..")],
    "a file through a symlink": [entry("link", S, "."), entry("link/f")],
    "a file through a later symlink": [entry("link/f"), entry("link", S, ".")],
    "a file over a symlink": [entry("f"), entry("link", S, "f"), entry("link")],
    "a hard link outwards": [entry("link", H, "/etc/passwd")],
    "a hard link upwards": [entry("link", H, "../evil")],
    "a hard link to a symlink": [entry("s", S, "f"), entry("f"), entry("link", H, "s")],
    "a character device": [entry("null", tarfile.CHRTYPE)],
    "a block device": [entry("disk", tarfile.BLKTYPE)],
    "a named pipe": [entry("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("what", EVIL)
def test_a_dangerous_tar_is_refused_before_anything_is_written(tmp_path: Path, what: str) -> None:
    archive = tar_of(tmp_path / "a.tar", entry("good/file"), *EVIL[what])
    with pytest.raises(ValueError, match=r"a.tar is refused: '.+' .+; get it from another source") as caught:
        unpack(archive, tmp_path / "in" / "out")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("name", ["/tmp/evil", "../evil", "d/../../evil", "C:\\evil"])
def test_a_dangerous_zip_is_refused_as_well(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"is refused: .*would land outside"):
        unpack(zip_of(tmp_path / "a.zip", "good", name), tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


def test_a_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no plain file or folder"):
        unpack(zip_of(tmp_path / "a.zip", "link", mode=stat.S_IFLNK | 0o777), tmp_path / "out")


def test_a_member_of_a_zip_without_a_name_is_refused(tmp_path: Path) -> None:
    """Its name is written over by its comment's length, as damage does: zipfile looks at its last letter."""
    archive = zip_of(tmp_path / "a.zip", "good", "n")
    data = archive.read_bytes()
    at = data.rindex(b"PK\1\2")  # the list's entry of the second: its name is moved into what follows it
    data = data[: at + 28] + b"\0\0\1\0" + data[at + 32 :]
    archive.write_bytes(data)
    assert [entry.filename for entry in zipfile.ZipFile(archive).infolist()] == ["good", ""]
    with pytest.raises(ValueError, match=r"a.zip is refused: '.' is no plain file or folder"):
        unpack(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_by_its_unpacked_size(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("zeros", bytes(5_000_000))
    else:
        tar_of(archive, *(entry(str(n), data=bytes(1_000_000)) for n in range(5)), mode="w:gz")
    assert archive.stat().st_size < 100_000
    with pytest.raises(ValueError, match="unpacks to more than 4000000 bytes"):
        unpack(archive, tmp_path / "out", max_bytes=4_000_000)
    assert not (tmp_path / "out").exists()
    assert unpack(archive, tmp_path / "out", max_bytes=5_000_000) in (1, 5)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "text"])
def test_a_cut_off_archive_is_one_line_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"a.{kind}"
    noise = random.Random(0).randbytes(200_000)
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("noise", noise)
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as tar:
            tar.addfile(entry("noise", data=noise), io.BytesIO(noise))
    archive.write_bytes(b"no archive" if kind == "text" else archive.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"is no tar or zip, or damaged .*fetch it again") as caught:
        unpack(archive, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_damaged_zip_is_found_while_unpacking_and_nothing_stays(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "good")
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("bad", b"findme" * 9)
    archive.write_bytes(archive.read_bytes().replace(b"findme", b"FINDME", 1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ValueError, match="Bad CRC-32"):
        unpack(archive, tmp_path / "out")
    assert names(tmp_path / "out") == ["mine"]


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", entry("small"), entry("large", data=bytes(300_000)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot unpack .*: File too large; make room there or choose"):
            unpack(archive, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["a.tar"]


def test_an_archive_larger_than_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    archive, size = tmp_path / "a.tar", 10**13
    huge = tarfile.TarInfo("huge")
    huge.size = size
    archive.write_bytes(huge.tobuf(tarfile.GNU_FORMAT))
    if shutil.disk_usage(tmp_path).free > size:
        pytest.skip("this disk has room for ten terabytes")
    try:
        os.truncate(archive, 512 + size + 10_240)  # a hole: takes no room
    except OSError:
        pytest.skip("this file system has no files of ten terabytes")
    with pytest.raises(OSError, match=rf"unpacks to {size} bytes, \d+ are free in .*make room"):
        unpack(archive, tmp_path / "out", max_bytes=2 * size)
    assert names(tmp_path) == ["a.tar"]


def test_the_remains_of_a_run_that_was_killed_do_not_hinder(tmp_path: Path) -> None:
    left = tmp_path / "out" / ".a.tar.unpacking" / "d"
    left.mkdir(parents=True)
    (left / "half").touch()
    unpack(tar_of(tmp_path / "a.tar", entry("d/f")), tmp_path / "out")
    assert names(tmp_path / "out") == ["d"]
    assert names(tmp_path / "out" / "d") == ["f"]
