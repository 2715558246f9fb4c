"""``prepare``: annotations of any format → prepared scenes, what they hold in numbers, and a picture of examples."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.annotations.source import Asked
from pipeline.annotations.sources import read_source
from pipeline.raster.own_data import own_data
from pipeline.raster.scene import open_scene
from pipeline.training.data.contact_sheet import contact_sheet
from pipeline.training.data.prepare import chosen, prepare_scene, raster_config, save_all
from pipeline.training.data.prepare_split import Split, planned, split_of
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import TrainingScene, load_scene
from pipeline.training.data.tally import Shown, dropped_lines, kept, table
from pipeline.types import Scene

CONTACT_SHEET = "contact_sheet.png"
Report = Callable[[str], None]


@dataclass(slots=True, eq=False)
class _Folder:
    """One folder of prepared scenes, as it grows."""

    path: Path
    shown: list[Shown] = field(default_factory=list)

    def add(self, scenes: Sequence[TrainingScene], report: Report) -> None:
        """Write scenes, and say so."""
        for scene in scenes:
            report(save_all([scene], self.path)[0])
            self.shown.append(Shown.of(scene))

    def tell(self, classes: Sequence[str], report: Report) -> None:
        """The folder in numbers, and its sheet of examples."""
        report(f"{self.path}:")
        for line in table(self.shown, classes):
            report(line)
        sheet = self.path / CONTACT_SHEET
        if contact_sheet(sheet, self.shown, classes, partial(load_scene, self.path)):
            report(f"examples to look at: {sheet}")


@own_data()
def prepare_source(arguments: Namespace, report: Report) -> None:
    """Annotated images → prepared scenes: in ``--out``, or in ``train`` and ``val`` there when some are held out.

    Raises ConfigError or SceneError for what does not fit.
    """
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
    split = split_of(arguments, lambda: [planned(opened(image), truth, arguments) for image, truth in annotated])
    made = Prepared(classes=source.classes, gsd_m=arguments.gsd, shrink=arguments.shrink, bands=arguments.bands)
    folders = _started(arguments.out, split, made)
    dropped: Counter[str] = Counter()
    objects = 0
    for image, truth in annotated:
        whole = prepare_scene(image, truth, arguments.gsd, raster, arguments.shrink, arguments.bands)
        scene, without = kept(whole)
        dropped.update(without)
        objects += int((~scene.truth.ignore).sum())
        for folder, parts in zip(folders, split.parts(scene) if split else [[scene]], strict=True):
            folder.add(parts, report)
    for line in dropped_lines(dropped):
        report(line)
    if split:
        report(split.said([sum(len(one.boxes) for one in folder.shown) for folder in folders], objects))
    for folder in folders:
        folder.tell(source.classes, report)


def _started(out: Path, split: Split | None, made: Prepared) -> list[_Folder]:
    """The folders to be filled, and what says how they are split. Raises ConfigError for scenes there that do not fit
    to these."""
    if split:
        split.check(out)
    folders = [_Folder(out / name) for name in (split.folders if split else (".",))]
    for folder in folders:
        start_folder(folder.path, made)
    if split:
        split.write(out)
    return folders
