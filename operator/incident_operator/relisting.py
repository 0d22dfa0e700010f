"""Runbooks, read again every minute: whatever their watch loses, and though it fell silent for good, no alert goes unmatched long."""

import asyncio

import structlog

from incident_operator.clients import paths, watching
from incident_operator.clients.api_errors import ApiError
from incident_operator.clients.kube import Kube
from incident_operator.engine.keys import Key
from incident_operator.inbox import Inbox

_PAUSE = 60.0
_log = structlog.get_logger()


class Relisting:
    """Tells the inbox of every Runbook that there is, and of those that are not there any more. Runs on every replica."""

    def __init__(self, client: Kube, inbox: Inbox, namespaces: tuple[str, ...], pause: float = _PAUSE) -> None:
        self._kube = client
        self._inbox = inbox
        self._namespaces = namespaces
        self._pause = pause

    async def once(self) -> None:
        """Read them all. Raises `ApiError`."""
        before, listed = self._inbox.known_runbooks, set[Key]()
        for namespace in self._namespaces or (None,):
            async for runbook in self._kube.list(paths.runbooks(namespace)):
                listed.add(Key(runbook["metadata"]["namespace"], runbook["metadata"]["name"]))
                try:
                    self._inbox.runbook(runbook)
                except (ValueError, KeyError, TypeError) as error:
                    watching.unreadable(runbook["metadata"], error)
        for key in before - listed:
            self._inbox.runbook_gone({"metadata": {"namespace": key.namespace, "name": key.name}})

    async def run(self) -> None:
        """Do so again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.once()
            except ApiError as error:
                _log.warning("Runbooks cannot be read again", error=str(error))
