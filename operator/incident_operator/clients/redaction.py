"""Keeps secret values out of everything that people and etcd see. Knows nothing of where texts come from or go to."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from incident_operator.core import json_depth

MASK = "***"
SHORTEST = 4
"""A shorter value would blacken ordinary words, so it is not looked for."""
MOST_VALUES = 1024
"""Values remembered; the one that was learned longest ago is forgotten first."""
LONGEST = 8192
"""Characters looked for in one piece; a longer value is learned piece by piece."""
DEEPEST = json_depth.WRAPPED
"""Levels of nested JSON that are cleaned; what lies deeper is left out."""
PUBLIC_KEYS = frozenset({"username", "ca.crt", "tls.crt"})
"""Keys of a Secret whose values are no secrets: people need them to understand a message."""


class Redactor:
    """Remembers secret values and masks them, plain or encoded. One for the process; memory is bounded."""

    def __init__(self) -> None:
        self._forms: dict[str, tuple[str, ...]] = {}

    def learn(self, value: str) -> None:
        """Mask this value from now on: as it is, percent-encoded, JSON-escaped, and inside base64 at any offset."""
        for start in range(0, len(value), LONGEST):
            self._remember(value[start : start + LONGEST])

    def _remember(self, value: str) -> None:
        if len(value.strip()) < SHORTEST:
            return
        self._forms[value] = self._forms.pop(value, ()) or _forms(value)
        while len(self._forms) > MOST_VALUES:
            del self._forms[next(iter(self._forms))]

    def learn_secret(self, data: Mapping[str, str]) -> None:
        """Learn the decoded values of a Secret, but for those that are public by their key."""
        for key, value in data.items():
            if key not in PUBLIC_KEYS:
                self.learn(value)

    def clean(self, text: str) -> str:
        """Return the text with every known value masked."""
        for forms in tuple(self._forms.values()):
            for form in forms:
                text = text.replace(form, MASK)
        return text

    def clean_json(self, value: Any, depth: int = 0) -> Any:
        """Return decoded JSON with every known value masked in its keys and texts; what is none of JSON becomes text."""
        if isinstance(value, str):
            return self.clean(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if not isinstance(value, Mapping | list | tuple):
            return self.clean(str(value))
        if depth >= DEEPEST:
            return "[nested too deep]"
        if isinstance(value, Mapping):
            return {self.clean(str(key)): self.clean_json(item, depth + 1) for key, item in value.items()}
        return [self.clean_json(item, depth + 1) for item in value]


def without(secret: Mapping[str, str], text: str) -> str:
    """Return the text on one line, with this one Secret's values masked."""
    redactor = Redactor()
    redactor.learn_secret(secret)
    return " ".join(redactor.clean(text).split())


def _forms(value: str) -> tuple[str, ...]:
    written = {value, value.strip(), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    found = written | set(_base64_cores(value.encode("utf-8", "surrogatepass")))
    return tuple(sorted((form for form in found if len(form) >= SHORTEST), key=len, reverse=True))


def _base64_cores(raw: bytes) -> Iterator[str]:
    """Yield what base64 of any text with `raw` in it must contain: one form for each of the three alignments."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode()
        core = encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        if len(core) > SHORTEST:
            yield core
            yield core.replace("+", "-").replace("/", "_")
