"""`python3 -m jobs.nightly`: once a day, when local clocks show NIGHTLY_AT, builds the day's pack and marks it fresh.

A scheduler that starts after that moment catches up, unless the day's build was begun already: a build that failed is
never repeated by itself.
"""

import logging
import os
import signal
import sys
import time

import psycopg
from pricing import calendar, database

from jobs import build_pack, packs

log = logging.getLogger("nightly")


def main() -> None:
    """Wait and run, for ever."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    build_pack.configure_log()
    at = os.environ.get("NIGHTLY_AT", "00:00")
    if is_late(at):
        log.info("started after %s, and the build of %s was not begun", at, calendar.pricing_date())
        run()
    while True:
        began = calendar.now()
        moment = calendar.next_run(at, began)
        log.info("next run at %s", moment.isoformat(timespec="seconds"))
        time.sleep((moment - began).total_seconds())
        run()


def is_late(at: str) -> bool:
    """Whether the day's build should have begun, and has not."""
    day = calendar.pricing_date()
    if calendar.now() < calendar.local(day, at):
        return False
    with database.connect() as connection:
        return not (packs.exists(connection, day) or packs.was_begun(connection, day))


def run() -> None:
    """One night: yesterday's prices end, today's are built. A failure is logged; users wait until somebody acts."""
    day = calendar.pricing_date()
    try:
        with database.connect() as connection:
            packs.expire_older(connection, day)
        if build_pack.run(day, force=False):
            with database.connect() as connection:
                packs.mark_fresh(connection, day)
    except psycopg.Error:
        log.exception("the night of %s ended early", day)


if __name__ == "__main__":
    main()
