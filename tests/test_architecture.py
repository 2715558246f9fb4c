"""The plan of the house, held by machine: who imports whom, where outside libraries live, how large things grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline.errors as errors

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "pipeline").rglob("*.py"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))

ROWS: tuple[tuple[frozenset[str], ...], ...] = (
    (frozenset({"types", "errors", "names", "retrying", "threads"}),),
    tuple(frozenset({one}) for one in ("geometry", "storage", "reporting", "pictures", "config")),
    tuple(frozenset({one}) for one in ("pixels", "georeference", "second_look", "outputs")),
    tuple(frozenset({one}) for one in ("raster", "detectors", "command_line")),
    tuple(frozenset({one}) for one in ("planning", "synth", "annotations")),
    (frozenset({"engine"}),),
    tuple(frozenset({one}) for one in ("runs", "cluster")),
    (frozenset({"notebook"}), frozenset({"evaluation", "training"}), frozenset({"catalogue", "ingest"})),
)
"""The table of ``pipeline/README.md``, from the bottom up. A folder (or a file of ``pipeline`` itself) imports from its
own group and from rows below, never from another group of its own row."""

ONE_WAY = {("evaluation", "training"), ("catalogue", "ingest")}
"""(who, whom): the first may be imported by the second and never the other way round."""

HOMES = {
    "ray": ("cluster",),
    "rasterio": ("raster",),
    "pyproj": ("georeference",),
    "fsspec": ("storage",),
    "obstore": ("storage.conditional", "storage.object_stores"),
    "pystac_client": ("ingest.stac_api",),
    "pyarrow": ("outputs", "engine.parts", "georeference.parquet_files"),
    "pyogrio": ("outputs", "georeference.vector_files"),
    "pycocotools": ("evaluation.coco_metrics",),
    "matplotlib": ("evaluation.comparison.plot", "training.curves"),
    "jsonargparse": ("command_line",),
    "rich": ("reporting.progress",),
    "PIL": ("pictures", "training.data", "detectors"),
    "torch": ("detectors", "training"),
    "transformers": ("detectors", "training"),
    "safetensors": ("detectors", "training"),
    "huggingface_hub": ("detectors",),
    "onnx": ("detectors", "training"),
    "onnxruntime": ("detectors.onnx_runtime",),
    "geopandas": ("notebook",),
    "numba": ("geometry", "pixels"),
}
"""Outside library → the folders or files of ``pipeline`` that may import it."""

MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 300, 60, 7


def module_name(path: Path) -> str:
    """``pipeline/detectors/card.py`` → ``detectors.card``; a package's ``__init__`` → the package."""
    parts = path.relative_to(ROOT / "pipeline").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "pipeline"


def imports(path: Path) -> Iterator[str]:
    """Every absolute name imported anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place(folder: str) -> tuple[int, frozenset[str]]:
    """Row and group of a folder of ``pipeline``."""
    found = [(row, group) for row, groups in enumerate(ROWS) for group in groups if folder in group]
    assert len(found) == 1, f"{folder} stands in no row of ROWS: decide where it belongs"
    return found[0]


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_each_outside_library_has_its_home(path: Path) -> None:
    """Swapping a library must touch one folder."""
    name = module_name(path)
    for imported in imports(path):
        homes = HOMES.get(imported.split(".")[0])
        if homes is not None:
            assert any(name == home or name.startswith(f"{home}.") for home in homes), (
                f"{name} imports {imported}, whose home is {homes}"
            )


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_folders_import_only_downwards(path: Path) -> None:
    """The table of ``pipeline/README.md``; no file is excepted."""
    name = module_name(path)
    if name == "pipeline":
        return
    own = name.split(".")[0]
    own_row, own_group = place(own)
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] != "pipeline" or len(parts) < 2 or parts[1] in ("__version__", own):
            continue
        row, group = place(parts[1])
        assert row < own_row or group == own_group, f"{name} (row {own_row}) imports {imported} (row {row})"
        assert (own, parts[1]) not in ONE_WAY, f"{name} imports {imported}, which only {parts[1]} may do to {own}"


def test_no_file_imports_in_a_circle() -> None:
    """Inside a folder too: of two files one is the lower. (Late imports, inside functions, count too.)"""
    names = {f"pipeline.{module_name(path)}".removesuffix(".pipeline"): path for path in SOURCES}
    uses = {name: {one for one in imports(path) if one in names and one != name} for name, path in names.items()}
    packages = {name for name, path in names.items() if path.name == "__init__.py"}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join([*above[above.index(name) :], name])
        if name not in done:
            for one in uses[name] - packages:
                visit(one, (*above, name))
            done.add(name)

    for name in sorted(names.keys() - packages):
        visit(name, ())


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_file_takes_another_ones_private_names(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
            private = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name != "__version__"]
            assert not private, f"{path.name} imports {private} from {node.module}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_pipeline_never_imports_jobs(path: Path) -> None:
    """Jobs are command lines; nothing may depend on them."""
    assert not [name for name in imports(path) if name.split(".")[0] == "jobs"]


@pytest.mark.parametrize("path", [*SOURCES, *JOBS], ids=lambda path: path.stem)
def test_files_and_functions_stay_readable(path: Path) -> None:
    """A file is read in one sitting, a function fits a screen and takes few things (numba kernels take arrays)."""
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES, f"{path.name} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MOST_FUNCTION_LINES, f"{path.name}:{node.name} has {lines} lines"
            if not is_kernel(node):
                named = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len([one for one in named if one not in ("self", "cls")])
                assert count <= MOST_PARAMETERS, f"{path.name}:{node.name} has {count} parameters"


def is_kernel(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Compiled by numba: decorated, or (as where there is a Python version too) named for it."""
    return node.name.endswith("_python") or any("compiled" in ast.unparse(one) for one in node.decorator_list)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_are_short(path: Path) -> None:
    """Jobs parse, call pipeline and return an exit code."""
    assert len(path.read_text().splitlines()) <= 150


def test_drawn_error_tree_is_the_real_one() -> None:
    """Every error class stands in the tree drawn in errors.py, with its exit code."""
    drawing = errors.__doc__ or ""
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.PipelineError)]
    assert len(classes) >= 8
    for one in classes:
        assert one.__name__ in drawing
        if one.__base__ is errors.PipelineError or errors.PipelineError in one.__bases__:
            assert f"exit {one.exit_code}" in drawing


def test_heavy_libraries_are_not_imported_for_help() -> None:
    """``--help`` answers at once: parsing a command line imports neither torch nor ray nor rasterio."""
    code = (
        "import sys; from pipeline.command_line import parse_run; parse_run(['--help'], 'x'); "
        "print([m for m in ('torch', 'ray', 'rasterio', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
