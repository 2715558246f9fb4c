"""Every kind of error on hand-made scenes, and what they cost, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.average_precision import average_precision
from pipeline.evaluation.errors.confusion import confusion
from pipeline.evaluation.errors.fixes import ap50, gain_of_all_found, gain_of_no_wrong, gains
from pipeline.evaluation.errors.kinds import ERRORS, Kind, judge
from pipeline.types import Detections, Frame
from tests.support.judging import found, noisy, ship, truth

SHIP, PLANE = 0, 1


def sideways(x: float, shift: float) -> list[float]:
    """The ship of that column, moved across its length: its IoU is then (6 - shift) / (6 + shift)."""
    box = ship(x, angle=0.0)
    return [box[0], box[1] + shift, *box[2:]]


ALL_KINDS = [  # box, score, class of one detection, and its kind; objects: ships at 0, 100, 300, planes at 200 and 400
    (sideways(0, 0.5), 0.9, SHIP, Kind.RIGHT),
    (sideways(0, 1.0), 0.8, SHIP, Kind.DUPLICATE),
    (sideways(100, 3.0), 0.7, SHIP, Kind.POOR_LOCALISATION),  # IoU 1/3
    (sideways(200, 0.5), 0.6, SHIP, Kind.WRONG_CLASS),
    (sideways(300, 4.0), 0.5, PLANE, Kind.WRONG_CLASS_AND_POOR_LOCALISATION),  # IoU 0.2
    (sideways(300, 5.5), 0.45, SHIP, Kind.BACKGROUND),  # IoU 0.043, below 0.1
    (sideways(900, 0.0), 0.4, SHIP, Kind.BACKGROUND),
    (sideways(600, 0.0), 0.3, PLANE, Kind.NOT_JUDGED),  # in an ignore region
]
OBJECTS = truth(
    [sideways(0, 0), sideways(100, 0), sideways(200, 0), sideways(300, 0), sideways(400, 0), sideways(600, 0)],
    [SHIP, SHIP, PLANE, SHIP, PLANE, PLANE],
    [False] * 5 + [True],
)


def every_kind() -> Detections:
    boxes, scores, classes, _ = zip(*ALL_KINDS, strict=True)
    return found(list(boxes), list(scores), list(classes))


def test_every_kind_is_told_from_the_others() -> None:
    judgement = judge([every_kind()], [OBJECTS])
    assert [Kind(one) for one in judgement.kind] == [kind for *_, kind in ALL_KINDS]
    assert judgement.target.tolist() == [0, 0, 1, 2, 3, -1, -1, -1]
    assert judgement.iou[2] == pytest.approx(1 / 3)
    # Ship 300 has one detection of both errors only, plane 400 none; ship 100 and plane 200 are explained.
    assert np.flatnonzero(judgement.missed()).tolist() == [3, 4]
    assert np.flatnonzero(judgement.unfound()).tolist() == [1, 2, 3, 4]
    # Without what scores less than 0.65 nobody explains plane 200.
    assert np.flatnonzero(judgement.missed(0.65)).tolist() == [2, 3, 4]


def test_what_an_error_costs_is_what_its_repair_brings() -> None:
    """AP50 of the ships 1/3 (one of three, first), of the planes 0: together 1/6. Repaired alone:

    * wrong class: planes find the first of two with nothing wrong before it, but the one of both errors after: 1/2
    * poor localisation: ships are right at ranks 1 and 3, a duplicate between: 1/3 + 1/3 * 2/3 = 5/9
    * missed: the ships lose ship 300: 1/2; the planes lose plane 400, and plane 200 stays unfound: 0
    """
    judgement = judge([every_kind()], [OBJECTS])
    assert ap50(judgement) == pytest.approx(1 / 6)
    brought = gains(judgement)
    assert brought[Kind.WRONG_CLASS] == pytest.approx((1 / 3 + 1 / 2) / 2 - 1 / 6)
    assert brought[Kind.POOR_LOCALISATION] == pytest.approx(5 / 9 / 2 - 1 / 6)
    assert brought[Kind.MISSED] == pytest.approx(1 / 2 / 2 - 1 / 6)
    assert [brought[kind] for kind in (Kind.DUPLICATE, Kind.BACKGROUND, Kind.WRONG_CLASS_AND_POOR_LOCALISATION)] == [
        pytest.approx(0, abs=1e-12)
    ] * 3
    assert gain_of_all_found(judgement) == pytest.approx((1 + 1) / 2 - 1 / 6)  # no plane is left: nothing is missed
    assert gain_of_no_wrong(judgement) == pytest.approx(0, abs=1e-12)
    assert ap50(judgement, ERRORS) == pytest.approx(1)


def test_gains_do_not_add_up_to_what_is_lacking() -> None:
    """Two false alarms of two kinds before the only right box: each alone leaves the other, and brings little."""
    wrong = [sideways(900, 0), sideways(200, 0.0), sideways(0, 0)]
    judgement = judge([found(wrong, [0.9, 0.8, 0.7])], [truth([sideways(0, 0), sideways(200, 0)], [SHIP, PLANE])])
    lacking = 1 - ap50(judgement)
    assert sum(gains(judgement).values()) < lacking - 0.05


def test_an_object_of_another_class_explains_less_than_one_of_its_own() -> None:
    """A detection of a ship lies on a ship that was found (IoU 0.6) and better on a plane: it is a duplicate."""
    objects = truth([sideways(0, 0), sideways(0, 2.0)], [SHIP, PLANE])
    judgement = judge([found([sideways(0, 0), sideways(0, 1.5)], [0.9, 0.8])], [objects])
    assert judgement.kind.tolist() == [Kind.RIGHT, Kind.DUPLICATE]


def test_whatever_is_detected_no_repair_harms_and_all_repairs_make_it_perfect() -> None:
    """Identities that hold of any detections: AP is that of the evaluator, no gain is negative, with all kinds
    repaired AP is 1, and every object and every judged detection stands in the confusion matrix once."""
    generator = np.random.default_rng(5)
    for _ in range(25):
        detections, objects = zip(*(shaken(generator) for _ in range(2)), strict=True)
        judgement = judge(detections, objects)
        assert ap50(judgement) == pytest.approx(average_precision(detections, objects), abs=1e-12)
        assert min(gains(judgement).values()) >= -1e-12
        assert ap50(judgement, ERRORS) == pytest.approx(1)
        for least in (0.0, 0.5):
            counts = confusion(judgement, 2, least)
            shown = (judgement.kind != Kind.NOT_JUDGED) & (judgement.scores >= least)
            assert (
                counts[:2].sum(axis=1).tolist()
                == np.bincount(judgement.annotation_class[judgement.wanted], minlength=2).tolist()
            )
            assert counts[:, :2].sum(axis=0).tolist() == np.bincount(
                judgement.class_ids[shown], minlength=2
            ).tolist()  # fmt: skip
            assert counts.diagonal().sum() == np.count_nonzero(shown & (judgement.kind == Kind.RIGHT))


def shaken(generator: np.random.Generator) -> tuple[Detections, object]:
    """Objects, and detections of them that are moved, doubled and of the wrong class."""
    detections, objects = noisy(generator)
    moved = detections.boxes + generator.normal(0, 1, (len(detections), 5)) * [3, 3, 0, 0, 0.2]
    classes = np.where(generator.uniform(size=len(detections)) < 0.3, 1 - detections.class_ids, detections.class_ids)
    once = replace(detections, boxes=moved, class_ids=classes)
    twice = replace(once, scores=generator.uniform(size=len(once)))
    return Detections.concat([once, twice], Frame.SCENE), objects


def test_confusion_gives_an_object_to_one_detection() -> None:
    """A plane is said to be a ship twice: once it counts as taken for one, the second is of the background."""
    detections = found([sideways(0, 0), sideways(0, 0.5), sideways(100, 0)], [0.9, 0.8, 0.2], [SHIP, SHIP, PLANE])
    judgement = judge([detections], [truth([sideways(0, 0), sideways(100, 0)], [PLANE, PLANE])])
    assert confusion(judgement, 2, 0.0).tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert confusion(judgement, 2, 0.5).tolist() == [[0, 0, 0], [1, 0, 1], [1, 0, 0]]
