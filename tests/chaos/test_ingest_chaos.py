"""Sixty scenes arrive while ticks are killed, overlap, and lose their store and their clock: each is detected once."""

from __future__ import annotations

import contextlib
import io
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.proxy_faults import Fault, Faults
from tests.support.servers import fill_bucket, s3_client, s3_process
from tests.support.ticks import KEYS, entries, started, states, write_feed, write_scene

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1500)]
SCENES, KILLER, CHANGING = 60, "s013", "s007"
BUCKET = "results"
OUT = f"s3://{BUCKET}/out"
ROUNDS = 14


def test_every_scene_is_detected_once_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "arriving"
    folder.mkdir()
    feed, draw = write_feed(tmp_path, folder), random.Random(14)
    arriving = threading.Thread(target=_arrive, args=(folder, random.Random(3)))
    with s3_process() as store, fault_proxy(store) as proxy:
        fill_bucket(store, name=BUCKET)
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": store}.items():
            monkeypatch.setenv(name, value)
        arriving.start()
        killed = sum(_disturbed(feed, tmp_path / f"round-{turn}", proxy, draw) for turn in range(ROUNDS))
        arriving.join()
        proxy.faults = Faults()
        for turn in range(40):  # at least once: who was killed last may have left the catalogue behind
            with started(tmp_path / f"calm-{turn}", feed, OUT, *_flags(proxy, 0.0)) as process:
                process.join(timeout=300)
            found = states(OUT)
            if process.exitcode == 0 and len(found) == SCENES and set(found.values()) <= {"PUBLISHED", "POISON"}:
                break
        _judged(store, killed)


def _flags(proxy: FaultProxy, clock_s: float) -> list[object]:
    return ["--endpoint", proxy.url, "--clock-s", clock_s, "--slow-s", 0.2, "--in-flight", 3, "--dies-with", KILLER,
            "--lease-s", 10, "--pause-s", 0.5]  # fmt: skip


def _disturbed(feed: Path, log: Path, proxy: FaultProxy, draw: random.Random) -> int:
    """One or two ticks at once; how many of them were killed."""
    shares = draw.choice([{}, {Fault.BUSY: 0.1}, {Fault.LOST_ANSWER: 0.05, Fault.CUT_UPLOAD: 0.05}, {Fault.BUSY: 1.0}])
    killed = 0
    with contextlib.ExitStack() as stack:
        ticks = [
            stack.enter_context(
                started(log.with_suffix(f".{number}"), feed, OUT, *_flags(proxy, draw.choice([0, 0, 3600, -3600])))
            )
            for number in range(draw.choice([1, 2]))
        ]
        time.sleep(draw.uniform(1, 6))
        proxy.faults = Faults(shares=shares, seed=draw.randrange(99))
        time.sleep(draw.uniform(0, 4))
        proxy.faults = Faults()
        for process in ticks:
            if draw.random() < 0.6:
                killed += process.is_alive()
                process.kill()
            process.join(timeout=300)
    return killed


def _arrive(folder: Path, draw: random.Random) -> None:
    """Scenes one after another, and one that is replaced again and again."""
    for number in range(SCENES):
        write_scene(folder / f"s{number:03d}.tif", number)
        if number % 6 == 0 and number > 6:
            write_scene(folder / f"{CHANGING}.tif", 1000 + number)
        time.sleep(draw.uniform(0.2, 1.2))


def _judged(store: str, killed: int) -> None:
    known = entries(OUT)
    print(
        f"\n{killed} ticks killed; attempts: {Counter(one.ended for entry in known.values() for one in entry.attempts)}"
    )
    names = {f"s{number:03d}" for number in range(SCENES)}
    assert known.keys() == names, "none lost, none twice"
    assert {name for name, entry in known.items() if entry.state == "POISON"} == {KILLER}
    assert "while nothing else was in flight" in known[KILLER].sentence
    assert killed >= 5
    for name, entry in known.items():
        versions = [one.version for one in entry.attempts if one.ended == "PUBLISHED"]
        assert len(versions) == len(set(versions)), f"{name} was published twice in one version"
        assert name == KILLER or entry.state == "PUBLISHED", entry
    client = s3_client(store)
    body = client.get_object(Bucket=BUCKET, Key="out/_catalogue/items.parquet")["Body"].read()
    items = Counter(pq.read_table(io.BytesIO(body))["id"].to_pylist())
    published = {entry.scene_id: entry for name, entry in known.items() if name != KILLER}
    assert items == dict.fromkeys(published, 1), "each once in the catalogue, and nothing else"
    for scene_id, entry in published.items():
        record = json.loads(client.get_object(Bucket=BUCKET, Key=f"out/{scene_id}/run.json")["Body"].read())
        assert record["run_id"] == entry.run_id
        client.head_object(Bucket=BUCKET, Key=f"out/{scene_id}/manifest.json")
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix="out/_ledger/ticks/").get("Contents", [])
    assert listed == [], "nothing of the dead is left"
