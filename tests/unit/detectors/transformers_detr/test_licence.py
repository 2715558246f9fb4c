"""A card says the licence that the files beside the weights state, and nothing where they state none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.detectors import read_model_card
from pipeline.detectors.transformers_detr.licence import stated_licence
from tests.support.checkpoints import save_checkpoint


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n# RT-DETR\n", "apache-2.0"),
        ('---\nlicense: "agpl-3.0"  # of the code too\n---\n', "agpl-3.0"),
        ("---\nlicense: other\nlicense_name: pml-1.0\nlicense_link: LICENSE\n---\n", "pml-1.0"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense:\n- mit\n- apache-2.0\ntags:\n- detection\n---\n", "mit, apache-2.0"),
        ("---\nlicense: [mit, 'cc-by-4.0']\n---\n", "mit, cc-by-4.0"),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("---\ntags:\n- license: mit\n---\n", None),
        ("# RT-DETR\n\nlicense: mit\n", None),
        ("---\nlicense: mit\n", None),
        ("---\nlicense:\n---\n", None),
        ("", None),
    ],
)
def test_front_matter_states_the_licence(text: str, licence: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(text.encode())
    assert stated_licence(tmp_path) == licence


def test_what_is_no_text_states_nothing(tmp_path: Path) -> None:
    assert stated_licence(tmp_path) is None
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\xfe\n---\n")
    assert stated_licence(tmp_path) == "\ufffd\ufffd"
    (tmp_path / "README.md").write_text("---\nlicense: " + "m" * 70_000 + "\n---\n")
    assert stated_licence(tmp_path) is None, "a front matter without an end"


def test_the_card_takes_it_over_and_card_json_wins(tmp_path: Path) -> None:
    folder = save_checkpoint("rt_detr", tmp_path / "here")
    assert read_model_card(folder).licence is None
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert read_model_card(folder).licence == "apache-2.0"
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "card.json").write_text(json.dumps({"licence": "ours"}))
    assert read_model_card(other).licence == "ours"
