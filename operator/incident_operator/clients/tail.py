"""The end of a stream: what is kept of a log, or of what a command prints, however long it goes on."""


class Tail:
    """Keeps the last bytes, in a time that grows with what comes and not with how it is parted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self.cut = False
        """Whether there was more."""

    def add(self, data: bytes) -> None:
        """Take what comes next."""
        self._held += data
        self.cut = self.cut or len(self._held) > self._most
        if len(self._held) > 2 * self._most:
            del self._held[: -self._most]

    @property
    def kept(self) -> bytes:
        """The last bytes, as many as are kept."""
        return bytes(self._held[-self._most :])
