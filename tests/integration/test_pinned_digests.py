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
    "scene fingerprint": "2ea621d9c102996b39008857446ff0169e6f1a424527229ae18ef67415c5f979",
    "model version": "09ac29652753114d3fdd166da49016eff5d6e7e4b02da82501a1579dfe54f3d5",
    "request": "5f5cbab0131ac6b519c2d46f1c2937b694bcda04dedd3648210ec9c4e6aaf466",
    "record: config hash": "ae0015fbf8965dceff2e12a0119a2208f7f95e386f37dddced254e9bb074bde2",
    "record: request": "5f5cbab0131ac6b519c2d46f1c2937b694bcda04dedd3648210ec9c4e6aaf466",
    "record: run_id": "106a44d418982097",
    "parts": [
        "5a614f23a5bb7542709c36bc46c069d6.parquet",
        "7d81314cd4cf264c478b31b969c1dc7e.parquet",
        "e273728855146bda0533a277dd173970.parquet",
        "efbe3f030a210a6c11345c07a9ca13d4.parquet",
    ],
    "detections": "34, ids 2a4626e21f95a7469e514b48eabbc6649ea84aeba33c3022103b736ed89c70df",
    "detections.parquet": "b57032aa72e80d331831467da2d5be6518091c56055cf30182624a7b08952597",
    "detections.geojson": "fcc93a07543cf35506f4458c2f98b6bb7a0ea670acf35b5b095d55a223aed95e",
    "detections.gpkg": "208b2983e83f57ba2f047d231ec9d10ca35e1d1b19f233cab1ff6de94c77f9c6",
    "failures.parquet": "53e1965e3ca803a9215c5ab68217aa4359bea4dbca96c4acd474006f021842d0",
}


def test_every_digest_and_every_byte_is_the_pinned_one(tmp_path: Path) -> None:
    assert pinned_run(tmp_path) == PINNED
