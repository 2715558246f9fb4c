"""Results to an S3 server through a proxy that fails on purpose: whole, or not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.storage.fetching import exists
from pipeline.storage.folders import MANIFEST, check_writable, publish_folder
from tests.support.fault_proxy import FaultProxy
from tests.support.object_store import kept, publish
from tests.support.patience import ONCE, QUICK
from tests.support.proxy_faults import Fault, Faults
from tests.support.servers import s3_client


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CUT_UPLOAD, Fault.LOST_ANSWER])
def test_no_single_fault_changes_what_is_written(fault: Fault, proxy: FaultProxy, server: str, bucket: str) -> None:
    """Every request of a publication fails once, also after the store did what it was asked."""
    files = {"a.bin": b"a" * 100_000, "b.bin": b"bb"}
    for ordinal in range(40):
        proxy.forget_traffic()
        proxy.faults = Faults(script={ordinal: fault})
        publish(f"s3://{bucket}/{ordinal}", files)
        objects = {key.rsplit("/", 1)[1]: value for key, value in kept(server, bucket).items()
                   if key.startswith(f"{ordinal}/")}  # fmt: skip
        manifest = json.loads(objects.pop(MANIFEST))["files"]
        assert objects == files
        assert {name: entry["sha256"] for name, entry in manifest.items()} == {
            name: hashlib.sha256(content).hexdigest() for name, content in files.items()
        }
        if not proxy.traffic.faults():
            break
    assert 4 <= ordinal < 39


def test_a_publication_that_breaks_off_leaves_no_manifest(proxy: FaultProxy, server: str, bucket: str) -> None:
    """The second file never arrives: neither the new result nor the one before passes for whole; trying again heals."""
    out, new = f"s3://{bucket}/out", {"a.bin": b"new", "b.bin": b"new" * 50_000}
    publish(out, {"a.bin": b"old", "b.bin": b"old", "stale.bin": b"old"})
    assert exists(f"{out}/scene/{MANIFEST}")
    proxy.faults = Faults(shares={Fault.CUT_UPLOAD: 1.0}, methods=frozenset({"PUT"}), path=r"/b\.bin$")
    with pytest.raises(StorageError, match=f"cannot publish scene to s3://{bucket}/out, after 4 attempts"):
        publish(out, new)
    assert f"out/scene/{MANIFEST}" not in kept(server, bucket)
    proxy.faults = Faults()
    publish(out, new)
    assert sorted(kept(server, bucket)) == ["out/scene/a.bin", "out/scene/b.bin", f"out/scene/{MANIFEST}"]
    assert kept(server, bucket)["out/scene/b.bin"] == new["b.bin"]


def test_a_large_file_goes_in_parts_and_leaves_none_behind(
    proxy: FaultProxy, server: str, bucket: str, tmp_path: Path
) -> None:
    """Beyond 100 MiB an upload has parts. What is given up is aborted; what is tried again is whole."""
    (tmp_path / "scene").mkdir()
    large = tmp_path / "scene" / "large.bin"
    with large.open("wb") as file:
        file.truncate(106_000_000)
    client = s3_client(server)
    proxy.faults = Faults(script={1: Fault.CUT_UPLOAD}, methods=frozenset({"PUT"}), path=r"large\.bin$")
    publish_folder(tmp_path / "scene", f"s3://{bucket}/out", "scene", patience=QUICK)
    assert len(proxy.traffic.of("PUT", "large")) >= 3
    assert client.head_object(Bucket=bucket, Key="out/scene/large.bin")["ContentLength"] == 106_000_000
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    proxy.faults = Faults.storm(methods=frozenset({"PUT"}), path=r"large\.bin$")
    with pytest.raises(StorageError):
        publish_folder(tmp_path / "scene", f"s3://{bucket}/other", "scene", patience=ONCE)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert not [key for key in kept(server, bucket) if key.startswith("other/")]


def test_what_the_environment_says_now_counts(
    proxy: FaultProxy, server: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process, two endpoints one after the other: fsspec keeps its clients, and those of another store must go."""
    check_writable(f"s3://{bucket}/out")
    proxy.forget_traffic()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    check_writable(f"s3://{bucket}/out")
    assert not proxy.traffic.requests
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    check_writable(f"s3://{bucket}/out")
    assert proxy.traffic.requests


@pytest.mark.parametrize("scheme", ["gs", "az", "abfs"])
def test_a_missing_back_end_is_one_sentence(scheme: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match=f"no file system for {scheme}:// is installed; see the extras") as caught:
        check_writable(f"{scheme}://bucket/out")
    assert "\n" not in str(caught.value)
