"""Seeded damage inside archives, tables and networks, so that it gets past the first check."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

from fuzz.mutators import of_bytes, of_json, of_text


def of_zip(data: bytes, rng: random.Random) -> bytes:
    """A member of a zip archive damaged and packed again with its right checksum, or the archive itself."""
    if rng.random() < 0.3:
        return of_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(item.filename, archive.read(item)) for item in archive.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    match rng.randrange(10):
        case 0:
            name = rng.choice(("", "../x", "/x", "x\0y", name + ".npy", "é"))
        case 1:
            del members[at]
        case 2:
            members.append((name, content))
        case _:
            head = min(128, len(content))  # numpy's header and pickles begin there
            whole = rng.random() < 0.4
            content = of_text(content[:head], rng) + content[head:] if whole else of_bytes(content, rng)
    if at < len(members):
        members[at] = (name, content)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for member, content in members:
            archive.writestr(member or "_", content)
    return packed.getvalue()


def of_safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header's JSON changed under its right length, and the JSON that its metadata holds."""
    if rng.random() < 0.25:
        return of_bytes(data, rng)
    length = int.from_bytes(data[:8], "little")
    header, content = data[8 : 8 + length], data[8 + length :]
    document = json.loads(header)
    inner = [key for key, text in document.get("__metadata__", {}).items() if text[:1] in "{["]
    if inner and rng.random() < 0.6:
        key = rng.choice(inner)
        changed = of_json(document["__metadata__"][key].encode(), rng)
        document["__metadata__"][key] = changed.decode("utf-8", "replace")
        header = json.dumps(document).encode()
    else:
        header = of_json(header, rng)
    return len(header).to_bytes(8, "little") + header + content


def of_tar(data: bytes, rng: random.Random) -> bytes:
    """A header's field changed under its right checksum; now and then any bytes."""
    heads = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    if not heads or rng.random() < 0.25:
        return of_bytes(data, rng)
    result, at = bytearray(data), rng.choice(heads)
    start, length = rng.choice(((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155)))
    sizes = (
        b"77777777777\0",
        b"00000000000\0",
        b"\x80" + (2**62).to_bytes(11, "big"),
        b"-0000000001\0",
        b"\xff" * 12,
    )
    names = (b"", b"../../x.jpg", b"/etc/passwd", b"a\xff.jpg", b"\0a.jpg", b".", rng.randbytes(100))
    value = (
        rng.choice(sizes)
        if length == 12
        else rng.choice(b"0123456789xgLKSNDV\0").to_bytes()
        if length == 1
        else rng.choice(names)
    )
    result[at + start : at + start + length] = value[:length].ljust(length, b"\0")
    result[at + 148 : at + 156] = b" " * 8
    result[at + 148 : at + 156] = b"%06o\0 " % sum(result[at : at + 512])
    return bytes(result)


def of_parquet(data: bytes, rng: random.Random) -> bytes:
    """A column left out, renamed, of another type or with odd values, or the note in the schema changed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rng.random() < 0.4:
        return of_bytes(data, rng)
    table = pq.read_table(io.BytesIO(data))
    at, metadata = rng.randrange(max(1, table.num_columns)), dict(table.schema.metadata or {})
    name = table.column_names[at] if table.num_columns else "x"
    count = table.num_rows
    columns: tuple[Any, ...] = (
        pa.nulls(count),
        pa.array(["é"] * count),
        pa.array([2**62] * count),
        pa.array([float("nan")] * count),
        pa.array([[1.0]] * count),
        pa.array([b"\xff"] * count),
        pa.array([{"a": None}] * count),
        pa.array(["x"] * count).dictionary_encode(),
        pa.array([-1] * count, pa.int32()),
    )
    match rng.randrange(6):
        case 0 if table.num_columns:
            table = table.remove_column(at)
        case 1 if table.num_columns:
            table = table.set_column(at, name, rng.choice(columns))
        case 2:
            other = rng.choice([*table.column_names, "", "lat", "é"])
            table = table.rename_columns(
                [other if n == at else old for n, old in enumerate(table.column_names)]
            )
        case 3:
            table = table.slice(0, rng.choice((0, 1)))
        case _:
            keys = [key for key in metadata if key != b"ARROW:schema"]
            if keys:
                key = rng.choice(keys)
                metadata[key] = of_json(metadata[key], rng)
                table = table.replace_schema_metadata(metadata)
    packed = io.BytesIO()
    pq.write_table(table, packed)
    return packed.getvalue()
