"""``fetch`` from a mirror of Stanford Dogs in small, on a real server on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from schema_support import check
from scipy.io import savemat

from apps.zoo.datasets import DATASETS, MIRROR_VARIABLE, fetch
from datasets.classification.stanford_dogs import StanfordDogs, is_stanford_dogs

STEMS = ["n02085620-Chihuahua/n02085620_1", "n02110958-pug/n02110958_1"]


class Handler(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012  # emptied by the fixture

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder with the three archives and its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    write_mirror(folder)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    Handler.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def tar_of(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def cells(texts: list[str]) -> np.ndarray:
    column = np.empty((len(texts), 1), dtype=object)
    column[:, 0] = texts
    return column


def write_mirror(folder: Path) -> None:
    photo, listing = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(photo, "JPEG")
    savemat(listing, {
        "file_list": cells([f"{stem}.jpg" for stem in STEMS]), "annotation_list": cells(STEMS),
        "labels": np.array([[1], [2]], dtype=np.uint8),
    })  # fmt: skip
    box = b"<a><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>7</ymax></bndbox></a>"
    tar_of(folder / "images.tar", {f"Images/{stem}.jpg": photo.getvalue() for stem in STEMS})
    tar_of(folder / "annotation.tar", dict.fromkeys((f"Annotation/{stem}" for stem in STEMS), box))
    lists = ("file_list.mat", "train_list.mat", "test_list.mat")
    tar_of(folder / "lists.tar", dict.fromkeys(lists, listing.getvalue()))
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """As ``sha256sum *.tar`` writes it."""
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.tar")}
    (folder / "SHA256SUMS").write_text("".join(f"{digits}  {name}\n" for name, digits in sums.items()))


def test_what_is_fetched_is_what_the_dataset_reads(served: tuple[Path, str], tmp_path: Path) -> None:
    root, steps = tmp_path / "dogs", []
    answer = fetch("stanford-dogs", root, base_url=served[1], on_progress=lambda *step: steps.append(step))
    check("fetch", answer, strict=True)
    seconds = answer.pop("seconds")
    assert answer == {"dataset": "stanford-dogs", "root": str(root), "files": 7}
    assert seconds >= 0
    assert is_stanford_dogs(root)
    assert StanfordDogs(root, "train", crop=True)[1][0].size == (4, 6)
    assert sorted(path.name for path in root.iterdir()) == [".fetched.json", "Annotation", "Images", "lists"]
    assert {step[0] for step in steps} == {"images.tar", "annotation.tar", "lists.tar"}
    json.dumps(answer)


def test_a_second_fetch_asks_the_server_for_nothing(served: tuple[Path, str], tmp_path: Path) -> None:
    fetch("stanford-dogs", tmp_path / "dogs", base_url=served[1])
    Handler.asked.clear()
    assert fetch("stanford-dogs", tmp_path / "dogs", base_url=served[1])["files"] == 7
    assert Handler.asked == []


def test_the_mirror_may_stand_in_the_environment(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, served[1])
    assert fetch("stanford-dogs", tmp_path / "dogs")["files"] == 7


def test_without_sums_of_its_own_a_mirror_must_have_the_original_files(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    (served[0] / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="expected 481280"):
        fetch("stanford-dogs", tmp_path / "dogs", base_url=served[1])
    assert not (tmp_path / "dogs" / "lists").exists()


def test_bytes_that_differ_from_the_sums_of_the_mirror_are_refused(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    archive = served[0] / "images.tar"
    archive.write_bytes(archive.read_bytes().replace(b"Images", b"Imbges"))
    with pytest.raises(ValueError, match=r"images.tar has sha256 \w+, expected \w+; kept as"):
        fetch("stanford-dogs", tmp_path / "dogs", base_url=served[1])
    assert not (tmp_path / "dogs" / "Images").exists()
    assert (tmp_path / "dogs" / "Annotation").exists()  # what was right stays


def test_a_malicious_archive_writes_nothing(served: tuple[Path, str], tmp_path: Path) -> None:
    tar_of(served[0] / "images.tar", {"Images/a.jpg": b"x", "../../evil": b"x"})
    write_sums(served[0])
    with pytest.raises(ValueError, match=r"images.tar is refused: '../../evil' would land outside"):
        fetch("stanford-dogs", tmp_path / "deep" / "dogs", base_url=served[1])
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "deep" / "dogs" / "Images").exists()


def test_an_archive_with_other_content_is_named(served: tuple[Path, str], tmp_path: Path) -> None:
    tar_of(served[0] / "images.tar", {"cats/a.jpg": b"x"})
    write_sums(served[0])
    with pytest.raises(ValueError, match=r"images.tar of .* holds no Images; try another mirror"):
        fetch("stanford-dogs", tmp_path / "dogs", base_url=served[1])


def test_a_folder_that_lacks_files_is_named_before_anything_is_fetched(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    root = tmp_path / "dogs"
    fetch("stanford-dogs", root, base_url=served[1])
    (root / "Images" / f"{STEMS[0]}.jpg").unlink()
    with pytest.raises(FileExistsError, match=r"Images has 1 of 2 files; remove or rename it"):
        fetch("stanford-dogs", root, base_url=served[1])
    (root / ".fetched.json").unlink()  # unpacked by hand: the published number holds
    with pytest.raises(FileExistsError, match="of 20580 files"):
        fetch("stanford-dogs", root, base_url=served[1])


def test_lists_that_are_there_are_kept(served: tuple[Path, str], tmp_path: Path) -> None:
    lists = tmp_path / "dogs" / "lists"
    lists.mkdir(parents=True)
    for name in ("train_list.mat", "test_list.mat"):
        (lists / name).write_bytes(b"mine")
    fetch("stanford-dogs", tmp_path / "dogs", base_url=served[1])
    assert (lists / "train_list.mat").read_bytes() == b"mine"
    assert "/lists.tar" not in Handler.asked


def test_an_unknown_dataset_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no dataset 'cats' to fetch; there are: stanford-dogs"):
        fetch("cats", tmp_path)


def test_a_mirror_that_lacks_the_archives_is_one_line(served: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="404") as caught:
        fetch("stanford-dogs", tmp_path / "dogs", base_url=served[1] + "nowhere")
    assert "\n" not in str(caught.value)


def test_every_dataset_has_an_address_terms_and_sums_of_the_right_length() -> None:
    assert DATASETS
    for source in DATASETS.values():
        assert urlsplit(source.base_url).scheme in ("http", "https")
        assert source.terms
        for archive in source.archives:
            assert archive.sha256 is None or len(bytes.fromhex(archive.sha256)) == 32
            assert archive.md5 is None or len(bytes.fromhex(archive.md5)) == 16
            assert archive.files > 0
