"""The same object in several scenes of one pass: which views show it, and which of them is the best.

Two scenes are of one pass when they are of one sensor and taken within ``same_pass_s`` of each other. Greedy, as NMS
is: views go in one total order, whole ones before those cut by an edge, then by score; each joins the best view before
it that it overlaps and that has no view of its scene yet, or else is the primary of an object of its own. So which
views are one object, and which is primary, is a function of the set of all views: of no order of scenes, and of no
split of them into runs. Where a overlaps b and b overlaps c but a does not overlap c, b (if it is the best) has both;
if a is, b joins a and c stays alone.

An object is called after its primary. A further view that is not the best changes nothing for those that are there; one
that is the best gives its object another primary, and with it another id.

Pure numpy and scipy. Boxes are compared as rectangles in a frame of metres, the plane that touches the ellipsoid at
the better view's centre, whatever CRS they came from: 10 km from there lengths are off by 1.2e-6 of themselves, and
boxes of a conformal CRS (UTM) stay rectangles to within that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.geometry.obb import corners_to_obb
from pipeline.geometry.overlap import intersection_area_pairs
from pipeline.types import BoolArray, FloatArray, IntArray

SAME_IOU = 0.3
"""Views of one class that overlap more show one object: as in the merge inside a scene (ruling 7)."""
COVERED = 0.5
"""Share of a cut view that a whole view must cover to be of the same object (ruling 7)."""
PAIRS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Views:
    """N detections of S scenes, which are numbered in the order of their names."""

    scene: IntArray
    """(N,) number of its scene."""
    ground: FloatArray
    """(N, 4, 3) corners, geocentric metres, in ring order."""
    centres: FloatArray
    """(N, 2) longitude and latitude, degrees."""
    scores: FloatArray
    class_ids: IntArray
    cut: BoolArray
    """(N,) True where an edge of a tile or of the scene may cut the object."""
    ids: NDArray[np.uint64]
    """(N,) content hashes."""

    def __len__(self) -> int:
        return len(self.scene)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passes:
    """When the S scenes were taken, and by what."""

    seconds: FloatArray
    """(S,) since 1970; NaN where it is not known to the second: such a scene is of no pass but its own."""
    sensors: IntArray
    """(S,) equal for equal sensors."""
    same_pass_s: float

    def joined(self, one: IntArray, other: IntArray) -> BoolArray:
        """Whether two different scenes are of one pass, for arrays of their numbers."""
        apart = np.abs(self.seconds[one] - self.seconds[other])
        return np.asarray((one != other) & (self.sensors[one] == self.sensors[other]) & (apart <= self.same_pass_s))


def primaries(views: Views, passes: Passes) -> IntArray:
    """(N,) row of the primary view of each view's object; its own row for a primary."""
    order = np.lexsort((views.scene, views.ids, -views.scores, views.cut))
    rank = np.empty(len(views), np.int64)
    rank[order] = np.arange(len(views))
    first, second = _overlapping(views, passes, rank)
    out = np.arange(len(views))
    joined: dict[int, set[int]] = {}
    by_turn = np.lexsort((rank[first], rank[second]))
    scenes = views.scene[second]
    for better, view, scene in zip(*(one[by_turn].tolist() for one in (first, second, scenes)), strict=True):
        taken = joined.setdefault(better, {int(views.scene[better])})
        if out[view] == view and out[better] == better and scene not in taken:
            out[view] = better
            taken.add(scene)
    return out


def _overlapping(views: Views, passes: Passes, rank: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of rows (the better, the other) that may show one object, of scenes of one pass."""
    one, other = _near(views)
    fit = (views.class_ids[one] == views.class_ids[other]) & passes.joined(views.scene[one], views.scene[other])
    one, other = one[fit], other[fit]
    swapped = rank[one] > rank[other]
    better, worse = np.where(swapped, other, one), np.where(swapped, one, other)
    same = [np.zeros(0, np.bool_)]
    for start in range(0, len(better), PAIRS_AT_ONCE):
        rows = slice(start, start + PAIRS_AT_ONCE)
        same.append(_one_object(views, better[rows], worse[rows]))
    keep = np.concatenate(same)
    return better[keep], worse[keep]


def _one_object(views: Views, better: IntArray, worse: IntArray) -> BoolArray:
    """(P,) whether two views overlap enough, in the plane that touches the Earth at the better one."""
    origin = views.ground[better].mean(axis=1)[:, None]
    axes = _plane(views.centres[better])
    a, b = (corners_to_obb((views.ground[rows] - origin) @ axes) for rows in (better, worse))
    common = intersection_area_pairs(a, b)
    area_a, area_b = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    covers = views.cut[worse] & ~views.cut[better] & (common >= COVERED * area_b)
    return np.asarray((common > 0) & ((common > SAME_IOU * (area_a + area_b - common)) | covers))


def _plane(centres: FloatArray) -> FloatArray:
    """(P, 3, 2) directions of east and north at longitudes and latitudes (P, 2), geocentric."""
    lon, lat = np.radians(centres).T
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], axis=-1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    return np.stack([east, north], axis=-1)


def _near(views: Views) -> tuple[IntArray, IntArray]:
    """Pairs of rows whose circles meet, by trees of views of about one size."""
    centres = views.ground.mean(axis=1)
    radii = np.linalg.norm(views.ground - centres[:, None], axis=-1).max(axis=1)
    rows = _shared(views.scene, centres, radii)
    level = np.ceil(np.log2(np.maximum(radii[rows], 1e-3)))
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    sizes = np.unique(level)
    trees = {size: cKDTree(centres[rows[level == size]]) for size in sizes}
    for size in sizes:
        mine = rows[level == size]
        for larger in sizes[sizes >= size]:
            others = rows[level == larger]
            hits = trees[larger].query_ball_point(centres[mine], radii[mine] + 2.0**larger)
            counts = np.array([len(hit) for hit in hits])
            if counts.sum():
                found.append((np.repeat(mine, counts), others[np.concatenate(hits).astype(np.int64)]))
    one, other = (np.concatenate(side) for side in zip(*found, strict=True))
    apart = np.linalg.norm(centres[one] - centres[other], axis=1)
    keep = (views.scene[one] != views.scene[other]) & (apart <= radii[one] + radii[other])
    pairs = np.unique(np.sort(np.stack([one[keep], other[keep]], axis=1), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _shared(scene: IntArray, centres: FloatArray, radii: FloatArray) -> IntArray:
    """Rows that lie within the bounds of another scene's views: most do not, and are asked no further."""
    low, high = centres - radii[:, None], centres + radii[:, None]
    members = [np.flatnonzero(scene == number) for number in np.unique(scene)]
    lowest = np.array([low[rows].min(axis=0) for rows in members]).reshape(-1, 3)
    highest = np.array([high[rows].max(axis=0) for rows in members]).reshape(-1, 3)
    shared = np.zeros(len(scene), np.bool_)
    for mine, rows in enumerate(members):
        meets = ((lowest <= highest[mine]) & (highest >= lowest[mine])).all(axis=1)
        for other in np.flatnonzero(meets):
            if other != mine:
                shared[rows] |= ((low[rows] <= highest[other]) & (high[rows] >= lowest[other])).all(axis=1)
    return np.flatnonzero(shared)
