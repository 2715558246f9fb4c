"""Every knob of a run, once. The config file, the command line and ``--print_config`` are made from these.

Units are in the names. Ranges are checked when a value is made, so a bad one never gets past the start of a run.
The docstring under a field is its ``--help``. (No slots: jsonargparse reads defaults through ``__dict__``.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import ConfigError


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class RasterConfig:
    """How pixels are read and brought to 8 bit."""

    bands: tuple[int, ...] | None = None
    """Bands to read, counted from 1, in the model's channel order. Default: the first three, or the only one thrice."""
    stretch: Literal["percentile", "none", "minmax", "fixed"] = "percentile"
    """How 16-bit and float pixels become 8-bit, once per scene; 8-bit scenes are left alone unless ``fixed``."""
    stretch_low_percent: float = 1.0
    """Percentile of the valid pixels that becomes 0, percent."""
    stretch_high_percent: float = 99.0
    """Percentile of the valid pixels that becomes 255, percent."""
    stretch_range: tuple[float, float] | None = None
    """With ``stretch=fixed``: the pixel values that become 0 and 255."""
    nodata: float | None = None
    """Pixel value that means "no data", in place of the file's own."""
    allow_vrt: bool = False
    """Accept VRT files. They can make this machine read any file or address, so only for files you trust."""
    allow_vsi: bool = False
    """Accept GDAL's names of virtual files (/vsizip/…, /vsigs/…). Only for names that you wrote yourself."""
    max_gigapixels: float = 500.0
    """Refuse a scene that promises more pixels than this, itself or resampled to the lattice; billions."""
    max_bands: int = 1024
    """Refuse a scene that promises more bands than this."""
    max_block_mb: int = 512
    """Refuse a scene, or an overview, whose unit of decoding (a tile or strip of the file) is larger, megabytes."""
    gdal_cache_mb: int = 64
    """GDAL's block cache per process, megabytes."""

    def __post_init__(self) -> None:
        _require(
            self.bands is None or (len(self.bands) > 0 and min(self.bands) >= 1), "raster.bands: bands count from 1"
        )
        _require(
            0 <= self.stretch_low_percent < self.stretch_high_percent <= 100,
            "raster.stretch_low_percent must be below raster.stretch_high_percent, both in [0, 100]",
        )
        _require(
            self.stretch != "fixed" or self.stretch_range is not None,
            "raster.stretch=fixed needs raster.stretch_range, e.g. --raster.stretch_range '[0, 4000]'",
        )
        _require(
            self.stretch_range is None or self.stretch_range[0] < self.stretch_range[1],
            "raster.stretch_range: the first value must be below the second",
        )
        _require(self.max_gigapixels > 0, "raster.max_gigapixels must be positive")
        _require(self.max_bands >= 1, "raster.max_bands must be at least 1")
        _require(self.max_block_mb >= 1, "raster.max_block_mb must be at least 1")
        _require(self.gdal_cache_mb >= 8, "raster.gdal_cache_mb must be at least 8")


@dataclass(frozen=True, kw_only=True)
class TilingConfig:
    """How a scene is cut into tiles, and at which ground sample distance."""

    gsd: str = "model"
    """``model`` resamples the scene to the model's GSD, ``native`` leaves it, a number is a GSD in metres."""
    tile_px: int | None = None
    """Side of a tile in lattice pixels, halo included. Default: the model's input size times global_factor."""
    halo_px: int | None = None
    """Overlap kept around a tile's core, lattice pixels. Default: the model's longest object."""
    halo_m: float | None = None
    """The same in metres on the ground; excludes halo_px."""
    global_factor: float = 1.0
    """Each tile is shrunk by this for a first look, and looked at again where that was unsure; 1 is one look at all."""
    block_mpx: float = 24.0
    """Largest block (tiles read in one go), millions of lattice pixels. Bounds memory per worker."""
    skip_empty: bool = True
    """Skip tiles that hold no valid pixel (nodata, mask, alpha), judged on an overview."""

    def __post_init__(self) -> None:
        if self.gsd not in ("model", "native"):
            try:
                metres = float(self.gsd)
            except ValueError as error:
                raise ConfigError(f"tiling.gsd must be model, native or metres, not {self.gsd!r}") from error
            _require(0 < metres < 1e6, "tiling.gsd: metres must be positive")
        _require(self.tile_px is None or self.tile_px >= 32, "tiling.tile_px must be at least 32 pixels")
        _require(self.halo_px is None or self.halo_px >= 0, "tiling.halo_px must not be negative")
        _require(self.halo_m is None or self.halo_m >= 0, "tiling.halo_m must not be negative")
        _require(self.halo_px is None or self.halo_m is None, "give tiling.halo_px or tiling.halo_m, not both")
        _require(1.0 <= self.global_factor <= 16, "tiling.global_factor must be in [1, 16]")
        _require(self.block_mpx > 0, "tiling.block_mpx must be positive")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """How the detector is run."""

    score_threshold: float | None = None
    """Report detections with at least this score, 0 to 1. Default: the model card's."""
    batch: int = 4
    """Chips per forward pass. An out-of-memory error halves it, and the run record says so."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the network; the 16-bit ones are for GPUs."""

    def __post_init__(self) -> None:
        _require(
            self.score_threshold is None or 0 <= self.score_threshold <= 1, "detector.score_threshold must be in [0, 1]"
        )
        _require(self.batch >= 1, "detector.batch must be at least 1")


