"""The maps that a run exports beside its detections: attention.tif, difference.tif."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.config import ExportConfig
from pipeline.planning.plan import ScenePlan
from pipeline.raster.heat_map import ATTENTION, DIFFERENCE, HeatMap
from pipeline.types import BlockOutcome


@contextlib.contextmanager
def heat_maps(export: ExportConfig, folder: Path, plan: ScenePlan) -> Iterator[Callable[[BlockOutcome], None]]:
    """What adds a block's maps to the files in ``folder``; those appear when the block is left without an error.

    Raises StorageError when one cannot be written.
    """
    with contextlib.ExitStack() as stack:

        def file(name: str, description: str) -> HeatMap:
            return stack.enter_context(HeatMap(folder / name, plan.lattice, plan.scene, description))

        attention = file("attention.tif", ATTENTION) if export.attention else None
        difference = file("difference.tif", DIFFERENCE) if export.difference else None

        def add(outcome: BlockOutcome) -> None:
            for heat_map, maps in ((attention, outcome.attention), (difference, outcome.difference)):
                if heat_map is not None:
                    for window, found in maps:
                        heat_map.add(window, found)

        yield add
