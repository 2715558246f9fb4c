"""Failed tiles, told one by one until they are too many to read."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.reporting.journal import Journal
from pipeline.types import BlockOutcome

TOLD = 20
"""Failed tiles of one scene that people are told of one by one; machines are told of all."""


@dataclass(slots=True)
class TileFailures:
    """One line per failed tile of a scene; people are spared those after the first TOLD, and told how many they are."""

    journal: Journal
    scene_id: str
    count: int = 0

    def tell(self, outcome: BlockOutcome) -> None:
        """The failed tiles of one block."""
        for failed in outcome.failed:
            self.count += 1
            told = self.count <= TOLD or self.journal.form == "json"
            self.journal.emit(
                "tile_failed",
                f"{self.scene_id}: tile {failed.tile_id} failed: {failed.error}: {failed.reason}" if told else None,
                scene_id=self.scene_id,
                block_id=outcome.block_id,
                tile_id=failed.tile_id,
                error=failed.error,
                reason=failed.reason,
                attempts=failed.attempts,
            )

    def end(self) -> None:
        """The scene's last tile has landed."""
        if self.count > TOLD and self.journal.form == "text":
            self.journal.say(f"{self.scene_id}: and {self.count - TOLD} more failed tiles: see failures.parquet")
