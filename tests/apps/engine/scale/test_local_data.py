"""Training on shards of a store: the bits of local files, fetched once, whole, into a bounded folder."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from store_support import Web, put
from support import COLOURS, Cli, save_colour

from apps.engine.core.console import Console
from apps.engine.core.files import sha256_of
from apps.engine.scale import local_data as module
from apps.engine.scale import stores
from apps.engine.scale.local_data import local_data, local_path, present

QUIET = Console(quiet=True)
TINY = ("--width", "0.25", "--resolution", "32", "--batch-size", "4", "--workers", "0", "--epochs", "2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stores, "FIRST_PAUSE_S", 0.01)
    return tmp_path / "cache" / "data"


def write_shards(folder: Path) -> list[Path]:
    """Two shards to learn from and one to evaluate on, as WebDataset has them."""
    folder.mkdir()
    paths = []
    for number, split in enumerate(("train-0", "train-1", "val-0")):
        paths.append(folder / f"{split}.tar")
        with tarfile.open(paths[-1], "w") as shard:
            for name, colour in COLOURS.items():
                save_colour(folder / "photo.png", colour, seed=number)
                shard.add(folder / "photo.png", f"{name}.png")
                label = tarfile.TarInfo(f"{name}.cls")
                label.size = len(name)
                shard.addfile(label, io.BytesIO(name.encode()))
    (folder / "photo.png").unlink()
    return paths


def into_s3(url: str, folder: str, paths: list[Path]) -> None:
    for path in paths:
        put(f"{url}/photos/{folder}/{path.name}", path.read_bytes())


@pytest.mark.slow
def test_a_training_on_s3_and_http_is_that_on_local_files_also_resumed(
    in_s3: str, web: Web, tmp_path: Path, cli: Cli, cache: Path
) -> None:
    shards = write_shards(tmp_path / "shards")
    into_s3(in_s3, "learn", shards)
    web.failing = True
    sources = {
        "local": tmp_path / "shards", "s3": "s3://photos/learn",
        "http": f"{web.url}/shards/{{train-0,train-1,val-0}}.tar",
    }
    for name, data in sources.items():
        words = ("--data", data, *TINY, "--out", tmp_path / name, "--stop-after", 1)
        trained = cli("finetune", "classes", *words)
        assert trained.code == 0, trained.err
    shutil.rmtree(cache / "s3")  # as on another machine
    for name in sources:
        resumed = cli("finetune", "classes", "--resume", "--out", tmp_path / name)
        assert resumed.code == 0, resumed.err
        assert ("s3://photos/learn: fetching 3 files" in resumed.err) == (name == "s3")
    weights = [sha256_of(tmp_path / name / "model.safetensors") for name in sources]
    assert weights[0] == weights[1] == weights[2]
    words = ("--checkpoint", tmp_path / "local", "--data", "s3://photos/learn", "--workers", 0)
    answer = cli("evaluate", "dogs", *words)
    assert answer.lines[0]["n"] == 3
    shutil.rmtree(cache / "s3")
    answer = cli("evaluate", "dogs", "--checkpoint", tmp_path / "s3", "--workers", 0)
    assert answer.lines[0]["n"] == 3


def test_only_what_changed_is_fetched_again_and_what_went_is_removed(in_s3: str, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards")
    into_s3(in_s3, "again", shards)
    folder = local_data("s3://photos/again/", QUIET)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    changed = shards[2].read_bytes() + bytes(512)
    put(f"{in_s3}/photos/again/train-1.tar", changed)
    put(f"{in_s3}/photos/again/train-2.tar", shards[0].read_bytes())
    put(f"{in_s3}/photos/again/val-0.tar", b"", delete=True)
    assert local_data("s3://photos/again", QUIET) == folder == local_path("s3://photos/again")
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert after.keys() == {"train-0.tar", "train-1.tar", "train-2.tar"}
    assert after["train-0.tar"] == before["train-0.tar"]
    assert (folder / "train-1.tar").read_bytes() == changed


def test_a_pattern_takes_its_files_and_the_list_of_classes(in_s3: str, tmp_path: Path) -> None:
    into_s3(in_s3, "some", write_shards(tmp_path / "shards"))
    put(f"{in_s3}/photos/some/classes.txt", b"red\n")
    path = local_data("s3://photos/some/train-{0..1}.tar", QUIET)
    assert path.name == "train-{0..1}.tar"
    assert {item.name for item in path.parent.iterdir()} == {"train-0.tar", "train-1.tar", "classes.txt"}
    with pytest.raises(FileNotFoundError, match=re.escape("photos/some/train-2.tar is not there")):
        local_data("s3://photos/some/train-{0..2}.tar", QUIET)


def test_what_broke_off_goes_on_without_fetching_twice(web: Web, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards")
    hidden = shards[2].rename(tmp_path / "later.tar")
    address = f"{web.url}/shards/{{train-0,train-1,val-0}}.tar"
    with pytest.raises(FileNotFoundError, match=re.escape("shards/val-0.tar does not exist")):
        local_data(address, QUIET)
    hidden.rename(shards[2])
    path = present(local_path(address), QUIET)
    assert Counter(web.requests) == {
        "/shards/train-0.tar": 1, "/shards/train-1.tar": 1, "/shards/val-0.tar": 2
    }
    assert sorted(item.name for item in path.parent.iterdir()) == [shard.name for shard in shards]
    assert present(tmp_path, QUIET) == tmp_path


def test_what_does_not_fit_is_refused_before_anything_is_fetched(
    in_s3: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into_s3(in_s3, "large", write_shards(tmp_path / "shards"))
    monkeypatch.setenv("MOBILENET_APPS_DATA_GB", "0.00001")
    with pytest.raises(OSError, match=r"0.0 of the 1e-05 GB of MOBILENET_APPS_DATA_GB; remove copies"):
        local_data("s3://photos/large", QUIET)
    assert not list(cache.rglob("*.tar"))
    monkeypatch.setenv("MOBILENET_APPS_DATA_GB", "much")
    with pytest.raises(ValueError, match="MOBILENET_APPS_DATA_GB=much is no number"):
        local_data("s3://photos/large", QUIET)
    monkeypatch.delenv("MOBILENET_APPS_DATA_GB")
    monkeypatch.setattr(module, "KEPT_FREE", 1 << 60)
    with pytest.raises(OSError, match=r"GB free for it; remove copies there, or set MOBILENET_APPS_CACHE"):
        local_data("s3://photos/large", QUIET)


def test_check_and_joint_take_addresses(web: Web, tmp_path: Path, cli: Cli) -> None:
    write_shards(tmp_path / "shards")
    address = f"{web.url}/shards/{{train-0,train-1,val-0}}.tar"
    looked = cli("check", "dogs", address, "--no-network")
    assert looked.lines[0]["images"] == 9
    answer = cli("joint", "dogs", "--data", f"dogs={address}.zip", "--out", tmp_path / "run")
    assert f"{web.url}/shards/train-0.tar.zip does not exist" in answer.last_error
    asked = [request for request in web.requests if request.endswith(".tar")]
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://me:secret@host/a.tar", "https://host: an address of training data is kept in the run"),
        ("https://host/a.tar?key=secret", "https://host: an address of training data is kept in the run"),
        ("http://host/shards/", "http://host/shards is no .tar or .parquet file, and a web server lists no"),
        ("http://host/../a.tar", "has a name that is no path here"),
    ],
)
def test_addresses_that_cannot_be_taken_are_one_line(
    cli: Cli, tmp_path: Path, address: str, words: str
) -> None:
    answer = cli("finetune", "dogs", "--data", address, "--out", tmp_path / "run")
    assert answer.code == 1
    assert words in answer.last_error
    assert "secret" not in answer.err
    assert not (tmp_path / "run").exists()


def test_the_settings_of_a_run_name_the_copy(web: Web, tmp_path: Path, cli: Cli) -> None:
    write_shards(tmp_path / "shards")
    address = f"{web.url}/shards/{{train-0,train-1,val-0}}.tar"
    run = tmp_path / "run"
    assert cli("finetune", "dogs", "--data", address, *TINY, "--epochs", 1, "--out", run).code == 0
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["settings"]["data"] == str(local_path(address))
