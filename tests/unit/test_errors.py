"""Messages show no credentials."""

from __future__ import annotations

import pytest

from pipeline.errors import LONGEST_SENTENCE, one_sentence, redacted


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


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Validation error for 'dilation':\n    TypeError: bool", "Validation error for 'dilation': TypeError: bool"),
        ("Error(s) in loading:\n\n\tMissing:\n\t'a',\n\t'b'.\nSee", "Error(s) in loading: Missing: 'a', 'b'."),
        ("CUDA error: assert triggered\nCUDA kernel errors might", "CUDA error: assert triggered"),
        ("\n  \n", "ValueError"),
        ("word " * 200, "word " * 100 + "…"),
    ],
)
def test_a_reason_is_never_cut_at_the_end_of_a_line(said: str, sentence: str) -> None:
    assert one_sentence(ValueError(said)) == sentence
    assert len(one_sentence(ValueError("x" * 600))) <= LONGEST_SENTENCE + 2
