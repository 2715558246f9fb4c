"""Maps of where the detector looked, or of what it could not draw again: those of all tiles of a scene as one
georeferenced COG.

Memory is bounded by a tile, never by the scene.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from rasterio.rpc import RPC
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.errors import StorageError
from pipeline.pixels.cells import shares
from pipeline.raster.gdal import gdal_environment
from pipeline.types import AttentionMap, DifferenceMap, FloatArray, Lattice, RationalPolynomials, Scene, Window

CELL_PX = 8
"""Side of a pixel of the heat map, lattice pixels."""
BLOCK_PX = 256
ATTENTION = "decoder attention, 1 = spread evenly over the tile"
DIFFERENCE = "difference map, mean of |reconstruction - image|, 1 = black for white"


class HeatMap:
    """A float32 COG of ceil(lattice / 8) pixels, 8 lattice pixels each, with the scene's CRS and place.

    A pixel says how many times more attention it got than if the tile's had been spread evenly over it, or how large
    the difference is in the mean over it; NaN (nodata) where no tile looked. A scene placed by ground control points
    or RPCs hands them on, a pixel scene nothing.
    A context manager: the file appears when the block is left without an error. Raises StorageError when it cannot be
    written.
    """

    def __init__(self, path: str | Path, lattice: Lattice, scene: Scene, description: str = ATTENTION) -> None:
        self._target, self._description = Path(path), description
        self._cells = self._target.with_name(f".{self._target.name}.cells")
        self._part = self._target.with_name(f".{self._target.name}.part")
        self._lattice, self._scene = lattice, scene
        self._file: Any = None

    def __enter__(self) -> Self:
        with self._writing():
            self._file = rasterio.open(self._cells, "w+", **_profile(self._lattice, self._scene))
            self._file.set_band_description(1, self._description)
            if self._scene.crs_wkt is not None and self._scene.transform is None and self._scene.gcps:
                crs = rasterio.CRS.from_wkt(self._scene.crs_wkt)
                self._file.gcps = (_control_points(self._lattice, self._scene), crs)
            if self._scene.rpc is not None:
                self._file.rpcs = _rational(self._lattice, self._scene.rpc)
        return self

    def add(self, window: Window, found: AttentionMap | DifferenceMap) -> None:
        """The map over a tile's lattice window. In any order: where tiles overlap the larger value stands."""
        with self._writing():
            _add(self._file, window, found)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._writing():
                self._file.close()
                if error is None:
                    copy_raster(self._cells, self._part, driver="COG", compress="DEFLATE", predictor="YES",
                                blocksize=BLOCK_PX, bigtiff="IF_SAFER", overview_resampling="AVERAGE")  # fmt: skip
                    self._part.replace(self._target)
        finally:
            self._cells.unlink(missing_ok=True)
            self._part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with gdal_environment(RasterConfig(), ()):
                yield
        except (RasterioError, OSError) as error:
            raise StorageError(
                f"{self._target} cannot be written ({error}); check the folder and the free space"
            ) from error


def write_heat_map(
    path: str | Path, maps: Iterable[tuple[Window, AttentionMap | DifferenceMap]], lattice: Lattice, scene: Scene,
    description: str = ATTENTION,
) -> None:  # fmt: skip
    """Write the :class:`HeatMap` of ``maps``, each tile's lattice window with what was found over it."""
    with HeatMap(path, lattice, scene, description) as heat_map:
        for window, found in maps:
            heat_map.add(window, found)


def heat(window: Window, found: AttentionMap | DifferenceMap) -> tuple[NDArray[np.float32], int, int]:
    """The pixels of the heat map that a tile touches, and the column and row of the first.

    A pixel that the tile covers in part gets the mean over that part.
    """
    mass = found.mass if isinstance(found, AttentionMap) else found.values / found.values.size
    y_shares, covered_y = _axis(window.y, window.y1, mass.shape[0])
    x_shares, covered_x = _axis(window.x, window.x1, mass.shape[1])
    density = (y_shares @ mass @ x_shares.T) / (covered_y[:, None] * covered_x)
    return (density * window.pixels).astype(np.float32), window.x // CELL_PX, window.y // CELL_PX


def _axis(start: int, end: int, cells: int) -> tuple[FloatArray, FloatArray]:
    """Shares of the map's cells in the pixels that touch [start, end), and how much of each pixel it covers."""
    edges = np.arange(start // CELL_PX, -(-end // CELL_PX) + 1, dtype=np.float64) * CELL_PX
    return shares(np.linspace(start, end, cells + 1), edges), np.diff(np.clip(edges, start, end))


def _add(file: Any, window: Window, found: AttentionMap | DifferenceMap) -> None:
    values, column, row = heat(window, found)
    area = RasterioWindow(column, row, values.shape[1], values.shape[0])
    file.write(np.fmax(file.read(1, window=area), values), 1, window=area)


def _profile(lattice: Lattice, scene: Scene) -> dict[str, Any]:
    """An uncompressed file whose untouched blocks take no room, to be changed in place."""
    profile: dict[str, Any] = {
        "driver": "GTiff", "count": 1, "dtype": "float32", "nodata": np.nan, "sparse_ok": True, "bigtiff": "IF_SAFER",
        "width": -(-lattice.width // CELL_PX), "height": -(-lattice.height // CELL_PX),
        "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX,
    }  # fmt: skip
    if scene.crs_wkt is not None and scene.transform is not None:
        a, b, c, d, e, f = scene.transform
        x, y = lattice.scale_x * CELL_PX, lattice.scale_y * CELL_PX
        profile |= {"crs": scene.crs_wkt, "transform": rasterio.Affine(a * x, b * y, c, d * x, e * y, f)}
    return profile


def _control_points(lattice: Lattice, scene: Scene) -> list[GroundControlPoint]:
    """The scene's points at their place in the heat map."""
    x, y = lattice.scale_x * CELL_PX, lattice.scale_y * CELL_PX
    return [GroundControlPoint(row=p.row / y, col=p.column / x, x=p.x, y=p.y) for p in scene.gcps]


def _rational(lattice: Lattice, rpc: RationalPolynomials) -> RPC:
    """The scene's RPCs for the pixels of the heat map; they count from the centre of the first pixel."""
    x, y = lattice.scale_x * CELL_PX, lattice.scale_y * CELL_PX
    return RPC(
        height_off=rpc.height[0], height_scale=rpc.height[1], lat_off=rpc.lat[0], lat_scale=rpc.lat[1],
        long_off=rpc.lon[0], long_scale=rpc.lon[1], line_off=(rpc.line[0] + 0.5) / y - 0.5,
        line_scale=rpc.line[1] / y, samp_off=(rpc.sample[0] + 0.5) / x - 0.5, samp_scale=rpc.sample[1] / x,
        line_num_coeff=list(rpc.line_num), line_den_coeff=list(rpc.line_den), samp_num_coeff=list(rpc.sample_num),
        samp_den_coeff=list(rpc.sample_den), err_bias=None, err_rand=None,
    )  # fmt: skip
