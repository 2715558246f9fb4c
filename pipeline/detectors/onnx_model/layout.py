"""What the answers of a network mean, found by shapes: metadata is a hint, and the file's owner has the last word.

======================  ==========================================================  ====================================
layout                  answers                                                     what they hold
======================  ==========================================================  ====================================
``yolo``                (B, 4 + C, N)                                               cx, cy, w, h in pixels, C scores
``yolo-bounds``         (B, 4 + C, N)                                               x0, y0, x1, y1, C scores
``yolo-obb``            (B, 4 + C + 1, N)                                           the same, and the angle last
``yolov5``              (B, N, 5 + C)                                               cx, cy, w, h, objectness, C scores
``yolo26``              (B, K, 6)                                                   x0, y0, x1, y1, score, class
``yolo26-obb``          (B, K, 7)                                                   cx, cy, w, h, score, class, angle
``ultralytics-rtdetr``  (B, Q, 4 + C)                                               cx, cy, w, h in shares, C scores
``detr``                (B, Q, C), (B, Q, 4)                                        logits; cx, cy, w, h in shares
``detr-softmax``        (B, Q, C + 1), (B, Q, 4)                                    the same, the last: no object
``detr-boxes``          labels (B, Q), boxes (B, Q, 4), scores (B, Q)               x0, y0, x1, y1 in orig_target_sizes
``oriented-det``        pre_nms_boxes (M, 5), _scores (M), _labels (M), _count ()   cx, cy, w, h, angle; classes from 1
``kestrel-rtdetr``      logits (B, Q, C), boxes (B, Q, 5)                           cx, cy, w, h in shares, angle
``kestrel-fcos``        scores (B, N, C), boxes (B, N, 5)                           cx, cy, w, h in pixels, angle
======================  ==========================================================  ====================================

C are the classes; logits become scores by the sigmoid, or by the softmax where the last class means that there is no
object: no shape tells, so the card or the metadata says ``activation``. Pixels are the input's. Shares are of its width
(cx, w) and its height (cy, h). Angles are radians, clockwise on screen, and w need not be the longer side. Sources: the
exporters of Ultralytics (v5 to 26, RT-DETR), LibreYOLO (bounds), RT-DETR, D-FINE, RF-DETR and oriented-det.

Our own export (see ``onnx_file.py``):
the metadata key ``kestrel`` holds our card as JSON; the input ``pixels`` is float32 (B, bands, H, W),
raw, 0 to 255, of any size, padded and normalised inside the graph; the answers are those of the last
two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.detectors.onnx_model.graph import Graph, Port
from pipeline.errors import ModelError
from pipeline.names import listed, quoted

KESTREL = "kestrel"
"""Key of the metadata of our own export: our card, as JSON."""
TARGET_SIZES = "orig_target_sizes"
"""Input of the exporters of RT-DETR and D-FINE: (B, 2) width and height of what boxes are given in."""
BOUNDS_FAMILY = "yolo9"
"""Family of LibreYOLO whose boxes are bounds."""
MOST_SELECTED = 1000
"""A network that selects its answers itself (YOLO26) gives no more; one that does not gives more from 160 px on."""
CELLS = (21 / 1024, 85 / 4096, 85 / 1024)
"""Cells for each pixel of an input: of strides 8, 16, 32; with 64; with 4."""
V5_CELLS = tuple(3 * cells for cells in CELLS[:2])
"""Answers of a YOLOv5 for each pixel of its input: three anchors a cell."""
SOFTMAX, SIGMOID = "softmax", "sigmoid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way of writing boxes."""

    name: str
    """As ``layout`` of a card beside the file has it."""
    title: str
    oriented: bool = False
    overlapping: bool = False
    """Many answers say one object: NMS is still to do."""
    grey: int = 0
    """What pads a chip below and to the right, 0 to 255: what it was trained with."""
    plain: bool = False
    """Takes pixels / 255 as they are, where nobody says otherwise."""


