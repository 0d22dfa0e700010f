"""The pack in the database: every function is one statement or a few, in the caller's transaction."""

import hashlib
from datetime import date

import psycopg
from pricing import calendar


def symbols(connection: psycopg.Connection, source: str) -> list[str]:
    """The securities that a provider prices."""
    found = connection.execute("SELECT symbol FROM symbol_mapping WHERE source = %s ORDER BY symbol", [source])
    return [symbol for (symbol,) in found]


def exists(connection: psycopg.Connection, day: date) -> bool:
    """Whether that day's pack is there."""
    return connection.execute("SELECT FROM pricing_pack WHERE date = %s", [day]).fetchone() is not None


def was_begun(connection: psycopg.Connection, day: date) -> bool:
    """Whether a build of that day's pack was ever begun."""
    return connection.execute("SELECT FROM pack_build WHERE date = %s", [day]).fetchone() is not None


def store(connection: psycopg.Connection, day: date, prices: dict[str, float], rates: dict[str, float]) -> str:
    """Write the pack, not yet fresh, in place of an earlier one of that day; returns its hash."""
    pack, digest = calendar.pack_id(day), _hash(prices, rates)
    connection.execute("DELETE FROM pricing_pack WHERE id = %s", [pack])
    connection.execute("INSERT INTO pricing_pack (id, date, hash) VALUES (%s, %s, %s)", [pack, day, digest])
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO prices (pack_id, symbol, close) VALUES (%s, %s, %s)", _rows(pack, prices))
        cursor.executemany("INSERT INTO fx_rates (pack_id, pair, rate) VALUES (%s, %s, %s)", _rows(pack, rates))
    return digest


def expire_older(connection: psycopg.Connection, day: date) -> None:
    """Take earlier packs from users: from now on only that day's will do."""
    connection.execute("UPDATE pricing_pack SET is_fresh = FALSE WHERE date < %s AND is_fresh", [day])


def mark_fresh(connection: psycopg.Connection, day: date) -> None:
    """Give that day's pack to users."""
    connection.execute("UPDATE pricing_pack SET is_fresh = TRUE WHERE id = %s", [calendar.pack_id(day)])


def note_start(connection: psycopg.Connection, day: date) -> None:
    """Remember when the build began."""
    connection.execute(
        "INSERT INTO pack_build (date) VALUES (%s)"
        " ON CONFLICT (date) DO UPDATE SET started_at = now(), finished_at = NULL, succeeded = NULL",
        [day],
    )


def note_end(connection: psycopg.Connection, day: date, *, succeeded: bool) -> None:
    """Remember how and when the build ended."""
    statement = "UPDATE pack_build SET finished_at = now(), succeeded = %s WHERE date = %s"
    connection.execute(statement, [succeeded, day])


def _rows(pack: str, values: dict[str, float]) -> list[tuple[str, str, float]]:
    return [(pack, name, value) for name, value in sorted(values.items())]


def _hash(prices: dict[str, float], rates: dict[str, float]) -> str:
    text = repr((sorted(prices.items()), sorted(rates.items())))
    return hashlib.sha256(text.encode()).hexdigest()
