"""Waits until the sockets of a test are closed: TLS takes leave in the background, and the test's loop would end before it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_LOOKS, _LOOK_EVERY = 250, 0.02


@asynccontextmanager
async def closed_afterwards() -> AsyncIterator[None]:
    """After the block, wait for what it opened to be closed, but not for ever: what is left then pytest complains about."""
    before = _open()
    yield
    for _ in range(_LOOKS):
        if _open() <= before:
            return
        await asyncio.sleep(_LOOK_EVERY)


def _open() -> set[str]:
    """Return the sockets of this process, by their inodes."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.add(str(descriptor.readlink()))
    return {target for target in found if target.startswith("socket:")}
