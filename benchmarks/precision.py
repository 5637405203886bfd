"""What speed costs in accuracy: bf16 gradients against fp32, trainings by the fast and the plain path."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apps.engine.core.files import write_json

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = 16
# Everything that makes ours fast, and the same without: PyTorch's layers, its allocator, no kept photos.
PATHS: dict[str, dict[str, str]] = {
    "fast": {},
    "plain": {"MOBILENET_APPS_KERNELS": "0", "MOBILENET_APPS_KEEP_MEMORY": "0"},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", type=Path, help="photos, train/CLASS and val/CLASS")
    parser.add_argument("--weights", help="to start from: a path or a name")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder (build/bench)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings by each path (3)")
    parser.add_argument("--epochs", type=int, default=12, help="of each training (12)")


def run(options: argparse.Namespace) -> None:
    """Measure both and write ``precision.json``."""
    if options.data is None or options.weights is None:
        sys.stderr.write("precision needs --data and --weights: left out\n")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(), "data": options.data.name, "weights": options.weights,
        "gradients": {
            name: gradient_error(options.data, options.weights, still=name == "still")
            for name in ("learned", "still")
        },
    }
    results["top1"] = {name: [] for name in PATHS}
    for seed in range(options.seeds):
        for name, changes in PATHS.items():
            results["top1"][name].append(top1(options, seed, name, changes))
    results["top1_mean"] = {name: statistics.mean(values) for name, values in results["top1"].items()}
    write_json(options.out / "precision.json", results)
    sys.stdout.write(json.dumps(results) + "\n")


def gradient_error(data: Path, weights: str, *, still: bool) -> dict[str, float]:
    """The whole network's gradient in bf16 against fp32, on real photos: relative norm and cosine."""
    import torch

    from apps.engine.core.model import load_pretrained
    from apps.engine.data.loader import eval_loader
    from backbone import optimize_for_training
    from datasets.classification.folders import ImageFolders

    _, model, config = load_pretrained(weights)
    backbone: Any = model.backbone
    loader = eval_loader(
        ImageFolders(data, "val"), config.backbone.preprocessing, batch_size=PHOTOS, workers=0
    )
    batch = next(iter(loader.epoch(0)))
    optimize_for_training(backbone).freeze_bn_stats = still
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        model.load_state_dict(state)
        model.zero_grad(set_to_none=True)
        model.backbone_dtype = dtype
        output = model(batch.images)["imagenet"]
        targets = torch.arange(len(output)) * 61 % output.shape[1]  # the same for both, whatever they answer
        torch.nn.functional.cross_entropy(output, targets).backward()  # type: ignore[no-untyped-call]
        return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])

    exact, rough = gradient(torch.float32), gradient(torch.bfloat16)
    cosine = torch.nn.functional.cosine_similarity(exact, rough, dim=0)
    return {"relative_norm": float((rough - exact).norm() / exact.norm()), "cosine": float(cosine)}


def top1(options: argparse.Namespace, seed: int, name: str, changes: dict[str, str]) -> float:
    """The accuracy of ``finetune dogs`` by one of the paths."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(ROOT / "cli.py"), "finetune", "dogs", "--data", str(options.data.absolute()),
            "--weights", options.weights, "--seed", str(seed), "--epochs", str(options.epochs),
            "--out", f"{folder}/run",
        ]
        if name == "fast":
            command += ["--cache", str(options.out.absolute() / "precision-cache")]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | changes
        )
        if done.returncode:
            raise ValueError(f"finetune by the {name} path failed: {done.stderr.strip().splitlines()[-1]}")
        value: float = json.loads(done.stdout)["metrics"]["top1"]
        return value
