"""Search in millions of vectors: codes of a byte against float32, recall, memory; faiss beside it."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from apps.faces.extraction.embedder import ModelInfo, Vectors
from apps.faces.extraction.table import About, conform
from apps.faces.nearest import Block, nearest
from apps.faces.people.gallery import Gallery
from apps.faces.people.layout import BATCH_ROWS, laid_out_schema, with_codes
from benchmarks.faces_search import DIM, TOP, unit_vectors

NOISE = 0.6  # of a face, against its person's direction of length 1
FACES_A_PERSON = 10
PQ_BYTES, TRAINED = 32, 40  # vectors a list that an index is trained on
PROBED, EXPLORED = (32, 256), (64,)  # lists, or candidates of a graph, that a query visits


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--faces", type=int, default=10_000_000)
    parser.add_argument("--queries", type=int, default=100, help="searched at once")
    parser.add_argument("--rounds", type=int, default=3, help="rounds A B A B")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="for the file, 0.7 GB a million faces; removed")
    parser.add_argument("--faiss", action="store_true", help="faiss' IVF-PQ and HNSW, too")


def run(options: argparse.Namespace) -> None:
    """Print a JSON object a measurement.

    Raises:
        ValueError: faiss is asked for and not installed.
    """
    if options.faiss and find_spec("faiss") is None:
        raise ValueError("faiss is not installed; run: pip install -e '.[benchmarks]'")
    torch.set_num_threads(options.threads)
    say({"before": "", **memory()})
    with threadpool_limits(options.threads), tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "faces.arrow"
        seconds = write_faces(path, options.faces)
        gallery = Gallery(about(), batches_of(path), path)
        say({
            "faces": len(gallery), "gigabytes": round(path.stat().st_size / 1e9, 2),
            "of_codes": round(len(gallery) * (DIM + 4) / 1e9, 2), "written_s": round(seconds, 1),
            "load": os.getloadavg()[0], **memory(),
        })
        compare(gallery, options)
        if options.faiss:
            beside_faiss(gallery, options)


def compare(gallery: Gallery, options: argparse.Namespace) -> None:
    """The search, a scan of float32, and codes without a second look, on the same queries in turns."""
    queries = asked(options.faces, options.queries)
    lean = [batch.drop_columns(["codes", "scale"]) for batch in gallery.batches]
    plain = Gallery(gallery.about, lean, gallery.path)
    first, many = queries[:1], queries
    ways = {
        "codes_one": lambda: gallery.search(first, TOP), "float32_one": lambda: plain.search(first, TOP),
        "codes_many": lambda: gallery.search(many, TOP), "float32_many": lambda: plain.search(many, TOP),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, way in ways.items():
            times[name].append(measured(way))
            if number == 0:
                say({"after": name, **memory()})
    for name, pairs in times.items():
        say({
            "way": name, "queries": 1 if name.endswith("one") else len(queries), "load": os.getloadavg()[0],
            "cpu_s": round(statistics.median(cpu for cpu, _ in pairs), 3),
            "wall_s": round(statistics.median(wall for _, wall in pairs), 3),
        })
    values, rows = plain.search(many, TOP)
    exact_values, exact_rows = gallery.search(many, TOP)
    codes_alone = nearest(many, [rough(batch) for batch in gallery.batches], TOP)[1]
    say({
        "recall_of_search": recall(exact_rows, rows), "recall_of_codes_alone": recall(codes_alone, rows),
        "largest_difference": float(np.abs(values - exact_values).max()),
    })


def beside_faiss(gallery: Gallery, options: argparse.Namespace) -> None:
    """Indexes that do not look at all vectors: recall, memory and times on the same faces and queries."""
    import faiss

    faiss.omp_set_num_threads(options.threads)
    queries, count = asked(options.faces, options.queries), len(gallery)
    truth = gallery.search(queries, TOP)[1]
    lists = int(4 * count**0.5)
    sample = gallery.vectors(np.sort(np.random.default_rng(3).permutation(count)[: TRAINED * lists]))
    for name in (f"IVF{lists},PQ{PQ_BYTES}", f"IVF{lists},SQ8", "HNSW32,SQ8"):
        index = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
        trained, _ = measured(partial(index.train, sample))
        added = sum(measured(partial(index.add, vectors_of(batch)))[0] for batch in gallery.batches)
        say({
            "faiss": name, "train_cpu_s": round(trained, 1), "add_cpu_s": round(added, 1),
            "bytes_a_vector": round(len(faiss.serialize_index(index)) / count, 1),
        })
        has_lists = name.startswith("IVF")
        for visited in PROBED if has_lists else EXPLORED:
            if has_lists:
                faiss.extract_index_ivf(index).nprobe = visited
            else:
                index.hnsw.efSearch = visited
            once, _ = measured(partial(index.search, queries[:1], TOP))
            rows = index.search(queries, 20 * TOP)[1]
            cpu, _ = measured(partial(index.search, queries, TOP))
            say({
                "faiss": name, "visited": visited, "one_query_cpu_s": round(once, 4),
                "cpu_ms_a_query_of_many": round(1000 * cpu / len(queries), 3),
                "recall": recall(rows[:, :TOP], truth),
                "recall_of_best_100_looked_at_again": recall(rows, truth),
            })


def about() -> About:
    """The model of a gallery of random vectors."""
    return About(ModelInfo("0" * 16, "random", DIM, 112, weights="none"), "none")


def asked(faces: int, count: int) -> Vectors:
    """Other pictures of people in the gallery."""
    return noisy(unit_vectors(max(faces // FACES_A_PERSON, 1), 1), faces + 7, count)


def write_faces(path: Path, faces: int) -> float:
    """A gallery as it is laid out to be mapped; returns CPU seconds of the codes and the writing."""
    schema, seconds = laid_out_schema(DIM, ""), 0.0
    centres = unit_vectors(max(faces // FACES_A_PERSON, 1), 1)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for first in range(0, faces, BATCH_ROWS):
            vectors = noisy(centres, first, min(BATCH_ROWS, faces - first))
            start = time.process_time()
            writer.write_table(with_codes(conform(table_of(vectors, first), schema)))
            seconds += time.process_time() - start
    return seconds


def noisy(centres: Vectors, first: int, count: int) -> Vectors:
    """Unit vectors of some faces, each around its person's direction."""
    noise = np.random.default_rng(first).standard_normal((count, DIM), dtype=np.float32)
    result = centres[np.arange(first, first + count) % len(centres)] + NOISE / DIM**0.5 * noise
    unit: Vectors = (result / np.linalg.norm(result, axis=1, keepdims=True)).astype(np.float32)
    return unit


