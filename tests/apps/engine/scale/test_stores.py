"""Images in an object store and on a web server: real servers on loopback, one of them slow and failing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scale_support import Colours, draw_many, parts_of, write_hugging_face, write_tar
from store_support import Web, put

from apps.engine.core.console import Console
from apps.engine.scale import stores
from apps.engine.scale.job import run_job, stream
from apps.engine.scale.parts import PartsFolder
from apps.engine.scale.work import Order


def colours(lines: Any) -> list[Any]:
    """What was answered, without names."""
    return [{name: value for name, value in line.items() if name != "path"} for line in lines]


def test_what_is_in_s3_gives_the_rows_of_the_same_files_here(in_s3: str, tmp_path: Path) -> None:
    images = draw_many(tmp_path / "photos", 6)
    images[3].write_bytes(images[3].read_bytes()[:50])
    here = list(stream([str(tmp_path / "photos")], Colours()))
    for image in images:
        put(f"{in_s3}/photos/all/in/{image.name}", image.read_bytes())
    put(f"{in_s3}/photos/packed/a.tar", write_tar(tmp_path / "a.tar", images).read_bytes())
    put(f"{in_s3}/photos/packed/b.parquet", write_hugging_face(tmp_path / "b.parquet", images).read_bytes())
    put(f"{in_s3}/photos/packed/labels.csv", b"a,b\n")
    assert colours(stream(["s3://photos/all"], Colours())) == colours(here)
    packed = list(stream(["s3://photos/packed"], Colours()))
    assert colours(packed) == colours([*here, *here])
    assert packed[0]["path"] == "s3://photos/packed/a.tar::0000.png"
    assert packed[-1]["path"] == "s3://photos/packed/b.parquet::5"
    order = Order("s3://photos/out", shard_size=4, workers=1)
    first = run_job(["s3://photos/all"], Colours(), order, Console(quiet=True))
    assert (first["images"], first["failed"], first["parts"], first["kept_parts"]) == (6, 1, 2, 0)
    assert colours(PartsFolder("s3://photos/out").lines()) == colours(here)
    assert run_job(["s3://photos/all"], Colours(), order, Console(quiet=True))["kept_parts"] == 2
    with pytest.raises(FileNotFoundError, match="s3://photos/none does not exist"):
        list(stream(["s3://photos/none"], Colours()))


def test_a_web_server_that_fails_and_is_slow_changes_no_row(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "FIRST_PAUSE_S", 0.01)
    images = draw_many(tmp_path / "photos", 9)
    write_tar(tmp_path / "a.tar", images)
    write_hugging_face(tmp_path / "b.parquet", images)
    names = [f"{web.url}/photos/{image.name}" for image in images]
    (tmp_path / "list.txt").write_text("\n".join([*names, "photos/missing.png"]), encoding="utf-8")
    asked = [f"{web.url}/list.txt", f"{web.url}/a.tar", f"{web.url}/b.parquet", f"{web.url}/secret.png"]
    calm = list(stream(asked, Colours()))
    asked_for = len(web.requests)
    web.failing = True
    web.requests.clear()
    assert list(stream(asked, Colours())) == calm
    assert len(web.requests) > asked_for
    errors = [(line["path"], line["error"]) for line in calm if "error" in line]
    assert errors == [
        (f"{web.url}/photos/missing.png", "file not found"),
        (f"{web.url}/secret.png", "no permission to read this file"),
    ]
    assert colours(calm)[:9] == colours(stream([str(tmp_path / "photos")], Colours()))


def test_a_store_that_stays_away_costs_its_shard_alone(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "FIRST_PAUSE_S", 0.001)
    images = draw_many(tmp_path / "photos", 3)
    (tmp_path / "list.txt").write_text(
        "\n".join([*map(str, images), f"{web.url}/broken/a.png"]), encoding="utf-8"
    )
    order = Order(str(tmp_path / "out"), shard_size=1, image_seconds=0)
    missing = f"1 of 4 parts are not written: {web.url}/broken/a.png cannot be had after 6 attempts"
    with pytest.raises(OSError, match=re.escape(missing)):
        run_job([str(tmp_path / "list.txt")], Colours(), order, Console(quiet=True))
    assert len(parts_of(tmp_path / "out")) == 3
    (tmp_path / "list.txt").write_text("\n".join(map(str, images)), encoding="utf-8")
    assert run_job([str(tmp_path / "list.txt")], Colours(), order, Console(quiet=True))["kept_parts"] == 3
