"""Ingestion from end to end: ``make ingest-demo``.

An S3-compatible server starts, ten small harbours land in its bucket in two layouts (a plain folder, and Sentinel-2
products), in two waves; a tick begins after the first wave and another one after the second, while the first is at
work. What they leave is fetched to a folder and opened with other people's software.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import rasterio

from jobs import make_scene
from tests.support.servers import BUCKET, fill_bucket, s3_client, s3_process

ROOT = Path(__file__).resolve().parent.parent.parent
PX = 512
PLAIN, PRODUCTS = 6, 4
FEED = f"""\
name: harbours
source: {{kind: folder, address: s3://{BUCKET}/incoming}}
run: {{executor: local, detector: {{score_threshold: 0.3}}}}
"""
QGIS = """
import sys
from qgis.core import QgsApplication, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
for path in sys.argv[1:]:
    layer = QgsVectorLayer(path, "layer", "ogr")
    if not layer.isValid():
        sys.exit(f"QGIS does not open {path}")
    print(f"QGIS:      {path}: {layer.featureCount()} features, {layer.crs().authid()}")
    del layer  # before the application, or the process crashes at its end
application.exitQgis()
"""


def plain_scene(folder: Path, number: int) -> None:
    """A harbour as one GeoTIFF of three bands."""
    path = folder / "plain" / f"harbour-{number}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    place = ["--width", str(PX), "--height", str(PX), "--origin", str(400_000 + 20_000 * number), "4900000"]
    make_scene.main(["--kind", "harbour", "--quiet", "--seed", str(20_000_100 + number), *place, "--out", str(path)])
    for beside in path.parent.glob(f"{path.stem}.*"):  # the truth stays at home
        if beside != path:
            beside.unlink()


def product(folder: Path, number: int) -> None:
    """The same as a Sentinel-2 product, L1C: a JPEG 2000 file a band."""
    made = folder / "made"
    plain_scene(made, 100 + number)
    tile, sensing = f"T32TM{'PQRS'[number]}", f"202307{10 + number:02d}T101559"
    name = f"S2A_MSIL1C_{sensing}_N0400_R065_{tile}_202307{10 + number:02d}T122000"
    bands = folder / "sentinel" / f"{name}.SAFE" / "GRANULE" / f"L1C_{tile}_A042000_{sensing}" / "IMG_DATA"
    bands.mkdir(parents=True)
    with rasterio.open(made / "plain" / f"harbour-{100 + number}.tif") as scene:
        profile = {**scene.profile, "driver": "JP2OpenJPEG", "count": 1, "QUALITY": "100", "REVERSIBLE": "YES"}
        for key in ("tiled", "blockxsize", "blockysize", "compress", "interleave", "photometric"):
            profile.pop(key, None)
        for band, index in (("B04", 1), ("B03", 2), ("B02", 3)):
            with rasterio.open(bands / f"{tile}_{sensing}_{band}.jp2", "w", **profile) as file:
                file.write(scene.read(index), 1)
    shutil.rmtree(made)


def upload(folder: Path, address: str) -> None:
    """Every file below ``folder`` to the bucket, under incoming/."""
    client = s3_client(address)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        client.upload_file(str(path), BUCKET, f"incoming/{path.relative_to(folder)}")


def tick(feed: Path, log: Path) -> subprocess.Popen[bytes]:
    """One tick as cron would start it."""
    command = [sys.executable, "jobs/ingest_scenes.py", "--feed", str(feed), "--out", f"s3://{BUCKET}/results"]
    with log.open("w") as lines:
        return subprocess.Popen(command, cwd=ROOT, stdout=lines, stderr=lines)


def fetch(address: str, out: Path) -> None:
    """The results and the catalogue, as files."""
    client = s3_client(address)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="results/"):
        for entry in page.get("Contents", ()):
            path = out / entry["Key"].removeprefix("results/")
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, entry["Key"], str(path))


def opened(out: Path) -> None:
    """What pystac, geopandas, DuckDB and, where it is installed, QGIS say of the catalogue."""
    import duckdb
    import geopandas
    import pystac

    catalogue = out / "_catalogue"
    collection: Any = pystac.Collection.from_file(str(catalogue / "collection.json"))
    items = list(collection.get_items(recursive=True))
    print(f"pystac:    {collection.id}: {len(items)} items, {collection.extent.temporal.to_dict()['interval'][0]}")
    footprints = geopandas.read_parquet(catalogue / "items.parquet")
    print(f"geopandas: items.parquet: {len(footprints)} footprints in {footprints.crs}")
    snapshot = json.loads((catalogue / "detections" / "snapshot.json").read_text())
    files = [str(catalogue / "detections" / file["path"]) for file in snapshot["files"]]
    table = duckdb.read_parquet(files, hive_partitioning=True)
    counts = table.aggregate("month, count(*), round(avg(score), 2)", "month").order("month")
    for month, count, score in counts.fetchall():
        print(f"DuckDB:    {month}: {count} detections, mean score {score}")
    gpkg = sorted(out.glob("*/detections.gpkg"))[0]
    offscreen = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    python = "/usr/bin/python3"  # Debian's, which QGIS belongs to
    if (
        shutil.which(python) is None
        or subprocess.run([python, "-c", "import qgis.core"], capture_output=True).returncode
    ):
        print("QGIS:      not installed here (apt install python3-qgis)")
        return
    said = subprocess.run([python, "-c", QGIS, str(gpkg)], capture_output=True, text=True, check=True, env=offscreen)
    print(said.stdout.strip())


def checked(out: Path) -> str:
    """Raise SystemExit unless every scene is published once; a sentence about it."""
    rows = [json.loads(path.read_text()) for path in sorted((out / "_ledger").glob("??/*.json"))]
    states = Counter(str(row["state"]) for row in rows)
    results = {path.parent.name for path in out.glob("*/manifest.json")}
    items = {path.stem for path in (out / "_catalogue" / "items").glob("*.json")}
    if states != {"PUBLISHED": PLAIN + PRODUCTS} or len(results) != PLAIN + PRODUCTS or items != results:
        raise SystemExit(f"{dict(states)} in the ledger, {len(results)} results, {len(items)} items")
    return f"{len(results)} scenes published, each once in the ledger and once in the catalogue"


def main() -> None:
    """Run it; what comes out stays in the folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("ingest-demo"), help="folder, replaced (default: ingest-demo)")
    out = parser.parse_args().out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    first, second, results = out / "scenes" / "first", out / "scenes" / "second", out / "results"
    for wave, plain, products in ((first, range(3), range(2)), (second, range(3, PLAIN), range(2, PRODUCTS))):
        for number in plain:
            plain_scene(wave, number)
        for number in products:
            product(wave, number)
    feed = out / "harbours.yaml"
    feed.write_text(FEED)
    with s3_process() as address:
        os.environ |= {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                       "AWS_REGION": "us-east-1"}  # fmt: skip
        fill_bucket(address)
        upload(first, address)
        one = tick(feed, out / "first-tick.log")
        upload(second, address)
        two = tick(feed, out / "second-tick.log")
        codes = one.wait(), two.wait()
        for log in ("first-tick.log", "second-tick.log"):
            print(f"--- {log}\n{(out / log).read_text().strip()}")
        if any(codes):
            raise SystemExit(f"the ticks ended with {codes}")
        status = [sys.executable, "jobs/ingest_scenes.py", "--out", f"s3://{BUCKET}/results", "--status"]
        print(subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip())
        fetch(address, results)
    print(checked(results))
    opened(results)
    print(f"results:   {results}\ncatalogue: {results / '_catalogue' / 'collection.json'}")


if __name__ == "__main__":
    main()
