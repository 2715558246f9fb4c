"""Chips → network input, as a checkpoint's ``preprocessor_config.json`` asks for it. numpy and Pillow, no torch.

The arithmetic is that of the transformers library's Pillow image processors, step by step (``PilBackend`` in
``transformers/image_processing_backends.py``), so that a foreign network sees the very numbers it was trained on;
neither torchvision nor the library has to be there. Every 8-bit value is mapped once, through a table per band.
RF-DETR's processor has no Pillow backend: it resizes the numbers, not the picture (``_resize_plainly``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.card import LARGEST_INPUT_PX
from pipeline.detectors.checkpoint import CONFIG, read_json
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.transformers_detr.settings import (
    PREPROCESSOR,
    SIDE_STEP_PX,
    band_names,
    side_step_px,
    stated_settings,
)
from pipeline.errors import ModelError
from pipeline.names import quoted, told
from pipeline.types import BoolArray, ByteArray

if TYPE_CHECKING:
    from PIL import Image

FloatImage = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """One checkpoint's way from 8-bit pixels to network input."""

    size: Mapping[str, int] | None
    """``height, width``, ``shortest_edge[, longest_edge]`` or ``max_height, max_width`` in pixels; None: as it is."""
    resample: Image.Resampling
    table: FloatImage
    """(bands, 256): the input for each 8-bit value."""
    pad: bool
    """Pad a batch to its largest chip and tell the network which pixels are real."""
    pad_size: tuple[int, int] | None
    """Height and width to pad to, instead of the largest chip's."""
    plainly: bool = False
    """Resize after the table, from four neighbours."""
    whole_px: int = 1
    """Sides that keep their shape are cut down to multiples of it."""
    step_px: int = SIDE_STEP_PX
    """Sides of crops are multiples of it."""

    def prepare(self, pixels: ByteArray, share: float = 1.0) -> FloatImage:
        """(H, W, C) uint8 → (C, H', W') float32; see :meth:`size_for`."""
        height, width = self.size_for(pixels.shape[0], pixels.shape[1], share)
        resized = (height, width) != pixels.shape[:2]
        if resized and not self.plainly:
            pixels = _resize(pixels, height, width, self.resample)
        image = np.stack([band_table[pixels[..., band]] for band, band_table in enumerate(self.table)])
        return _resize_plainly(image, height, width) if resized and self.plainly else image

    def size_for(self, height: int, width: int, share: float = 1.0) -> tuple[int, int]:
        """Height and width the network sees for a chip of this height and width.

        A crop that is a ``share`` of a whole look is given that share of the pixels a whole look gets: blown up to
        the size of one, it would cost as much. Ours; in multiples of ``step_px``, which all strides divide.
        """
        if self.size is None:
            return height, width
        tall, wide = _size_of_whole(self.size, height, width)
        if "shortest_edge" in self.size:
            tall, wide = (max(side - side % self.whole_px, self.whole_px) for side in (tall, wide))
        if share >= 1:
            return tall, wide
        return _share_of(tall, share, self.step_px), _share_of(wide, share, self.step_px)


def _size_of_whole(size: Mapping[str, int], height: int, width: int) -> tuple[int, int]:
    if "shortest_edge" in size:
        return _fit_shortest(height, width, size["shortest_edge"], size.get("longest_edge"))
    if "height" in size:
        return size["height"], size["width"]
    scale = min(size["max_height"] / height, size["max_width"] / width)
    return int(height * scale), int(width * scale)


def _share_of(side: int, share: float, step_px: int) -> int:
    return max(1, round(side * math.sqrt(share) / step_px)) * step_px


def pad_batch(images: Sequence[FloatImage], pad_size: tuple[int, int] | None) -> tuple[FloatImage, BoolArray]:
    """Stack (C, H, W) images into (B, C, H', W'), zeros to the right and below; True in the (B, H', W') mask is image.

    Raises ModelError when an image is larger than ``pad_size``.
    """
    tallest, widest = max(image.shape[1] for image in images), max(image.shape[2] for image in images)
    height, width = pad_size or (tallest, widest)
    if tallest > height or widest > width:
        raise ModelError(f"{PREPROCESSOR}: pad_size {width} x {height} is smaller than a chip of {widest} x {tallest}")
    batch = np.zeros((len(images), images[0].shape[0], height, width), np.float32)
    mask = np.zeros((len(images), height, width), np.bool_)
    for row, image in enumerate(images):
        batch[row, :, : image.shape[1], : image.shape[2]] = image
        mask[row, : image.shape[1], : image.shape[2]] = True
    return batch, mask


def _resize(pixels: ByteArray, height: int, width: int, resample: Image.Resampling) -> ByteArray:
    """Pillow's resize, band by band where the bands are no picture Pillow knows."""
    from PIL import Image  # here, so that detectors of our own can be had without it

    if pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), resample))
    bands = [Image.fromarray(np.ascontiguousarray(pixels[..., band])) for band in range(pixels.shape[2])]
    return np.stack([np.asarray(band.resize((width, height), resample)) for band in bands], axis=-1)


