"""``locate --write-xmp``: an answer as an estimate in a photo's XMP sidecar."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from apps.engine.core.console import Console
from apps.engine.core.files import write_bytes
from datasets.geo.geotags import NoPositionError, read_geotag
from datasets.geo.sidecars import ESTIMATE, EXIF_SPACE, METHOD, sidecar_of
from datasets.outside import DiskError, words_of
from datasets.sidecars.xmp import XmpDocument

COARSE_KM = 11.0  # a tenth of a degree
CANNOT = "cannot write"
MEASURED, UNSURE = "tell their position already", "have no answer"


class LocatedPhoto(XmpDocument):
    """A sidecar that may tell where its photo was taken."""

    prefixes = {"exif": EXIF_SPACE}  # noqa: RUF012

    def put_estimate(self, lat: float, lon: float, confidence: float, error_km: float) -> None:
        """A position that nobody measured, in the place of another estimate.

        Args:
            lat: degrees north.
            lon: degrees east.
            confidence: probability within 200 km, 0 to 1.
            error_km: radius in km.
        """
        self.put_properties(EXIF_SPACE, {
            "GPSLatitude": angle(lat, "NS"), "GPSLongitude": angle(lon, "EW"),
            "GPSHPositioningError": f"{round(1000 * error_km)}/1",
            METHOD: f"{ESTIMATE}, {100 * confidence:.0f} % within 200 km",
        })


def angle(degrees: float, sides: str) -> str:
    """Degrees as XMP has them: ``52,30.500000N``.

    Args:
        degrees: with a sign.
        sides: the letters for plus and for minus.
    """
    whole, rest = divmod(round(abs(degrees) * 60, 6), 60)
    return f"{whole:.0f},{rest:.6f}{sides[degrees < 0]}"


def write_estimates(
    lines: Iterable[dict[str, Any]], *, precise: bool, console: Console
) -> Iterator[dict[str, Any]]:
    """The lines of ``locate``, each with the sidecar that was written; the photos are never touched.

    A photo that tells its own position gets none, nor one without an answer; what a sidecar holds stays in
    it. What was not written is counted at the end.

    Args:
        lines: with ``path`` and an answer, a failure, or of an album.
        precise: whether the answers are, or else to a tenth of a degree.
        console: where words go.

    Returns:
        Lines with ``xmp``: the path of the sidecar or None.

    Raises:
        OSError: the disk is full.
    """
    counts: Counter[str] = Counter()
    for line in lines:
        if "path" not in line or "error" in line:
            yield line
            continue
        target, why = _written(Path(line["path"]), line, precise)
        counts[why or "written"] += 1
        if why is not None and why not in {MEASURED, UNSURE}:
            console.warn(f"{line['path']}: no sidecar is written: {why}")
        yield line | {"xmp": None if target is None else str(target)}
    failed = sum(number for why, number in counts.items() if why.startswith(CANNOT))
    left = [f"{counts[why]} photos {why}" for why in (MEASURED, UNSURE) if counts[why]]
    refused = counts.total() - counts["written"] - counts[MEASURED] - counts[UNSURE] - failed
    left += [f"{refused} photos have a sidecar that is left as it is"] if refused else []
    console.say(f"{counts['written']} sidecars written" + "".join(f", {part}" for part in left))
    if failed:
        console.fail(f"{failed} sidecars could not be written, as told above")


def _written(photo: Path, line: dict[str, Any], precise: bool) -> tuple[Path | None, str | None]:
    """The sidecar that was written, or why none was."""
    if line["lat"] is None:
        return None, UNSURE
    if _tells_position(photo):
        return None, MEASURED
    error = error_km(line["area_50_km2"], precise)
    target = sidecar_of(photo) or photo.with_name(f"{photo.name}.xmp")
    try:
        document = LocatedPhoto.read(target) if target.exists() else LocatedPhoto()
        document.put_estimate(line["lat"], line["lon"], line["confidence"], error)
        write_bytes(target, document.to_bytes())
    except DiskError:
        raise
    except ValueError as err:
        return None, f"{target.name}: {err}"
    except OSError as err:
        return None, f"{CANNOT} {target.name}: {words_of(err)}"
    return target, None


def _tells_position(photo: Path) -> bool:
    """Whether a position that somebody measured is in a photo or beside it."""
    try:
        read_geotag(photo)
    except NoPositionError:
        return False
    return True


def error_km(area_km2: float, precise: bool) -> float:
    """The radius of a disc as large as the credible area of half of the probability."""
    return max(math.sqrt(area_km2 / math.pi), 0.0 if precise else COARSE_KM)
