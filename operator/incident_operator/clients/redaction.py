"""What is known of credentials, for each Incident apart: what one namespace keeps secret changes nothing of another's.

How they are found in texts is in `core/masks.py`; which values of a Secret are credentials, its type says (`connections/`).

Hints at what is most often wrong with credentials that a service refuses. None of them tells a value.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from incident_operator import connections
from incident_operator.core import masks
from incident_operator.core.masks import Credential, Masks

REFUSED = frozenset({401, 403})
"""HTTP statuses by which a service refuses whoever asks."""
_REMEDY = "blanks and line ends are part of the value; create it without them: kubectl create secret --from-literal, or printf %s instead of echo"


def of(secret: Mapping[str, str]) -> str:
    """Return what looks wrong with a Secret's credentials, to be put behind a refusal; empty where nothing does."""
    wrong = [f"{key} {what}" for key in ("username", "password", "token") if (what := _wrong(key, secret.get(key, "")))]
    return f"; the Secret's {' and '.join(wrong)}: {_REMEDY}" if wrong else ""


def of_status(secret: Mapping[str, str], status: int) -> str:
    """Return the same for an HTTP answer that refuses; empty for any other."""
    return of(secret) if status in REFUSED else ""


def _wrong(key: str, value: str) -> str:
    if key == "token":
        value = value.strip()  # it is sent without
        return "holds a blank or a line end" if _any_blank(value) else ""
    if value.endswith(("\n", "\r")):
        return "ends with a newline"
    if value != value.strip():
        return "begins or ends with a blank"
    return "holds a line end" if "\n" in value or "\r" in value else ""


def _any_blank(characters: Iterable[str]) -> bool:
    return any(each.isspace() for each in characters)


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


def without(secret: Mapping[str, str], text: str) -> str:
    """Return the text on one line, with this one Secret's credentials masked, whichever type it is of."""
    values = [value for kind in connections.CONNECTIONS for value in kind.credentials_in(secret)]
    return " ".join(masks.of_values("", values).text(text).split())
