"""The page reads photos as Python does: orientations, sizes, formats, in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_support import Visit, served, web_page
from PIL import Image
from support import Cli

ORIENTATION = 0x0112


def photos(folder: Path) -> list[Path]:
    """One picture whose corners differ, in many forms; no JPEG so large that Python decodes it smaller."""
    folder.mkdir()
    across, down = np.meshgrid(np.linspace(0, 255, 180), np.linspace(0, 255, 120))
    noise = np.random.default_rng(0).integers(0, 40, (120, 180))
    plain = Image.fromarray(np.stack([across, down, 128 + 0 * across + noise], axis=-1).astype(np.uint8))
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        for suffix in ("jpg", "png", "webp", "avif"):
            plain.save(folder / f"turned-{turn}.{suffix}", exif=exif)
    for width, height in ((32, 32), (33, 47), (40, 700), (300, 61)):
        for suffix in ("jpg", "png", "webp", "avif"):
            plain.resize((width, height)).save(folder / f"sized-{width}-{height}.{suffix}")
    clear = plain.convert("RGBA")
    clear.putalpha(Image.radial_gradient("L").resize(plain.size))
    clear.save(folder / "clear.png")
    clear.save(folder / "clear.webp", lossless=True)
    plain.convert("L").save(folder / "grey.png")
    plain.quantize(32).save(folder / "palette.png")
    plain.save(folder / "progressive.jpg", progressive=True)
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_photos_of_all_orientations_sizes_and_formats_are_answered_as_by_python(
    browser: Any, cli: Cli, colour_run: Path, tmp_path: Path
) -> None:
    page, paths = web_page(cli, tmp_path / "page", colour_run), photos(tmp_path / "photos")
    lines = cli("predict", *paths, "--model", page / "model.onnx", "--workers", 0).lines
    with served(page) as address:
        visit = Visit(browser, address).ready()
        answers = visit.upload(*paths, timeout_ms=300_000)
        visit.page.close()
    for path, line, answer in zip(paths, lines, answers, strict=True):
        wanted = {one["name"]: one["probability"] for one in line["predictions"]}
        assert answer == pytest.approx(wanted, abs=1e-3), path.name
