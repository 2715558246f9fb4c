"""What GDAL says: who hears it, for how long, and that it reaches the logs of others but never comes there from us."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import rasterio
from rasterio.errors import RasterioIOError

from pipeline.errors import SceneUnreadable
from pipeline.raster.gdal import EAR, KEEN, gdal_environment
from pipeline.raster.scene import open_scene
from pipeline.raster.source import Pixels
from pipeline.types import Window
from tests.conftest import ROOT
from tests.support.reading import CONFIG
from tests.support.scenes import NORTH_UP, UTM, damage_block, picture, write_geotiff

DAMAGE = "ZIPDecode"
"""A word of GDAL's error."""
ODDITY = "creation option ODD"
"""Words of its warning."""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = write_geotiff(tmp_path / "damaged.tif", picture(128, 128))
    damage_block(path, column=0, row=0)
    return path


def error(damaged: Path) -> None:
    """Have GDAL signal an error, as anybody may who uses rasterio."""
    with rasterio.Env(), rasterio.open(damaged) as file, contextlib.suppress(RasterioIOError):
        file.read()


def warning(folder: Path) -> None:
    """Have GDAL signal a warning."""
    with rasterio.Env(), rasterio.open(folder / "odd.tif", "w", driver="GTiff", width=8, height=8, count=1,
                                       dtype="uint8", crs=UTM, transform=NORTH_UP, ODD=1):  # fmt: skip
        pass


def test_what_is_said_after_listening_is_not_kept(damaged: Path) -> None:
    with EAR.listening() as heard:
        error(damaged)
    said = list(heard)
    assert DAMAGE in said[0]
    error(damaged)
    assert heard == said


def test_an_inner_listener_leaves_the_outer_its_hearing(damaged: Path, tmp_path: Path) -> None:
    """The outer hears all that is said until it ends; the inner, errors alone, and only its own."""
    with EAR.listening(warnings=True) as outer:
        error(damaged)
        before = len(outer)
        with EAR.listening() as inner:
            error(damaged)
            warning(tmp_path)
        assert len(inner) == before
        assert len(outer) == 2 * before + 1
        error(damaged)
        warning(tmp_path)
        assert len(outer) == 3 * before + 2
    assert len(inner) == before
    assert ODDITY in outer[-1]
    assert not any(ODDITY in text for text in inner)


def test_what_was_dealt_with_is_forgotten_by_all_who_listen(damaged: Path) -> None:
    with EAR.listening() as outer, EAR.listening() as inner:
        error(damaged)
        EAR.forget()
        assert outer == inner == []


def test_listening_ends_with_an_error_too(damaged: Path) -> None:
    with contextlib.suppress(KeyError), EAR.listening() as heard:
        raise KeyError
    error(damaged)
    assert heard == []


def test_threads_hear_only_themselves(damaged: Path) -> None:
    with EAR.listening() as heard, ThreadPoolExecutor(1) as pool:
        pool.submit(error, damaged).result(60)
        assert heard == []


def test_importing_us_silences_nothing_of_rasterio(damaged: Path) -> None:
    """In a process of its own: what GDAL says to others is logged as if we were not there."""
    script = (
        "import logging, sys, rasterio\n"
        "logging.basicConfig(level='INFO', stream=sys.stdout, format='%(name)s: %(message)s')\n"
        "{}\n"
        "with rasterio.Env(), rasterio.open(sys.argv[1]) as file:\n"
        "    try: file.read()\n"
        "    except rasterio.errors.RasterioIOError: pass\n"
    )
    said = [
        subprocess.run([sys.executable, "-c", script.format(first), str(damaged)], capture_output=True, text=True,
                       check=True, cwd=ROOT).stdout
        for first in ("", "import pipeline.raster.overview")
    ]  # fmt: skip
    assert DAMAGE in said[0]
    assert said[1] == said[0]


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING"])
def test_others_log_what_gdal_says_to_them_while_we_work(
    level: str, damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level they chose: another thread that listens changes nothing."""

    def logged() -> list[tuple[str, int]]:
        caplog.clear()
        error(damaged)
        warning(tmp_path)
        return [(record.name, record.levelno) for record in caplog.records if record.name in KEEN]

    caplog.set_level(level)
    alone = logged()
    assert ("rasterio._env", logging.WARNING) in alone
    assert (("rasterio._err", logging.INFO) in alone) == (level != "WARNING")
    assert (("rasterio._env", logging.DEBUG) in alone) == (level == "DEBUG")
    listening, end = threading.Event(), threading.Event()

    def listen() -> list[str]:
        with EAR.listening(warnings=True) as heard:
            listening.set()
            assert end.wait(60)
        return heard

    with ThreadPoolExecutor(1) as pool:
        listener = pool.submit(listen)
        assert listening.wait(60)
        together = logged()
        end.set()
        assert listener.result(60) == []
    assert together == logged() == alone
    assert [(logging.getLogger(name).level, logging.getLogger(name).filters) for name in KEEN] == [(0, []), (0, [])]


def test_what_gdal_says_to_us_reaches_no_log(damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It may hold a signed address. That is so where nobody listens, too."""
    caplog.set_level("DEBUG")
    scene = open_scene(str(damaged), CONFIG)
    with contextlib.closing(Pixels(scene, CONFIG)) as source, pytest.raises(SceneUnreadable):
        source.read(Window(x=0, y=0, width=128, height=128))
    with gdal_environment(CONFIG, ()):
        warning(tmp_path)
    assert not [record for record in caplog.records if record.name in KEEN]
    assert DAMAGE not in caplog.text
    assert ODDITY not in caplog.text


def test_few_warnings_mean_damage_and_the_others_are_notes() -> None:
    """Said to rasterio's own loggers, as it says them; the numbers of lines make no new notes."""
    notes = set[str]()
    said = logging.getLogger("rasterio._err")
    with EAR.listening(notes=notes) as heard:
        said.warning("CPLE_AppDefined:Non conformant codestream TPsot==TNsot.")
        said.warning("CPLE_AppDefined:TIFFReadDirectory:Old-style JPEG: convert and notify the vendor")
        said.warning("CPLE_AppDefined:LZWPreDecode:Old-style LZW codes, convert file")
        for line in range(100):
            said.warning("CPLE_AppDefined:Fax3DecodeRLE:Premature EOL at line %d of strip 0 (got 3, expected 9)", line)
        said.info("GDAL signalled an error: err_no=1, msg='TIFFFillStrip:Too large strip byte count 9, strip 0'")
        assert heard == []
        for words in ("JPEGLib:Premature end of JPEG file", "JPEGLib:Corrupt JPEG data: 9 extraneous bytes",
                      "Stream does not end with EOC"):  # fmt: skip
            said.warning("CPLE_AppDefined:%s", words)
        said.info("GDAL signalled an error: err_no=1, msg='ZIPDecode:Decoding error at scanline 64'")
    assert len(heard) == 4
    assert notes == {
        "Non conformant codestream TPsot==TNsot.",
        "TIFFReadDirectory:Old-style JPEG: convert and notify the vendor",
        "LZWPreDecode:Old-style LZW codes, convert file",
        "Fax3DecodeRLE:Premature EOL at line N of strip N (got N, expected N)",
        "TIFFFillStrip:Too large strip byte count N, strip N",
    }
