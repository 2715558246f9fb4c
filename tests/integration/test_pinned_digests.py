"""The names that results, parts and runs go by, and the bytes of a result, do not change when code is moved about.

Where one of these values must change, what users have kept loses its meaning: parts are detected again, ids of the same
detections differ from those in their databases. So a change here is a decision, and stands in the CHANGELOG.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.pinned import pinned_run

PINNED: dict[str, str | list[str]] = {
    "config hash": "ae0015fbf8965dceff2e12a0119a2208f7f95e386f37dddced254e9bb074bde2",
    "config hash of the defaults": "17fb9299535ee948e486e9b5f8873d73ed7ca0523b45f11e5aed78ec21bf27b1",
    "scene version": "1205652 1700000000000000000",
    "scene fingerprint": "d61c11131106fd16e23dc2b698a365c56ca5401e45e24ed0bac926f3ae6c7876",
    "model version": "09ac29652753114d3fdd166da49016eff5d6e7e4b02da82501a1579dfe54f3d5",
    "request": "b2cadd050af05adf4859905b57ae72dc8ebd1201745b1deb0b7b0525757b34eb",
    "record: config hash": "ae0015fbf8965dceff2e12a0119a2208f7f95e386f37dddced254e9bb074bde2",
    "record: request": "b2cadd050af05adf4859905b57ae72dc8ebd1201745b1deb0b7b0525757b34eb",
    "record: run_id": "1b7a9ad9f85f50a1",
    "parts": [
        "5a614f23a5bb7542709c36bc46c069d6.parquet",
        "7d81314cd4cf264c478b31b969c1dc7e.parquet",
        "e273728855146bda0533a277dd173970.parquet",
        "efbe3f030a210a6c11345c07a9ca13d4.parquet",
    ],
    "detections": "34, ids 2a4626e21f95a7469e514b48eabbc6649ea84aeba33c3022103b736ed89c70df",
    "detections.parquet": "47db7b5c67d0ae1dc6cb0e1d3319eb6a0fe5260233146f4b476601f2f47cd501",
    "detections.geojson": "254cdc942774fc97e2b0891b677226b311552443c750d03fd492599c5fc719f8",
    "detections.gpkg": "52621dbefd7dbe1a4e252b8247f1a98ff60cf5ada7928ab6eeaeea04725237d4",
    "failures.parquet": "53e1965e3ca803a9215c5ab68217aa4359bea4dbca96c4acd474006f021842d0",
}


def test_every_digest_and_every_byte_is_the_pinned_one(tmp_path: Path) -> None:
    assert pinned_run(tmp_path) == PINNED