Selector = Literal["none", "sae", "intensity", "entropy", "density", "small_box_density", "random", "uniform", "ours"]


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """The second look: closer crops where the first look, shrunk by tiling.global_factor, was unsure.

    There is none at a tiling.global_factor of 1, where the first look has seen every pixel.
    """

    selector: Selector = "ours"
    """What the choice of crops goes by; ``none`` looks once. ``sae`` is the paper's score, ``ours`` the best found."""
    budget: float = 0.25
    """Pixels the crops of a block may cost the network, as a share of those of its global looks."""
    scales: tuple[float, ...] = (0.5,)
    """Sides of the crops, as shares of the picture the global look sees: one of 0.5 costs a quarter of a look."""
    zoom: float = 1.4
    """How much closer than the first look crops are shown, never beyond full resolution. Closer shows less ground."""
    gate: float = 0.0
    """Tiles whose attention has less entropy than this, 0 to 1, get no crops; the paper's gate is 0.7."""
    candidate_score: float = 0.05
    """Detections of the global look from this score on take part in choosing crops and in fusion."""
    match_iou: float = 0.4
    """A crop's box and a global box of one class are one object from this rotated IoU on."""
    score_rule: Literal["max", "published"] = "max"
    """Score of what both looks saw: the larger one, or (the paper's) 0.7 of the global and 0.3 of the crop's."""
    seed: int = 0
    """For the selector ``random``."""

    def __post_init__(self) -> None:
        _require(0 <= self.budget <= 16, "refine.budget must be in [0, 16]")
        _require(
            len(self.scales) > 0 and all(0 < scale <= 16 for scale in self.scales), "refine.scales must lie in (0, 16]"
        )
        _require(1 < self.zoom <= 64, "refine.zoom must be in (1, 64]")
        _require(0 <= self.gate <= 1, "refine.gate must be in [0, 1]")
        _require(0 <= self.candidate_score <= 1, "refine.candidate_score must be in [0, 1]")
        _require(0 < self.match_iou <= 1, "refine.match_iou must be in (0, 1]")

    def crop_factor(self, global_factor: float) -> float:
        """What crops are shrunk by, when the global look shrinks tiles by ``global_factor``."""
        return max(1.0, global_factor / self.zoom)

    def applies(self, global_factor: float) -> bool:
        """Whether there is a second look at tiles that the first saw shrunk by ``global_factor``."""
        return global_factor > 1 and self.selector != "none" and self.budget > 0


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """How the detections of all tiles become one set."""

    iou_threshold: float = 0.3
    """Of two boxes of one class that overlap by more than this rotated IoU, the better stays. 0 to 1."""
    class_groups: tuple[tuple[str, ...], ...] = ()
    """Names of classes that suppress each other as if they were one, e.g. '[[car, truck]]'."""

    def __post_init__(self) -> None:
        _require(0 < self.iou_threshold <= 1, "merge.iou_threshold must be in (0, 1]")
        names = [name for group in self.class_groups for name in group]
        _require(len(names) == len(set(names)), "merge.class_groups: a class may stand in one group only")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What is written."""

    max_failed_tiles: int = 0
    """Publish a scene with at most this many failed tiles (as PARTIAL); beyond it, only the list of failures."""
    preview_px: int = 1600
    """Longer side of preview.png, pixels; 0 writes none."""
    meta: tuple[str, ...] = ()
    """Facts to record about the scene, as key=value: acquired, sensor, attribution, or any other key."""

    def __post_init__(self) -> None:
        _require(self.max_failed_tiles >= 0, "output.max_failed_tiles must not be negative")
        _require(self.preview_px == 0 or 64 <= self.preview_px <= 8192, "output.preview_px must be 0 or 64 to 8192")
        _require(all("=" in entry.strip("=") for entry in self.meta), "output.meta: write entries as key=value")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Things that are written on request."""

    attention: bool = False
    """Also write where the detector looked: attention.tif, a georeferenced heat map, one pixel per 8 lattice pixels."""


