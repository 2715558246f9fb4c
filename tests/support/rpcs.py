"""RPCs as a satellite's vendor would give them: of an oblique view, with every kind of term."""

from __future__ import annotations

import numpy as np
from pyproj import CRS
from rasterio.rpc import RPC

from pipeline.types import RationalPolynomials

WORLD_WKT = str(CRS("EPSG:4326").to_wkt())
GSD_M = 0.5
METRES_PER_DEGREE = 111_320.0


def rational_polynomials(
    width: int, height: int, *, lon: float = 7.8, lat: float = 44.2, height_m: float = 310.0
) -> RationalPolynomials:
    """Of a scene of GSD_M, seen from some 20 degrees off the vertical, around ``lon`` and ``lat``."""
    rng = np.random.default_rng(4)
    small = rng.normal(size=(4, 20)) * np.repeat([1.0, 2e-3, 3e-5], [4, 6, 10])
    sample_num, line_num, sample_den, line_den = small
    sample_num[:4] = (0.002, 1.0, 0.03, 0.08)
    line_num[:4] = (-0.001, 0.02, -1.0, 0.05)
    sample_den[:4] = (1.0, 2e-4, -1e-4, 3e-4)
    line_den[:4] = (1.0, -2e-4, 1e-4, 2e-4)
    half_lat = height / 2 * GSD_M / METRES_PER_DEGREE
    half_lon = width / 2 * GSD_M / METRES_PER_DEGREE / float(np.cos(np.radians(lat)))
    return RationalPolynomials(
        line_num=tuple(line_num.tolist()), line_den=tuple(line_den.tolist()), sample_num=tuple(sample_num.tolist()),
        sample_den=tuple(sample_den.tolist()), line=(height / 2 - 0.5, height / 2), sample=(width / 2 - 0.5, width / 2),
        lat=(lat, half_lat), lon=(lon, half_lon), height=(310.0, 500.0), height_m=height_m,
    )  # fmt: skip


def as_gdal(rpc: RationalPolynomials) -> RPC:
    """The same for a file."""
    return RPC(
        height_off=rpc.height[0], height_scale=rpc.height[1], lat_off=rpc.lat[0], lat_scale=rpc.lat[1],
        long_off=rpc.lon[0], long_scale=rpc.lon[1], line_off=rpc.line[0], line_scale=rpc.line[1],
        samp_off=rpc.sample[0], samp_scale=rpc.sample[1], line_num_coeff=list(rpc.line_num),
        line_den_coeff=list(rpc.line_den), samp_num_coeff=list(rpc.sample_num), samp_den_coeff=list(rpc.sample_den),
        err_bias=0.0, err_rand=0.0,
    )  # fmt: skip


def as_rpc_text(rpc: RationalPolynomials) -> str:
    """The same as ``*_RPC.TXT`` beside a scene."""
    pairs = {"LINE": rpc.line, "SAMP": rpc.sample, "LAT": rpc.lat, "LONG": rpc.lon, "HEIGHT": rpc.height}
    lines = [f"{name}_OFF: {pair[0]!r}" for name, pair in pairs.items()]
    lines += [f"{name}_SCALE: {pair[1]!r}" for name, pair in pairs.items()]
    coefficients = {"LINE_NUM": rpc.line_num, "LINE_DEN": rpc.line_den, "SAMP_NUM": rpc.sample_num,
                    "SAMP_DEN": rpc.sample_den}  # fmt: skip
    for name, values in coefficients.items():
        lines += [f"{name}_COEFF_{number}: {value!r}" for number, value in enumerate(values, 1)]
    return "\n".join(lines) + "\n"


def as_rpb(rpc: RationalPolynomials) -> str:
    """The same as ``*.RPB`` beside a scene."""
    pairs = {"line": rpc.line, "samp": rpc.sample, "lat": rpc.lat, "long": rpc.lon, "height": rpc.height}
    lines = ['satId = "????";', 'bandId = "P";', 'SpecId = "RPC00B";', "BEGIN_GROUP = IMAGE", "\terrBias = 0.0;",
             "\terrRand = 0.0;"]  # fmt: skip
    lines += [f"\t{name}Offset = {pair[0]!r};" for name, pair in pairs.items()]
    lines += [f"\t{name}Scale = {pair[1]!r};" for name, pair in pairs.items()]
    for name, values in (("lineNum", rpc.line_num), ("lineDen", rpc.line_den), ("sampNum", rpc.sample_num),
                         ("sampDen", rpc.sample_den)):  # fmt: skip
        lines += [f"\t{name}Coef = (", ",\n".join(f"\t\t\t{value!r}" for value in values) + ");"]
    return "\n".join([*lines, "END_GROUP = IMAGE", "END;"]) + "\n"
