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
    "detections.parquet": "c9ca07f0dfc1f16387132e3e015ea8ccc1d806d4ec1349f8f9362ff481e29edd",
    "detections.geojson": "b7e985b8384145581ef6897decec77096f5f29b89367e1bb4a1282e6e374f611",
    "detections.gpkg": "df5d9e3cf5a94484c8b3a6c65736ca1a0cc60c242fea53186870e098c8a4220d",
    "failures.parquet": "53e1965e3ca803a9215c5ab68217aa4359bea4dbca96c4acd474006f021842d0",
}


def test_every_digest_and_every_byte_is_the_pinned_one(tmp_path: Path) -> None:
    assert pinned_run(tmp_path) == PINNED
