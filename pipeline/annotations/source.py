"""What annotations of any format come to: images with their truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.annotations.annotations import Annotations
from pipeline.annotations.dota import IMAGE_SUFFIXES
from pipeline.errors import ConfigError
from pipeline.names import brief
from pipeline.types import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How annotations are to be read."""

    opened: Callable[[Path], Scene]
    """An image's headers. Raises SceneError."""
    classes: tuple[str, ...] | None = None
    """To learn, in the network's order; None: all."""
    images: Path | None = None
    """Folder of the images, or one image."""
    split: str = "train"
    """Of a ``data.yaml``."""
    class_column: str | None = None
    """Of a vector file."""
    ignore: Path | None = None
    """Vector file of regions where a detection is neither right nor wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Annotated images."""

    format: str
    """As it is said: ``COCO json``."""
    classes: tuple[str, ...]
    """``class_ids`` are indices into it."""
    scenes: tuple[tuple[Path, Annotations], ...]
    """Every image with its truth, boxes in scene pixels; images without objects too."""
    notes: tuple[str, ...] = ()
    """What was left out or taken otherwise than written, one sentence each."""


def images_of(path: Path, asked: Asked) -> Path:
    """Where the images of an annotation file are. Raises ConfigError when nothing says it."""
    if asked.images is None:
        raise ConfigError(f"{path} does not say where its images are: give --images")
    if not asked.images.exists():
        raise ConfigError(f"there is no folder of images at {asked.images}")
    return asked.images


def absent_images(images: Sequence[Path]) -> tuple[str, ...]:
    """The note that these annotated images are not there; none when there are none."""
    if not images:
        return ()
    return (f"{len(images)} annotated images are not there and were left out, first {brief(images[0].name)}",)


def pictures_in(place: Path) -> list[Path]:
    """The images of a folder, by name; one that is a file is that. Raises ConfigError for two of one stem."""
    found = sorted(place.iterdir()) if place.is_dir() else [place]
    images = [one for one in found if one.suffix.lower() in IMAGE_SUFFIXES]
    check_stems(images)
    if not images:
        raise ConfigError(f"there is no image in {place} ({', '.join(IMAGE_SUFFIXES)})")
    return images


def check_stems(images: Sequence[Path]) -> None:
    """Raise ConfigError for two images of one stem: they would be one scene."""
    known: dict[str, Path] = {}
    for image in images:
        if image.stem in known:
            raise ConfigError(f"{known[image.stem]} and {image} have one name: rename one")
        known[image.stem] = image
