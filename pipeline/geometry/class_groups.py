"""Names of classes that suppress each other → groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.errors import ConfigError
from pipeline.names import listed, quoted
from pipeline.types import IntArray


def class_groups(classes: Sequence[str], groups: Sequence[Sequence[str]]) -> IntArray | None:
    """For each class the group it is suppressed in; None when every class stands alone.

    Raises ConfigError for a name that the model does not know.
    """
    if not groups:
        return None
    group_of = np.arange(len(classes), dtype=np.int64)
    for group in groups:
        unknown = [name for name in group if name not in classes]
        if unknown:
            raise ConfigError(
                f"merge.class_groups: the model has no class {quoted(unknown[0])}; it has {listed(classes)}"
            )
        members = [classes.index(name) for name in group]
        group_of[members] = min(members)
    return group_of
