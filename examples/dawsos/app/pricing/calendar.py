"""Which pack is due, and since when. Local time is that of the container (TZ)."""

import os
from datetime import date, datetime, time, timedelta


def now() -> datetime:
    """The moment, in local time."""
    return datetime.now().astimezone()  # noqa: TID251


def pricing_date() -> date:
    """The date whose pack is due: today, or PRICING_DATE where that is set."""
    fixed = os.environ.get("PRICING_DATE")
    return date.fromisoformat(fixed) if fixed else now().date()


def due_at(day: date) -> datetime:
    """When the pack of that day has to be ready: PACK_DUE local time, 00:15 unless said."""
    return local(day, os.environ.get("PACK_DUE", "00:15"))


def next_run(at: str, after: datetime) -> datetime:
    """The next moment after `after` at which local clocks show `at` (HH:MM or HH:MM:SS)."""
    today = local(after.date(), at)
    return today if today > after else local(after.date() + timedelta(days=1), at)


def local(day: date, at: str) -> datetime:
    """The moment of that day at which local clocks show `at` (HH:MM or HH:MM:SS)."""
    return datetime.combine(day, time.fromisoformat(at)).astimezone()


def pack_id(day: date) -> str:
    """The name of that day's pack, e.g. PP-2025-10-21."""
    return f"PP-{day.isoformat()}"
