"""Rasters that would have GDAL read something else, or that promise more than anybody can hold."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.config import RasterConfig, RunConfig
from pipeline.detectors.card import card_from_mapping
from pipeline.errors import SceneError, SceneNotGeoreferenced, SceneUnreadable
from pipeline.georeference.georeference import Georeference
from pipeline.planning.plan import plan_scene
from pipeline.raster.overview import measure_stretch, read_coverage, read_thumbnail
from pipeline.raster.scene import open_scene
from tests.fuzz.templates import CARD
from tests.support.reading import native
from tests.support.scenes import ground_control_points, picture, write_geotiff
from tests.support.witness import witness

CONFIG = RasterConfig()
SECRET = 77


def look(path: Path, config: RasterConfig = CONFIG) -> float:
    """The mean of the scene's thumbnail, which is taken from an overview."""
    scene = open_scene(str(path), config)
    return float(read_thumbnail(scene, measure_stretch(scene, config), config, 64)[0].mean())


def vrt(source: object, size: int) -> str:
    band = (
        '<VRTRasterBand dataType="Byte" band="{}"><SimpleSource><SourceFilename>{}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
    )
    bands = "".join(band.format(number, source) for number in (1, 2, 3))
    flags = '<Metadata><MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata>'
    return f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}">{flags}{bands}</VRTDataset>'


@pytest.fixture
def black(tmp_path: Path) -> Path:
    return write_geotiff(tmp_path / "scene.tif", np.zeros((256, 256, 3), np.uint8))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    return write_geotiff(tmp_path / "elsewhere" / "secret.tif", np.full((128, 128, 3), SECRET, np.uint8))


@pytest.mark.parametrize("suffix", [".ovr", ".OVR", ".msk", ".MSK"])
def test_a_side_car_that_is_no_tiff_is_refused(suffix: str, black: Path, secret: Path) -> None:
    """GDAL opens overviews and masks with any of its drivers, VRT among them."""
    Path(f"{black}{suffix}").write_text(vrt(secret, 128))
    with pytest.raises(SceneUnreadable, match=r"is no TIFF.*allow_vrt true"):
        look(black)


def test_what_a_side_car_could_do_where_it_is_allowed(black: Path, secret: Path) -> None:
    """The test above tests something: the secret is what would have been read."""
    Path(f"{black}.ovr").write_text(vrt(secret, 128))
    assert look(black, RasterConfig(allow_vrt=True)) == SECRET


def test_sound_side_cars_are_read(black: Path, secret: Path) -> None:
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(black, "r+") as file:
        file.build_overviews([2, 4])
    assert Path(f"{black}.ovr").exists()
    assert open_scene(str(black), CONFIG).overviews == (2, 4)
    Path(f"{black}.ovr").write_bytes(secret.read_bytes())
    assert look(black) == SECRET


def test_the_side_car_of_a_side_car_is_judged_too(black: Path, secret: Path) -> None:
    Path(f"{black}.ovr").write_bytes(secret.read_bytes())
    Path(f"{black}.ovr.ovr").write_text(vrt(secret, 64))
    with pytest.raises(SceneUnreadable, match=r"ovr\.ovr.*is no TIFF"):
        look(black)


