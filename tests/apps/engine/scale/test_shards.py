"""What is asked for, cut into shards, and the images that come out of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scale_support import draw_many, write_hugging_face, write_tar

from apps.engine.scale.images import images_of
from apps.engine.scale.shards import Shard, has_packed, make_shards


def contents(places: list[Path], images: int = 100) -> list[tuple[str, bytes]]:
    items = [item for shard in make_shards(list(map(str, places)), images) for item in images_of(shard)]
    assert not [item for item in items if item.error]
    return [
        (item.name, item.content if isinstance(item.content, bytes) else item.content.read_bytes())
        for item in items
    ]


def test_a_folder_is_cut_into_shards_that_are_the_same_each_time(tmp_path: Path) -> None:
    images = draw_many(tmp_path / "photos", 7)
    shards = make_shards([str(tmp_path / "photos")], 3)
    assert [len(shard.places) for shard in shards] == [3, 3, 1]
    assert make_shards([str(tmp_path / "photos")], 3) == shards
    assert [Shard.from_json(shard.to_json()) for shard in shards] == shards
    images[4].write_bytes(images[0].read_bytes() + b"\0")
    again = make_shards([str(tmp_path / "photos")], 3)
    assert [old.part == new.part for old, new in zip(shards, again, strict=True)] == [True, False, True]


def test_images_come_from_folders_lists_tar_and_parquet_with_the_same_bytes(tmp_path: Path) -> None:
    images = draw_many(tmp_path / "photos" / "in", 9)
    bytes_of = [image.read_bytes() for image in images]
    tar = write_tar(tmp_path / "a.tar", images)
    table = write_hugging_face(tmp_path / "b.parquet", images)
    listing = tmp_path / "list.txt"
    listing.write_text("photos/in/00000.png\n\n" + "\n".join(map(str, images[1:])), encoding="utf-8")
    assert contents([tmp_path / "photos"]) == contents([listing])
    for place in (tmp_path / "photos", listing, tar, table):
        assert [data for _, data in contents([place])] == bytes_of, place
    assert [name for name, _ in contents([tar])][:2] == [f"{tar}::0000.png", f"{tar}::0001.png"]
    assert [name for name, _ in contents([table], 5)] == [f"{table}::{row}" for row in range(9)]
    assert [shard.groups for shard in make_shards([str(table)], 5)] == [(0, 1), (1, 3)]
    assert [shard.groups for shard in make_shards([str(table)], 8)] == [(0, 2), (2, 3)]


def test_a_folder_gives_its_images_then_its_shards(tmp_path: Path) -> None:
    images = draw_many(tmp_path / "data" / "x", 2)
    write_tar(tmp_path / "data" / "a.tar", images)
    write_hugging_face(tmp_path / "data" / "train.parquet", images)
    (tmp_path / "data" / ".hidden").mkdir()
    write_tar(tmp_path / "data" / ".hidden" / "b.tar", images)
    names = [name for name, _ in contents([tmp_path / "data"])]
    assert [Path(name).name for name in names] == [
        "00000.png", "00001.png", "a.tar::0000.png", "a.tar::0001.png", "train.parquet::0",
        "train.parquet::1",
    ]


def test_a_damaged_shard_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    images = draw_many(tmp_path / "photos", 6)
    whole = write_tar(tmp_path / "a.tar", images).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    items = [item for shard in make_shards([str(tmp_path / "a.tar")], 9) for item in images_of(shard)]
    assert 0 < len(items) - 1 < 6
    assert items[-1].name == str(tmp_path / "a.tar")
    assert items[-1].error.startswith("not a whole tar file: ")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read as Parquet"):
        make_shards([str(tmp_path / "b.parquet")], 9)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        make_shards([str(tmp_path / "nowhere")], 10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image in"):
        make_shards([str(tmp_path / "empty")], 10)
    (image,) = draw_many(tmp_path / "photos", 1)
    (shard,) = make_shards([str(image), str(tmp_path / "nowhere.png")], 10)
    assert shard.places == (str(image), str(tmp_path / "nowhere.png"))


def test_archives_tables_and_addresses_are_told_from_images() -> None:
    for place in ("s3://bucket/a", "http://host/a.jpg", "x/a.tar", "a.TAR.GZ", "b.parquet"):
        assert has_packed([place]), place
    assert not has_packed(["photos", "a.jpg", "b"])


def test_a_list_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(OSError, match=r"list\.txt"):
        make_shards([str(tmp_path / "list.txt")], 3)
