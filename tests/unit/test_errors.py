"""Messages show no credentials."""

from __future__ import annotations

import pytest

from pipeline.errors import redacted


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("s3://key:secret@bucket/a", "s3://bucket/a"),
        ("GET https://h/p?sig=s3cret&x=1 failed", "GET https://h/p failed"),
        ("az://container@account/path", "az://account/path"),
        ("plain text? yes", "plain text? yes"),
    ],
)
def test_credentials_are_taken_out_of_addresses(text: str, clean: str) -> None:
    assert redacted(text) == clean
