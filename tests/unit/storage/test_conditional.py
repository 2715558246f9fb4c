"""Of two who write the same small file one is told that the other was faster: on disks, and on S3 (moto's server)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.retrying import Patience
from pipeline.storage.conditional import create_if_absent, list_objects, read_versioned, replace_if_unchanged
from tests.support.servers import BUCKET, s3_client, s3_server

HASTY = Patience(pauses_s=(0.01,))

COUNT = """
import os, sys
from pipeline.storage.conditional import create_if_absent, read_versioned, replace_if_unchanged
uri, times = sys.argv[1], int(sys.argv[2])
create_if_absent(uri, b"0")
for _ in range(times):
    while True:
        now = read_versioned(uri)
        count = int(now.content.split()[0]) + 1
        if replace_if_unchanged(uri, f"{count} by {os.getpid()}".encode(), now.version):
            break
"""
"""Adds one so many times; what two of them add is all there in the end only if no write was lost."""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield f"s3://{BUCKET}"


@pytest.fixture(params=["local", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet."""
    return str(tmp_path / "out") if request.param == "local" else f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def test_one_creates_and_one_replaces(out: str) -> None:
    uri = f"{out}/ab/one.json"
    assert read_versioned(uri) is None
    assert replace_if_unchanged(uri, b"x", "of nothing") is None
    assert read_versioned(uri) is None
    first = create_if_absent(uri, b"first")
    assert first is not None
    assert create_if_absent(uri, b"other") is None
    found = read_versioned(uri)
    assert found is not None
    assert (found.content, found.version) == (b"first", first)
    second = replace_if_unchanged(uri, b"again", first)
    assert second is not None
    assert second != first
    assert replace_if_unchanged(uri, b"stale", first) is None
    found = read_versioned(uri)
    assert found is not None
    assert (found.content, found.version) == (b"again", second)


def test_a_listing_names_what_is_there_at_any_depth(out: str) -> None:
    assert list(list_objects(out)) == []
    for name in ("b/two.json", "a.json", "b/c/three.json"):
        create_if_absent(f"{out}/{name}", b"abc")
    before = {one.name: one for one in list_objects(out)}
    assert sorted(before) == ["a.json", "b/c/three.json", "b/two.json"]
    assert {one.bytes for one in before.values()} == {3}
    assert abs(before["a.json"].modified - datetime.now(UTC)) < timedelta(minutes=1)
    there = read_versioned(f"{out}/a.json")
    assert there is not None
    assert there.version == before["a.json"].version
    replace_if_unchanged(f"{out}/a.json", b"abd", there.version)
    after = {one.name: one.version for one in list_objects(out)}
    assert {name for name in after if after[name] != before[name].version} == {"a.json"}


def test_keys_that_are_no_paths_do_not_cost_the_listing(s3: str, tmp_path: Path) -> None:
    """S3 takes any; others mark their folders with a key that ends in a slash."""
    client, folder = s3_client(os.environ["AWS_ENDPOINT_URL"]), tmp_path.name
    plain = [f"{folder}/{number}.tif" for number in range(3)]
    for key in (*plain, f"{folder}/"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"abc")
    before = {one.name: one for one in list_objects(f"{s3}/{folder}")}
    assert sorted(before) == ["0.tif", "1.tif", "2.tif"]
    for key in (f"{folder}/a//b.tif", f"{folder}/a/../b.tif", f"{folder}/.hidden/x", f"{folder}/z.tif"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"abc")
    after = {one.name: one for one in list_objects(f"{s3}/{folder}", HASTY, reading=True)}
    assert sorted(after) == ["0.tif", "1.tif", "2.tif", "a//b.tif", "z.tif"], "what has a folder .. is hidden"
    assert {name: after[name] for name in before} == before, "of the same versions, however they are listed"


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.tif").write_bytes(b"a")
    (tmp_path / "day" / "up").symlink_to(tmp_path)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "day")
    assert [one.name for one in list_objects(str(tmp_path))] == ["day/a.tif", "elsewhere/a.tif"]


def test_what_two_processes_count_is_counted(out: str) -> None:
    uri, times = f"{out}/count", 15
    command = [sys.executable, "-c", COUNT, uri, str(times)]
    counting = [subprocess.Popen(command, cwd=Path(__file__).parents[3]) for _ in range(2)]
    assert [one.wait(timeout=120) for one in counting] == [0, 0]
    found = read_versioned(uri)
    assert found is not None
    assert found.content.split()[0] == str(2 * times).encode()


def test_a_clock_that_went_back_or_stands_still_makes_no_two_states_look_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, hour_ago = tmp_path / "one", datetime.now(UTC).timestamp() - 3600
    version = create_if_absent(str(uri), b"0")
    replaced = Path.replace

    def in_the_past(part: Path, target: Path) -> Path:
        os.utime(part, (hour_ago, hour_ago))
        return replaced(part, target)

    monkeypatch.setattr(Path, "replace", in_the_past)
    seen = {version}
    for number in range(1, 4):
        version = replace_if_unchanged(str(uri), str(number).encode(), str(version))
        seen.add(version)
    assert None not in seen
    assert len(seen) == 4


def test_a_write_whose_answer_was_lost_is_found_to_be_ours(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    put, faults = obstore.put, [ConnectionError("the answer was lost")]

    def answering_late(*args: object, **options: object) -> object:
        answer = put(*args, **options)  # type: ignore[arg-type]
        if faults:
            raise faults.pop()
        return answer

    monkeypatch.setattr(obstore, "put", answering_late)
    version = create_if_absent(f"{s3}/late", b"token", HASTY)
    assert version is not None
    faults.append(ConnectionError("the answer was lost"))
    assert replace_if_unchanged(f"{s3}/late", b"token 2", version, HASTY) is not None
    faults.append(ConnectionError("the answer was lost"))
    assert create_if_absent(f"{s3}/late", b"token 3", HASTY) is None


def test_faults_are_one_sentence(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"^cannot write .*/file/one: .*$"):
        create_if_absent(str(tmp_path / "file" / "one"), b"")
    with pytest.raises(ConfigError, match="only local folders"):
        read_versioned("memory://out/one")
    with pytest.raises(StorageError, match="there is no such bucket"):
        create_if_absent("s3://nosuch/one", b"", HASTY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"^cannot read s3://scenes/one, after 2 attempts: [^\n]+$"):
        read_versioned("s3://scenes/one", HASTY)
    with pytest.raises(StorageError, match=r"^cannot list s3://scenes, after 2 attempts"):
        list(list_objects("s3://scenes", HASTY))
