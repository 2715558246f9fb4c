"""What repairing the errors of one kind would bring in AP50: TIDE's oracles (Bolya et al. 2020, section 2.3).

* wrong class: the detection gets the class of its object; poor localisation: it gets the box of its object. Then it is
  right, and of two that are right on one object the one of the lower score is taken away.
* duplicate, background, wrong class and poor localisation: the detection is taken away.
* missed: the object is taken away.

A gain is AP50 with the errors of one kind repaired, less AP50 as it is. No gain is negative. With all kinds repaired
AP50 is 1: no detection is wrong any more, and every object that is left is the object of one that is right. The gains
do not add up to what AP50 lacks of 1, neither here nor in TIDE: two errors on the same stretch of a curve hide each
other, and with one of them repaired the other remains. They are to be compared, not added.

A class all of whose objects are taken away counts as 1: all that was to be found is found.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.average_precision import area_under_curve, mean_over_classes
from pipeline.evaluation.errors.kinds import ERRORS, Judgement, Kind
from pipeline.evaluation.matching import NEITHER, RIGHT, WRONG, Matches
from pipeline.types import BoolArray, IntArray

TAKEN_AWAY = (Kind.DUPLICATE, Kind.BACKGROUND, Kind.WRONG_CLASS_AND_POOR_LOCALISATION)
GIVEN_RIGHT = (Kind.WRONG_CLASS, Kind.POOR_LOCALISATION)
WRONG_KINDS = (*TAKEN_AWAY, *GIVEN_RIGHT)


@dataclass(frozen=True, slots=True, eq=False)
class _Repaired:
    class_ids: IntArray
    """(D,)"""
    verdict: IntArray
    """(D,) RIGHT, WRONG or NEITHER: taken away."""
    wanted: BoolArray
    """(A,)"""


def ap50(judgement: Judgement, repaired: Collection[Kind] = ()) -> float:
    """AP50 (area under the curve, mean over annotated classes) with these kinds of errors repaired.

    NaN without objects. With none repaired it is what
    :func:`pipeline.evaluation.average_precision.average_precision` says.
    """
    return _mean(judgement, _repair(judgement, repaired))


def gains(judgement: Judgement) -> dict[Kind, float]:
    """What repairing each kind alone would bring in AP50, 0 to 1; NaN without objects."""
    before = ap50(judgement)
    return {kind: ap50(judgement, (kind,)) - before for kind in ERRORS}


def gain_of_no_wrong(judgement: Judgement) -> float:
    """What taking away every wrong detection would bring: TIDE's false positives."""
    repaired = _repair(judgement, ())
    verdict = np.where(repaired.verdict == WRONG, NEITHER, repaired.verdict)
    return _mean(judgement, _Repaired(repaired.class_ids, verdict, repaired.wanted)) - ap50(judgement)


def gain_of_all_found(judgement: Judgement) -> float:
    """What taking away every object that was not found would bring: TIDE's false negatives."""
    repaired = _repair(judgement, ())
    wanted = judgement.wanted & ~judgement.unfound()
    return _mean(judgement, _Repaired(repaired.class_ids, repaired.verdict, wanted)) - ap50(judgement)


def _repair(judgement: Judgement, kinds: Collection[Kind]) -> _Repaired:
    kind, target = judgement.kind, judgement.target
    verdict = np.select([kind == Kind.RIGHT, kind == Kind.NOT_JUDGED], [RIGHT, NEITHER], WRONG)
    class_ids = judgement.class_ids.copy()
    given = np.isin(kind, [one for one in GIVEN_RIGHT if one in kinds])
    class_ids[given] = judgement.annotation_class[target[given]]
    verdict[given] = RIGHT
    verdict[np.isin(kind, [one for one in TAKEN_AWAY if one in kinds])] = NEITHER
    right = judgement.ranked[verdict[judgement.ranked] == RIGHT]
    second = np.ones(len(right), np.bool_)
    second[np.unique(target[right], return_index=True)[1]] = False
    verdict[right[second]] = NEITHER
    wanted = judgement.wanted & ~judgement.missed() if Kind.MISSED in kinds else judgement.wanted
    return _Repaired(class_ids, verdict, wanted)


def _mean(judgement: Judgement, repaired: _Repaired) -> float:
    classes = np.unique(judgement.annotation_class[judgement.wanted])
    return mean_over_classes([_class_ap(judgement, repaired, int(one)) for one in classes])


def _class_ap(judgement: Judgement, repaired: _Repaired, class_id: int) -> float:
    targets = np.flatnonzero(repaired.wanted & (judgement.annotation_class == class_id))
    if not len(targets):
        return 1.0
    rows = judgement.ranked[repaired.class_ids[judgement.ranked] == class_id]
    return area_under_curve(Matches(
        judgement.scores[rows], repaired.verdict[rows][None].astype(np.int8), judgement.target[rows][None], targets,
        len(judgement.wanted), rows,
    ))  # fmt: skip
