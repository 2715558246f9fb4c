"""``review``: what is wrong with annotations is put right in a copy of them, by rule and by a list; never in place."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.annotations.coco import read_annotations
from pipeline.errors import ConfigError
from pipeline.names import told
from pipeline.training.data.review import changes, padding_of, reviewed

Region = tuple[float, float, float, float, str]


def review(arguments: Namespace, report: Callable[[str], None]) -> None:
    """Write a reviewed copy of a COCO file; one line a scene. Raises ConfigError or SceneError for what does not fit.

    Boxes are padded alike in every scene (:mod:`pipeline.training.data.review`); the regions of ``--regions`` become
    regions where a detection is neither right nor wrong.
    """
    from pipeline.training.data.prepare import prepare_scene, raster_config

    if arguments.out.resolve() == arguments.annotations.resolve():
        raise ConfigError("--out is --annotations: the original must stay as it is; name another file")
    regions = read_regions(arguments.regions) if arguments.regions else {}
    raster = raster_config(arguments.bands, arguments.band_numbers, arguments.crs)
    annotated = [
        (arguments.images / name, truth) for name, truth in read_annotations(arguments.annotations).scenes.items()
    ]
    paddings = {
        image.stem: padding_of(prepare_scene(image, truth, None, raster, bands=arguments.bands))
        for image, truth in annotated
    }
    for name in sorted(regions.keys() - paddings.keys()):
        report(f"{name}: {arguments.regions} names its regions, but it is not in {arguments.annotations}")
    grown = changes(paddings)
    document = json.loads(arguments.annotations.read_text())
    _write(arguments.out, {**reviewed(document, grown, regions), "review": {
        "of": arguments.annotations.name, "change_px": grown,
        "padding_px": {name: one.median_px for name, one in paddings.items()},
    }})  # fmt: skip
    for name, one in paddings.items():
        measured = "not known" if one.median_px is None else f"{one.median_px:g} px"
        report(
            f"{name}: padding {measured} ({one.free_ships} free ships), boxes grow by {grown[name]:g} px, "
            f"{len(regions.get(name, ()))} regions are ignored"
        )


def read_regions(path: Path) -> Mapping[str, list[Region]]:
    """Scene → rectangles (x0, y0, x1, y1, what), pixels of its file. Raises ConfigError that names the bad one."""
    try:
        content = {
            str(name): [(float(x0), float(y0), float(x1), float(y1), str(what)) for x0, y0, x1, y1, what in places]
            for name, places in yaml.safe_load(path.read_text()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path} cannot be read as regions ({told(error)}); a line of a scene is [x0, y0, x1, y1, what]"
        ) from error
    for name, places in content.items():
        for x0, y0, x1, y1, what in places:
            if not (x0 < x1 and y0 < y1):
                raise ConfigError(f"{path}: a region of {name} ({what}) has no area: {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)
