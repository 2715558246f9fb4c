"""Everything we want to know of a GPU, in one go. Needs torch, transformers and numpy; no ray, no rasterio.

  python -m tests.benchmarks.bench_gpu --minutes 8 [--out FOLDER] [--scenes FOLDER]     on a GPU
  python -m tests.benchmarks.bench_gpu --tiny                                           on the CPU: does it run?

The embedded detector, and RT-DETRv2 of the shapes R18 and R50 with random weights: tiles of 512, 640 and 1024 px,
batches of 1 to 64, float32 and bfloat16, channels last or not, torch.compile, the attention probe, transfers from
pinned memory that overlap. A row a case: tiles/s, Mpx/s, share of the time that the GPU computes, peak memory. Then
AP50 of the embedded detector in bfloat16 beside float32, on prepared scenes (``--scenes``, made by ``train_detector.py
prepare``) or on procedural harbours. The most useful cases come first; what the minutes do not
reach is listed.
Writes ``gpu.json`` and ``gpu.md``. A tile is uint8 in memory when the clock starts and scores and boxes in memory when
it stops.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.detectors.attention import Placement, watch
from pipeline.detectors.cross_attention import Decoder
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of as own_decoder
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.torch_boxes import canonical
from pipeline.detectors.torch_chips import fold_normalisation
from pipeline.detectors.transformers_detr.attention import decoder_of as library_decoder
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.weights import builtin_folder
from pipeline.synth.harbour.harbour import Harbour
from pipeline.training.data.scenes import load_scenes
from pipeline.training.losses.boxes import rotated_overlap
from pipeline.types import Window

MODELS = ("ships-s2", "R18", "R50")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
IOU, ALLOWED_AP = 0.5, 0.2
"""AP50 of bfloat16, in percent, may differ by this from float32's."""
COMPILE_S = 90.0
"""A case with torch.compile is begun only where so many seconds are left."""


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


