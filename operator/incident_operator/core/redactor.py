"""What is known of credentials, for each Incident apart: what one namespace keeps secret changes nothing of another's.

How they are found in texts is in `masks.py`; which values of a Secret are credentials, its type says (`connections/`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from incident_operator.core import masks
from incident_operator.core.masks import Credential, Masks

_VERSIONS = 4
"""Values of each Secret that stay known, the newest last: whoever has an older one may still be told of it in a log."""
_MOST_CHARACTERS = 4 * 1024 * 1024
"""Of all credentials that one redactor keeps: far more than can be looked for. With more of them nothing is shown."""
_OWN = "of the operator"


class Redactor:
    """Remembers the credentials of a few Connections, and masks them. One for each Incident, and one for the operator's own."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
        """Connection and source → version → values."""
        self._all: frozenset[Credential] | None = frozenset()
        """All that is known; None where more was learned since: of many Connections, it is put together once."""
        self._length = 0
        """Characters of all that is known."""
        self._is_too_much = False

    @property
    def masks(self) -> Masks:
        """What masks all that is known by now; it does not change any more. Where that is more than is kept: everything."""
        if self._is_too_much:
            return masks.EVERYTHING
        if self._all is None:
            self._all = frozenset(self._credentials())
        return masks.of(self._all) if self._all else masks.NOTHING

    def learn(self, connection: str, version: str, values: Callable[[], Iterable[str]], source: str = "Secret") -> None:
        """Mask a Connection's credentials from now on; `values` is only asked where that version is a new one."""
        versions = self._known.setdefault((connection, source), {})
        if version in versions or self._is_too_much:
            return
        found = frozenset(values())
        for same in [older for older, known in versions.items() if known == found]:
            del versions[same]  # a Connection changes without its credentials, and must not crowd out what they were
        versions[version] = found
        for outdated in list(versions)[:-_VERSIONS]:
            self._length -= sum(map(len, versions.pop(outdated)))
        self._all = None
        self._length += sum(map(len, versions[version]))
        if self._length > _MOST_CHARACTERS:
            self._is_too_much = True
            self._known.clear()

    def learn_own(self, name: str, value: str) -> None:
        """Mask a credential of the operator itself, and the last ones of that name."""
        self.learn(_OWN, value, lambda: [value], name)

    def _credentials(self) -> Iterator[Credential]:
        for (connection, _), versions in self._known.items():
            for values in versions.values():
                yield from (Credential(value, connection) for value in values)


_in_logs: ContextVar[Redactor | None] = ContextVar("redactor", default=None)


@contextmanager
def in_logs(redactor: Redactor) -> Iterator[None]:
    """Have every line that is logged by the block, and by the tasks that it starts, masked by this redactor too."""
    before = _in_logs.set(redactor)
    try:
        yield
    finally:
        _in_logs.reset(before)


def for_logs(own: Redactor) -> Callable[[Any], Any]:
    """Return what masks the operator's own credentials in decoded JSON, and those of whatever is being worked on."""

    def clean(value: Any) -> Any:
        current = _in_logs.get()
        cleaned = own.masks.json(value)
        return cleaned if current is None else current.masks.json(cleaned)

    return clean
