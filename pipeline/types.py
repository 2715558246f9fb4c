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

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]


class Frame(StrEnum):
    """The pixel grid that box coordinates refer to; see the module docstring."""

    CHIP = "chip"
    LATTICE = "lattice"
    SCENE = "scene"


STAGES = ("global", "crop", "fused")
"""Who saw a detection: the global look, a crop of the second look, or both. ``Detections.stage`` indexes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open rectangle of whole pixels: columns ``[x, x1)``, rows ``[y, y1)``."""

    x: int
    y: int
    width: int
    """Pixels, >= 1."""
    height: int
    """Pixels, >= 1."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a window needs width and height >= 1, got {self.width} x {self.height}")

    @property
    def x1(self) -> int:
        return self.x + self.width

    @property
    def y1(self) -> int:
        return self.y + self.height

    @property
    def pixels(self) -> int:
        """Area in pixels."""
        return self.width * self.height

    def intersect(self, other: Window) -> Window | None:
        """The common part, or None when there is none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        if x1 <= x or y1 <= y:
            return None
        return Window(x=x, y=y, width=x1 - x, height=y1 - y)

    def union(self, other: Window) -> Window:
        """The smallest window that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Window(x=x, y=y, width=max(self.x1, other.x1) - x, height=max(self.y1, other.y1) - y)

    def contains(self, other: Window) -> bool:
        return self.x <= other.x and self.y <= other.y and self.x1 >= other.x1 and self.y1 >= other.y1


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundControlPoint:
    """A scene pixel position (corner convention) whose world position is known."""

    column: float
    row: float
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the headers of one scene say. Holds no open file; pickles small; made by ``raster.open_scene``."""

    scene_id: str
    """Name of the output folder: the file stem, made safe for file systems."""
    uris: tuple[str, ...]
    """One raster, or several one-band rasters of one grid, in band order."""
    width: int
    """Scene pixels."""
    height: int
    """Scene pixels."""
    bands: tuple[int, ...]
    """1-based bands delivered, in order. With several ``uris``: band 1 of each."""
    band_count: int
    """Bands in the file (or the number of files)."""
    dtype: str
    """numpy name of the pixels' type, e.g. ``uint16``."""
    driver: str
    """GDAL driver name, e.g. ``GTiff``."""
    crs_wkt: str | None
    """WKT of the CRS; None for a pixel scene."""
    transform: tuple[float, float, float, float, float, float] | None
    """Affine (a, b, c, d, e, f): world = (a*col + b*row + c, d*col + e*row + f). None with GCPs or none at all."""
    gcps: tuple[GroundControlPoint, ...] = ()
    nodata: float | None = None
    has_mask: bool = False
    """An internal mask or an alpha band says which pixels are valid."""
    block_width: int = 1
    """Width in pixels of the unit the file is decoded in (the scene's width for strips)."""
    block_height: int = 1
    overviews: tuple[int, ...] = ()
    """Decimation factors of the overviews, e.g. (2, 4, 8)."""
    acquired: str | None = None
    """Acquisition time, ISO 8601, when tags or ``--meta`` give one."""
    sensor: str | None = None
    attribution: str | None = None

    @property
    def georeferenced(self) -> bool:
        return self.crs_wkt is not None and (self.transform is not None or bool(self.gcps))

    @property
    def tiled(self) -> bool:
        return self.block_width < self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """The one resampled pixel grid of a scene, fixed before planning (ruling 1 of the README)."""

    width: int
    """Lattice pixels."""
    height: int
    """Lattice pixels."""
    scale_x: float
    """Scene pixels per lattice pixel along a row; > 1 shrinks, < 1 magnifies."""
    scale_y: float
    gsd_m: float | None
    """Ground size of a lattice pixel at the scene's centre, metres; None for a pixel scene."""

    @property
    def window(self) -> Window:
        """The whole lattice."""
        return Window(x=0, y=0, width=self.width, height=self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One linear map to 8 bit per band, taken once per scene: ``255 * (v - low) / (high - low)``, clipped."""

    kind: str
    """none | percentile | minmax | fixed"""
    low: tuple[float, ...]
    high: tuple[float, ...]
    source: str
    """Where the numbers come from, e.g. ``overview 8``, ``decimated read 1/16``, ``config``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One look: the detector sees ``window``; the cores of all tiles partition the lattice."""

    index: int
    """Position in the plan, from 0."""
    tile_id: str
    """Stable name, e.g. ``r0003c0012``."""
    core: Window
    """Lattice pixels this tile is responsible for."""
    window: Window
    """Core plus halo, inside the lattice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Neighbouring tiles that are read in one go. The unit of work that travels."""

    block_id: int
    window: Window
    """Lattice window that holds every tile's window."""
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Pixels of one tile, as a detector sees them."""

    pixels: ByteArray
    """(H, W, C) uint8."""
    window: Window
    """Where the pixels lie on the lattice. Real networks ignore it; the oracle of ``synth`` needs it."""
    share: float = 1.0
    """How much of a whole look this is, by pixels as the network sees them: it gets that share of its queries too."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N oriented boxes as a structure of arrays, all of one frame. Never mutated."""

    boxes: FloatArray
    """(N, 5) float64: cx, cy, w, h in pixels of ``frame``, angle_rad."""
    scores: FloatArray
    """(N,) float64 in [0, 1]."""
    class_ids: IntArray
    """(N,) int64, indices into the model card's classes."""
    frame: Frame
    edge: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(N,) True where the box lies within 2 px of an inner chip edge: it may be cut."""
    tile_index: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) ``Tile.index`` of the look that found it; -1 when unknown."""
    stage: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) index into STAGES."""
    n_merged: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) how many looks this box stands for, itself included."""
    entropy: FloatArray = field(default_factory=lambda: np.zeros(0))
    """(N,) normalised attention entropy of the window that found it; NaN without the second look."""

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 5):
            raise ValueError(f"boxes must be (N, 5), got {self.boxes.shape}")
        fills: dict[str, Any] = {
            "edge": (np.bool_, False),
            "tile_index": (np.int64, -1),
            "stage": (np.int64, 0),
            "n_merged": (np.int64, 1),
            "entropy": (np.float64, np.nan),
        }
        for name, (dtype, value) in fills.items():
            if n and not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(n, value, dtype))
        for name in ("scores", "class_ids", *fills):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} must be ({n},) like boxes, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> Detections:
        """The rows chosen by a boolean mask, an index array or a slice."""
        return Detections(self.boxes[keep], self.scores[keep], self.class_ids[keep], self.frame, self.edge[keep],
                          self.tile_index[keep], self.stage[keep], self.n_merged[keep], self.entropy[keep])  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        """Nothing travels as a word: on most tiles of a large scene nothing is found."""
        if not len(self):
            return _none_in, (self.frame,)
        return Detections, (self.boxes, self.scores, self.class_ids, self.frame, self.edge, self.tile_index,
                            self.stage, self.n_merged, self.entropy)  # fmt: skip

    @classmethod
    def empty(cls, frame: Frame) -> Detections:
        return _none_in(frame)

    @classmethod
    def concat(cls, parts: Sequence[Detections], frame: Frame) -> Detections:
        """All rows of ``parts`` in order. Raises ValueError when a part is in another frame."""
        for part in parts:
            if part.frame != frame:
                raise ValueError(f"cannot put detections of frame {part.frame} among those of frame {frame}")
        if not parts:
            return cls.empty(frame)
        columns = ("boxes", "scores", "class_ids", "edge", "tile_index", "stage", "n_merged", "entropy")
        merged = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
        return cls(frame=frame, **merged)


