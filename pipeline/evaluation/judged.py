"""What is to be compared: scenes, what was found on them, and their truth; whoever found it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.annotations.annotations import Annotations
from pipeline.config import RasterConfig
from pipeline.types import Detections, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Detections and truth of the same scenes, in scene pixels, both with numbers of ``classes``."""

    detector: str
    """Who found it, for people."""
    data: str
    """Where the truth comes from, for people."""
    classes: tuple[str, ...]
    found: Mapping[str, Detections]
    """By scene."""
    truth: Mapping[str, Annotations]
    """By the same names, in the order of the report. What is not judged is an ignore region here."""
    score_threshold: float
    """Where precision and recall are taken."""
    notes: tuple[str, ...] = ()
    """What a reader should know, one sentence each."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Address of the raster of each scene, where it is known."""
    raster: RasterConfig = field(default_factory=RasterConfig)
    """How those are read."""
    seam_px: Mapping[str, FloatArray] = field(default_factory=dict)
    """(A,) distance of every annotation of a scene to the nearest border of two tiles, lattice pixels; inf where the
    scene is one tile. Scenes whose tiles are not known are not there."""
    calibrated: tuple[FloatArray, FloatArray] | None = None
    """Scores (K,), ascending, and the shares (K,) of right boxes that the detector's calibration expects there; None
    where it has none."""
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why each annotation of a scene is not judged though it was an object, empty where it is. Scenes of which all
    objects are judged are not there."""