YOLO = Layout(name="yolo", title="a YOLO (v8 and later)", overlapping=True, grey=114, plain=True)
YOLO_BOUNDS = Layout(
    name="yolo-bounds", title="a YOLO that writes bounds (LibreYOLO)", overlapping=True, grey=114, plain=True
)
YOLO_OBB = Layout(name="yolo-obb", title="a YOLO-OBB", oriented=True, overlapping=True, grey=114, plain=True)
YOLOV5 = Layout(name="yolov5", title="a YOLO with objectness (v5)", overlapping=True, grey=114, plain=True)
YOLO26 = Layout(name="yolo26", title="a YOLO that selects its boxes itself (26)", grey=114, plain=True)
YOLO26_OBB = Layout(
    name="yolo26-obb", title="a YOLO-OBB that selects its boxes itself (26)", oriented=True, grey=114, plain=True
)
ULTRALYTICS_RTDETR = Layout(name="ultralytics-rtdetr", title="an RT-DETR of Ultralytics", grey=114, plain=True)
DETR = Layout(name="detr", title="a DETR with logits and boxes")
DETR_SOFTMAX = Layout(name="detr-softmax", title="a DETR with logits, the last of no object, and boxes")
DETR_BOXES = Layout(name="detr-boxes", title="a DETR with labels, boxes and scores")
ORIENTED_DET = Layout(name="oriented-det", title="an export of oriented-det", oriented=True, overlapping=True)
KESTREL_RTDETR = Layout(name="kestrel-rtdetr", title="an oriented RT-DETR of ours", oriented=True)
KESTREL_FCOS = Layout(name="kestrel-fcos", title="an oriented FCOS of ours", oriented=True, overlapping=True)

