"""Exact search in a mapped gallery beside faiss' flat index, and the time of one query and of clustering."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from apps.faces.extraction.embedder import ModelInfo, Vectors
from apps.faces.extraction.table import About, face_schema
from apps.faces.people.cluster import cluster_vectors
from apps.faces.people.gallery import Gallery

DIM, TOP = 128, 5
AT_ONCE = 50_000  # faces written at once
CLUSTERED, PEOPLE, THRESHOLD = 10_000, 4_000, 0.5


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--faces", type=int, default=1_000_000, help="faces in the large gallery")
    parser.add_argument("--beside-faiss", type=int, default=200_000, help="faces searched beside faiss")
    parser.add_argument("--queries", type=int, default=1000, help="queries at once beside faiss")
    parser.add_argument("--rounds", type=int, default=3, help="rounds A B A B")
    parser.add_argument("--threads", type=int, default=1, help="threads of both")


def run(options: argparse.Namespace) -> None:
    """Print one JSON object with the times.

    Raises:
        ValueError: faiss is not installed.
    """
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="gallery-") as folder:
        table = Path(folder) / "faces.parquet"
        write_gallery(table, options.faces)
        began = time.perf_counter()
        gallery = Gallery.open(table)
        laid_out = time.perf_counter() - began
        began = time.perf_counter()
        gallery = Gallery.open(table)
        opened = time.perf_counter() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results = [_seconds(lambda: gallery.search(unit_vectors(1, 1), TOP)) for _ in range(5)]
        result: dict[str, Any] = {
            "faces": len(gallery),
            "lay_out_seconds": round(laid_out, 2),
            "open_seconds": round(opened, 4),
            "memory_mb_after_opening": round(memory),
            "one_query_seconds": round(statistics.median(results), 4),
            **beside_faiss(gallery, options),
        }
    began = time.perf_counter()
    cluster_vectors(crowd(CLUSTERED, PEOPLE), THRESHOLD)
    result["clustering_10000_seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result | {"threads": options.threads}))  # noqa: T201


def unit_vectors(count: int, seed: int) -> Vectors:
    """(count, 128) random unit vectors."""
    result = np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)
    unit: Vectors = result / np.linalg.norm(result, axis=1, keepdims=True)
    return unit


def crowd(count: int, people: int) -> Vectors:
    """(count, 128) unit vectors around one direction a person."""
    labels = np.random.default_rng(0).integers(0, people, count)
    result = unit_vectors(people, 1)[labels] + 0.6 * unit_vectors(count, 2)
    unit: Vectors = result / np.linalg.norm(result, axis=1, keepdims=True)
    return unit


def write_gallery(table: Path, faces: int) -> None:
    """A table of random faces."""
    about = About(ModelInfo("0" * 16, "random", DIM, 112, weights="none"), "none")
    schema = face_schema(about)
    with pq.ParquetWriter(table, schema, use_dictionary=["model"]) as writer:
        for start in range(0, faces, AT_ONCE):
            count = min(AT_ONCE, faces - start)
            flat = pa.array(unit_vectors(count, start).ravel())
            values: dict[str, Any] = {
                "path": [f"/photos/{start + i}.jpg" for i in range(count)], "face": [0] * count,
                "box": [[0.0, 0.0, 1.0, 1.0]] * count, "model": ["0" * 16] * count,
            }
            columns = [
                pa.FixedSizeListArray.from_arrays(flat, DIM) if item.name == "vector"
                else pa.array(values.get(item.name, [None] * count), item.type) for item in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))


def beside_faiss(gallery: Gallery, options: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds of both on the same faces and queries, in turns; the ratio is faiss' time over ours."""
    try:
        import faiss
    except ImportError as err:
        raise ValueError("faiss is not installed; run: pip install -e '.[benchmarks]'") from err
    faiss.omp_set_num_threads(options.threads)
    count = min(options.beside_faiss, len(gallery))
    batches = [
        batch.slice(0, count - int(start))
        for start, batch in zip(gallery.starts[:-1], gallery.batches, strict=True) if start < count
    ]
    ours, vectors = Gallery(gallery.about, batches, gallery.path), gallery.vectors(np.arange(count))
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    queries = unit_vectors(options.queries, 2)
    times: dict[str, list[float]] = {"faiss": [], "ours": []}
    for _ in range(options.rounds):
        times["faiss"].append(_seconds(lambda: index.search(queries, TOP)))
        times["ours"].append(_seconds(lambda: ours.search(queries, TOP)))
    same = float((index.search(queries, TOP)[1] == ours.search(queries, TOP)[1]).mean())
    middle = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {
        "beside_faiss": len(vectors), "queries": options.queries, "same_rows": same,
        **{f"{name}_cpu_seconds": round(seconds, 3) for name, seconds in middle.items()},
        "speed_of_faiss": round(middle["faiss"] / middle["ours"], 2),
    }


def _seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process: other work on the machine does not count."""
    began = time.process_time()
    work()
    return time.process_time() - began
