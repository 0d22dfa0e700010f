"""What the database says about packs, and how Prometheus is told."""

from dataclasses import dataclass

import psycopg
from pricing import calendar


@dataclass(frozen=True, slots=True)
class Pack:
    """The pack that users are served from."""

    id: str
    date: str
    securities: int


def fresh_pack(connection: psycopg.Connection) -> Pack | None:
    """The newest fresh pack; None while there is none."""
    row = connection.execute(
        "SELECT id, date::text, (SELECT count(*) FROM prices WHERE pack_id = id)"
        " FROM pricing_pack WHERE is_fresh ORDER BY date DESC LIMIT 1"
    ).fetchone()
    return Pack(*row) if row else None


def metrics(connection: psycopg.Connection) -> str:
    """The state of the due pack in Prometheus' text format. A mitigation with an older pack does not make it fresh."""
    day = calendar.pricing_date()
    fresh = connection.execute("SELECT FROM pricing_pack WHERE date = %s AND is_fresh", [day]).fetchone() is not None
    row = connection.execute(
        "SELECT extract(epoch FROM coalesce(finished_at, now()) - started_at) FROM pack_build WHERE date = %s", [day]
    ).fetchone()
    duration = (
        [("pack_build_duration_seconds", "Time that the newest build of the pack took so far.", row[0])] if row else []
    )
    samples = [
        ("pricing_pack_fresh", "Whether the due pack is built and fresh.", int(fresh)),
        ("pricing_pack_due_timestamp_seconds", "When the due pack had to be ready.", calendar.due_at(day).timestamp()),
        *duration,
    ]
    return "".join(_sample(name, text, day.isoformat(), value) for name, text, value in samples)


def _sample(name: str, text: str, day: str, value: float) -> str:
    return f'# HELP {name} {text}\n# TYPE {name} gauge\n{name}{{pack_date="{day}"}} {value}\n'
