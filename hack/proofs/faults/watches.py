"""What can go wrong with a watch of Incidents: it ends as too old, hides an event, repeats an old one, or falls silent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from proofs.faults.troubles import Fault

STALL_SECONDS = 4.0
"""How long a stalled stream stays open before whatever is in between gives it up."""
WATCHED = "incidents"
_GONE = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
         "message": "too old resource version", "metadata": {}}  # fmt: skip

Event = Mapping[str, Any]
Moment = Callable[[Event], bool]


class Cut(Exception):
    """The stream ends here, without a word."""


def never(_: Event) -> bool:
    """No moment at all."""
    return False


@dataclass
class Spoiler:
    """Spoils the watch of Incidents once, at the first event that is the chosen moment."""

    fault: Fault = Fault.NONE
    moment: Moment = never
    sprung: bool = False
    _refuse: bool = False
    _known: dict[str, bytes] = field(default_factory=dict)
    """The line with which each object was first told of, by name."""

    def refuses(self, resource: str) -> bool:
        """Tell whether the next watch is told that it is too old."""
        if resource != WATCHED or not self._refuse:
            return False
        self._refuse = False
        return True

    async def passing(self, resource: str, line: bytes) -> Sequence[bytes]:
        """Return what is passed on instead of a line. Raises `Cut`."""
        if resource != WATCHED or self.fault is Fault.NONE:
            return [line]
        event = orjson.loads(line)
        if event["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
            return [line]
        first = self._known.setdefault(event["object"]["metadata"]["name"], line)
        if self.sprung or not self.moment(event):
            return [line]
        self.sprung = True
        return await self._spoil(line, first)

    async def _spoil(self, line: bytes, first: bytes) -> Sequence[bytes]:
        match self.fault:
            case Fault.WATCH_GONE_STATUS:
                self._refuse = True
                raise Cut
            case Fault.WATCH_GONE_EVENT:
                return [orjson.dumps({"type": "ERROR", "object": _GONE}) + b"\n"]
            case Fault.WATCH_HIDES_ADDED | Fault.WATCH_HIDES_MODIFIED:
                return []
            case Fault.WATCH_REPLAYS:
                old = orjson.loads(first)
                return [line, orjson.dumps({"type": "MODIFIED", "object": old["object"]}) + b"\n"]
            case Fault.WATCH_STALLS:
                await asyncio.sleep(STALL_SECONDS)
                raise Cut
        raise ValueError(self.fault)


async def lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines, however long."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
