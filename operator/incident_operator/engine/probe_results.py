"""What Runbooks' accounts met at each Connection: its one `Ready` tells of all of them, not of the last that tried."""

from collections.abc import Collection

from incident_operator.api.meta import ObjectKey


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
