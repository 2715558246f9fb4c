"""Another installation's data of PROJ and GDAL changes nothing, whenever a library would have looked at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CHECK = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
{before}
from pipeline.raster.own_data import own_data
with own_data() as ignored:
    import numpy as np, pyogrio, pyproj, rasterio, shapely
    from pyproj.network import is_network_enabled
    from rasterio.crs import CRS
    way = pyproj.Transformer.from_crs("EPSG:26715", "OGC:CRS84", always_xy=True)
    try:
        pyproj.Transformer.from_crs("IAU_2015:49900", "OGC:CRS84")
        mars = "lies on Earth"
    except pyproj.exceptions.ProjError:
        mars = "refused"
    with rasterio.Env() as env:
        told = {{"wkt": CRS.from_epsg(3035).to_wkt(), "drivers": len(env.drivers())}}
    told |= {{"name": pyproj.CRS(3035).name, "nad27": way.transform(780000, 3320000), "mars": mars,
              "network": is_network_enabled(), "ogr": len(pyogrio.list_drivers())}}
print(json.dumps(told | {{"left": os.environ.get("PROJ_DATA")}}))
"""


USED = """
import contextlib, rasterio
with contextlib.suppress(Exception):
    rasterio.crs.CRS.from_epsg(4326)
"""


def told(before: str = "", **variables: str) -> dict[str, object]:
    """What the libraries say inside :func:`own_data`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(before=before)],
        cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="module")
def clean() -> dict[str, object]:
    return told()


@pytest.mark.parametrize(
    ("before", "variables"),
    [
        ("", ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA")),
        ("", ("PROJ_AUX_DB", "PROJ_NETWORK", "PROJ_IGNORE_CELESTIAL_BODY", "PROJ_USER_WRITABLE_DIRECTORY")),
        ("", ("GDAL_SKIP", "OGR_SKIP", "GDAL_DRIVER_PATH", "OGR_DRIVER_PATH")),
        ("import rasterio, pyproj, pyogrio", ("PROJ_DATA", "GDAL_DATA", "PROJ_NETWORK")),
        (USED, ("PROJ_LIB", "GDAL_DATA")),
    ],
)
def test_the_libraries_use_what_they_carry(
    before: str, variables: tuple[str, ...], clean: dict[str, object], tmp_path: Path
) -> None:
    """Also where somebody has imported them before, in a notebook."""
    values = {"PROJ_NETWORK": "ON", "PROJ_IGNORE_CELESTIAL_BODY": "YES", "GDAL_SKIP": "GTiff", "OGR_SKIP": "GPKG"}
    env = {name: values.get(name, str(tmp_path)) for name in variables}
    answer = told(before, **env)
    assert answer.pop("left") == env.get("PROJ_DATA"), "the environment comes back as it was"
    assert answer == {key: value for key, value in clean.items() if key != "left"}
    assert "AUTHORITY" in str(answer["wkt"])
    assert answer["mars"] == "refused"


def test_the_systems_proj_of_another_version_changes_nothing(clean: dict[str, object]) -> None:
    system = Path("/usr/share/proj")
    if not (system / "proj.db").exists():
        pytest.skip("no other PROJ on this machine")
    answer = told(PROJ_DATA=str(system), PROJ_LIB=str(system), PROJ_USER_WRITABLE_DIRECTORY=str(system))
    assert answer["wkt"] == clean["wkt"]
