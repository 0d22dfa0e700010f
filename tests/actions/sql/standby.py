"""A real standby of the tests' PostgreSQL, which follows it until it is promoted."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Standby:
    host: str
    """The folder of its socket; its data are in `data` there."""
    programs: Path
    user: str | None

    def promote(self) -> None:
        """Return when it takes writes."""
        self.run("pg_ctl", "promote", "-w", "-D", f"{self.host}/data")

    def run(self, program: str, *arguments: str) -> None:
        whom = {} if self.user is None else {"user": self.user}
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/tmp", **whom)


@contextlib.contextmanager
def following(server: str) -> Iterator[Standby]:
    """Yield a standby of the server whose socket is in that folder."""
    user = Path(server).owner() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="io-standby-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    standby = Standby(str(folder), _programs(server), user)
    try:
        standby.run("pg_basebackup", "-h", server, "-U", "postgres", "-D", str(data), "-R", "-c", "fast")
        options = f"-k {folder} -c listen_addresses= -c port=5432 -c fsync=off"
        standby.run("pg_ctl", "start", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", options)
        yield standby
    except subprocess.CalledProcessError as error:
        raise AssertionError((folder / "log").read_text()) from error
    finally:
        if (data / "postmaster.pid").exists():
            standby.run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(data))
        shutil.rmtree(folder)


def _programs(server: str) -> Path:
    """Return the folder of the programs that the server runs."""
    process = (Path(server) / "postmaster.pid").read_text().splitlines()[0]
    return Path(f"/proc/{process}/exe").readlink().parent
