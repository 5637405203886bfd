"""Places in an exported model: the head's outputs as one table of probabilities, and what its cells are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from apps.engine.core.spec import HeadSpec
from apps.places.answers import COARSE_LEVEL, coarse
from apps.places.cells import s2, s2_shapes
from apps.places.cells.names import grids_of
from apps.places.maps.gazetteer import gazetteer


class FinestCells(nn.Module):
    """Log-probabilities of the finest partition's cells: those of all partitions that hold it, together.

    Args:
        head: as trained.

    Shape:
        returns: (B, cells of the finest partition), rows whose exponentials add up to 1; and the
        offset (B, 2), where the head has one.
    """

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head, self.strides = head.eval(), head.strides

    def forward(self, *maps: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """As ``GeoCells.log_probabilities``, in single precision."""
        parts, offset = self.head.split(self.head(*maps))
        lines = [self.head.get_buffer(f"ancestors_{number}") for number in range(len(parts))]
        logs = [torch.log_softmax(part, 1)[:, line] for part, line in zip(parts, lines, strict=True)]
        whole = torch.log_softmax(torch.stack(logs).sum(dim=0), dim=1)
        return whole if offset is None else (whole, offset)

    def describe(self, spec: HeadSpec) -> HeadSpec:
        """With where the cells are, for readers that have no gazetteer."""
        return replace(spec, extra={**spec.extra, **where_of(spec.classes)})


def where_of(classes: Sequence[str]) -> dict[str, Any]:
    """Where the finest cells are, for those who have no gazetteer and no S2: as answers give them.

    Positions are to a tenth of a degree, tokens those of cells that are as coarse.
    """
    grid = grids_of(classes)[-1]
    places = gazetteer().places(grid.lat, grid.lon)
    shown = s2.parents(grid.ids, np.minimum(s2.levels(grid.ids), COARSE_LEVEL))
    spots = [coarse(lat, lon) for lat, lon in zip(grid.lat.tolist(), grid.lon.tolist(), strict=True)]
    names = [", ".join(filter(None, (place.city, place.country_code))) or "at sea" for place in places]
    return {
        "lat": [lat for lat, _ in spots], "lon": [lon for _, lon in spots], "places": names,
        "countries": [place.country_code for place in places], "cities": [place.city for place in places],
        "tokens": list(s2.tokens(shown)), "areas_km2": s2_shapes.areas_km2(grid.ids).tolist(),
    }
