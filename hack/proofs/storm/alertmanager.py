"""A load generator that behaves as Alertmanager does: groups, one message at a time each, retries, drops."""

import asyncio
from collections.abc import Iterable, Iterator
from random import Random

from proofs.storm.groups import Group, Notification
from proofs.storm.ledger import Ledger
from proofs.storm.retrying import Fate, fate, pauses
from proofs.storm.wire import Connection


class Alertmanager:
    """One of a pair. Connections are shared by all groups; a pause holds none."""

    def __init__(self, port: int, ledger: Ledger, random: Random, *, connections: int = 64, scale: float = 0.1) -> None:
        self.ledger = ledger
        self._random = random
        self._scale = scale
        self._width = connections
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._all = [Connection(port) for _ in range(connections)]
        for connection in self._all:
            self._idle.put_nowait(connection)

    async def deliver(self, groups: Iterable[Group]) -> None:
        """Tell everything that there is to tell, as many groups at a time as there are connections."""
        waiting = iter(groups)
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._width):
                workers.create_task(self._work(waiting))

    async def flush(self, group: Group) -> None:
        """Send the group's next notification until it is told or dropped."""
        notification = group.flush()
        if notification is not None and await self._notify(notification):
            group.succeeded(notification)

    def close(self) -> None:
        """End all connections."""
        for connection in self._all:
            connection.close()

    async def _work(self, groups: Iterator[Group]) -> None:
        for group in groups:
            await self.flush(group)

    async def _notify(self, notification: Notification) -> bool:
        for pause in pauses(self._random, self._scale):
            status = await self._post(notification)
            match fate(status):
                case Fate.TOLD:
                    self.ledger.told(notification.alerts)
                    return True
                case Fate.DROPPED:
                    self.ledger.dropped.append(str(status))
                    return False
            await asyncio.sleep(pause)
        raise AssertionError("pauses never end")

    async def _post(self, notification: Notification) -> int | None:
        connection = await self._idle.get()
        try:
            self.ledger.sending(notification.alerts)
            status = await connection.post(notification.body)
        finally:
            self._idle.put_nowait(connection)
        self.ledger.posts[str(status or "none")] += 1
        return status
