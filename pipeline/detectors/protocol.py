"""What the rest of the project knows about a detector: numpy in, :class:`~pipeline.types.Look` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pipeline.types import Chip, Look, ModelCard

FEWEST_QUERIES = 16
"""Even a small crop may be full of things."""


def queries_for(share: float, queries: int) -> int:
    """How many of a network's ``queries`` to pick for chips that are ``share`` of a whole look; see ``Chip.share``."""
    return min(queries, max(FEWEST_QUERIES, round(share * queries)))


@runtime_checkable
class Detector(Protocol):
    """Finds objects in chips. Holds its weights; keeps no state between calls.

    Implementations are not thread-safe; every worker process holds its own.
    """

    @property
    def card(self) -> ModelCard:
        """What the detector was made for."""
        ...

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """One forward pass over a batch of chips of any sizes.

        Returns one Look per chip, in order: detections with score >= ``score_threshold`` in frame CHIP, as
        canonical oriented boxes (a horizontal detector answers with angle 0 or -pi/2), and the attention map
        when ``attention`` is asked for and the network can give one. A network that reconstructs what it sees gives
        its difference map always.
        Raises ModelError when the network answers anything that is not finite, MemoryError or torch's own
        ``OutOfMemoryError`` when the batch is too large (see :mod:`pipeline.detectors.torch_process`).
        """
        ...
