"""What a local file is that cannot be opened as a scene, and how to make one of it."""

from __future__ import annotations

import shlex
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import PipelineError, SceneNotFound, SceneUnreadable
from pipeline.names import shown
from pipeline.raster.tiff import CODECS, COMPRESSION, directories

HEAD_BYTES = 4096

FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"CDF\x01", "a netCDF file"),
    (0, b"CDF\x02", "a netCDF file"),
    (0, b"CDF\x05", "a netCDF file"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 or netCDF-4 file"),
    (0, b"\x0e\x03\x13\x01", "an HDF4 file"),
    (0, b"NITF", "a NITF file"),
    (0, b"NSIF", "a NITF (NSIF) file"),
    (0, b"EHFA_HEADER_TAG", "an Erdas Imagine (HFA) file"),
    (0, b"SQLite format 3\0", "a GeoPackage, MBTiles or other SQLite file"),
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (0, b"%PDF-", "a PDF"),
    (0, b"GRIB", "a GRIB file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"PDS_VERSION_ID", "a PDS file"),
    (0, b"CCSD3ZF", "a PDS file"),
    (0, b"LBLSIZE=", "a VICAR file"),
    (0, b"ENVI", "the header of an ENVI file"),
    (0, b"DDS ", "a DDS picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (8, b"WEBP", "a WebP picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIF picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (257, b"ustar", "a TAR archive"),
    (0, b"msid", "a MrSID file"),
    (0, b"ncols", "an Arc/Info ASCII grid"),
    (0, b"DSAA", "a Surfer grid"),
    (0, b"DSBB", "a Surfer grid"),
    (0, b"DSRB", "a Surfer grid"),
    (0, b"FORM", "an IFF file"),
    (0, b"P4", "a PNM picture"),
    (0, b"P5", "a PNM picture"),
    (0, b"P6", "a PNM picture"),
    (0, b"<!DOCTYPE html", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"<?xml", "an XML file"),
    (0, b"version https://git-lfs", "a pointer of git-lfs (git lfs pull brings the file itself)"),
)
"""By what files of other formats begin: offset, bytes, name. They are told by these bytes alone, for GDAL's drivers of
many of them would open what the file names."""


def check_local(path: str, uri: str) -> None:
    """Raise SceneNotFound or SceneUnreadable for what is no file that can be opened."""
    try:
        kind = Path(path).stat().st_mode
        if stat.S_ISDIR(kind):
            raise SceneUnreadable(f"{shown(uri)} is a folder; name a raster file in it")
        if not stat.S_ISREG(kind):
            raise SceneUnreadable(f"{shown(uri)} is a device or a pipe; name a raster file")
        with Path(path).open("rb"):
            pass
    except PipelineError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SceneNotFound(f"{shown(uri)}: there is no such file on this machine; check the path") from error
    except OSError as error:
        raise SceneUnreadable(
            f"{shown(uri)} cannot be opened ({error.strerror}); check its name and permissions"
        ) from error


def not_a_raster(path: str, uri: str, drivers: Sequence[str]) -> str:
    """Why GDAL opens none of it, in a sentence that says what to run."""
    file, name = Path(path), shown(uri)
    with file.open("rb") as content:
        head = content.read(HEAD_BYTES)
    if b"<VRTDataset" in head and "VRT" not in drivers:
        return (
            f"{name} is a VRT, which can make this machine read any file or address; allow it with "
            f"--raster.allow_vrt true if you trust it, or convert it with gdal_translate"
        )
    if not head:
        return f"{name} is empty (0 bytes); copy or download it again"
    known = format_of(head)
    if known is not None:
        unpack = "unpack it first" if known.endswith("archive") else f"convert it: {conversion(uri)}"
        return f"{name} is {known}, none of the allowed formats ({', '.join(drivers)}); {unpack}"
    codec = compression(file)
    if codec is not None:
        return (
            f"{name} cannot be opened: its compression is {codec}, which this build of GDAL may lack; rewrite it where "
            f"that can be read: {conversion(uri)} (or, if that fails, copy or download it again)"
        )
    return (
        f"{name} ({file.stat().st_size} bytes) is damaged or no raster of an allowed format "
        f"({', '.join(drivers)}); download it again or convert it with gdal_translate"
    )


def conversion(uri: str) -> str:
    """The command that makes a scene of a file."""
    source = Path(uri)
    return shown(
        f"gdal_translate -co COMPRESS=DEFLATE {shlex.quote(source.name)} {shlex.quote(source.stem + '-new.tif')}"
    )


def format_of(head: bytes) -> str | None:
    """What a file of another format is, by its first bytes; None where they tell nothing."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for offset, mark, name in FORMATS:
        spelt = mark.startswith((b"<", b"ncols")) and text.startswith(mark.lower())
        if (head[offset : offset + len(mark)] == mark or spelt) and _meant(mark, head):
            return name
    return None


def _meant(mark: bytes, head: bytes) -> bool:
    """Whether a mark of two letters is followed by what follows it in such files."""
    if mark == b"BM":
        return len(head) >= 14 and struct.unpack_from("<I", head, 10)[0] < 1 << 16
    return mark not in (b"P4", b"P5", b"P6") or head[2:3].isspace()


def compression(path: Path) -> str | None:
    """The compression of a TIFF, named, where it is none that every build of GDAL reads; None for any other file."""
    for page in directories(path):
        code = (page.get(COMPRESSION) or (1,))[0]
        if code not in ALWAYS:
            return f"{CODECS.get(code, 'unknown')} (TIFF compression {code})"
    return None


ALWAYS = frozenset({1, 2, 3, 4, 5, 7, 8, 32773, 32946})
