"""The contact sheet: crops with the boxes on them."""

from __future__ import annotations

from base64 import b64encode

import numpy as np

from pipeline.evaluation.errors.crops import Crop
from pipeline.evaluation.errors.kinds import ERRORS, Judgement, Kind
from pipeline.evaluation.errors.worst import Example
from pipeline.evaluation.html.element import Markup, element, joined, name_of
from pipeline.evaluation.judged import Judged
from pipeline.types import FloatArray

ORDERS = {Kind.MISSED: "the largest"}
"""Which are shown, where it is not those of the highest score."""


def contact_sheet(
    judged: Judged, judgement: Judgement, worst: dict[Kind, tuple[Example, ...]], crops: dict[Example, Crop]
) -> Markup:
    """A row of crops for each kind that has any."""
    key = element(
        "p",
        element("span", "truth", class_="key"),
        element("span", "detection", class_="key dashed"),
        element("span", "ignore region", class_="key dotted"),
        "Thin lines are other objects, and other detections above the threshold.",
        class_="faint",
    )
    parts = [
        joined(
            element("h3", f"{kind.text.capitalize()} – {ORDERS.get(kind, 'the highest scores')}"),
            element("div", *(_figure(judged, judgement, one, crops[one]) for one in worst[kind]), class_="sheet"),
        )
        for kind in ERRORS
        if worst[kind]
    ]
    return joined(key, *parts) if parts else element("p", "There is no error to show.")


def _figure(judged: Judged, judgement: Judgement, example: Example, crop: Crop) -> Markup:
    said: list[object] = []
    if example.detection is not None:
        row = example.detection
        said += [name_of(judged.classes[judgement.class_ids[row]]), f" {judgement.scores[row]:.2f}"]
        if judgement.iou[row] > 0:
            said.append(f", IoU {judgement.iou[row]:.2f}")
    if example.annotation is not None:
        own = judgement.annotation_class[example.annotation]
        if example.detection is None:
            said.append(name_of(judged.classes[own]))
        elif own != judgement.class_ids[example.detection]:
            said += [" on ", name_of(judged.classes[own])]
    x, y = crop.centre_px
    place = element("span", f"{x:.0f}, {y:.0f}", class_="place")
    where = element("span", name_of(list(judged.truth)[example.scene]), " at ", place, class_="faint")
    return element("figure", drawing(crop, example.kind.text), element("figcaption", *said, element("br"), where))


def drawing(crop: Crop, described: str) -> Markup:
    """The crop as SVG with its picture inside, if there is one."""
    side = crop.side_px
    picture = None
    if crop.jpeg is not None:
        data = f"data:image/jpeg;base64,{b64encode(crop.jpeg).decode()}"
        picture = element("image", href=data, width=side, height=side, preserveAspectRatio="none")
    shapes = [
        *_rings(crop.regions, "of-region"),
        *_rings(crop.truth_aside, "of-truth aside"),
        *_rings(crop.found_aside, "of-found aside"),
        *_rings(np.concatenate([crop.truth, crop.found]), "halo"),
        *_rings(crop.truth, "of-truth"),
        *_rings(crop.found, "of-found"),
    ]
    return element("svg", picture, *shapes, viewBox=f"0 0 {side} {side}", role="img", aria_label=described)


def _rings(corners: FloatArray, kind: str) -> list[Markup]:
    return [
        element("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in ring), class_=kind)
        for ring in corners.tolist()
    ]
