"""``finetune --folds K``: a run a fold, and one summary and one page of all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core import run_dir
from apps.engine.core.console import Console
from apps.engine.core.files import write_json
from apps.engine.core.metrics import MetricTable, written
from apps.engine.core.registry import load_task
from apps.engine.core.settings import portable
from apps.engine.reporting.html import SHARED
from apps.engine.reporting.page import write_page
from apps.engine.training.finetune import check_same, finetune

SUMMARY, PAGE = "folds.json", SHARED / "folds.html"
MOST_FOLDS = 100


def finetune_folds(
    name: str, given: dict[str, Any], *, folds: int | None, out: Path, resume: bool = False,
    console: Console, **more: Any,
) -> dict[str, Any] | None:
    """Train an application once a fold, or once where there are no folds.

    Args:
        name: of the application.
        given: the settings that the user gave.
        folds: how many; None trains one run into ``out``.
        out: folder of ``fold-1``, ``fold-2``, ..., ``folds.json`` and ``report.html``.
        resume: keep the folds that are finished there, go on with the one under way.
        console: where words and progress go.
        more: as :func:`apps.engine.training.finetune.finetune` takes it.

    Returns:
        As ``finetune``; with folds the means in ``metrics``, ``intervals``, and ``by_fold``.

    Raises:
        FileExistsError: there are folds already, and ``resume`` is not given.
        ValueError: the folds there were trained with other settings, or as of ``finetune``.
    """
    if folds is None:
        return finetune(name, given, out=out, resume=resume, console=console, **more)
    start = time.perf_counter()
    if not resume and any(out.glob("fold-*")):
        raise FileExistsError(f"{out} holds folds already; give another --out, or --resume to go on")
    results: list[Mapping[str, float | None]] = []
    for number in range(1, folds + 1):
        run, settings = out / f"fold-{number}", given | {"fold": f"{number}/{folds}"}
        if (run / run_dir.CONFIG).exists():
            config = run_dir.read_config(run, app=name)
            check_same(load_task(name).Settings, config.settings, settings)
            done = config.settings.get("epochs")
            if settings.get("epochs", done) != done:
                asked = settings["epochs"]
                raise ValueError(f"{run} was trained for {done} epochs, not {asked}; give another --out")
            console.say(f"fold {number} of {folds} is finished: kept")
            results.append(config.metrics)
            continue
        console.say(f"fold {number} of {folds}")
        answer = finetune(name, settings, out=run, resume=resume, console=console, **more)
        if answer is None or "epochs_done" in answer:
            return answer
        results.append(answer["metrics"])
    table: MetricTable = load_task(name).metrics
    metrics, intervals = summary(results)
    answer = {
        "app": name, "run": str(out), "folds": folds, "metrics": metrics, "intervals": intervals,
        "by_fold": [dict(result) for result in results],
    }
    write_json(out / SUMMARY, answer | {"run": portable(str(out))})
    _write_report(out, answer, table)
    return answer | {"seconds": round(time.perf_counter() - start, 1)}


def summary(
    results: Sequence[Mapping[str, float | None]],
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The mean of each metric over the folds, and its 95 % interval.

    Trainings of different folds share most images, so that their metrics differ less than those of separate
    data sets would; the variance is corrected for that.

    Args:
        results: of two folds or more; metrics that one of them lacks are left out.

    Source: Nadeau and Bengio 2003, "Inference for the Generalization Error", Machine Learning 52.
    """
    from scipy.stats import t

    count = len(results)
    names = [name for name in results[0] if all(result.get(name) is not None for result in results)]
    wide = float(t.ppf(0.975, count - 1)) * (1 / count + 1 / (count - 1)) ** 0.5
    means, intervals = {}, {}
    for name in names:
        values = np.array([result[name] for result in results], np.float64)
        half = wide * values.std(ddof=1)
        means[name] = float(values.mean())
        intervals[name] = [float(values.mean() - half), float(values.mean() + half)]
    return means, intervals


def _write_report(out: Path, answer: Mapping[str, Any], table: MetricTable) -> None:
    """One page: the means, and a column a fold."""
    primary = table.primary_metric.name
    folds: Sequence[Mapping[str, float]] = answer["by_fold"]
    rows = [
        (name, written(mean), " to ".join(map(written, answer["intervals"][name])),
         *(written(fold[name]) for fold in folds))
        for name, mean in answer["metrics"].items()
    ]
    best = answer["metrics"].get(primary)
    write_page(
        out, PAGE, {}, title=f"{answer['app']}: {len(folds)} folds", primary=primary, rows=rows,
        folds=len(folds), heads=[(f"Fold {n}", "number") for n in range(1, len(folds) + 1)],
        best="\u2013" if best is None else written(best),
        spread=" to ".join(map(written, answer["intervals"].get(primary, ()))),
    )
