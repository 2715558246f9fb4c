"""Moments as scenes tell them: a time, a day or less, with a time zone or without."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

UNKNOWN_MONTH = "unknown"


def span(text: str) -> tuple[datetime, datetime] | None:
    """The first moment that an ISO 8601 text means, and the first one after it, UTC; None for what is none.

    A year, a month and a day last until the next; a time lasts a second, and is UTC where it names no zone.
    """
    text = text.strip()
    if re.fullmatch(r"\d{4}(-\d{2})?", text):
        year, month = int(text[:4]), int(text[5:] or 1)
        if not 1 <= year <= 9998 or not 1 <= month <= 12:
            return None
        after = month + (1 if len(text) > 4 else 12) - 1
        return datetime(year, month, 1, tzinfo=UTC), datetime(year + after // 12, after % 12 + 1, 1, tzinfo=UTC)
    try:
        if len(text) <= 10:
            day = date.fromisoformat(text)
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return start, start + timedelta(days=1)
        when = datetime.fromisoformat(text)
        start = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
        return start, start + timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None


def exact_s(text: str | None) -> float | None:
    """Seconds since 1970 of a text that names a time of day; None for all others."""
    known = span(text) if text else None
    return known[0].timestamp() if known and known[1] - known[0] <= timedelta(seconds=1) else None


def month_of(text: str | None) -> str:
    """``YYYY-MM``, UTC; :data:`UNKNOWN_MONTH` for what names none, or a whole year."""
    known = span(text) if text else None
    return f"{known[0]:%Y-%m}" if known and known[1] - known[0] <= timedelta(days=31) else UNKNOWN_MONTH


def month_at(second: float) -> str:
    """The month of a moment, seconds since 1970; :data:`UNKNOWN_MONTH` for one that no calendar has."""
    try:
        return f"{datetime.fromtimestamp(second, UTC):%Y-%m}"
    except (ValueError, OverflowError):  # a minute before the year 1
        return UNKNOWN_MONTH
