"""One look answers an object once: of boxes that say the same object the best stays."""

from __future__ import annotations

from pipeline.geometry.nms import rotated_nms
from pipeline.types import Detections

SAME_OBJECT_IOU = 0.3
"""Many points say one object. Of those that overlap by more than this the best stays: what the merge of tiles goes by
too, so that one look answers an object once, and the density of detections is that of objects."""


def distinct(found: Detections) -> Detections:
    """Of detections, one an object, best first. A lower score threshold adds to them and takes none away."""
    return found[rotated_nms(found.boxes, found.scores, found.class_ids, SAME_OBJECT_IOU)]