LAYOUTS = {
    one.name: one
    for one in (
        YOLO, YOLO_BOUNDS, YOLO_OBB, YOLOV5, YOLO26, YOLO26_OBB, ULTRALYTICS_RTDETR, DETR, DETR_SOFTMAX, DETR_BOXES,
        ORIENTED_DET, KESTREL_RTDETR, KESTREL_FCOS,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Which outputs to ask for, in the order that decoding takes them, and what they mean."""

    layout: Layout
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What is known beside the shapes."""

    classes: int
    layout: str | None = None
    """As the card beside the file says."""
    activation: str | None = None
    """What makes scores of logits, as the card or the metadata says: ``sigmoid`` or ``softmax``."""
    task: str | None = None
    """As the metadata says: ``detect``, ``obb`` …"""
    model: str | None = None
    """What the metadata calls the network."""
    family: str | None = None
    """``model_family`` of the metadata, as LibreYOLO writes it: other families, other boxes of the same shape."""
    selects: bool | None = None
    """Whether the metadata says that the network selects its boxes itself."""
    area_px: int | None = None
    """Pixels of the input, where they are fixed."""


def find_answers(graph: Graph, hints: Hints) -> Answers:
    """What the outputs are. Raises ModelError where no layout fits the shapes, or more than one does."""
    if hints.activation not in (None, SOFTMAX, SIGMOID):
        raise ModelError(f"{graph.path}: activation is {SOFTMAX} or {SIGMOID}, not {quoted(hints.activation)}")
    found = _several(graph, hints) or _one(graph, hints)
    fitting = [one for one in found if hints.layout in (None, one.layout.name)]
    if hints.layout is not None and not fitting:
        kinds = ", ".join(LAYOUTS)
        raise ModelError(
            f"{graph.path}: the card says layout {quoted(hints.layout)}, but the outputs are {_shown(graph)} with "
            f"{hints.classes} classes; known are {kinds}"
        )
    if not fitting:
        raise ModelError(_complaint(graph, hints))
    if len(fitting) > 1:
        names = [one.layout.name for one in fitting]
        raise ModelError(
            f"{graph.path}: the outputs {_shown(graph)} may be of {' or '.join(names)}: say which in "
            f'{graph.path.with_suffix(".card.json").name}, for example {{"layout": "{names[0]}"}}'
        )
    if hints.activation is not None and fitting[0].layout not in (DETR, DETR_SOFTMAX):
        raise ModelError(f"{graph.path} is {fitting[0].layout.title}, whose scores need no activation: leave it out")
    return fitting[0]


def _shown(graph: Graph) -> str:
    return listed(map(str, graph.outputs))


def _complaint(graph: Graph, hints: Hints) -> str:
    card = graph.path.with_suffix(".card.json").name
    said = f"{graph.path}: the outputs {_shown(graph)} are of no detector of {hints.classes} classes that is known here"
    if len(graph.outputs) == 1 and hints.family not in (None, BOUNDS_FAMILY):
        return (
            f"{graph.path}: its metadata says model_family {quoted(hints.family)}, and how that writes boxes is not "
            f"known here: say layout, mean and std in {card} where you know them"
        )
    counts = _counts(graph)
    if counts == f"{hints.classes} classes" and hints.activation == SOFTMAX:
        return f'{said}: by a softmax one of its {counts} means "no object"; name the others, or leave activation out'
    if counts and str(hints.classes) not in counts.split():
        if counts == f"{hints.classes + 1} classes" and hints.activation is None:
            softmax = f'{{"activation": "{SOFTMAX}"}}'
            return f'{said}: write {card} with {softmax} if the last of {counts} means "no object", else name it there'
        return f"{said}, but of {counts}: name them all in classes of {card}"
    if any(len(port.shape or ()) == 4 for port in graph.outputs):
        return f"{said}; masks and feature maps are not read: export a detector (of a YOLO: task detect or obb)"
    return f"{said}: export one of {', '.join(LAYOUTS)}"


def _counts(graph: Graph) -> str:
    """Of which numbers of classes the shapes would be, as words; nothing where they are of none."""
    if len(graph.outputs) == 1:
        _, rows, columns = _three(graph.outputs[0]) or (None, None, None)
        least = min(side for side in (rows, columns, MOST_SELECTED) if side is not None)
        return f"{least - 4} classes or, turned or with objectness, {least - 5}" if 5 < least < MOST_SELECTED else ""
    numbers = {_last(logits) for logits, _ in _logits_and_boxes(graph.outputs)} - {None}
    return f"{numbers.pop()} classes" if numbers else ""


def _three(port: Port) -> tuple[int | None, ...] | None:
    return port.shape if port.shape is not None and len(port.shape) == 3 else None


def _several(graph: Graph, hints: Hints) -> list[Answers]:
    """What more than one output may be; the names say which is which, and where they do not the shapes."""
    by_name = {port.name: port for port in graph.outputs}
    pre_nms = tuple(f"pre_nms_{what}" for what in ("boxes", "scores", "labels", "count"))
    if set(pre_nms) <= by_name.keys():
        return [Answers(layout=ORIENTED_DET, names=pre_nms)]
    if {"labels", "boxes", "scores"} <= by_name.keys() and any(port.name == TARGET_SIZES for port in graph.inputs):
        return [Answers(layout=DETR_BOXES, names=("labels", "boxes", "scores"))]
    if KESTREL in graph.metadata and "boxes" in by_name:
        for other, layout in (("logits", KESTREL_RTDETR), ("scores", KESTREL_FCOS)):
            if other in by_name and _last(by_name["boxes"]) == 5 and _last(by_name[other]) in (hints.classes, None):
                return [Answers(layout=layout, names=(other, "boxes"))]
    softmax = hints.activation == SOFTMAX or hints.layout == DETR_SOFTMAX.name
    return [
        Answers(layout=DETR_SOFTMAX if softmax else DETR, names=(logits.name, boxes.name))
        for logits, boxes in _logits_and_boxes(graph.outputs)
        if _last(logits) in (hints.classes + softmax, None)
    ]


def _last(port: Port) -> int | None:
    shape = _three(port)
    return None if shape is None else shape[2]


def _logits_and_boxes(outputs: Sequence[Port]) -> list[tuple[Port, Port]]:
    """Logits (B, Q, C) and boxes (B, Q, 4) of any names. With four classes both look alike, and names decide."""
    flat = [port for port in outputs if _three(port) is not None]
    called = [port for port in flat if "box" in port.name.lower() or port.name == "dets"]
    boxes = [port for port in called or flat if _last(port) == 4]
    if len(boxes) != 1:
        return []
    logits = [port for port in flat if port is not boxes[0]]
    if len(logits) > 1:
        logits = [port for port in logits if port.name in ("logits", "pred_logits")]
    return [(logits[0], boxes[0])] if len(logits) == 1 else []


def _one(graph: Graph, hints: Hints) -> list[Answers]:
    """What a single output (B, a, b) may be, with the number of classes known."""
    shape = _three(graph.outputs[0]) if len(graph.outputs) == 1 else None
    if shape is None:
        return []
    _, first, second = shape
    if hints.family is not None and hints.layout is None:
        found = [YOLO_BOUNDS] if hints.family == BOUNDS_FAMILY and first == 4 + hints.classes else []
    else:
        # What the file leaves open is what the card says it is; decoding looks at what comes.
        found = [
            layout
            for layout, declared, columns in (
                (YOLO, first, 4 + hints.classes),
                (YOLO_BOUNDS, first, 4 + hints.classes),
                (YOLO_OBB, first, 5 + hints.classes),
                (YOLOV5, second, 5 + hints.classes),
                (YOLO26, second, 6),
                (YOLO26_OBB, second, 7),
                (ULTRALYTICS_RTDETR, second, 4 + hints.classes),
            )
            if declared == columns or (declared is None and layout.name == hints.layout)
        ]
        found = [one for one in found if one is not YOLO_BOUNDS or hints.layout == one.name]
        if not _picked(first, hints):  # a YOLO with its axes swapped has columns of the same number
            found = [one for one in found if one is not ULTRALYTICS_RTDETR or hints.layout == one.name]
    if len(found) > 1:
        found = _likely(found, first, second, hints)
    return [Answers(layout=layout, names=(graph.outputs[0].name,)) for layout in found]


def _picked(rows: int | None, hints: Hints) -> bool:
    """Whether so many answers are of queries: few, and not one for each cell of a grid."""
    cells = [] if hints.area_px is None else [round(hints.area_px * share) for share in (*CELLS, *V5_CELLS)]
    return rows is not None and rows <= MOST_SELECTED and rows not in cells


def _likely(found: list[Layout], first: int | None, second: int | None, hints: Hints) -> list[Layout]:
    """Of layouts that fit all the same those that the other axis, and then the metadata, speak for."""
    channels_first = [one for one in found if one in (YOLO, YOLO_OBB)]
    rows_first = [one for one in found if one not in channels_first]
    if hints.layout is not None:
        return found
    if channels_first and rows_first and first is not None and second is not None:
        found = channels_first if first < second else rows_first
    selecting = [one for one in found if one in (YOLO26, YOLO26_OBB)]
    if ULTRALYTICS_RTDETR in found and selecting:  # of two classes, or of three: decoding tells, if the metadata lies
        named = "rtdetr" in (hints.model or "").lower().replace("-", "")
        other_task = hints.task is not None and (hints.task == "obb") != selecting[0].oriented
        return [ULTRALYTICS_RTDETR] if named or other_task or hints.selects is False else selecting
    if YOLOV5 in found and selecting:
        dense = hints.area_px is not None and first in [round(hints.area_px * cells) for cells in V5_CELLS]
        if dense:
            return [YOLOV5]
        if first is not None and first <= MOST_SELECTED:  # also of a network that does not select, but for NMS inside
            return selecting
        if hints.selects is not None:
            return selecting if hints.selects else [YOLOV5]
        if first is not None:
            return [YOLOV5]
    return found
