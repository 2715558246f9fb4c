"""What runs the embedded detector fastest on a CPU: torch as it is, torch's traced graph, ONNX Runtime.

  python -m tests.benchmarks.bench_runtimes [--chip 512] [--batches 1 2 4 8] [--threads 1 2] [--repeat 7]
  python -m tests.benchmarks.bench_runtimes --exporters

Passes of the network with where its decoder looked, from normalised pixels to boxes; ``look`` is a whole look with its
attention map. Rows of one table take turns, so a busy machine slows all alike; the least of the repeats is what other
programs disturb least. Milliseconds a chip, of the processor (all threads together) and of the clock; ratios are
against torch in the same table. ``--exporters`` compares torch's two ways to write the graph.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.detectors.loading import load_detector
from pipeline.detectors.onnx_graphs import PIXELS, FileGraph, PassGraph, traced
from pipeline.detectors.onnx_pass import OnnxPass
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.running import runnable
from pipeline.detectors.passes import Runnable, TorchPass
from pipeline.detectors.weights import builtin_folder
from tests.contracts.detector import make_chip

WEIGHTS = "ships-s2"
CPU = torch.device("cpu")
WARM = 2
"""Turns before the first that counts."""


def fastest(rows: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, tuple[float, float]]:
    """Seconds of the processor and of the clock of each row, the least of ``repeat`` turns."""
    best = {name: (float("inf"), float("inf")) for name in rows}
    with torch.inference_mode():
        for turn in range(-WARM, repeat):
            for name, work in rows.items():
                processor, clock = time.process_time(), time.perf_counter()
                work()
                took = time.process_time() - processor, time.perf_counter() - clock
                if turn >= 0:
                    best[name] = min(best[name][0], took[0]), min(best[name][1], took[1])
    return best


def compare(side: int, batch: int, threads: int, repeat: int) -> None:
    """Print the rows of one batch size and number of threads."""
    network = runnable(load_network(builtin_folder(WEIGHTS)))
    queries = network.network.config.queries  # type: ignore[attr-defined]
    by_torch, by_onnx = TorchPass(network, CPU, "float32"), OnnxPass(network, threads)
    detectors = {
        name: load_detector(builtin_folder(WEIGHTS), threads=threads, runtime=name) for name in ("torch", "onnx")
    }
    chips = [make_chip((side, side), seed=number) for number in range(batch)]
    pixels = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    script = _script(network, pixels, queries)
    rows: dict[str, Callable[[], object]] = {
        "torch": lambda: by_torch(pixels, queries, None, True),
        "traced": lambda: script(pixels),
        "onnx": lambda: by_onnx(pixels, queries, None, True),
        "look torch": lambda: detectors["torch"].detect(chips, score_threshold=0.3, attention=True),
        "look onnx": lambda: detectors["onnx"].detect(chips, score_threshold=0.3, attention=True),
    }
    best = fastest(rows, repeat)
    for name, took in best.items():
        base = best["look torch" if name.startswith("look") else "torch"]
        processor, clock = (
            f"{1e3 * one / batch:10.1f} {one / other:6.2f}" for one, other in zip(took, base, strict=True)
        )
        print(f"{threads:7} {batch:5}  {name:11}{processor}{clock}", flush=True)


def _script(network: Runnable, pixels: torch.Tensor, queries: int) -> Callable[[torch.Tensor], Any]:
    """torch's own traced graph, frozen: of one batch, one size, so many queries."""
    graph = PassGraph(network).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.jit.freeze(torch.jit.trace(_Fixed(graph, queries).eval(), (pixels,), check_trace=False))


class _Fixed(torch.nn.Module):
    def __init__(self, graph: PassGraph, queries: int) -> None:
        super().__init__()
        self.graph, self.queries = graph, queries

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = self.graph(pixels, self.queries)
        return found


def exporters(side: int) -> None:
    """Print seconds, operators and bytes of the graph by both ways."""
    import onnx

    network = runnable(load_network(builtin_folder(WEIGHTS)))
    graph = FileGraph(network, (0.0,) * 3, (1.0,) * 3).eval()
    pixels = 255 * torch.rand(2, 3, side, side)
    logging.disable(logging.WARNING)
    made: dict[str, Callable[[], bytes]] = {
        "by tracing": lambda: traced(graph, {PIXELS: pixels}, ("logits", "boxes")),
        "dynamo": lambda: _dynamo(graph, pixels),
    }
    print(f"{'exporter':12}{'seconds':>9}{'nodes':>8}{'bytes':>12}")
    for name, write in made.items():
        started = time.process_time()
        content = write()
        took = time.process_time() - started
        nodes = [node for node in onnx.load_from_string(content).graph.node if node.op_type != "Constant"]
        print(f"{name:12}{took:9.1f}{len(nodes):8}{len(content):12}", flush=True)


def _dynamo(graph: FileGraph, pixels: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(graph, (pixels,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    assert program is not None
    program.save(stream)
    return stream.getvalue()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", type=int, default=512, help="side, pixels")
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 2, 4, 8))
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--exporters", action="store_true", help="compare torch's two ways to write the graph instead")
    given = parser.parse_args()
    torch.manual_seed(0)
    if given.exporters:
        exporters(given.chip)
        return 0
    print(f"threads batch  {'':11}{'CPU ms':>10} {'ratio':>6}{'clock ms':>10} {'ratio':>6}   a chip of {given.chip} px")
    for threads in given.threads:
        for batch in given.batches:
            torch.set_num_threads(threads)
            compare(given.chip, batch, threads, given.repeat)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
