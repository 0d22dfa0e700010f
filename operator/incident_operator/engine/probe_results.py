"""Who uses each Connection, and what their accounts met there: its one `Ready` tells of all of them, not of the last that tried."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable

from incident_operator.api.meta import ObjectKey


class ConnectionUsers:
    """Remembers which Connections each Runbook names, and its account, so that a namespace's Runbooks are listed once."""

    def __init__(self) -> None:
        self._by_runbook: defaultdict[str, dict[str, tuple[str, frozenset[str]]]] = defaultdict(dict)
        """By namespace and Runbook."""
        self._listed: set[str] = set()
        """Namespaces all of whose Runbooks are known."""
        self.listing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held for a namespace while its Runbooks are listed."""

    def knows(self, namespace: str) -> bool:
        """Whether all Runbooks of a namespace are known."""
        return namespace in self._listed

    def learn(self, namespace: str, listed: Iterable[tuple[str, str, frozenset[str]]]) -> None:
        """Remember all Runbooks of a namespace: name, service account, and the Connections that it names.

        What was noted while they were listed is newer, and stays.
        """
        for name, account, names in listed:
            self._by_runbook[namespace].setdefault(name, (account, names))
        self._listed.add(namespace)

    def note(self, runbook: ObjectKey, account: str, names: frozenset[str]) -> frozenset[str]:
        """Remember a Runbook as it is now; return the Connections that it named before, and does not any more."""
        before = self.forget(runbook)
        self._by_runbook[runbook.namespace][runbook.name] = (account, names)
        return before - names

    def forget(self, runbook: ObjectKey) -> frozenset[str]:
        """Drop a Runbook that is gone, or cannot be read; return the Connections that it named."""
        _, names = self._by_runbook[runbook.namespace].pop(runbook.name, ("", frozenset[str]()))
        return names

    def accounts(self, connection: ObjectKey) -> list[str]:
        """Return the service account of each Runbook that names a Connection."""
        runbooks = self._by_runbook[connection.namespace].values()
        return [account for account, names in runbooks if connection.name in names]


class ProbeResults:
    """Remembers, by Connection and service account, why it could not be used; empty texts where it could."""

    def __init__(self) -> None:
        self._found: dict[ObjectKey, dict[str, str]] = {}

    def note(self, connection: ObjectKey, account: str, why: str) -> None:
        """Remember what an account met just now."""
        self._found.setdefault(connection, {})[account] = why

    def failures(self, connection: ObjectKey, accounts: Collection[str]) -> list[str]:
        """Return what the accounts met, each failure once; accounts that use it no longer are forgotten."""
        met = {account: why for account, why in self._found.get(connection, {}).items() if account in accounts}
        self._found[connection] = met
        return sorted({why for why in met.values() if why})

    def forget(self, connection: ObjectKey) -> None:
        """Drop a Connection that is gone."""
        self._found.pop(connection, None)
