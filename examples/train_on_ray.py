"""Trains by several processes of a Ray cluster: python examples/train_on_ray.py WORKERS PHOTOS RUN

PHOTOS is a folder that all nodes see, or an address such as s3://bucket/shards, which each node copies once.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def work(asked: dict[str, Any]) -> None:
    """What each process does: the training of `finetune`, which finds the others as under torchrun."""
    import torch.distributed as dist

    from apps.engine.core.console import Console
    from apps.engine.training.finetune import finetune

    dist.destroy_process_group()  # Ray's: the training makes one of its own at the address that Ray has set
    out = Path(asked["out"])
    finetune("dogs", asked["settings"], out=out, resume=(out / "progress.json").exists(), console=Console())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    workers, photos, run = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).resolve()
    if "://" not in photos and not Path(photos).is_dir():
        sys.exit(f"error: {photos} is no folder of photos")
    photos = photos if "://" in photos else str(Path(photos).resolve())
    ray.init(runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}}, log_to_driver=False)
    settings = {"data": photos, "width": 0.25, "resolution": 64, "epochs": 2, "workers": 0, "export": False}
    TorchTrainer(
        work, train_loop_config={"settings": settings, "out": str(run)},
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(storage_path=str(run.parent / "ray"), failure_config=FailureConfig(2)),
    ).fit()
    print(f"{run} was trained by {workers} processes")
