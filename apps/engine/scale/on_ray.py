"""Shards on the workers of a Ray cluster, by Ray Data: it starts them, and starts them again."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from apps.engine.core.machine import usable_cores
from apps.engine.scale.guard import CHECKOUT
from apps.engine.scale.parts import Part
from apps.engine.scale.shards import Shard
from apps.engine.scale.work import RAY, Order, Result, ShardWorker

if TYPE_CHECKING:
    from apps.engine.scale.answering import Answers

MOST_BLOCKS = 20_000  # of Ray Data; larger jobs have several shards in each
MISSING = "Ray is not installed: pip install 'mobilenet-apps[cluster]', or leave --runner out"


class TableWorker(ShardWorker):
    """A :class:`ShardWorker` for ``map_batches``: a table of shards to a table of what became of them."""

    def __call__(self, table: Any) -> Any:
        """Write the parts of the shards in a table."""
        import pyarrow as pa

        shards = [Shard.from_json(text.as_py()) for text in table["shard"]]
        results = [super(TableWorker, self).__call__(shard) for shard in shards]
        return pa.table({
            "shard": table["shard"],
            "part": pa.array([json.dumps(asdict(r.part)) if r.part else None for r in results], pa.string()),
            "error": pa.array([result.error for result in results], pa.string()),
        })


def run_on_ray(shards: Sequence[Shard], answers: Answers, order: Order) -> Iterator[Result]:
    """The shards by the workers of a cluster, as they are done.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """
    import pyarrow as pa

    with _connected(order):
        import ray

        texts = pa.table({"shard": pa.array([shard.to_json() for shard in shards], pa.string())})
        each = -(-len(shards) // MOST_BLOCKS)
        blocks = [texts.slice(at, each) for at in range(0, len(shards), each)]
        cores = int(ray.cluster_resources().get("CPU", 1))
        most = min(order.workers or cores, len(blocks))
        done = ray.data.from_arrow(blocks).map_batches(
            TableWorker, batch_size=1,
            fn_constructor_args=(answers, order.out, order.image_seconds, answers.columns),
            batch_format="pyarrow", num_cpus=1, num_gpus=order.gpus or None,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
        )  # Ray Data starts an actor that died again, and its shard with it
        for row in done.iter_rows():
            shard = Shard.from_json(row["shard"])
            part = Part(**json.loads(row["part"])) if row["part"] is not None else None
            yield Result(shard, part, row["error"])


@contextmanager
def _connected(order: Order) -> Iterator[None]:
    """A connection to the cluster; one that is there already is used, and stays."""
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    try:
        import ray
        import ray.data
    except ImportError as err:
        raise ImportError(MISSING) from err
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if order.runner == RAY:
            if "RAY_ADDRESS" not in os.environ:
                how |= {"num_cpus": order.workers or usable_cores(), "include_dashboard": False}
            ray.init(runtime_env=environment, **how)
        else:
            ray.init(order.runner, runtime_env=environment, **how)
    except (ConnectionError, RuntimeError, TimeoutError) as err:
        text = " ".join(str(err).split())
        raise ConnectionError(f"no Ray cluster answers at {order.runner} ({text[:200]})") from err
    try:
        yield
    finally:
        ray.shutdown()
