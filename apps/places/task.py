"""The application ``places``: where an image was taken, as probabilities over cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from apps.engine.core.metrics import POSITIVE, Metric, Metrics, MetricTable, logged
from apps.engine.core.settings import Settings, option
from apps.engine.data.problems import ALL, Problems, Survey
from apps.engine.defaults import TaskDefaults

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from apps.engine.core.console import Console
    from apps.engine.core.run_dir import Calibration, RunConfig
    from apps.engine.core.spec import HeadSpec
    from apps.engine.core.task import Evaluator, Losses, ReportInputs
    from apps.places.evaluator import PlaceEvaluation
    from datasets.geo.geotagged import GeoDataset
    from heads import GeoCells, MultiHead

MOST_FITTED = 1000  # cells; a regression over more takes longer than training the layer


METRICS = MetricTable("places", (
    Metric("within_*km", True), Metric("median_km", False, "km", POSITIVE),
    Metric("mean_km", False, "km", POSITIVE), Metric("geoscore", True, "points", (0.0, 5000.0)),
    Metric("country_accuracy", True), Metric("cell_accuracy", True),
    Metric("cross_entropy", False, "nats", POSITIVE), Metric("area_*_km2", False, "km2", POSITIVE),
    Metric("coverage_*", None),  # right where it is the share in its name
    Metric("answered", None), Metric("earth_radius_km", None, "km", POSITIVE),
), primary="geoscore", watchable=(
    "within_1km", "within_25km", "within_200km", "within_750km", "within_2500km", "median_km",
    "cross_entropy",
))


@dataclass(frozen=True)
class PlacesSettings(Settings):
    """Options of ``finetune places``."""

    example: ClassVar[str] = "--photos positions.csv --weights mobilenetv1_1.0_224 --out runs/places"
    takes_folds: ClassVar[bool] = True

    data: Path | None = option(None, "photos with GPS in their EXIF, or a table with path, lat and lon")
    photos: Path | None = option(None, "the same as --data")
    cells: Path | None = option(None, "cells made by `cells build`; default: built from the photos")
    t_max: float = option(50.0, "without --cells: a cell with more images is split", above=0)
    t_min: float = option(4.0, "without --cells: a cell with no more images is dropped", low=0)
    split_by: str = option(
        "distance", "photos that stay on one side of train and val: near ones, and those of one author or "
        "folder", choices=("distance", "author", "folder"),
    )
    split_km: float = option(1.0, "photos this near stay on one side, km", low=0)
    val_share: float = option(0.2, "share of the validation photos", above=0, below=1)
    smooth_km: float = option(
        0.0, "spread of targets over near cells by exp(-distance / this), km; 0: the cell alone", low=0
    )
    offset: bool = option(False, "also predict where in the cell")
    softmax: str = option(
        "full", "the last layer in training; sampled for some ten thousand cells",
        choices=("full", "sampled", "adaptive"),
    )
    samples: int = option(2048, "cells a step of --softmax sampled", low=1)
    dropout: float = option(0.0, "share of features dropped before the last layer", low=0, high=0.95)
    sequence: bool = option(False, "also learn from albums: an LSTM over the images of a trip in time order")

    def __post_init__(self) -> None:
        if self.photos is not None:
            if self.data is not None:
                raise ValueError("--photos and --data are the same: give one of them")
            object.__setattr__(self, "data", self.photos)
            object.__setattr__(self, "photos", None)
        super().__post_init__()
        if self.cells is not None:
            object.__setattr__(self, "cells", Path(self.cells).absolute())
        if self.cells is None and self.t_min >= self.t_max:
            raise ValueError(f"--t-min must be below --t-max, got {self.t_min:g} and {self.t_max:g}")


class Places(TaskDefaults[PlacesSettings, "GeoCells"]):
    """Photos to probabilities over cells of the earth."""

    name: ClassVar[str] = "places"
    Settings: ClassVar[type[Settings]] = PlacesSettings
    metrics: ClassVar[MetricTable] = METRICS
    head_kind: ClassVar[str] = "cells"
    check_splits: ClassVar[tuple[str, ...]] = (ALL,)

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> GeoDataset:
        """The images of a split; ``all`` takes both parts."""
        from apps.places.cells.names import grids_of, names_of
        from apps.places.data import cells_for, placed, read_photo_positions, split_of

        s = self.settings
        positions = read_photo_positions(self.data)
        train, val = split_of(positions, s.val_share, by=s.split_by, km=s.split_km, seed=s.seed, fold=s.fold)
        grids = grids_of(classes) if classes else cells_for(positions, train, s.cells, s.t_max, s.t_min)
        chosen = {"train": train, "val": val}.get(split)
        result = placed(positions, chosen, grids, names_of(grids), offsets=s.offset)
        if split != "val":
            result.notes += positions.remarks()
        return result

    def check_dataset(self, split: str) -> GeoDataset:
        """All photos with a position, in no cells."""
        from apps.places.checks import positioned

        return positioned(self.data)

    def problems(self, survey: Survey) -> Problems:
        """Positions that cannot be right, and crowds on one point."""
        from apps.places.checks import position_problems

        return position_problems(survey)

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> GeoCells:
        """A softmax over each partition's cells, from the deepest map."""
        import torch

        from apps.places.cells.names import grids_of
        from apps.places.targets import frequency_order, neighbour_weights
        from heads import GeoCells

        s, stride, grids = self.settings, max(channels), grids_of(classes)
        tables = [neighbour_weights(grid, s.smooth_km) for grid in grids] if s.smooth_km else []
        return GeoCells(
            channels[stride], [len(grid) for grid in grids], [grid.parents.tolist() for grid in grids[1:]],
            neighbours=[(torch.as_tensor(i), torch.as_tensor(w)) for i, w in tables], softmax=s.softmax,
            samples=s.samples, offset=s.offset, dropout=s.dropout, stride=stride,
            orders=[frequency_order(grid) for grid in grids] if s.softmax == "adaptive" else (),
        )

    def fit_head(self, head: GeoCells, features: NDArray[np.float32], targets: dict[str, Tensor]) -> str:
        """A logistic regression for each partition, put into the head."""
        from apps.engine.training.frozen.linear_probe import fit_probe
        from heads.cell_softmax import FullSoftmax

        results = []
        for number, layer in enumerate(head.layers):
            cells = targets["cells"][:, number].numpy()
            known = cells >= 0
            if not isinstance(layer, FullSoftmax) or layer.out_features > MOST_FITTED:
                return f"{layer_size(layer)} cells are too many for a regression: they are trained"
            if len(set(cells[known].tolist())) < 2:
                return "fewer than two cells have photos: the head starts undecided"
            holder: Any = SimpleNamespace(linear=layer)
            probe = fit_probe(holder, features[known], cells[known], seed=self.settings.seed)
            results.append(f"{layer.out_features} cells, C = {probe.strength:g}")
        if head.offset is not None:
            fit_offset(head.offset, features[known], targets["offset"].numpy()[known])
        return f"logistic regression: {'; '.join(results)}"

    def losses(self, head: GeoCells, images: GeoDataset) -> Losses[dict[str, Tensor]]:
        """A cross-entropy for each partition, and the offset's distance."""
        from apps.engine.training.losses import plain_losses

        if self.settings.sequence:
            from apps.places.album.sequence import check_albums

            check_albums(images)

        return plain_losses(head)

    def postprocess(self, head: GeoCells, output: Tensor) -> dict[str, Tensor]:
        """Log-probabilities of the finest cells, and the offset."""
        results = {"log_probabilities": head.log_probabilities(output).float()}
        offset = head.split(output)[1]
        return results if offset is None else results | {"offset": offset}

    def evaluator(
        self, images: GeoDataset, classes: Sequence[str], calibration: Calibration | None = None
    ) -> Evaluator[dict[str, Tensor], dict[str, Tensor], PlaceEvaluation]:
        """Probabilities with the true positions."""
        from apps.engine.evaluation.collecting import CollectingEvaluator
        from apps.places.cells.names import grids_of
        from apps.places.evaluator import PlaceEvaluation

        def evaluation(
            outputs: dict[str, Tensor], targets: dict[str, Tensor], indices: list[int]
        ) -> PlaceEvaluation:
            where, offset = targets["position"].numpy(), outputs.get("offset")
            return PlaceEvaluation(
                outputs["log_probabilities"].numpy(),
                None if offset is None else offset.numpy().astype(float), where[:, 0], where[:, 1],
                images.paths(indices), grids_of(classes)[-1],
                temperature=(calibration or {}).get("temperature", 1.0),
            )

        return CollectingEvaluator(evaluation)

    def head_spec(self, head: GeoCells, config: RunConfig) -> HeadSpec:
        """Log-probabilities of the finest cells, and the offset."""
        from apps.engine.core.spec import HeadSpec

        offset = () if head.offset is None else ("offset",)
        return HeadSpec.of(self.head_kind, config, ("log_probabilities", *offset))

    def graph_head(self, head: GeoCells) -> nn.Module:
        """One table of log-probabilities, over the finest cells."""
        from apps.places.cells.graph import FinestCells

        return FinestCells(head)

    def calibrate(self, raw: PlaceEvaluation) -> tuple[PlaceEvaluation, Calibration, dict[str, float]]:
        """A temperature for the probabilities, fitted on these images."""
        from dataclasses import replace

        from apps.engine.evaluation.calibration import fit_temperature

        known = raw.truth >= 0
        if known.sum() < 2 or len(raw.grid) < 2:
            return raw, {}, {}
        temperature = fit_temperature(raw.log_probabilities[known], raw.truth[known])
        kept: Calibration = {"temperature": temperature, "fitted_on": "val", "photos": int(known.sum())}
        return replace(raw, temperature=temperature), kept, {}

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """Loss, shares within two distances, the median distance and the geoscore."""
        reported = ("within_200km", "within_750km", "median_km", "geoscore")
        return logged(metrics, {"cross_entropy": "loss"} | {name: name for name in reported})

    def after_fit(self, run: Path, model: MultiHead, config: RunConfig, console: Console) -> dict[str, str]:
        """With ``--sequence`` the LSTM over albums, into ``run``."""
        if not self.settings.sequence:
            return {}
        from apps.places.album.sequence import train_sequence

        words = train_sequence(run, self, model, config)
        console.say(words)
        return {"albums": words}

    def report(self, folder: Path, inputs: ReportInputs[PlaceEvaluation]) -> list[Path]:
        """``report.html``: metrics, how far off, recall against area."""
        from apps.places.report import write_places_report

        return write_places_report(
            folder, inputs.title, inputs.evaluation.geo, dict(inputs.facts), history=inputs.history,
            answers=inputs.evaluation,
        )


def fit_offset(layer: Any, features: NDArray[np.float32], offsets: NDArray[np.float32]) -> None:
    """A ridge regression from features (N, C) to offsets (N, 2), put into a linear layer."""
    import torch
    from sklearn.linear_model import RidgeCV

    fitted = RidgeCV(alphas=[10.0**n for n in range(7)]).fit(features, offsets)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(fitted.coef_))
        layer.bias.copy_(torch.as_tensor(fitted.intercept_))


def layer_size(layer: nn.Module) -> int:
    """How many cells a last layer has."""
    from torch import nn

    if isinstance(layer, nn.Linear):
        return layer.out_features
    return sum(p.numel() for p in layer.parameters())
