"""Networks of our own as ONNX graphs: traced once at a small size, they take any batch and any size.

Of torch's two exporters this is the older one, by tracing: for the embedded network it takes 1 s where the newer one
(``dynamo=True``) takes 13 and makes a graph that runs no faster, and it needs the package ``onnx`` alone.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.attention import watch
from pipeline.detectors.cross_attention import Samples
from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.passes import Runnable
from pipeline.errors import ModelError, one_sentence

OPSET = 17
"""16 has GridSample, 17 LayerNormalization."""
PIXELS, QUERIES, ORIGINAL, SHOWN = "pixels", "queries", "original", "shown"
"""Inputs of a graph of a pass."""
SCORES, BOXES, DIFFERENCE = "scores", "boxes", "difference"
LOCATIONS, WEIGHTS = "locations", "weights"
"""Outputs of a graph of a pass; of the last two one for each decoder layer, ``locations_0`` and so on."""
_ANY_SIZE = {0: "batch", 2: "height", 3: "width"}
_EXAMPLE_STRIDES = (3, 4)
"""Sides of the traced chips, in units of the largest stride: unlike, so that no side is taken for the other."""


class PassGraph(nn.Module):
    """What :class:`~pipeline.detectors.passes.TorchPass` works out, as tensors in and tensors out."""

    def __init__(self, runnable: Runnable) -> None:
        super().__init__()
        self.network, self._runnable = runnable.network, runnable
        self.samples: list[Samples] = []
        """Of the last pass."""

    def forward(
        self, pixels: Tensor, queries: Tensor, original: Tensor | None = None, shown: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Scores, boxes, the difference where there is one, then locations and weights of each decoder layer."""
        drawn = None if original is None or shown is None else Original(original, shown)
        with watch(self._runnable.decoder) as record:
            answer = self._runnable.answer(self.network, pixels, queries, drawn)
        self.samples = record.samples
        seen = [tensor for samples in record.samples for tensor in (samples.locations, samples.weights)]
        return (answer.scores, answer.boxes, *([] if answer.difference is None else [answer.difference]), *seen)


class FileGraph(nn.Module):
    """(B, C, H, W) pixels from 0 to 255 as they are → what a file that we give away answers; any H and W."""

    def __init__(self, runnable: Runnable, mean: Sequence[float], std: Sequence[float]) -> None:
        """``mean`` and ``std`` of pixels / 255."""
        super().__init__()
        self.network, self._runnable, self._mean, self._std = runnable.network, runnable, mean, std

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, N, classes) and boxes (B, N, 5) in pixels; of DETR's kind, logits and boxes whose places and sides
        are shares of the width (x, w) and the height (y, h). Angles are radians in either case."""
        height, width = pixels.shape[2], pixels.shape[3]
        config = self.network.config
        stride = config.strides[-1]
        room = (0, -width % stride, 0, -height % stride)  # black, which means "no data", as the detector pads
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self._mean, self._std))
        shown = functional.pad(torch.ones_like(pixels[:, :1]), room) > 0
        padded = (functional.pad(pixels, room) / 255 - mean) / std
        original = Original(padded * std + mean, shown) if config.reconstructs else None
        answer = self._runnable.answer(self.network, padded, self._queries(padded), original)
        if not self._runnable.detr:
            return answer.scores, answer.boxes
        cx, cy, w, h, angle = answer.boxes.unbind(-1)
        boxes = torch.stack([cx / width, cy / height, w / width, h / height, angle], -1)
        return torch.logit(answer.scores, eps=1e-7), boxes

    def _queries(self, padded: Tensor) -> Tensor:
        """As many as configured, but no more than there are tokens."""
        config = self.network.config
        tokens = sum((padded.shape[2] // stride) * (padded.shape[3] // stride) for stride in config.strides)
        return torch.tensor(getattr(config, QUERIES, 1)).clamp(max=tokens)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TracedPass:
    """A :class:`PassGraph` as an ONNX model, and what its outputs do not say of themselves."""

    graph: bytes
    layers: int
    """Of the decoder: so many times there are locations and weights."""
    levels: Tensor
    """(S,) level of each sample."""
    nearest: bool


def pass_graph(runnable: Runnable) -> TracedPass:
    """The network's pass as an ONNX graph. Raises ModelError where torch cannot."""
    config = runnable.network.config
    pixels = _example(runnable)
    inputs = {PIXELS: pixels, QUERIES: torch.tensor(8)}
    if config.reconstructs:
        inputs |= {ORIGINAL: torch.rand_like(pixels), SHOWN: torch.ones_like(pixels[:, :1], dtype=torch.bool)}
    outputs = [SCORES, BOXES, *([DIFFERENCE] if config.reconstructs else [])]
    for layer in range(0 if runnable.decoder is None else len(runnable.decoder.layers)):
        outputs += [f"{LOCATIONS}_{layer}", f"{WEIGHTS}_{layer}"]
    traced_pass = PassGraph(runnable)
    graph, samples = traced(traced_pass, inputs, outputs), traced_pass.samples
    return TracedPass(
        graph=graph,
        layers=len(samples),
        levels=samples[0].levels if samples else torch.zeros(0, dtype=torch.long),
        nearest=any(one.nearest for one in samples),
    )


def file_graph(runnable: Runnable, mean: Sequence[float], std: Sequence[float]) -> bytes:
    """The graph of a file that is given away. Raises ModelError where torch cannot."""
    names = ("logits" if runnable.detr else SCORES, BOXES)
    return traced(FileGraph(runnable, mean, std), {PIXELS: 255 * _example(runnable)}, names)


def _example(runnable: Runnable) -> Tensor:
    config = runnable.network.config
    rows, columns = (share * config.strides[-1] for share in _EXAMPLE_STRIDES)
    return torch.rand(2, config.bands, rows, columns, generator=torch.Generator().manual_seed(0))


def traced(graph: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    """``graph`` as an ONNX model. Batch, and rows and columns of pictures, may be any later."""
    axes = {name: _ANY_SIZE for name in (*inputs, *outputs) if name in (PIXELS, ORIGINAL, SHOWN, DIFFERENCE)}
    axes |= {name: {0: "batch", 1: "answers"} for name in outputs if name != DIFFERENCE}
    stream = io.BytesIO()
    try:
        with torch.no_grad(), _quietly():
            torch.onnx.export(
                graph.eval(), tuple(inputs.values()), stream, dynamo=False, opset_version=OPSET,  # type: ignore[arg-type]
                input_names=list(inputs), output_names=list(outputs), dynamic_axes=axes,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise ModelError(
            f"torch {torch.__version__} cannot write this network as ONNX: {one_sentence(error)}"
        ) from error
    return stream.getvalue()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says of itself: that it is the older one, and that sizes which are Python numbers in
    the code will be constants (tests run graphs at other sizes)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
