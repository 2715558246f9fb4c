"""Moments, as catalogues, names of files and people write them. All that leave here know their time zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

COMPACT = re.compile(r"(\d{4})[-_]?(\d{2})[-_]?(\d{2})(?:[T_-]?(\d{2})[-:]?(\d{2})(?:[-:]?(\d{2}))?)?Z?", re.ASCII)
"""As names of files have it: 20230701, 2023-07-01, 20230701T105629, 2023-07-01-10-56-29."""


def moment(value: object) -> datetime | None:
    """RFC 3339, or a date or time out of YAML or a table; without a zone it is UTC. None for what is no moment."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except (OverflowError, ValueError):  # year 1 east of Greenwich
            return None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return None


def end_of(value: object) -> datetime | None:
    """Like :func:`moment`; of a day without a time its last microsecond, so that ``until`` a day includes it."""
    found = moment(value)
    whole_day = isinstance(value, date) and not isinstance(value, datetime)
    if found is None or not (whole_day or (isinstance(value, str) and len(value.strip()) <= len("2023-07-01"))):
        return found
    return found + timedelta(days=1, microseconds=-1)


def moment_in_name(text: str) -> datetime | None:
    """The moment that a part of a file's name writes, UTC; None for what is none, such as a month 13."""
    match = COMPACT.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime(*(int(part or 0) for part in match.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None


def written(value: datetime) -> str:
    """RFC 3339 in UTC, in whole seconds."""
    return value.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
