"""The benchmark of a GPU runs, small, on the CPU: it must not rot until there is one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.gpu_runner import Case, cases
from tests.conftest import ROOT

NEEDLESS = ("ray", "rasterio", "shapely", "pyproj", "pyogrio", "pyarrow", "numba", "PIL")
WITHOUT = f"""
import runpy, sys
for name in {NEEDLESS!r}:
    sys.modules[name] = None
sys.argv[1:] = ["--tiny", "--out", sys.argv[1]]
runpy.run_module("tests.benchmarks.bench_gpu", run_name="__main__")
"""


def test_it_runs_where_nothing_but_torch_and_transformers_is(tmp_path: Path) -> None:
    """In a process in which the others cannot be imported: every switch has a row, and AP was compared."""
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["model"] for row in report["rows"]] == ["ships-s2"] * 5 + ["R18", "R50"]
    assert {row["dtype"] for row in report["rows"]} == {"float32", "bfloat16"}
    assert [row["probe"] for row in report["rows"]].count(True) == 1
    assert all(row["tiles_s"] > 0 for row in report["rows"])
    assert report["not_reached"] == []
    assert report["ap50"]["float32"] > 0
    assert abs(report["ap50"]["float32"] - report["ap50"]["bfloat16"]) < 5  # of one chip with few ships
    assert (tmp_path / "gpu.md").read_text().count("| ships-s2 |") == 5


def test_the_most_useful_cases_come_first_and_none_twice() -> None:
    every = cases()
    assert len(set(every)) == len(every)
    assert {(one.model, one.dtype) for one in every[:6]} == {
        (model, dtype) for model in ("ships-s2", "R18", "R50") for dtype in ("float32", "bfloat16")
    }
    assert {one.px for one in every} == {512, 640, 1024}
    assert {one.batch for one in every} >= {1, 64}
    assert Case(model="R50", batch=32, compiled=True) in every[-3:]
