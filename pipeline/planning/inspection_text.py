"""An inspection as a screen of text."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.names import listed
from pipeline.planning.inspection import Inspection


def render_text(inspection: Inspection) -> str:
    """A screen of lines: names on the left, figures on the right, warnings last."""
    rows = [*_scene_rows(inspection), *_plan_rows(inspection)]
    margin = max(len(name) for name, _ in rows)
    lines = [f"{name:<{margin}}  {value}" for name, value in rows]
    return "\n".join([*lines, *(f"warning: {sentence}" for sentence in inspection.warnings)])


def _scene_rows(seen: Inspection) -> Iterator[tuple[str, str]]:
    yield "scene", f"{seen.scene_id}  ({', '.join(seen.uris)})"
    yield "size", f"{seen.width:,} x {seen.height:,} px = {seen.width * seen.height / 1e6:,.1f} Mpx, {seen.driver}"
    yield "pixels", f"{seen.dtype}, bands {', '.join(map(str, seen.bands))} of {seen.band_count}"
    yield "CRS", seen.crs or "none"
    gsd = seen.native_gsd_m
    yield "GSD on the ground", "unknown" if gsd is None else f"{gsd[0]:.4g} x {gsd[1]:.4g} m"
    values = seen.band_nodata or (seen.nodata,)
    nodata = ", ".join("none" if value is None else f"{value:.10g}" for value in values)
    yield "nodata", f"{nodata}{', and a mask' if seen.has_mask else ''}"
    layout = "tiles" if seen.tiled else "strips"
    yield "layout", f"{layout} of {seen.decoding_unit_px[0]:,} x {seen.decoding_unit_px[1]:,} px"
    yield "overviews", ", ".join(f"1/{factor}" for factor in seen.overviews) or "none"


def _plan_rows(seen: Inspection) -> Iterator[tuple[str, str]]:
    gsd = "unknown GSD" if seen.model_gsd_m is None else f"{seen.model_gsd_m:g} m"
    yield "model", f"{seen.model}, {gsd}, {listed(seen.model_classes)}; bands {listed(seen.model_bands)}"
    for sentence in seen.embedded:
        yield "embedded", sentence
    across, down = seen.resampling
    factor = "none" if across == down == 1 else f"{across:.4g} x {down:.4g} scene pixels per lattice pixel"
    at = "" if seen.lattice_gsd_m is None else f" ({seen.lattice_gsd_m:.4g} m)"
    yield "resampling", f"{factor}; lattice {seen.lattice_px[0]:,} x {seen.lattice_px[1]:,} px{at}"
    outside = f", {seen.tiles_outside_aoi:,} more outside the area of interest" if seen.tiles_outside_aoi else ""
    yield "tiles", f"{seen.tiles:,} of {seen.tile_px} px, halo {seen.halo_px} px{outside}; empty ones not yet screened"
    yield "looks", seen.looks
    if seen.same_cost:
        yield "for as much", seen.same_cost
    yield "blocks", f"{seen.blocks:,}"
    yield "to decode", f"{seen.decoded_bytes / 1e6:,.1f} MB uncompressed, {seen.decoded_px / 1e6:,.1f} Mpx"
    yield "decoded / delivered", f"{seen.amplification:.2f}"
    pace = seen.pace
    rate = f"{pace.seconds_per_tile:.3g} s per tile ({pace.source}), {pace.workers} worker(s)"
    start = f", {_duration(pace.start_s)} of them to start," if pace.start_s >= 1 else ""
    yield "estimated time", f"{_duration(seen.estimated_s)}{start} at {rate}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
