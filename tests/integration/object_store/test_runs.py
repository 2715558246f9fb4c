"""Runs from and to an S3 server through a proxy that fails on purpose: the same bytes as from and to a local disk."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.config import RunConfig, TilingConfig, WorkConfig
from pipeline.detectors.weights import load, model_card
from pipeline.engine.local import LocalExecutor
from pipeline.pixels.resampling import source_window
from pipeline.planning.plan import plan_scene, screen
from pipeline.reporting.journal import Journal
from pipeline.runs.context import SILENT
from pipeline.runs.report import RunReport
from pipeline.runs.run import detect
from pipeline.storage.fetching import read_text
from pipeline.storage.folders import MANIFEST
from pipeline.types import Window
from tests.support.fault_proxy import FaultProxy
from tests.support.harbours import HarbourCase
from tests.support.object_store import OPENING, kept, needed_ranges, run_config
from tests.support.proxy_faults import Fault, Faults
from tests.support.servers import BUCKET, s3_client

SAME_BYTES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has the patience of :mod:`pipeline.retrying`; here without the waiting."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_a_run_reads_what_its_plan_needs(proxy: FaultProxy, harbour: HarbourCase, tmp_path: Path) -> None:
    """Opening once per block and look; the pixels of each block; the whole small scene for its stretch and picture."""
    config = run_config(f"s3://{BUCKET}/harbour.tif", tmp_path, block_mpx=0.06)
    plan, _ = screen(plan_scene(config.scene[0], config, harbour.card, None), config, harbour.card)
    scene = plan.scene
    assert len(plan.blocks) >= 4
    proxy.forget_traffic()
    assert detect(config, harbour.card, LocalExecutor(harbour.load_oracle), SILENT).exit_code == 0
    windows = [source_window(one.window, plan.lattice, scene.width, scene.height) for one in plan.blocks]
    whole = Window(x=0, y=0, width=scene.width, height=scene.height)
    looks = [whole, whole, *windows]  # stretch, thumbnail, blocks; preview_px is 0
    runs = [needed_ranges(harbour.path, scene, window) for window in looks]
    needed = sum(end - start for run in runs for start, end in run)
    gets = proxy.traffic.of("GET", "harbour.tif")
    assert sum(one.bytes_out for one in gets) <= needed + (1 + len(looks)) * OPENING
    assert len(gets) <= 1 + sum(1 + len(run) for run in runs)
    assert not [one for one in proxy.traffic.requests if "harbour" not in one.path], "no listing, no side-car files"


@pytest.mark.usefixtures("no_pauses")
def test_results_through_a_storm_are_the_local_ones_byte_for_byte(
    proxy: FaultProxy, server: str, bucket: str, harbour: HarbourCase, tmp_path: Path
) -> None:
    """A quarter of all requests is answered 503, others are cut or lost, on the way in and on the way out."""
    card = model_card("builtin:ships-s2")
    executor = LocalExecutor(partial(load, "builtin:ships-s2", "cpu", "float32", 1))

    def run(config: RunConfig) -> RunReport:
        return detect(config, card, executor, SILENT)

    local = run(run_config(str(harbour.path), tmp_path))
    assert local.scenes[0].detections > 0
    shares = {Fault.BUSY: 0.25, Fault.CUT_ANSWER: 0.05, Fault.LOST_ANSWER: 0.05, Fault.CUT_UPLOAD: 0.05}
    proxy.faults = Faults(shares=shares, seed=1)
    remote = run(run_config(f"s3://{BUCKET}/harbour.tif", f"s3://{bucket}/out"))
    assert remote.exit_code == 0
    assert len(proxy.traffic.faults()) >= 3
    written = kept(server, bucket)
    for name in SAME_BYTES:
        assert written[f"out/harbour/{name}"] == (tmp_path / "harbour" / name).read_bytes(), name
    assert json.loads(read_text(f"s3://{bucket}/out/harbour/{MANIFEST}"))["files"].keys() >= set(SAME_BYTES)


@pytest.mark.usefixtures("no_pauses")
def test_a_store_that_fails_once_the_scene_is_published_leaves_it_published(
    proxy: FaultProxy, server: str, bucket: str, harbour: HarbourCase
) -> None:
    """Nothing can be removed: parts of other settings and the lease stay, both are said, and the result stands."""
    first = replace(run_config(str(harbour.path), f"s3://{bucket}/out"), work=WorkConfig(lease_s=2.0))
    then = replace(first, tiling=replace(first.tiling, tile_px=240), clean=True)
    said: list[str] = []

    def run(config: RunConfig) -> RunReport:
        return detect(config, harbour.card, LocalExecutor(harbour.load_oracle), Journal(said.append))

    assert run(first).exit_code == 0
    stale = {key for key in kept(server, bucket) if "/_work/" in key}
    proxy.faults = Faults.storm(methods=frozenset({"DELETE"}), path=r"/_work/|\.lease$")
    report = run(then)
    assert (report.exit_code, report.scenes[0].status) == (0, "PUBLISHED")
    assert stale | {"out/.harbour.lease", f"out/harbour/{MANIFEST}"} <= kept(server, bucket).keys()
    (parts,) = [line for line in said if "parts of other settings" in line]
    (lease,) = [line for line in said if "its lease" in line]
    assert f"s3://{bucket}/out/harbour/_work" in parts
    assert f"s3://{bucket}/out/.harbour.lease" in lease
    proxy.faults = Faults()
    again = run(then)
    assert (again.exit_code, again.scenes[0].status) == (0, "PUBLISHED"), "a lease that stayed is taken over"
    assert "nothing to do" in again.scenes[0].message


def test_a_small_scene_costs_few_requests_and_no_listing_of_others(
    proxy: FaultProxy, server: str, bucket: str, harbour: HarbourCase
) -> None:
    """Beside its pixels: five of its lease, two looks for a result (one with the lease) and one for what lies there,
    one part, and its files, with the manifest last. Where it is published already: its record, and if all is there."""
    config = replace(
        run_config(str(harbour.path), f"s3://{bucket}/out"), tiling=TilingConfig(tile_px=512),
        work=WorkConfig(lease_s=600),
    )  # fmt: skip
    for number in range(3):
        s3_client(server).put_object(Bucket=bucket, Key=f"out/other{number}/run.json", Body=b"{}")
    assert detect(config, harbour.card, LocalExecutor(harbour.load_oracle), SILENT).exit_code == 0
    puts = [one.path for one in proxy.traffic.of("PUT", "/out/harbour/") if "_work" not in one.path]
    assert puts[-1].endswith(MANIFEST)
    assert len(puts) == len(set(puts)) == 7
    others = [one for one in proxy.traffic.requests if one.path not in puts]
    assert len([one for one in others if one.path.endswith(".lease")]) == 5
    assert len(proxy.traffic.of("PUT", "/_work/")) == 1
    listings = proxy.traffic.of("GET", f"^/{bucket}/?$")
    assert len(listings) == 1
    assert not any("other" in one.path for one in proxy.traffic.requests)
    assert len(proxy.traffic.requests) == 7 + 5 + 2 + 1 + 1 + 2, "and two that show that OUT can be written to"
    proxy.forget_traffic()
    again = detect(config, harbour.card, LocalExecutor(harbour.load_oracle), SILENT)
    assert "nothing to do" in again.scenes[0].message
    assert len(proxy.traffic.requests) == 1 + 1 + 2
    proxy.forget_traffic()
    assert detect(replace(config, force=True), harbour.card, LocalExecutor(harbour.load_oracle), SILENT).exit_code == 0
    order = [(one.method, one.path.rpartition("/")[2]) for one in proxy.traffic.requests]
    gone, written = order.index(("DELETE", MANIFEST)), order.index(("PUT", "detections.parquet"))
    assert gone < written, "of a result that is replaced the manifest goes first"
