"""The cases of ``bench_gpu.py``: networks, and their batches on a device one after another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from pipeline.detectors.attention import Placement, watch
from pipeline.detectors.cross_attention import Decoder
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of as own_decoder
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.torch_boxes import canonical
from pipeline.detectors.torch_chips import fold_normalisation
from pipeline.detectors.transformers_detr.attention import decoder_of as library_decoder
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.weights import builtin_folder

MODELS = ("ships-s2", "R18", "R50")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table."""

    model: str
    px: int = 512
    batch: int = 8
    dtype: str = "bfloat16"
    channels_last: bool = True
    compiled: bool = False
    probe: bool = False
    overlapped: bool = True


def cases() -> list[Case]:
    """All of them, the most useful first."""
    plain = [Case(model=name, dtype=dtype) for name in MODELS for dtype in DTYPES]
    batches = [Case(model=name, batch=batch) for batch in (32, 1, 16, 64, 2, 4) for name in MODELS]
    sides = [Case(model=name, px=px, batch=batch) for px in (1024, 640) for name in MODELS for batch in (8, 32)]
    switched = [
        replace(Case(model=name, batch=32), **change)
        for change in ({"probe": True}, {"overlapped": False}, {"channels_last": False})
        for name in MODELS
    ]
    exact = [Case(model=name, px=px, batch=32, dtype="float32") for px in (512, 1024) for name in MODELS]
    compiled = [Case(model=name, batch=32, compiled=True) for name in MODELS]
    return list(dict.fromkeys([*plain, *batches, *sides, *switched, *exact, *compiled]))


