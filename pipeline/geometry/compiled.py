"""How kernels become machine code. numba's home, with the kernels themselves."""

from __future__ import annotations

import os
from pathlib import Path

from numba import njit

compiled = njit(cache=os.access(Path(__file__).parent, os.W_OK), nogil=True, error_model="numpy")
"""Machine code is kept in ``__pycache__`` (two seconds saved per process) where that folder can be written."""