def table_of(vectors: Vectors, first: int) -> Any:
    """Rows of a table of faces."""
    count = len(vectors)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
    box = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4 * count, np.float32)), 4)
    return pa.table({
        "path": [f"/photos/{first + n}.jpg" for n in range(count)], "sha256": [""] * count,
        "face": pa.array(np.zeros(count, np.int32)), "box": box, "vector": flat,
    })


def batches_of(path: Path) -> list[Any]:
    """The rows of the file, mapped."""
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    return [file.get_batch(number) for number in range(file.num_record_batches)]


def vectors_of(batch: Any) -> Vectors:
    """The vectors of a batch, where they lie."""
    column = batch.column("vector")
    flat: Vectors = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), -1)


def rough(batch: Any) -> Block:
    """The codes of a batch as if they were its vectors."""
    codes = batch.column("codes").flatten().to_numpy().reshape(-1, DIM)
    return Block(codes * batch.column("scale").to_numpy()[:, None])


def recall(rows: Any, truth: Any) -> float:
    """Share of the true rows that are among those given."""
    hits = [len(set(a) & set(b)) for a, b in zip(rows.tolist(), truth.tolist(), strict=True)]
    return round(sum(hits) / int(truth.size), 4)


def memory() -> dict[str, int]:
    """Megabytes of this process: its own, and pages of mapped files, which the system takes back at need."""
    rows = [line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()]
    named = {"RssAnon:": "own_mb", "RssFile:": "mapped_mb"}
    return {named[row[0]]: int(row[1]) // 1024 for row in rows if row and row[0] in named}


def measured(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def say(row: dict[str, Any]) -> None:
    """A JSON line."""
    print(json.dumps(row), flush=True)  # noqa: T201
