"""A real PgBouncer in transaction mode before the tests' PostgreSQL: all clients of a role share one server connection."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.actions.sql.endpoints import PASSWORD

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.append(str(REPOSITORY / "hack" / "cluster"))
from tests.examples import debian_programs  # noqa: E402 # on the path only now

PORT = 6432
"""Names the socket in its folder; nothing listens on the network, so no port can be taken."""
UP_SECONDS = 30.0
STOP_SECONDS = 10.0

SETTINGS = """[databases]
* = host={server} port=5432

[pgbouncer]
pool_mode = transaction
default_pool_size = 1
listen_port = {port}
unix_socket_dir = {folder}
auth_type = scram-sha-256
auth_file = {folder}/users.txt
"""


@contextlib.contextmanager
def running(server: str, roles: tuple[str, ...]) -> Iterator[str]:
    """Yield the folder of its socket, at which the roles log in; `server` is the folder of PostgreSQL's."""
    folder = Path(tempfile.mkdtemp(prefix="io-pgbouncer-", dir="/tmp"))
    try:
        _write_settings(folder, server, roles)
        program, environment = debian_programs.daemon("pgbouncer", "pooler", folder / "program")
        with (folder / "pgbouncer.log").open("wb") as log:
            command = [program, *_as_whom(folder, server), str(folder / "pgbouncer.ini")]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        with _ended(process):
            _wait_until_up(folder, roles[0], process)
            yield str(folder)
    finally:
        shutil.rmtree(folder)


def _write_settings(folder: Path, server: str, roles: tuple[str, ...]) -> None:
    folder.chmod(0o755)
    (folder / "users.txt").write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in roles))
    (folder / "pgbouncer.ini").write_text(SETTINGS.format(server=server, port=PORT, folder=folder))


def _as_whom(folder: Path, server: str) -> list[str]:
    """As root it refuses to run; as who runs PostgreSQL it may reach the socket."""
    if os.geteuid() != 0:
        return []
    user = Path(server).owner()
    shutil.chown(folder, user)
    return ["-u", user]


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(folder: Path, role: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + UP_SECONDS
    while (trouble := _trouble_at_login(folder, role)) is not None:
        if process.poll() is not None or time.monotonic() > give_up:
            raise AssertionError(f"{trouble}\n{(folder / 'pgbouncer.log').read_text()}")
        time.sleep(0.05)


def _trouble_at_login(folder: Path, role: str) -> psycopg.OperationalError | None:
    where = {"host": str(folder), "port": PORT, "dbname": "postgres"}
    try:
        psycopg.connect(**where, user=role, password=PASSWORD, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return error
    return None