def chips(scenes: Path | None, px: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(px, px, 3) uint8 chips, and the (N, 5) boxes with their centre inside: of prepared scenes, or of harbours."""
    if scenes is not None:
        sources = [(one.pixels, one.truth.boxes[~one.truth.ignore]) for one in load_scenes(scenes)]
    else:
        sources = [harbour(seed, px * 2) for seed in range(most)]
    count = 0
    for pixels, boxes in sources:
        for y in range(0, max(1, pixels.shape[0] - px + 1), px):
            for x in range(0, max(1, pixels.shape[1] - px + 1), px):
                inside = ((boxes[:, :2] >= (x, y)) & (boxes[:, :2] < (x + px, y + px))).all(1)
                if inside.any() and count < most:
                    count += 1
                    part = np.zeros((px, px, 3), np.uint8)
                    cut = pixels[y : y + px, x : x + px, :3]
                    part[: cut.shape[0], : cut.shape[1]] = cut
                    yield part, boxes[inside] - (x, y, 0, 0, 0)


def harbour(seed: int, px: int, gsd_m: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """A procedural harbour of about ``px`` pixels, stretched and magnified to the detector's metres per pixel."""
    side = max(64, round(px * gsd_m / 10.0))
    made = Harbour(seed=seed, width=side, height=side)
    values = torch.from_numpy(made.render(Window(x=0, y=0, width=side, height=side)).astype(np.float32))
    low, high = np.percentile(values.reshape(-1, 3).numpy(), (1, 99), axis=0)
    scale = made.gsd_m / gsd_m
    wide = functional.interpolate(values.permute(2, 0, 1)[None], scale_factor=scale, mode="bilinear")[0]
    pixels = np.clip(255 * (wide.permute(1, 2, 0).numpy() - low) / (high - low), 1, 255).round().astype(np.uint8)
    return pixels, made.ships().boxes * np.array([scale, scale, scale, scale, 1])


def average_precision(runner: Runner, shown: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """AP50 in percent, all points, over all classes together; each object is found once, by the best score."""
    rows, total = [], 0
    for pixels, truth in shown:
        scores, boxes = (one[0].cpu() for one in runner.answer(torch.from_numpy(pixels)[None].to(runner.device)))
        best = scores.amax(-1)
        total, free = total + len(truth), np.ones(len(truth), bool)
        known = torch.from_numpy(truth).float()
        for at in best.argsort(descending=True).tolist():
            overlap = rotated_overlap(boxes[at].expand(len(truth), 5), known).numpy() * free
            hit = bool(overlap.max() >= IOU)
            free[overlap.argmax()] &= not hit
            rows.append((float(best[at]), hit))
    hits = np.array([hit for _, hit in sorted(rows, key=lambda row: -row[0])])
    right = np.cumsum(hits)
    precision = np.maximum.accumulate((right / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(100 * precision[hits].sum() / max(1, total))


def compared(device: torch.device, scenes: Path | None, px: int, most: int) -> dict[str, Any]:
    """AP50 of the embedded detector in either arithmetic, on the same chips."""
    shown = list(chips(scenes, px, most))
    found = {}
    for dtype in DTYPES:
        case = Case(model="ships-s2", px=px, batch=1, dtype=dtype, overlapped=False)
        found[dtype] = round(average_precision(Runner(case, embedded(device), device), shown), 3)
    apart = abs(found["bfloat16"] - found["float32"])
    return {"chips": len(shown), "of": str(scenes or "harbours"), **found, "apart": round(apart, 3),
            "as_allowed": apart <= ALLOWED_AP}  # fmt: skip


def measure(given: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """All cases that the minutes reach, and the comparison."""
    until = time.monotonic() + 60 * given.minutes
    wanted = tiny_cases() if given.tiny else cases()
    models: dict[str, Model] = {}
    rows: list[dict[str, Any]] = []
    left: list[str] = []
    first = 5 if given.tiny else 6
    report: dict[str, Any] = {"device": named(device), "torch": torch.__version__,
                              "transformers": transformers.__version__, "rows": rows, "not_reached": left}  # fmt: skip
    for number, case in enumerate(wanted):
        if number == first:
            report["ap50"] = compared(device, given.scenes, 128 if given.tiny else 512, 1 if given.tiny else 64)
        remaining = until - time.monotonic()
        if remaining < (COMPILE_S if case.compiled else 3):
            left.append(json.dumps(asdict(case)))
            continue
        if case.model not in models:
            own = case.model == "ships-s2"
            models[case.model] = embedded(device) if own else library(case.model, device, given.tiny)
        try:
            figures = Runner(case, models[case.model], device).run(0.0 if given.tiny else 2.0, 1 if given.tiny else 3)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            figures = {"out_of_memory": True}
        rows.append({**asdict(case), **figures})
        print(row_of(rows[-1]), flush=True)
    return report


def named(device: torch.device) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


HEAD = "| model | px | batch | dtype | switches | tiles/s | Mpx/s | ms a batch | GPU busy | peak MB |"


def row_of(row: dict[str, Any]) -> str:
    """One line of the table."""
    switches = [name for name in ("compiled", "probe") if row[name]]
    switches += [f"not {name}" for name in ("channels_last", "overlapped") if not row[name]]
    parts = [row["model"], row["px"], row["batch"], row["dtype"], ", ".join(switches)]
    if "out_of_memory" in row:
        return f"| {' | '.join(map(str, parts))} | out of memory | | | | |"
    busy, peak = (row.get(name) for name in ("busy", "peak_mb"))
    parts += [f"{row['tiles_s']:.1f}", f"{row['mpx_s']:.1f}", f"{row['ms_batch']:.1f}"]
    parts += ["" if busy is None else f"{100 * busy:.0f} %", "" if peak is None else f"{peak:.0f}"]
    return f"| {' | '.join(map(str, parts))} |"


def table(report: dict[str, Any]) -> str:
    """The page."""
    ap = report.get("ap50")
    lines = [f"{report['device']}, torch {report['torch']}, transformers {report['transformers']}", "", HEAD,
             f"|{'---|' * HEAD.count(' | ')}---|", *map(row_of, report["rows"])]  # fmt: skip
    if ap:
        verdict = "as allowed" if ap["as_allowed"] else f"more than the {ALLOWED_AP} allowed"
        found = f"float32 {ap['float32']}, bfloat16 {ap['bfloat16']}, {ap['apart']} apart, {verdict}"
        lines += ["", f"AP50 of ships-s2 on {ap['chips']} chips of {ap['of']}: {found}."]
    if report["not_reached"]:
        lines += ["", f"{len(report['not_reached'])} cases were not reached: give more --minutes."]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 2 where there is no GPU and it is not said that none is meant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("bench_gpu"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--scenes", type=Path, help="prepared scenes for the comparison of AP (harbours)")
    parser.add_argument("--tiny", action="store_true", help="small cases, on the CPU")
    given = parser.parse_args(argv)
    if not given.tiny and not torch.cuda.is_available():
        print("there is no GPU here; --tiny runs small cases on the CPU", file=sys.stderr)
        return 2
    device = torch.device("cpu" if given.tiny else "cuda")
    if given.tiny:
        torch.set_num_threads(1)
    print(HEAD, flush=True)
    report = measure(given, device)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.json").write_text(json.dumps(report, indent=2) + "\n")
    (given.out / "gpu.md").write_text(table(report))
    print("\n".join(table(report).splitlines()[-3:]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
