"""GeoPackage files of a detections table, with the QGIS style beside them."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.environment import hidden
from pipeline.errors import StorageError
from pipeline.outputs.qgis import qgis_style
from pipeline.outputs.result import Result
from pipeline.outputs.tables import Table
from pipeline.threads import unwarned

LAYER = "detections"
"""Name of the GeoPackage layer, followed by that of the scene: in a project of many scenes each layer has its own."""


def write(result: Result, folder: Path) -> None:
    """``detections.gpkg`` and its style ``detections.qml``. Raises StorageError when they cannot be written."""
    place = result.georeference
    layer = f"{LAYER}_{result.scene_id}" if result.scene_id else LAYER
    crs_wkt = None if place is None else place.crs_wkt
    write_gpkg(result.table, folder / "detections.gpkg", crs_wkt, layer=layer, classes=result.classes)


def write_gpkg(
    table: Table, path: Path, crs_wkt: str | None, *, layer: str = LAYER, classes: Sequence[str] = ()
) -> None:
    """Write detections as a GeoPackage with one polygon layer, in the scene's CRS (None: undefined), and its style.

    QGIS finds the style by its name, that of the file, in a ``.qml`` beside it. The date that the format
    wants in its contents table is a constant: the same table gives the same bytes.
    A database is written here and there in its file, under locks, and not every place allows that where whole files can
    be put (mounted buckets): then it is made in the temporary folder and copied.
    Raises StorageError when the file cannot be written.
    """
    try:
        _write_database(table, path, crs_wkt, layer)
    except StorageError as refusal:
        _made_elsewhere(path, refusal, lambda there: _write_database(table, there, crs_wkt, layer))
    path.with_suffix(".qml").write_text(qgis_style(classes), encoding="utf-8", newline="\n")


def _made_elsewhere(path: Path, refusal: StorageError, write: Callable[[Path], None]) -> None:
    """``write`` a file in the temporary folder and copy it to ``path``; raises ``refusal`` where that fails too."""
    try:
        for left in (path, path.with_name(f"{path.name}-journal")):
            left.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="kestrel-") as folder:
            made = Path(folder) / path.name
            write(made)
            shutil.copyfile(made, path)
    except OSError:  # a full disk, a folder that is gone
        raise refusal from None


def _write_database(table: Table, path: Path, crs_wkt: str | None, layer: str) -> None:
    with hidden():  # it reads the environment while it is imported; late: it brings pandas along
        import pyogrio
    options = {"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"}
    with gdal_options(pyogrio, options), unwarned(UserWarning, "'crs' was not provided"):
        try:
            pyogrio.write_arrow(
                table.drop_columns(["bbox"]),
                path,
                layer=layer,
                driver="GPKG",
                geometry_name="geometry",
                geometry_type="Polygon",
                crs=crs_wkt,
                layer_options=None if crs_wkt else {"SRID": -1},
            )
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError) as error:
            raise StorageError(f"cannot write {path.name}{_free_space(path)}: {error}") from error
    if not _complete(path, layer, len(table)):
        raise StorageError(f"{path.name} is incomplete{_free_space(path)}; free some space or choose another --out")


def _complete(path: Path, layer: str, rows: int) -> bool:
    """Whether the layer, its spatial index and its extent all reached the disk.

    GDAL builds the last two while it closes the file, and says nothing when the disk is full by then.
    """
    with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)) as database:
        try:
            counts = [
                database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - ids are safe names
                for name in (layer, f"rtree_{layer}_geom_rowid")
            ]
            extent = database.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents").fetchone()
            sound = database.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.DatabaseError:
            return False
    return sound and counts == [rows, rows] and (rows == 0 or None not in extent)


def _free_space(path: Path) -> str:
    """How much room is left, for the message of a write that failed for reasons GDAL tells badly."""
    if not path.parent.is_dir():
        return ""
    return f" ({shutil.disk_usage(path.parent).free / 1e6:.1f} MB free on its disk)"


@contextmanager
def gdal_options(pyogrio: Any, options: dict[str, str]) -> Iterator[None]:
    """GDAL options for the length of a block; they are the process's, so they are taken back. One thread at a time."""
    with _OPTIONS:
        before = {name: pyogrio.get_gdal_config_option(name) for name in options}
        pyogrio.set_gdal_config_options(options)
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)


_OPTIONS = threading.Lock()
