"""Patience for tests: as often as ever, and hardly a pause."""

from __future__ import annotations

from dataclasses import replace

from pipeline.retrying import PATIENCE

QUICK = replace(PATIENCE, pauses_s=(0.001,) * len(PATIENCE.pauses_s), range_pause_s=0.01)
OURS_ALONE = replace(PATIENCE, range_retries=0)
"""GDAL itself tries nothing twice."""
OURS_ALONE_QUICK = replace(QUICK, range_retries=0)
ONCE = replace(PATIENCE, pauses_s=())
"""Nothing is tried twice."""
