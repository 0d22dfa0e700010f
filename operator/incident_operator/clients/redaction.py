"""Hints at what is most often wrong with credentials that a service refuses, and texts without the credentials of a Secret."""

from collections.abc import Mapping

from incident_operator import connections
from incident_operator.core import masks

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
        return "holds a blank or a line end" if any(each.isspace() for each in value) else ""
    if value.endswith(("\n", "\r")):
        return "ends with a newline"
    if value != value.strip():
        return "begins or ends with a blank"
    return "holds a line end" if "\n" in value or "\r" in value else ""


def without(secret: Mapping[str, str], text: str) -> str:
    """Return the text on one line, with this one Secret's credentials masked, whichever type it is of."""
    values = [value for kind in connections.CONNECTIONS for value in kind.credentials_in(secret)]
    return " ".join(masks.of_values("", values).text(text).split())
