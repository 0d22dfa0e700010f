"""What the fake apiserver does with `exec`: it really runs the command, on this machine, and tells its end as Kubernetes does.

What it says is held to a real kubelet by the tests that run against both (`test_exec.py`).
"""

import asyncio
from collections.abc import Mapping, Sequence

import orjson
from aiohttp import web

from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.fake_store import Object, RefusedError

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _STDERR, _STATUS = b"\x01", b"\x02", b"\x03"
_CHUNK = 8192


def container_of(pod: Object, wanted: str) -> Object:
    """Return the container to run in; raises `RefusedError` where the Pod has none of that name."""
    found = [one for one in pod["spec"]["containers"] if one["name"] == wanted]
    if not found:
        raise RefusedError(400, "BadRequest", f"container {wanted} is not valid for pod {pod['metadata']['name']}")
    return dict(found[0])


async def serve(http: web.Request, container: Object, fault: Fault | None) -> web.StreamResponse:
    """Upgrade, run the command, send what it prints, and its end."""
    stream = web.WebSocketResponse(protocols=PROTOCOLS, autoping=True)
    await stream.prepare(http)
    if fault is Fault.CUT_SHORT and http.transport is not None:
        http.transport.abort()
        return stream
    status = await _run(stream, http.query.getall("command"), _environment(container))
    if fault is not Fault.NO_END:
        await stream.send_bytes(_STATUS + orjson.dumps(status))
    await stream.close()
    return stream


async def _run(stream: web.WebSocketResponse, argv: Sequence[str], env: Mapping[str, str]) -> Object:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
        )
    except FileNotFoundError:
        return _failed(f'exec failed: unable to start container process: exec: "{argv[0]}": executable file not found')
    try:
        await asyncio.gather(_send(stream, _STDOUT, process.stdout), _send(stream, _STDERR, process.stderr))
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return {"status": "Success"} if code == 0 else _ended(code)


async def _send(stream: web.WebSocketResponse, channel: bytes, printed: asyncio.StreamReader | None) -> None:
    while printed is not None and (chunk := await printed.read(_CHUNK)):
        await stream.send_bytes(channel + chunk)


def _environment(container: Object) -> Mapping[str, str]:
    own = {one["name"]: one["value"] for one in container.get("env") or []}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **own}


def _ended(code: int) -> Object:
    message = f"command terminated with non-zero exit code: error executing command, exit code {code}"
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return {"status": "Failure", "reason": "NonZeroExitCode", "message": message, "details": {"causes": causes}}


def _failed(message: str) -> Object:
    return {"status": "Failure", "reason": "InternalError", "message": message, "code": 500}
