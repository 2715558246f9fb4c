"""The whole product on one embedded scene: make a harbour, look twice for its ships, count what was found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs import detect_scene, make_scene
from jobs.ending import job
from pipeline import __version__
from pipeline.synth.harbour.harbour import DEMO_SCENE

BOTH_LOOKS = ("--tiling.global_factor", "2", "--refine.budget", "0.5", "--refine.zoom", "2")
"""A first look at half the size, and crops at full resolution, as the ships are small, where it was unsure."""


@job("interrupted; the same command starts anew")
def main(argv: Sequence[str] | None = None, prog: str = "demo.py") -> int:
    """Run the demo; print where the files are; return the exit code of the detection."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--version", action="version", version=f"kestrel {__version__}")
    parser.add_argument("--out", default="demo", help="folder for the scene and the results (default: demo)")
    parser.add_argument("--executor", default="ray", choices=("ray", "local"), help="see detect_scene.py --help")
    arguments = parser.parse_args(argv)
    out = Path(arguments.out).resolve()
    scene = out / "harbour.tif"
    out.mkdir(parents=True, exist_ok=True)
    if code := make_scene.main([*DEMO_SCENE, "--out", str(scene)]):
        return code
    places = ["--scene", str(scene), "--out", str(out), "--executor", arguments.executor]
    if code := detect_scene.main([*places, *BOTH_LOOKS]):
        return code
    from pipeline.evaluation.truth import compare_with_truth
    from pipeline.outputs.geoparquet import read_detections

    found = read_detections(out / "harbour" / "detections.parquet").to_pydict()
    print(compare_with_truth(found, scene.with_suffix(".truth.geojson")))
    for name in ("detections.parquet", "detections.geojson", "detections.gpkg", "run.json"):
        print(f"  {out / 'harbour' / name}")
    print(f"picture: {out / 'harbour' / 'preview.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
