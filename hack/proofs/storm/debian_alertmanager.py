"""The real Alertmanager, Debian's, whether or not it is installed on this machine."""

import asyncio
import contextlib
import json
import shlex
import shutil
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from devcluster import bases, settings

from proofs.storm.alerts import RECEIVER, Alert, rfc3339
from proofs.storm.wire import PATH
from tests.e2e.operator_process import TOKEN, free_port
from tests.examples import debian_programs

_PROGRAM = "prometheus-alertmanager"
_TEMPLATES = "usr/share/prometheus/alertmanager/"
_UP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One that runs."""

    url: str

    async def post(self, alerts: Sequence[Alert]) -> None:
        """Hand it alerts, as Prometheus does. Raises where it does not take them."""
        sent = [_posted(alert) for alert in alerts]
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            await session.post(f"{self.url}/api/v2/alerts", json=sent)


def command(folder: Path) -> list[str]:
    """Words that run it. Debian's reads templates at a fixed place, so one that is not installed sees ours there."""
    if installed := shutil.which(_PROGRAM):
        return [installed]
    folder.mkdir(parents=True, exist_ok=True)
    program = debian_programs.program(_PROGRAM, folder)
    _unpack_templates(folder)
    script = f'mount --bind {shlex.quote(str(folder / "usr" / "share"))} /usr/share && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", program]


@contextlib.asynccontextmanager
async def running(
    words: Sequence[str], folder: Path, receiver_port: int, group_by: str, group_wait: str = "1s"
) -> AsyncIterator[Alertmanager]:
    """Run it on loopback, alone, telling everything to a receiver on a port.

    An alert that began longer ago than `group_wait` is told at once, whether or not others of its group follow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "alertmanager.yml").write_text(json.dumps(_configuration(receiver_port, group_by, group_wait)))
    with (folder / "alertmanager.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *words, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await _until_up(f"http://127.0.0.1:{port}", process)
        yield Alertmanager(f"http://127.0.0.1:{port}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _unpack_templates(folder: Path) -> None:
    base = bases.ensure(bases.named("platform", settings.from_environment().cache))
    with tarfile.open(base.archive) as archive:
        layer = max(archive.getmembers(), key=lambda member: member.size)
        with tarfile.open(fileobj=archive.extractfile(layer)) as root:
            for member in root:
                member.name = member.name.removeprefix("./")
                if member.isfile() and member.name.startswith(_TEMPLATES):
                    root.extract(member, folder, filter="data")


def _posted(alert: Alert) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": rfc3339(alert.ends_at or alert.starts_at + timedelta(hours=1)),
        "generatorURL": alert.generator_url,
    }


def _configuration(receiver_port: int, group_by: str, group_wait: str) -> dict[str, Any]:
    webhook = {
        "url": f"http://127.0.0.1:{receiver_port}{PATH}",
        "http_config": {"authorization": {"credentials": TOKEN}},
        "send_resolved": True,
    }
    route = {
        "receiver": RECEIVER, "group_by": [group_by],
        "group_wait": group_wait, "group_interval": "1s", "repeat_interval": "1h",
    }  # fmt: skip
    return {"route": route, "receivers": [{"name": RECEIVER, "webhook_configs": [webhook]}]}


async def _until_up(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_UP_SECONDS), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"Alertmanager ended with {process.returncode}; its log is beside its configuration")
