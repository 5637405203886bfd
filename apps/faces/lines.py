"""``predict`` for tasks that answer for the faces on images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FaceLines:
    """A :class:`apps.engine.core.task.FilePredictor`: a line a face that is found; with ``crops``, an image.

    Args:
        app: the name of the task.
    """

    app: str

    def __call__(self, paths: Iterable[Path], *, top: int | None, **how: Any) -> Iterator[dict[str, Any]]:
        """See :func:`apps.faces.extraction.crops.predict_faces`."""
        from apps.faces.extraction.crops import predict_faces

        del top
        return predict_faces(list(paths), app=self.app, **how)
