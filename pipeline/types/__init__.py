"""The vocabulary of the project, as frozen values. Standard library and numpy only.

Conventions, stated once
------------------------
* Windows are half-open integers. Pixel (0, 0) has its **corner** at (0.0, 0.0), its centre at (0.5, 0.5).
* Images are ``(H, W, C)`` uint8 outside the networks; validity masks are True where a pixel is **valid**.
* An oriented box (OBB) is ``(cx, cy, w, h, angle_rad)`` with ``w >= h`` and ``angle_rad`` in
  ``[-pi/2, pi/2)``, clockwise on screen (y points down). Geometry is float64 until it is written.

Frames
------
``scene``    full-resolution pixels of the raster file.
``lattice``  pixels of the one resampled grid of a scene (the model's GSD on the ground, or native). Shares
             its origin corner with the scene: ``scene = lattice * (scale_x, scale_y)``. Tiles, blocks, halos
             and merging live here, because here a pixel is (nearly) square on the ground.
``chip``     pixels of one tile's window: ``lattice = chip + (window.x, window.y)``.
``world``    coordinates of the scene's CRS, x (easting or longitude) first. Only corners go there, never angles.
"""

from __future__ import annotations

from pipeline.types.arrays import BoolArray, ByteArray, FloatArray, IntArray
from pipeline.types.calibration import Calibration
from pipeline.types.cards import ModelCard
from pipeline.types.detections import STAGES, Detections, Frame
from pipeline.types.looks import AttentionMap, Chip, Crop, DifferenceMap, Look
from pipeline.types.measures import GroundMeasures
from pipeline.types.outcomes import BlockOutcome, Cost, Done, Failed
from pipeline.types.scenes import GroundControlPoint, RationalPolynomials, Scene, Stretch
from pipeline.types.windows import Block, Lattice, Tile, Window

__all__ = [
    "STAGES",
    "AttentionMap",
    "Block",
    "BlockOutcome",
    "BoolArray",
    "ByteArray",
    "Calibration",
    "Chip",
    "Cost",
    "Crop",
    "Detections",
    "DifferenceMap",
    "Done",
    "Failed",
    "FloatArray",
    "Frame",
    "GroundControlPoint",
    "GroundMeasures",
    "IntArray",
    "Lattice",
    "Look",
    "ModelCard",
    "RationalPolynomials",
    "Scene",
    "Stretch",
    "Tile",
    "Window",
]
