"""Prefixes, patterns and lists on an S3 server: what of a bucket is a scene, and what is said of the rest."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from jobs import detect_scene
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, PipelineError
from pipeline.reporting.journal import Journal
from pipeline.runs.scene_list import with_scenes_listed
from tests.support.fault_proxy import FaultProxy
from tests.support.harbours import HarbourCase
from tests.support.servers import fill_bucket, s3_client

SCENES = ("in/2026-06/harbour.tif", "in/2026-07/quay.tif", "in/b[1].tif")
BESIDE = (
    "in/2026-06/harbour.tif.ovr", "in/2026-06/harbour.tif.aux.xml", "in/2026-06/harbour_mask.tif", "in/README.md",
    "in/2026-07/a,b.tif", "in/done/harbour/preview.png", "in/done/harbour/run.json", "in/.lease", "in/folder/",
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(server: str, harbour: HarbourCase) -> str:
    """A bucket with scenes and what lies beside scenes; yields its name."""
    name = f"lists-{uuid.uuid4().hex[:8]}"
    fill_bucket(server, name=name)
    client = s3_client(server)
    for key in SCENES:
        client.upload_file(str(harbour.path), name, key)
    for key in BESIDE:
        client.put_object(Bucket=name, Key=key, Body=b"")
    lines = f"# a list\n2026-06/harbour.tif\ns3://{name}/in/2026-07/*.tif\n"
    client.put_object(Bucket=name, Key="in/list.txt", Body=lines.encode())
    return name


def found(*names: str, said: list[str] | None = None) -> tuple[str, ...]:
    journal = Journal((said if said is not None else []).append)
    return with_scenes_listed(RunConfig(scene=names), journal).scene


def test_a_prefix_is_its_scenes_and_the_rest_is_counted(proxy: FaultProxy, filled: str) -> None:
    said: list[str] = []
    every = tuple(f"s3://{filled}/{key}" for key in SCENES)
    assert found(f"s3://{filled}/in/", said=said) == every
    (line,) = said
    kinds = ("masks (1,", "overviews (1,", "side-cars and texts (3)", "results of kestrel (1,", "hidden files (1,")
    odd = "names that no address may have, for their , ? or # (1, as 2026-07/a,b.tif)"
    assert [part for part in ("3 scenes", *kinds, odd) if part not in line] == []
    assert len(proxy.traffic.requests) == 1, "a bucket is listed once, a thousand keys a request"
    assert found(f"s3://{filled}/in") == every
    assert found(f"s3://{filled}") == every


def test_patterns_and_lists_find_what_they_name(proxy: FaultProxy, filled: str) -> None:
    at = f"s3://{filled}/in"
    first, second, brackets = (f"s3://{filled}/{key}" for key in SCENES)
    assert found(f"{at}/2026-0*/*.tif") == (first, second)
    assert found(f"{at}/2026-0[7]*") == (second,)
    assert found(f"{at}/**/*.tif") == (first, second, brackets)
    assert found(f"{at}/b[1].tif") == (brackets,), "a name that is there is no pattern"
    assert found(f"@{at}/list.txt") == (first, second)
    proxy.forget_traffic()
    assert found(first, f"{at}/gone.tif") == (first, f"{at}/gone.tif")
    assert not proxy.traffic.requests, "the name of one scene costs no question"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("s3://{}/nothing/", "there is no scene in s3://.*/nothing/; what"),
        ("s3://{}/in/*.png", r"there is no scene in s3://.*/in/\*.png; what"),
        ("s3://no-such-bucket/", "there is no scene in s3://no-such-bucket/"),
        ("@s3://{}/gone.txt", "there is no list of scenes at s3://.*/gone.txt"),
        ("s3://{}/in/done/", r"only results of kestrel \(1, as harbour/preview.png\)"),
    ],
)
@pytest.mark.usefixtures("proxy")
def test_a_store_without_a_scene_is_one_sentence(filled: str, name: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        found(name.format(filled))


def test_a_store_that_cannot_be_listed_is_said_without_secrets(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(PipelineError, match="cannot list s3://") as error:
        found(f"s3://{filled}/in/")
    assert error.value.exit_code == 5
    assert "not-to-be-shown" not in str(error.value)


@pytest.mark.usefixtures("proxy")
def test_a_prefix_without_a_flag_is_detected_from_the_command_line(
    filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [f"s3://{filled}/in/2026-0*/", "--out", str(tmp_path), "--executor", "local", "--output.preview_px", "0"]
    assert detect_scene.main(argv) == 0
    assert sorted(path.parent.name for path in tmp_path.glob("*/manifest.json")) == ["harbour", "quay"]
    assert "2 scenes, of s3://" in capsys.readouterr().err
