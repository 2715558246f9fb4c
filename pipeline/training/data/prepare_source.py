"""``prepare``: annotations of any format → prepared scenes, what they hold in numbers, and a picture of examples."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.annotations.source import Asked
from pipeline.annotations.sources import read_source
from pipeline.raster.own_data import own_data
from pipeline.raster.scene import open_scene
from pipeline.training.data.contact_sheet import contact_sheet
from pipeline.training.data.prepare import chosen, prepare_scene, raster_config, save_all
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import load_scene
from pipeline.training.data.tally import Shown, dropped_lines, kept, table
from pipeline.types import Scene

CONTACT_SHEET = "contact_sheet.png"
Report = Callable[[str], None]


@own_data()
def prepare_source(arguments: Namespace, report: Report) -> None:
    """Annotated images → prepared scenes. Raises ConfigError or SceneError for what does not fit."""
    raster = raster_config(arguments.bands, arguments.band_numbers, arguments.crs)

    def opened(image: Path) -> Scene:
        return open_scene(str(image), raster, model_bands=arguments.bands)

    asked = Asked(
        opened=opened, classes=arguments.classes, images=arguments.images, split=arguments.split,
        class_column=arguments.class_column, ignore=arguments.ignore,
    )  # fmt: skip
    source = read_source(arguments.annotations, asked)
    report(f"{arguments.annotations}: {source.format}")
    for note in source.notes:
        report(f"  {note}")
    annotated = chosen(source.scenes, arguments.only, arguments.without)
    made = {"gsd_m": arguments.gsd, "shrink": arguments.shrink, "bands": arguments.bands}
    start_folder(arguments.out, Prepared(classes=source.classes, **made))
    shown: list[Shown] = []
    dropped: list[Counter[str]] = []
    for image, truth in annotated:
        scene, without = kept(prepare_scene(image, truth, arguments.gsd, raster, arguments.shrink, arguments.bands))
        report(save_all([scene], arguments.out)[0])
        shown.append(Shown.of(scene))
        dropped.append(without)
    for line in (*dropped_lines(dropped), *table(shown, source.classes)):
        report(line)
    sheet = arguments.out / CONTACT_SHEET
    if contact_sheet(sheet, shown, source.classes, partial(load_scene, arguments.out)):
        report(f"examples to look at: {sheet}")