def tiny_cases() -> list[Case]:
    """Each switch once, small."""
    small = Case(model="ships-s2", px=64, batch=2, dtype="float32")
    switches = ({}, {"dtype": "bfloat16"}, {"probe": True}, {"channels_last": False}, {"overlapped": False})
    return [*(replace(small, **one) for one in switches), replace(small, model="R18"), replace(small, model="R50")]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network, and how it is asked."""

    network: nn.Module
    look: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]
    """(B, 3, H, W) from 0 to 1 → scores (B, Q, K) and boxes (B, Q, 4 or 5)."""
    decoder: Callable[[nn.Module], Decoder]
    mean: Tensor
    std: Tensor


def embedded(device: torch.device) -> Model:
    """The detector that comes with the program."""
    folder = builtin_folder("ships-s2")
    card = json.loads((folder / "card.json").read_text())
    network = fold_normalisation(load_network(folder).eval()).to(device)

    def look(network: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
        layers = network(pixels).layers
        scores = torch.stack([layer.logits for layer in layers]).sigmoid().mean(0)
        return scores.float(), canonical(layers[-1].boxes.float())

    mean, std = (torch.tensor(card[name], device=device).view(1, -1, 1, 1) for name in ("mean", "std"))
    return Model(network, look, own_decoder, mean, std)


def library(shape: str, device: torch.device, tiny: bool) -> Model:
    """RT-DETRv2 as the transformers library builds it, of the shape of R18 or R50, with random weights."""
    deep = shape == "R50"
    width = 8 if tiny else 1
    hidden = [side // width for side in ((256, 512, 1024, 2048) if deep else (64, 128, 256, 512))]
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=64 // width, hidden_sizes=hidden, depths=[3, 4, 6, 3] if deep else [2, 2, 2, 2],
        layer_type="bottleneck" if deep else "basic", out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrV2Config(
        backbone_config=backbone, encoder_in_channels=hidden[1:], decoder_layers=6 if deep else 3, num_labels=80,
        hidden_expansion=1.0 if deep else 0.5, num_queries=30 if tiny else 300,
    )  # fmt: skip
    network = transformers.RTDetrV2ForObjectDetection(config).eval().to(device)

    def look(network: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
        answer = network(pixel_values=pixels)
        return answer.logits.sigmoid().float(), answer.pred_boxes.float()

    zero = torch.zeros(1, 3, 1, 1, device=device)
    return Model(network, look, lambda one: library_decoder(one, MODEL_TYPES["rt_detr_v2"]), zero, zero + 1)


class Runner:
    """Batches of a case on a device, one after another."""

    def __init__(self, case: Case, model: Model, device: torch.device) -> None:
        self.case, self.model, self.device = case, model, device
        layout = torch.channels_last if case.channels_last else torch.contiguous_format
        network: Any = model.network.to(memory_format=layout)  # type: ignore[call-overload]
        self.network = torch.compile(network, dynamic=False) if case.compiled else network
        self.layout = layout
        self.gpu = device.type == "cuda"
        self.copying = torch.cuda.Stream(device) if self.gpu and case.overlapped else None
        generator = torch.Generator().manual_seed(0)
        shape = (case.batch, case.px, case.px, 3)
        self.tiles = [torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator) for _ in range(2)]
        if self.gpu and case.overlapped:
            self.tiles = [one.pin_memory() for one in self.tiles]

    def moved(self, number: int) -> Tensor:
        """The tiles of a batch, on the device; on a stream of its own where transfers overlap."""
        tiles = self.tiles[number % 2]
        if self.copying is None:
            return tiles.to(self.device)
        with torch.cuda.stream(self.copying):
            return tiles.to(self.device, non_blocking=True)

    def answer(self, tiles: Tensor) -> list[Tensor]:
        """Scores and boxes of a batch, still on the device; with the probe its map is made too."""
        case, model = self.case, self.model
        pixels = (tiles.permute(0, 3, 1, 2).float() / 255 - model.mean) / model.std
        pixels = pixels.contiguous(memory_format=self.layout)
        autocast = torch.autocast(self.device.type, DTYPES[case.dtype], enabled=case.dtype != "float32")
        probe = watch(model.decoder(model.network)) if case.probe else nullcontext()
        with torch.inference_mode(), autocast, probe as record:
            scores, boxes = model.look(self.network, pixels)
        if record is not None:
            placement = Placement(height=case.px, width=case.px)
            assert all(one is not None for one in record.maps([placement] * case.batch, None))
        return [scores, boxes]

    def run(self, seconds: float, least: int) -> dict[str, float]:
        """Figures of at least ``least`` batches, and of as many as fit into ``seconds``."""
        for number in range(min(2, least)):
            self._finished(self._begin(self.moved(number)))
        if self.gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
            torch.cuda.synchronize(self.device)
        computing, batches, begun = 0.0, 0, time.perf_counter()
        upcoming, waiting = self.moved(0), None
        while batches < least or time.perf_counter() - begun < seconds:
            if self.copying is not None:
                torch.cuda.current_stream(self.device).wait_stream(self.copying)
            tiles, asked = upcoming, None
            asked = self._begin(tiles)
            upcoming = self.moved(batches + 1)  # while the GPU computes
            if waiting is not None and self.case.overlapped:
                computing += self._finished(waiting)
                waiting = asked
            elif self.case.overlapped:
                waiting = asked
            else:
                computing += self._finished(asked)
            batches += 1
        if waiting is not None:
            computing += self._finished(waiting)
        wall = time.perf_counter() - begun
        tiles_s = batches * self.case.batch / wall
        figures = {"tiles_s": tiles_s, "mpx_s": tiles_s * self.case.px**2 / 1e6, "ms_batch": 1000 * wall / batches}
        if self.gpu:
            figures |= {"busy": computing / wall, "peak_mb": torch.cuda.max_memory_allocated(self.device) / 2**20}
        return figures

    def _begin(self, tiles: Tensor) -> tuple[list[Tensor], Any, Any]:
        """Have a batch computed and its answer fetched; what was begun may not be over."""
        if not self.gpu:
            return self.answer(tiles), None, None
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        tiles.record_stream(torch.cuda.current_stream(self.device))
        first.record()
        answers = self.answer(tiles)
        last.record()
        kept = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in answers]
        for here, there in zip(kept, answers, strict=True):
            here.copy_(there, non_blocking=True)
        over = torch.cuda.Event()
        over.record()
        return kept, (first, last), over

    def _finished(self, begun: tuple[list[Tensor], Any, Any]) -> float:
        """Wait for a batch; the seconds that the device computed for it."""
        answers, events, over = begun
        if over is not None:
            over.synchronize()
        assert all(bool(one.isfinite().all()) for one in answers)
        return 0.0 if events is None else events[0].elapsed_time(events[1]) / 1000