@dataclass(frozen=True, kw_only=True)
class WorkConfig:
    """How work is kept, so that a job that was killed goes on where it was. Changes no result."""

    keep_score: float = 0.05
    """Detections from this score on are kept, so a later run may lower detector.score_threshold without a detector."""
    lease_s: float = 30.0
    """A job that gives no sign of life for this long has died: another may take its scene over. Seconds."""

    def __post_init__(self) -> None:
        _require(0 <= self.keep_score <= 1, "work.keep_score must be in [0, 1]")
        _require(self.lease_s > 0, "work.lease_s must be positive")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Which machines do the work, and how patient to be with them. Changes no result, except the thread count."""

    workers: int | Literal["auto"] = "auto"
    """Detector processes; ``auto`` is one per GPU, else one per ``threads`` CPU cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; ``auto`` takes a GPU where the cluster has one."""
    threads: int = 1
    """CPU threads of one detector process. Part of the configuration hash: it may change last digits."""
    address: str | None = None
    """Ray cluster to join. Default: the one of the submitted job, else a local one started for the run."""
    in_flight: int = 2
    """Blocks read ahead per worker; bounds memory."""
    start_s: float = 60.0
    """Fail when no worker has loaded the model this many seconds after the first began to."""
    wait_s: float = 600.0
    """Wait at most this many seconds for the cluster to make room for a worker."""
    max_attempts: int = 3
    """Deaths of a worker over one block before the block is bisected to find the tile that kills it."""
    deadline_s: float = 600.0
    """Kill a worker that shows no sign of life (one batch looked at, one block read) for this many seconds; it counts
    as a death. More than your slowest batch takes. With ``executor=local`` a hang cannot be interrupted."""
    stuck_s: float = 300.0
    """Name the blocks in flight, and where they are, whenever none has finished for this many seconds."""

    def __post_init__(self) -> None:
        _require(self.workers == "auto" or self.workers >= 1, "cluster.workers must be auto or at least 1")
        _require(self.threads >= 1, "cluster.threads must be at least 1")
        _require(self.in_flight >= 1, "cluster.in_flight must be at least 1")
        _require(self.start_s > 0 and self.wait_s > 0, "cluster.start_s and cluster.wait_s must be positive")
        _require(self.max_attempts >= 1, "cluster.max_attempts must be at least 1")
        _require(self.deadline_s > 0 and self.stuck_s > 0, "cluster.deadline_s and cluster.stuck_s must be positive")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One complete detection run."""

    scene: tuple[str, ...] = ()
    """Scenes: local paths, https:// or s3:// addresses. Join one-band files of one scene with commas."""
    out: str = ""
    """Folder for the results, local or any fsspec address; each scene gets a folder of its own in it."""
    weights: str = "builtin:ships-s2"
    """Detector: builtin:NAME, a checkpoint folder, an fsspec address, or the name of a model on the hub."""
    aoi: str | None = None
    """Area of interest: a vector file in any CRS; only tiles that touch it are looked at."""
    executor: Literal["ray", "local"] = "ray"
    """``ray`` uses a cluster, ``local`` this process. The results are the same bytes."""
    dry_run: bool = False
    """Read only headers, print the plan and what will hurt, and stop."""
    start_from: Literal["reading", "merge"] = "reading"
    """``merge`` merges and writes again what was found before, with other thresholds or exports, and needs no GPU."""
    force: bool = False
    """Do everything again, also what is published or was done before."""
    clean: bool = False
    """Remove what earlier runs with other settings have kept of these scenes, once this run is published."""
    log: Literal["text", "json"] = "text"
    """What goes to stderr: lines for people, or one JSON object a line (event, time, ids, counts)."""
    raster: RasterConfig = field(default_factory=RasterConfig)
    """How pixels are read."""
    tiling: TilingConfig = field(default_factory=TilingConfig)
    """How the scene is cut."""
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    """How the detector is run."""
    refine: RefineConfig = field(default_factory=RefineConfig)
    """Where to look again."""
    merge: MergeConfig = field(default_factory=MergeConfig)
    """How detections are merged."""
    output: OutputConfig = field(default_factory=OutputConfig)
    """What is written."""
    export: ExportConfig = field(default_factory=ExportConfig)
    """What is written on request."""
    work: WorkConfig = field(default_factory=WorkConfig)
    """How work is kept."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """Where the work is done."""

    def __post_init__(self) -> None:
        _require(all(uri.strip(", ") for uri in self.scene), "--scene: an empty scene name")
        _require(
            not (self.force and self.start_from == "merge"), "give --force (do all again) or --from merge, not both"
        )

    @property
    def looks_twice(self) -> bool:
        """Whether there is a second look."""
        return self.refine.applies(self.tiling.global_factor)
