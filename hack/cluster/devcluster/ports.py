"""TCP ports: is one free, does one answer, and who has it."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from devcluster import commands
from devcluster.console import ClusterError


def require_free(name: str, wanted: Iterable[tuple[str, int]]) -> None:
    """Raise ClusterError, with the process that has it, where an address and port cannot be listened on."""
    for address, port in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise ClusterError(
                    f"{name} cannot listen on {address}:{port}: {error.strerror}{_holder(port)}"
                ) from None


def is_open(address: str, port: int) -> bool:
    """Tell whether something accepts connections there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _holder(port: int) -> str:
    try:
        listing = commands.run(["ss", "-Hltnp", f"sport = :{port}"]).strip()
    except ClusterError:
        return ""
    return f"; held by {listing.split()[-1]}" if listing else ""
