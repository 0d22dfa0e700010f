"""`python3 -m jobs.build_pack --date 2025-10-21 [--force]`: builds one day's pricing pack, all of it or nothing.

Exit codes: 0 built, 1 not built (the log says after which step), 2 wrong arguments. The pack is not marked fresh.
"""

import argparse
import logging
import sys
from datetime import date

import psycopg
from pricing import calendar, database

from jobs import packs, sources

log = logging.getLogger("build_pack")


class NotBuilt(Exception):
    """The pack was not built; the message says why."""


def build(day: date, *, force: bool) -> None:
    """Build the pack of that day. Raises NotBuilt, ProviderError or psycopg.Error; nothing is kept then."""
    with database.connect() as connection:
        connection.autocommit = True
        if packs.exists(connection, day) and not force:
            raise NotBuilt(f"{calendar.pack_id(day)} exists; build it again with --force")
        packs.note_start(connection, day)
        succeeded = False
        try:
            with connection.transaction():
                _build(connection, day)
            succeeded = True
        finally:
            packs.note_end(connection, day, succeeded=succeeded)


def run(day: date, *, force: bool) -> bool:
    """Build, and log the outcome as on-call reads it; returns whether there is a pack now."""
    pack = calendar.pack_id(day)
    try:
        build(day, force=force)
    except (NotBuilt, sources.ProviderError, psycopg.Error) as problem:
        log.exception("%s failed: %s", pack, problem)  # noqa: TRY401 (on-call greps this one line)
        return False
    log.info("%s built: ready to be marked fresh", pack)
    return True


def configure_log() -> None:
    """Log to standard output, with the job's name on every line."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def main() -> int:
    """Run the job as told on the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m jobs.build_pack")
    parser.add_argument("--date", type=date.fromisoformat, required=True, help="the day, e.g. 2025-10-21")
    parser.add_argument("--force", action="store_true", help="build again where that day has a pack")
    given = parser.parse_args()
    configure_log()
    return 0 if run(given.date, force=given.force) else 1


def _build(connection: psycopg.Connection, day: date) -> None:
    pack = calendar.pack_id(day)
    log.info("%s started: for %s", pack, day)
    equities = sources.equity_prices(packs.symbols(connection, "polygon"), day.isoformat())
    prices = equities | sources.fund_prices(packs.symbols(connection, "fmp"))
    log.info("%s prices fetched: %d securities", pack, len(prices))
    rates = sources.fx_rates()
    log.info("%s FX rates fetched: %d pairs", pack, len(rates))
    digest = packs.store(connection, day, prices, rates)
    log.info("%s hash computed: %s", pack, digest[:12])


if __name__ == "__main__":
    sys.exit(main())