@cache
def _none_in(frame: Frame) -> Detections:
    """No detections; made once, because most tiles of a large scene have none."""
    return Detections(np.zeros((0, 5)), np.zeros(0), np.zeros(0, np.int64), frame)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMap:
    """Where a decoder looked, over one chip: non-negative mass on a grid that spans the chip exactly."""

    mass: FloatArray
    """(rows, columns) float64; sums to the share of attention that fell inside the chip."""
    outside: float = 0.0
    """Share of attention that fell outside the chip and was discarded."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a detector answers for one chip."""

    detections: Detections
    """In frame CHIP."""
    attention: AttentionMap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A window that the second look takes."""

    window: Window
    """Lattice pixels, inside its tile."""
    row: int
    """Which of the block's tiles it belongs to, among those that were looked at."""
    entropy: float
    """Spatial attention entropy of the window; NaN without an attention map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a detector says about itself; drives resampling, band choice, halo and thresholds."""

    name: str
    classes: tuple[str, ...]
    gsd_m: float | None
    """Ground sample distance it was trained at, metres; None when a foreign checkpoint does not say."""
    bands: tuple[str, ...]
    """Names of the channels it expects, e.g. ('red', 'green', 'blue')."""
    input_px: int
    """Side of the square network input, pixels."""
    sha256: str
    """Of the weights; identifies the model in run records."""
    oriented: bool = False
    score_threshold: float = 0.3
    """Score at or above which detections are reported by default."""
    longest_object_m: float | None = None
    """Length that the default halo must cover, metres."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Subtracted from pixels / 255."""
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Divides after the mean was subtracted."""
    licence: str | None = None
    training_data: str | None = None
    """Source, licence and attribution of what it was trained on."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """As measured on the held-out split; names say the split and the evaluator."""


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A tile was looked at. Zero detections means: looked, found nothing."""

    tile_id: str
    detections: Detections
    """In frame LATTICE."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A tile could not be looked at."""

    tile_id: str
    error: str
    """Class name of the error."""
    reason: str
    """One sentence."""
    attempts: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class BlockOutcome:
    """What became of every tile of one block, and what it cost."""

    block_id: int
    done: tuple[Done, ...]
    failed: tuple[Failed, ...]
    read_s: float = 0.0
    detect_s: float = 0.0
    peak_rss_bytes: int = 0
    notes: tuple[str, ...] = ()
    """Things the run record must mention, e.g. a batch halved after an out-of-memory error."""
    crops: tuple[Crop, ...] = ()
    """What the second look took."""
    tiles_refined: int = 0
    """Tiles with at least one crop."""
    network_px: int = 0
    """Pixels that went through the network, both looks together."""
    attention: tuple[tuple[Window, AttentionMap], ...] = ()
    """Where the global look at each tile looked, when the run exports it."""
    bytes_read: int = 0
    """Of pixels that the file was decoded to for this block."""