def _resize_plainly(image: FloatImage, height: int, width: int) -> FloatImage:
    """(C, H, W) → (C, height, width): bilinear between the four nearest, without smoothing before shrinking.

    As torchvision resizes a tensor with ``antialias=False``, which is what RF-DETR was trained with.
    """
    for axis, target in ((1, height), (2, width)):
        side = image.shape[axis]
        position = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * (side / target) - 0.5, 0)
        first = position.astype(np.int64)
        shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
        part = (position - first).astype(np.float32).reshape(shape)
        next_one = np.minimum(first + 1, side - 1)
        image = image.take(first, axis) * (1 - part) + image.take(next_one, axis) * part
    return image


def _fit_shortest(height: int, width: int, shortest: int, longest: int | None) -> tuple[int, int]:
    """Scale the shorter side to ``shortest``, or less where the longer one would pass ``longest``.

    Truncates where the library truncates (``get_size_with_aspect_ratio``), or boxes would be off by a pixel.
    """
    low, high = min(height, width), max(height, width)
    exact: float = shortest
    if longest is not None and high / low * shortest > longest:
        exact = longest * low / high
        shortest = round(exact)
    if low == shortest:
        return height, width
    other = int(exact * high / low)
    return (shortest, other) if height <= width else (other, shortest)


def read_preprocessing(folder: Path, kind: str) -> Preprocessing:
    """What ``folder/preprocessor_config.json`` asks for; ``input_px, mean, std`` of a ``card.json`` override it.

    Raises ModelError when the file is missing and no card stands in for it, or says something unknown.
    """
    config, settings = read_json(folder / CONFIG), stated_settings(folder, kind)
    return _preprocessing(config, settings, len(band_names(folder)), kind, str(folder / PREPROCESSOR))


def square_settings(input_px: int, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """What a ``preprocessor_config.json`` says of square input and pixels that are normalised as a card says it."""
    from PIL import Image

    return {
        "do_resize": True, "size": {"height": input_px, "width": input_px}, "resample": int(Image.Resampling.BILINEAR),
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [value + 0.0 for value in mean], "image_std": list(std),  # no -0.0
    }  # fmt: skip


def square_preprocessing(
    config: Mapping[str, Any], input_px: int, mean: Sequence[float], std: Sequence[float]
) -> Preprocessing:
    """What a folder with the library's ``config`` and :func:`square_settings` asks for.

    Raises ModelError, also for a side that is not made of whole windows where the network has some.
    """
    kind = str(config["model_type"])
    step_px = side_step_px(config, kind)
    if MODEL_TYPES[kind].windows and input_px % step_px:
        raise ModelError(
            f"a {kind} of these windows looks at squares whose side is a multiple of {step_px} px, not at "
            f"{input_px} px: give such tiles (--tile, schedule.validate_px, input_px of the card)"
        )
    settings = {**MODEL_TYPES[kind].defaults, **square_settings(input_px, mean, std)}
    return _preprocessing(config, settings, len(mean), kind, "the card")


def _preprocessing(
    config: Mapping[str, Any], settings: Mapping[str, Any], bands: int, kind: str, source: str
) -> Preprocessing:
    from PIL import Image

    asked, step_px = MODEL_TYPES[kind], side_step_px(config, kind)
    if asked.resizes_plainly and settings["resample"] != Image.Resampling.BILINEAR:
        raise ModelError(f"{source}: resample {quoted(settings['resample'])}: a {kind} is resized bilinearly (2) here")
    try:
        pad_size = settings.get("pad_size")
        return Preprocessing(
            size=_checked_size(settings) if settings["do_resize"] else None,
            resample=Image.Resampling(settings["resample"]),
            table=_table(settings, bands),
            pad=bool(settings["do_pad"]) and asked.takes_mask,
            pad_size=None if pad_size is None else (int(pad_size["height"]), int(pad_size["width"])),
            plainly=asked.resizes_plainly, whole_px=asked.whole_px, step_px=step_px,
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{source} asks for something this program does not know ({told(error)})") from error


def _checked_size(settings: Mapping[str, Any]) -> dict[str, int]:
    """``size`` as whole pixels; a bare number is the shortest edge, with ``max_size`` (old files) the longest."""
    size = settings["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size, "longest_edge": settings.get("max_size", 1333)}
    sides = {str(name): int(pixels) for name, pixels in size.items() if pixels is not None}
    known = ({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"}, {"max_height", "max_width"})
    if set(sides) not in known or min(sides.values()) < 1 or max(sides.values()) > LARGEST_INPUT_PX:
        raise ValueError(f"size {size}")
    return sides


def _table(settings: Mapping[str, Any], bands: int) -> FloatImage:
    """(bands, 256): rescaled in float64, normalised in float32, as the library does it."""
    scale = float(settings["rescale_factor"]) if settings["do_rescale"] else 1.0
    table = np.tile((np.arange(256, dtype=np.float64) * scale).astype(np.float32), (bands, 1))
    if not settings["do_normalize"]:
        return table
    mean, std = _per_band(settings["image_mean"], bands), _per_band(settings["image_std"], bands)
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and std.all()):
        raise ValueError("a mean or std that is not finite, or a std of 0")
    return (table - mean[:, None]) / std[:, None]


def _per_band(values: float | Sequence[float], bands: int) -> FloatImage:
    given = np.asarray(values, np.float32)
    if given.ndim and given.shape != (bands,):
        raise ValueError(f"{given.size} values of normalisation for {bands} bands")
    return np.broadcast_to(given, (bands,))
