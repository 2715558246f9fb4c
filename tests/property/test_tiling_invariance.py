"""The promise of the product: however a scene is cut, the merged detections are those of one look at all of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import MergeConfig
from pipeline.geometry.frames import chip_to_lattice, near_inner_edge
from pipeline.geometry.nms import merge
from pipeline.geometry.obb import obb_to_aabb
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.planning.tiles import EDGE_MARGIN_PX, plan_tiles
from pipeline.synth.noise import generator
from pipeline.synth.oracle import Jitter, OracleDetector, oracle_card, untiled
from pipeline.types import Chip, Detections, FloatArray, Frame, Lattice, Window

LONGEST_PX = 48.0


def objects(seed: int, count: int, side_px: float, gap_px: float = 0.0) -> FloatArray:
    """Random oriented boxes; with a gap, on a grid so that no two touch."""
    rng = generator(seed, 1)
    boxes = np.column_stack(
        [rng.uniform(0, side_px, (count, 2)), rng.uniform(8, LONGEST_PX, count), rng.uniform(4, 16, count)]
    )
    boxes = np.column_stack([boxes, rng.uniform(-math.pi / 2, math.pi / 2, count)])
    if gap_px:
        per_row = max(1, int(side_px // gap_px))
        boxes = boxes[: per_row**2]
        number = np.arange(len(boxes))
        boxes[:, 0], boxes[:, 1] = (number % per_row + 0.5) * gap_px, (number // per_row + 0.5) * gap_px
    boxes[:, 2], boxes[:, 3] = boxes[:, 2:4].max(axis=1), boxes[:, 2:4].min(axis=1)
    return boxes


def tiled(
    oracle: OracleDetector, lattice: Lattice, tile_px: int, halo_px: int, order: np.random.Generator
) -> Detections:
    """Look at every tile, in shuffled order, and merge."""
    tiles = plan_tiles(lattice, tile_px, halo_px)
    parts = []
    for k in order.permutation(len(tiles)):
        window = tiles[k].window
        pixels = np.zeros((window.height, window.width, 3), np.uint8)
        seen = oracle.detect([Chip(pixels=pixels, window=window)], score_threshold=0.0)[0].detections
        boxes = chip_to_lattice(seen.boxes, window)
        edge = near_inner_edge(boxes, window, lattice.window, EDGE_MARGIN_PX)
        index = np.full(len(boxes), tiles[k].index)
        parts.append(replace(seen, boxes=boxes, frame=Frame.LATTICE, edge=edge, tile_index=index))
    return merge(Detections.concat(parts, Frame.LATTICE), iou_threshold=MergeConfig().iou_threshold)


def halo_for(boxes: FloatArray) -> int:
    """The least halo of the promise: the longest side of any object's bounds, and the edge margin on both sides."""
    bounds = obb_to_aabb(boxes)
    return math.ceil(float((bounds[:, 2:] - bounds[:, :2]).max())) + 2 * EDGE_MARGIN_PX


shapes = {"seed": st.integers(0, 10**6), "width": st.integers(90, 700), "height": st.integers(90, 700)}


@settings(max_examples=40)
@given(**shapes, core=st.integers(8, 300), spare=st.integers(0, 40), count=st.integers(0, 120))
def test_tiled_equals_untiled_bit_for_bit(
    seed: int, width: int, height: int, core: int, spare: int, count: int
) -> None:
    """Even where objects overlap, hang over the scene's edge, and cut copies outscore whole ones.

    Those lend their score, so it is the best of the tiling's views; boxes and classes do not depend on the tiling.
    """
    boxes = objects(seed, count, max(width, height))
    classes = generator(seed, 2).integers(0, 2, len(boxes))
    lattice = Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=None)
    card = oracle_card(boxes, ("object", "other"))
    oracle = OracleDetector(boxes=boxes, class_ids=classes, card=card, bounds=lattice.window, seed=seed)
    halo = (halo_for(boxes) if len(boxes) else 0) + spare
    found = tiled(oracle, lattice, halo + core, halo, generator(seed, 3))
    truth = merge(untiled(oracle, lattice.window), iou_threshold=MergeConfig().iou_threshold)
    rows = [np.column_stack([d.scores, d.boxes, d.class_ids]) for d in (found, truth)]
    first, second = (row[np.lexsort(row.T)] for row in rows)
    assert first[:, 1:].tobytes() == second[:, 1:].tobytes()
    assert not found.edge.any()
    lent = first[:, 0] != second[:, 0]
    assert (first[lent, 0] > 0.95).all(), "the oracle gives such scores to cut copies only"


@settings(max_examples=15)
@given(**shapes, core=st.integers(8, 300))
def test_with_jitter_every_object_is_found_once_and_near_its_truth(
    seed: int, width: int, height: int, core: int
) -> None:
    boxes = objects(seed, 400, min(width, height), gap_px=60.0)
    jitter = Jitter(centre_px=0.8, size=0.06, angle_rad=0.04, score=0.08)
    oracle = OracleDetector(
        boxes=boxes, class_ids=np.zeros(len(boxes), np.int64), card=oracle_card(boxes), seed=seed, jitter=jitter
    )
    lattice = Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=None)
    halo = halo_for(boxes) + 8  # jitter may push a box by a few pixels
    found = tiled(oracle, lattice, halo + core, halo, generator(seed, 3))
    away = np.hypot(*(found.boxes[:, None, :2] - boxes[None, :, :2]).transpose(2, 0, 1))
    assert sorted(away.argmin(axis=1)) == list(range(len(boxes)))
    assert rotated_iou_pairs(found.boxes, boxes[away.argmin(axis=1)]).min() > 0.5


def test_the_halo_matters() -> None:
    """The counter-example that shows the first property can fail: without a halo, cut copies are all there is."""
    boxes = objects(5, 100, 400.0, gap_px=60.0)
    oracle = OracleDetector(boxes=boxes, class_ids=np.zeros(len(boxes), np.int64), card=oracle_card(boxes))
    lattice = Lattice(width=400, height=400, scale_x=1.0, scale_y=1.0, gsd_m=None)
    found = tiled(oracle, lattice, 70, 0, generator(1, 1))
    assert found.edge.any()
    assert isinstance(lattice.window, Window)
