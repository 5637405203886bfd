"""What takes a training's figures, behind one Protocol: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from apps.engine.core.files import write_json
from datasets.outside import whole_file

EVENTS, MLRUNS = "tensorboard", "mlruns"
RUN_IDS = "tracking.json"  # in a run's folder: by which names others know it, so that it goes on there
PROJECT = "mobilenet-apps"


class Writer(Protocol):
    """Takes numbers, texts and pictures of a training, step by step."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step of the whole training."""

    def text(self, name: str, markdown: str, step: int) -> None:
        """Words, such as the settings."""

    def picture(self, name: str, path: Path, step: int) -> None:
        """A picture's file."""

    def flush(self) -> None:
        """Put on disk what was given so far."""

    def close(self) -> None:
        """Flush and let go."""


class TensorBoardWriter:
    """Event files in ``RUN/tensorboard``.

    Args:
        run: the run's folder.
        last_step: points of later steps, which an interrupted run left, do not count.
    """

    def __init__(self, run: Path, last_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / EVENTS), purge_step=last_step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """A curve each."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def text(self, name: str, markdown: str, step: int) -> None:
        """A page of texts."""
        self.writer.add_text(name, markdown, step)

    def picture(self, name: str, path: Path, step: int) -> None:
        """An image."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            self.writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def flush(self) -> None:
        """On disk."""
        self.writer.flush()

    def close(self) -> None:
        """Closed."""
        self.writer.close()


class MlflowWriter:
    """A run of MLflow, in ``mlruns`` beside the run's folder, or where ``MLFLOW_TRACKING_URI`` says.

    A resumed run goes on as the same one; steps that it does again stand there twice.

    Args:
        run: the run's folder.
        last_step: not used; MLflow takes nothing back.
    """

    def __init__(self, run: Path, last_step: int) -> None:
        del last_step
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder needs no database
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        place = os.environ.get("MLFLOW_TRACKING_URI") or (run.absolute().parent / MLRUNS).as_uri()
        self.client = MlflowClient(tracking_uri=place)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        self.id = _known_id(run, "mlflow")
        try:
            self.client.get_run(self.id)
        except MlflowException:  # a new one, or one whose store was moved
            experiment = self.client.get_experiment_by_name(name)
            place_id = experiment.experiment_id if experiment else self.client.create_experiment(name)
            self.id = self.client.create_run(place_id, run_name=run.name).info.run_id
            _keep_id(run, "mlflow", self.id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Metrics, of which MLflow allows fewer signs than we use."""
        from mlflow.entities import Metric

        stamp = int(time.time() * 1000)
        metrics = [Metric(_mlflow_name(name), value, stamp, step) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def text(self, name: str, markdown: str, step: int) -> None:
        """A file among the artifacts."""
        del step
        self.client.log_text(self.id, markdown, f"{name}.md")

    def picture(self, name: str, path: Path, step: int) -> None:
        """A file among the artifacts."""
        del name, step
        self.client.log_artifact(self.id, str(path))

    def flush(self) -> None:
        """Each figure is written at once."""

    def close(self) -> None:
        """Ended, until it is resumed."""
        self.client.set_terminated(self.id)


class WandbWriter:
    """A run of Weights & Biases in ``RUN/wandb``, offline unless ``WANDB_MODE`` says otherwise.

    ``wandb sync RUN/wandb/offline-run-*`` sends it. A resumed run goes on as the same one.

    Args:
        run: the run's folder.
        last_step: not used; steps that are there already are passed over by W&B.
    """

    def __init__(self, run: Path, last_step: int) -> None:
        del last_step
        import wandb

        known = _known_id(run, "wandb")
        settings = wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True,
            save_code=False,
        )
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), dir=str(run), name=run.name,
            id=known or None, mode=_wandb_mode(), settings=settings,
        )
        self.pictures: Callable[[str], Any] = wandb.Image
        if not known:
            _keep_id(run, "wandb", self.run.id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """A point of the history."""
        self.run.log(dict(values), step=step)

    def text(self, name: str, markdown: str, step: int) -> None:
        """A part of the summary."""
        del step
        self.run.summary[name] = markdown

    def picture(self, name: str, path: Path, step: int) -> None:
        """An image of the history."""
        self.run.log({name: self.pictures(str(path))}, step=step)

    def flush(self) -> None:
        """W&B's own process writes."""

    def close(self) -> None:
        """Wait until all is written."""
        self.run.finish()


WRITERS: dict[str, Callable[[Path, int], Writer]] = {
    "tensorboard": TensorBoardWriter, "mlflow": MlflowWriter, "wandb": WandbWriter,
}
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow-skinny", "wandb": "wandb"}


def writer_names(log: str | None) -> tuple[str, ...]:
    """The writers that the settings name, each once.

    Args:
        log: names with commas between them.

    Raises:
        ValueError: one is not known.
    """
    asked = [name.strip().lower() for name in (log or "").split(",") if name.strip()]
    strange = [name for name in asked if name not in WRITERS]
    if strange:
        raise ValueError(f"--log {strange[0]}: there are {', '.join(WRITERS)}; several with commas between")
    return tuple(dict.fromkeys(asked))


def require_writers(names: tuple[str, ...]) -> None:
    """Say at once, not after the first epoch, that a package is not there.

    Raises:
        ValueError: it is missing; the line says how to install it.
    """
    for name in names:
        if find_spec(name) is None:
            raise ValueError(
                f"--log {name} needs a package that is not here; run: pip install {PACKAGES[name]}"
            )


def _wandb_mode() -> Any:
    return os.environ.get("WANDB_MODE", "offline")


def _mlflow_name(name: str) -> str:
    """A name with the signs that MLflow takes."""
    return "".join(sign if sign.isalnum() or sign in "_-. /" else "_" for sign in name)


def _ids(run: Path) -> dict[str, Any]:
    try:
        result = json.loads(whole_file(run / RUN_IDS))
    except (OSError, ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


def _known_id(run: Path, name: str) -> str:
    return str(_ids(run).get(name, ""))


def _keep_id(run: Path, name: str, number: str) -> None:
    write_json(run / RUN_IDS, _ids(run) | {name: number})
