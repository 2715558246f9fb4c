"""One complete detection run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.config.checks import check_template, require
from pipeline.config.cluster import ClusterConfig
from pipeline.config.looking import DetectorConfig, MergeConfig, RefineConfig
from pipeline.config.reading import RasterConfig, TilingConfig
from pipeline.config.writing import ExportConfig, OutputConfig, WorkConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One complete detection run."""

    scene: tuple[str, ...] = ()
    """Scenes: files, https:// or s3:// addresses (join one-band files of one scene with commas); folders, prefixes and
    globs: every scene in them, side-cars, masks and the like left out; @FILE: a list, one a line, relative ones from
    its folder on."""
    out: str = ""
    """Folder for the results, local or any fsspec address; each scene gets a folder of its own in it."""
    scene_id: str = "{stem}"
    """Name of a scene's folder in ``out``: text with ``{stem}`` (the file), ``{parent}`` (its folder) or ``{hash}``."""
    weights: str = "builtin:ships-s2"
    """Detector: builtin:NAME, a checkpoint folder, an fsspec address, or the name of a model on the hub."""
    aoi: str | None = None
    """Area of interest: a vector file in any CRS, or west,south,east,north in degrees; tiles that touch it count."""
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
        require(all(uri.strip(", ") for uri in self.scene), "--scene: an empty scene name")
        require(
            not (self.force and self.start_from == "merge"), "give --force (do all again) or --from merge, not both"
        )
        check_template(self.scene_id, len(self.scene))

    @property
    def looks_twice(self) -> bool:
        """Whether there is a second look."""
        return self.refine.applies(self.tiling.global_factor)

    @property
    def aoi_is_box(self) -> bool:
        """Whether the area of interest is given in numbers, and not the name of a file."""
        try:
            return self.aoi is not None and len([float(number) for number in self.aoi.split(",")]) == 4
        except ValueError:
            return False