@pytest.mark.parametrize("where", ["tag", "aux.xml", "side-car's tag", "side-car's aux.xml"])
def test_a_tag_that_names_overviews_elsewhere_is_refused(
    where: str, black: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OVERVIEW_FILE may be an address: none is called."""
    marked = black
    if where.startswith("side-car"):
        marked = Path(f"{black}.ovr")
        marked.write_bytes(secret.read_bytes())
    with witness(monkeypatch) as listener:
        address = f"/vsicurl/{listener.url}/overview.tif"
        if where.endswith("tag"):
            with rasterio.open(marked, "r+") as file:
                file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=address)
        else:
            item = f'<MDI key="OVERVIEW_FILE">{address}</MDI>'
            text = f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'
            Path(f"{marked}.aux.xml").write_text(text)
        with pytest.raises(SceneUnreadable, match="names another file or address"):
            look(black)
        assert not listener.called()


def test_a_crs_that_is_an_address_is_not_fetched(black: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with witness(monkeypatch) as listener:
        Path(f"{black}.aux.xml").write_text(f"<PAMDataset><SRS>{listener.url}/srs</SRS></PAMDataset>")
        with pytest.raises(SceneError) as caught:
            look(black)
        assert "\n" not in str(caught.value)
        assert not listener.called()


def test_an_imagine_file_beside_the_scene_is_refused(black: Path) -> None:
    black.with_suffix(".aux").write_bytes(b"EHFA_HEADER_TAG\0" + bytes(100))
    with pytest.raises(SceneUnreadable, match="Imagine"):
        look(black)


@pytest.mark.parametrize(
    "text", ["", "<", "<PAMDataset>" * 5000, "<PAMDataset><SRS>nonsense</SRS></PAMDataset>", "\0" * 99]
)
def test_an_odd_aux_xml_is_a_sentence_or_nothing(text: str, black: Path) -> None:
    Path(f"{black}.aux.xml").write_text(text)
    try:
        assert look(black) == 0
    except SceneError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_an_overview_larger_than_its_scene_is_refused(black: Path, tmp_path: Path) -> None:
    large = write_geotiff(tmp_path / "large.tif", np.zeros((2000, 2000, 3), np.uint8))
    Path(f"{black}.ovr").write_bytes(large.read_bytes())
    with pytest.raises(SceneUnreadable, match="overview"):
        look(black)


def test_an_overview_in_one_enormous_block_is_refused(tmp_path: Path) -> None:
    """The scene itself is cut into small tiles; only its overview promises a block beyond the limit."""
    path = write_geotiff(tmp_path / "scene.tif", np.zeros((1600, 1600, 3), np.uint8), block_px=16)
    write_geotiff(tmp_path / "scene.tif.ovr", np.zeros((800, 800, 3), np.uint8), tiled=False, block_px=800)
    config = RasterConfig(max_block_mb=1)
    scene = open_scene(str(path), config)
    with pytest.raises(SceneUnreadable, match="max_block_mb is 1"):
        read_thumbnail(scene, measure_stretch(scene, config), config, 64)


def promising(path: Path, width: int, height: int, bands: int = 1, **options: object) -> Path:
    """A sparse GeoTIFF: it promises pixels and holds none."""
    profile = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", **options}
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype="uint8", sparse_ok=True,
        crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), bigtiff="YES", **profile,
    ):  # fmt: skip
        pass
    return path


def test_more_pixels_or_bands_than_allowed_are_refused_by_the_name_of_the_limit(tmp_path: Path) -> None:
    wide = promising(tmp_path / "wide.tif", 300_000, 100_000)
    assert open_scene(str(wide), CONFIG).width == 300_000
    with pytest.raises(SceneUnreadable, match=r"30 gigapixels.*raster\.max_gigapixels allows 20"):
        open_scene(str(wide), RasterConfig(max_gigapixels=20))
    many = promising(tmp_path / "many.tif", 64, 64, bands=40, blockxsize=64, blockysize=64)
    with pytest.raises(SceneUnreadable, match=r"40 bands; raster\.max_bands allows 39"):
        open_scene(str(many), RasterConfig(max_bands=39))


def with_many_bands(folder: Path) -> Path:
    return promising(folder / "s.tif", 64, 64, bands=1100, blockxsize=64, blockysize=64, nodata=0)


def with_large_blocks(folder: Path) -> Path:
    """16 bands side by side in every block: 576 MB."""
    return promising(folder / "s.tif", 6000, 6000, bands=16, blockxsize=6000, blockysize=6000, interleave="pixel",
                     nodata=0)  # fmt: skip


def with_many_pixels(folder: Path) -> Path:
    """560 gigapixels, and an overview, on which their coverage is judged."""
    promising(folder / "s.tif.ovr", 3000, 2625, nodata=0)
    return promising(folder / "s.tif", 800_000, 700_000, blockxsize=8192, blockysize=8192, nodata=0)


def with_overviews_elsewhere(folder: Path) -> Path:
    overview = promising(folder / "overview.tif", 128, 128, nodata=0)
    path = promising(folder / "s.tif", 4096, 4096, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(overview))
    return path


@pytest.mark.parametrize(
    ("made", "refusal", "allowed"),
    [
        (with_many_bands, "max_bands", RasterConfig(max_bands=2000)),
        (with_large_blocks, "max_block_mb", RasterConfig(max_block_mb=600)),
        (with_many_pixels, "max_gigapixels", RasterConfig(max_gigapixels=600)),
        (with_overviews_elsewhere, "allow_vrt", RasterConfig(allow_vrt=True)),
    ],
)
def test_a_scene_that_a_setting_lets_in_is_covered_too(
    made: Callable[[Path], Path], refusal: str, allowed: RasterConfig, tmp_path: Path
) -> None:
    """Which of its cells hold valid pixels is read under the settings that let it in. Here none does: it is sparse."""
    path = str(made(tmp_path))
    with pytest.raises(SceneUnreadable, match=refusal):
        open_scene(path, CONFIG)
    scene = open_scene(path, allowed)
    assert not read_coverage(scene, native(scene), allowed, 64).any()


def test_a_header_of_all_bits_is_refused_by_the_defaults(tmp_path: Path) -> None:
    """Width and height of 2^31 - 1 in 16-pixel tiles: four billion gigapixels in a few bytes."""
    tags = [(256, 0x7FFFFFFF), (257, 0x7FFFFFFF), (258, 8), (259, 1), (262, 1), (277, 1), (322, 16), (323, 16),
            (324, 8), (325, 256)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path = tmp_path / "bits.tif"
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4))
    with pytest.raises(SceneUnreadable):
        open_scene(str(path), CONFIG)


def test_a_lattice_larger_than_allowed_is_refused_before_it_is_tiled(tmp_path: Path) -> None:
    """40 m pixels at the 10 m of the model are sixteen times as many."""
    path = promising(tmp_path / "coarse.tif", 40_000, 40_000)
    with rasterio.open(path, "r+") as file:
        file.transform = rasterio.Affine(40, 0, 5e5, 0, -40, 5e6)
    config = RunConfig(raster=RasterConfig(max_gigapixels=20))
    with pytest.raises(SceneUnreadable, match=r"the lattice of .*coarse\.tif promises .*max_gigapixels"):
        plan_scene(str(path), config, card_from_mapping(CARD, source="card"), None)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_control_points_beyond_numbers_are_no_georeference(value: float, tmp_path: Path) -> None:
    points = ground_control_points(40, 30)
    points[4].x = value
    path = write_geotiff(tmp_path / "scene.tif", picture(30, 40), gcps=points)
    with pytest.raises(SceneNotGeoreferenced):
        Georeference.of(open_scene(str(path), CONFIG))
