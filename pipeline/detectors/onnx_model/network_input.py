"""Chips → what the network is fed: padded, never distorted, in the type and size that the file takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.detectors.card import LARGEST_INPUT_PX
from pipeline.detectors.onnx_model.graph import Graph, Port
from pipeline.detectors.onnx_model.layout import KESTREL, TARGET_SIZES
from pipeline.errors import ModelError
from pipeline.names import listed
from pipeline.types import ByteArray, FloatArray

PIXEL_MASK = "pixel_mask"
"""Input of the transformers library's DETRs: (B, H, W), 1 where a pixel is of the picture."""
OUR_PIXELS = "pixels"
"""The picture's input in our own export."""
DTYPES = ("float32", "float16", "uint8")
STRIDE = 32
"""Sides of a network that takes any size are multiples of it, where the file says nothing."""
MOST_BANDS = 1024
MOST_NUMBERS = 1 << 28
"""Of one fixed input, 1 GiB of float32: what a file promises is not allocated unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The input that takes the chips."""

    name: str
    dtype: str
    batch: int | None
    bands: int
    height: int | None
    width: int | None
    """None for any."""
    raw: bool
    """Takes pixels from 0 to 255 as they are: normalisation is inside."""
    others: tuple[Port, ...]
    """Inputs beside it: the sizes that boxes are meant for, or a mask of pixels."""

    @property
    def area_px(self) -> int | None:
        return None if self.height is None or self.width is None else self.height * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A chip as it lies in the top left corner of the network's input."""

    pixels: ByteArray
    """(h, w, bands) uint8."""
    height: int
    width: int
    """Of the input, padding included."""
    scale: float
    """Input pixels a chip pixel; 1 but for a chip that is larger than the network's fixed size."""


def find_picture(graph: Graph) -> Picture:
    """The input of the chips. Raises ModelError for inputs that cannot be filled, in one sentence each."""
    pictures = [port for port in graph.inputs if port.shape is not None and len(port.shape) == 4]
    others = tuple(port for port in graph.inputs if port not in pictures)
    if len(pictures) != 1 or not {port.name for port in others} <= {TARGET_SIZES, PIXEL_MASK}:
        raise ModelError(
            f"{graph.path} takes {listed(map(str, graph.inputs))}, and known is one picture (B, bands, H, W), with "
            f"{TARGET_SIZES} or {PIXEL_MASK} beside it: export the detector with these alone"
        )
    (port,) = pictures
    batch, bands, height, width = port.shape or ()
    if port.dtype not in DTYPES:
        raise ModelError(
            f"{graph.path} takes pixels as {port.dtype}, and {', '.join(DTYPES)} are known: export it with a float32 "
            "input (a quantised network quantises it inside)"
        )
    if bands is None or (bands > MOST_BANDS >= (width or 0)):
        raise ModelError(
            f"{graph.path}: the input {port} does not say how many bands it takes as its second axis: "
            "export it as (B, bands, H, W), where only batch, height and width may be dynamic"
        )
    if width is not None and width <= 4 < bands:
        raise ModelError(f"{graph.path}: the input {port} has its bands last: export it as (B, bands, H, W)")
    if (
        max(height or 0, width or 0) > LARGEST_INPUT_PX
        or (batch or 1) * bands * (height or 1) * (width or 1) > MOST_NUMBERS
    ):
        raise ModelError(f"{graph.path}: the input {port} is larger than any picture: export it with a batch of 1")
    ours = KESTREL in graph.metadata and port.name == OUR_PIXELS
    return Picture(
        name=port.name, dtype=port.dtype, batch=batch, bands=bands, height=height, width=width,
        raw=ours or port.dtype == "uint8", others=others,
    )  # fmt: skip


def place(pixels: ByteArray, picture: Picture, stride: int) -> Placed:
    """Where an (H, W, bands) chip lies in the input: as it is, made smaller only where a fixed size is too small."""
    rows, columns = pixels.shape[:2]
    height = -(-rows // stride) * stride if picture.height is None else picture.height
    width = -(-columns // stride) * stride if picture.width is None else picture.width
    scale = min(1.0, height / rows, width / columns)
    if scale < 1:
        pixels = _shrunk(pixels, max(1, int(rows * scale)), max(1, int(columns * scale)))
    return Placed(pixels=pixels, height=height, width=width, scale=scale)


def _shrunk(pixels: ByteArray, height: int, width: int) -> ByteArray:
    """Pillow's bilinear, which averages what it makes smaller, band by band."""
    bands = [Image.fromarray(np.ascontiguousarray(pixels[..., band])) for band in range(pixels.shape[2])]
    return np.stack([np.asarray(band.resize((width, height), Image.Resampling.BILINEAR)) for band in bands], axis=-1)


def table(mean: Sequence[float], std: Sequence[float], *, raw: bool) -> NDArray[np.float32]:
    """(bands, 256): what the network is fed for each 8-bit value, (value / 255 - mean) / std, or the value itself."""
    values = np.tile(np.arange(256, dtype=np.float64), (len(mean), 1))
    if not raw:
        values = (values / 255 - np.asarray(mean)[:, None]) / np.asarray(std)[:, None]
    return values.astype(np.float32)


def feed(
    placed: Sequence[Placed], picture: Picture, values: NDArray[np.float32], grey: int
) -> dict[str, NDArray[np.generic]]:
    """All inputs for chips that are placed in inputs of one size. A fixed batch is filled up with grey.

    ``values`` is the :func:`table`.
    """
    height, width = placed[0].height, placed[0].width
    rows = picture.batch or len(placed)
    batch = np.empty((rows, picture.bands, height, width), np.dtype(picture.dtype))
    batch[:] = values[:, grey, None, None]
    mask = np.zeros((rows, height, width), np.int64)
    for row, one in enumerate(placed):
        tall, wide = one.pixels.shape[:2]
        for band in range(picture.bands):
            batch[row, band, :tall, :wide] = values[band][one.pixels[..., band]]
        mask[row, :tall, :wide] = 1
    fed: dict[str, NDArray[np.generic]] = {picture.name: batch}
    for port in picture.others:
        content = mask if port.name == PIXEL_MASK else np.tile(np.array([[width, height]]), (rows, 1))
        fed[port.name] = content.astype(np.dtype(port.dtype))
    return fed


def true_scale(placed: Placed, rows: int, columns: int) -> FloatArray:
    """(2,) input pixels a chip pixel along x and y: sides are whole pixels, so these differ in the last digits."""
    return np.array([placed.pixels.shape[1] / columns, placed.pixels.shape[0] / rows])
