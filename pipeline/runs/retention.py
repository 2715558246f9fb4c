"""What of the kept work stays once a scene is published: ``work.keep`` and ``--clean``.

Removing is tidying: whatever fails in it is said, and the result stays published.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.engine.parts_folder import WorkFolder
from pipeline.errors import tidying
from pipeline.runs.context import Run
from pipeline.types import Block

DAY_S = 86_400.0


def shrink(run: Run, scene_id: str, work: WorkFolder, used: Sequence[Block], *, whole: bool) -> None:
    """Remove the parts that ``work.keep`` and ``clean`` do not want any more, and say how many.

    ``used``: the blocks of the settings that this result was made with, which are not too old as long as they serve;
    none where nothing had to be done. ``whole``: nothing of the scene failed, so no other try will need them.
    """
    keep, clean = run.config.work.keep, run.config.clean
    what = f"{scene_id}: parts {'of other settings' if clean else 'of earlier work'}"
    left = f"{what} stay in {work.folder}; nothing uses them, and they may be removed by hand"
    with tidying(run.say, left):
        if clean:
            run.say(f"{scene_id}: {work.clean(used)} parts of other settings removed")
        if whole and keep == "never":
            work.clean(())
        elif isinstance(keep, float | int):
            count = work.expire(used, keep * DAY_S)
            if count:
                run.say(f"{scene_id}: {count} parts that are older than {keep:g} days removed (--work.keep)")
