"""What a user should know of where a scene lies before trusting what is published of it."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.georeference.georeference import Georeference
from pipeline.georeference.shift import DatumShift, shift_warning

NO_PLACE = (
    "no georeference: sizes on the ground are unknown, nothing is resampled to the model's GSD, and no GeoJSON is "
    "written"
)


def place_warnings(georeference: Georeference | None, shift: DatumShift | None) -> Iterator[str]:
    """One sentence for each thing that makes the places of a scene less than they seem, with the remedy."""
    if georeference is None:
        yield NO_PLACE
    elif shift is not None and (said := shift_warning(shift, georeference.crs_name)):
        yield said
