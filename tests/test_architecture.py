"""The house plan, held by machine: who imports whom, who may know an outside library, how large things may grow."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "pipeline").rglob("*.py"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))

HOMES = {
    "ray": ("cluster", "cluster_pool", "cluster_nodes", "cluster_metrics", "cluster_tasks"),
    "rasterio": (
        "raster",
        "raster_files",
        "raster_remote",
        "raster_scene",
        "raster_references",
        "raster_writer",
        "heatmap",
    ),
    "pyproj": ("georeference",),
    "fsspec": ("storage",),
    "pyarrow": ("tables", "exports", "block_parts"),  # exports only hands on to pyogrio what tables made
    "pyogrio": ("exports", "areas"),
    "pycocotools": ("evaluation.coco",),
    "matplotlib": ("evaluation.plot",),
    "jsonargparse": ("command_line",),
    "rich": ("progress",),
    "PIL": ("preview", "preview_crops", "training", "detectors"),
    "torch": ("detectors", "training"),
    "transformers": ("detectors", "training"),
    "safetensors": ("detectors", "training"),
    "geopandas": ("notebook",),
    "huggingface_hub": ("detectors",),
}
"""Outside library → the modules of ``pipeline`` (or packages) that may import it."""

RANKS = (
    {"types", "errors", "config", "names"},
    {"metrics", "cells", "resampling", "stretch", "geometry", "synth", "detectors", "training", "evaluation"},
    {"box_index", "nms", "partitions", "tiling", "refine", "selectors", "second_look", "table_rows"},
    {
        "raster",
        "raster_files",
        "raster_remote",
        "raster_scene",
        "raster_limits",
        "raster_references",
        "raster_writer",
        "heatmap",
        "storage",
        "storage_files",
        "lease",
        "block_parts",
        "retrying",
        "tables",
        "exports",
        "areas",
        "preview",
        "preview_crops",
        "georeference",
        "command_line",
        "journal",
        "progress",
    },
    {"weights", "inspection", "worker"},
    {"preparation", "executors", "ledger", "work_folder", "resume", "reports"},
    {"results", "provenance", "publication", "scene_maker"},
    {"cluster_metrics", "cluster_nodes", "cluster_tasks", "cluster_watch"},
    {"scene_job", "cluster", "cluster_pool", "dry_run"},
    {
        "notebook",
        "evaluation.data",
        "evaluation.detected",
        "evaluation.strategies",
        "evaluation.measuring",
        "evaluation.comparison",
        "evaluation.experiment",
        "evaluation.experiment_command",
    },
)
"""A module imports from its own row or an earlier one. A package stands in the row of its first part, but for modules
that are named here in full."""

READERS = ("training.prepare", "training.validation")
"""The modules of a pure package that read scenes: training and its validation go through the inference's own reader."""


def module_name(path: Path) -> str:
    """``pipeline/detectors/base.py`` → ``detectors.base``; a package's ``__init__`` → the package."""
    parts = path.relative_to(ROOT / "pipeline").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "pipeline"


def imports(path: Path) -> Iterator[str]:
    """Every absolute module name imported anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rank(name: str) -> int | None:
    """Row of a pipeline module, by its full name or else its first part."""
    rows = {member: row for row, names in enumerate(RANKS) for member in names}
    return rows.get(name, rows.get(name.split(".")[0]))


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_each_outside_library_has_one_home(path: Path) -> None:
    """Swapping a library must touch one file."""
    name = module_name(path)
    for imported in imports(path):
        homes = HOMES.get(imported.split(".")[0])
        if homes is not None:
            assert any(name == home or name.startswith(f"{home}.") for home in homes), (
                f"{name} imports {imported}, whose home is {homes}"
            )


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_modules_import_only_downwards(path: Path) -> None:
    """The import table of the README's architecture section."""
    name = module_name(path)
    if name == "pipeline":
        return
    own = rank(name)
    assert own is not None, f"{name} stands in no row of RANKS: decide where it belongs"
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] != "pipeline" or len(parts) < 2:
            continue
        other = rank(".".join(parts[1:]))
        if other is None or name in READERS:
            continue
        assert other <= own, f"{name} (row {own}) imports {imported} (row {other})"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_pipeline_never_imports_jobs(path: Path) -> None:
    """Jobs are command lines; nothing may depend on them."""
    assert not [name for name in imports(path) if name.split(".")[0] == "jobs"]


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_files_and_functions_stay_readable(path: Path) -> None:
    """A file is read in one sitting: 400 lines; a function fits a screen: 60 lines, 8 parameters."""
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f"{path.name} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            parameters = len(node.args.args) + len(node.args.kwonlyargs)
            assert lines <= 60, f"{path.name}:{node.name} has {lines} lines"
            assert parameters <= 10, f"{path.name}:{node.name} has {parameters} parameters"


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_are_short(path: Path) -> None:
    """Jobs parse, call pipeline and return an exit code."""
    assert len(path.read_text().splitlines()) <= 150


def test_drawn_error_tree_is_the_real_one() -> None:
    """Every error class stands in the tree drawn in errors.py, with its exit code."""
    import pipeline.errors as errors

    drawing = errors.__doc__ or ""
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.PipelineError)]
    assert len(classes) >= 8
    for one in classes:
        assert one.__name__ in drawing
        if one.__base__ is errors.PipelineError or errors.PipelineError in one.__bases__:
            assert f"exit {one.exit_code}" in drawing


def test_heavy_libraries_are_not_imported_for_help() -> None:
    """``--help`` answers at once: parsing a command line imports neither torch nor ray nor rasterio."""
    import subprocess

    code = (
        "import sys; from pipeline.command_line import parse_run; parse_run(['--help'], 'x'); "
        "print([m for m in ('torch', 'ray', 'rasterio', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
