"""Which rows get another ``object_id`` or ``primary``, once all scenes of one pass are looked at together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.catalogue.objects import Passes, Views, primaries
from pipeline.geometry.enclosing import enclosing_box
from pipeline.geometry.obb import half_extents, obb_to_corners
from pipeline.georeference.ground import geocentric
from pipeline.outputs.dataset import Verdict
from pipeline.outputs.dataset_views import ViewRows
from pipeline.outputs.scene_index import SceneEntry
from pipeline.types import BoolArray, FloatArray


def new_verdicts(
    entries: Sequence[SceneEntry], rows: Mapping[str, ViewRows], same_pass_s: float
) -> dict[str, dict[str, Verdict]]:
    """scene_id → detection_id → verdict, of the rows whose verdict is another than what they have.

    ``rows`` are all rows of the scenes ``entries``, by ``scene_id``.
    """
    ordered = sorted((entry for entry in entries if entry.scene_id in rows), key=lambda entry: entry.scene_id)
    if not ordered:
        return {}
    found = [rows[entry.scene_id] for entry in ordered]
    kinds = {kind: number for number, kind in enumerate(sorted({(one.model_id, one.sensor) for one in ordered}))}
    passes = Passes(
        seconds=np.array([np.nan if entry.acquired_s is None else entry.acquired_s for entry in ordered]),
        sensors=np.array([kinds[entry.model_id, entry.sensor] for entry in ordered]),
        same_pass_s=same_pass_s,
    )
    views = Views(
        scene=np.repeat(np.arange(len(found)), [len(one.ids) for one in found]),
        ground=np.concatenate([_ground(one) for one in found]),
        centres=np.concatenate([one.centres for one in found]),
        scores=np.concatenate([one.scores for one in found]),
        class_ids=np.concatenate([one.class_ids for one in found]),
        cut=np.concatenate([_cut(one, entry) for one, entry in zip(found, ordered, strict=True)]),
        ids=np.concatenate([one.ids for one in found]),
    )
    best = primaries(views, passes)
    primary = best == np.arange(len(views))
    objects = views.ids[best]
    before = np.concatenate([one.object_ids for one in found]), np.concatenate([one.primary for one in found])
    changed = np.flatnonzero((objects != before[0]) | (primary != before[1]))
    verdicts: dict[str, dict[str, Verdict]] = {}
    for row in changed.tolist():
        of_scene = verdicts.setdefault(ordered[views.scene[row]].scene_id, {})
        of_scene[f"{views.ids[row]:016x}"] = (f"{objects[row]:016x}", bool(primary[row]))
    return verdicts


def _cut(rows: ViewRows, entry: SceneEntry) -> BoolArray:
    """(N,) whether the edge of a tile, or that of the scene, may cut a box."""
    centre, half = rows.px_boxes[:, :2], half_extents(rows.px_boxes)
    beyond = (centre - half < entry.border_px) | (
        centre + half > np.array([entry.width, entry.height]) - entry.border_px
    )
    return np.asarray(rows.edge | beyond.any(axis=1))


def _ground(rows: ViewRows) -> FloatArray:
    """(N, 4, 3) corners, geocentric metres."""
    corners = geocentric(rows.rings)
    for row, points in rows.odd.items():
        lon, lat = np.radians(rows.centres[row])
        east = np.array([-np.sin(lon), np.cos(lon), 0.0])
        north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
        axes, origin = np.stack([east, north]), geocentric(rows.centres[row])
        box = enclosing_box((geocentric(points) - origin) @ axes.T)
        corners[row] = origin + obb_to_corners(box)[0] @ axes
    return corners
