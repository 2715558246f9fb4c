"""Classes chosen and renumbered, and what is said of boxes that are left out."""

from __future__ import annotations

import numpy as np

from pipeline.annotations.annotations import EVERY_CLASS, FLAT, OUTSIDE, Annotations, for_classes, left_out


def test_other_classes_become_ignore_regions_for_every_class() -> None:
    """A car, a van, a bus to be ignored, a region for every class; asked for vans and cars, in that order."""
    class_ids = np.array([0, 1, 2, EVERY_CLASS])
    truth = Annotations(np.ones((4, 5)), class_ids, np.array([False, False, True, True]))
    seen = for_classes(truth, ("car", "van", "bus"), ("van", "car", "lorry"))
    assert seen.class_ids.tolist() == [1, 0, EVERY_CLASS, EVERY_CLASS]
    assert seen.ignore.tolist() == [False, False, True, True]
    assert seen.boxes is truth.boxes
    nothing = for_classes(truth, ("car", "van", "bus"), ())
    assert nothing.class_ids.tolist() == [EVERY_CLASS] * 4
    assert nothing.ignore.all()
    assert truth.class_ids.tolist() == class_ids.tolist()


def test_boxes_that_were_left_out_are_counted_in_a_sentence() -> None:
    assert left_out(3, FLAT) == ("3 annotated boxes have no area and were left out",)
    assert left_out(1, OUTSIDE) == ("1 annotated boxes lie outside their image and were left out",)
    assert left_out(0, FLAT) == ()
