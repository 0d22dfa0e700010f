"""What a call to the apiserver can end in, sorted by what the caller can do about it."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from incident_operator.clients import transport
from incident_operator.core import json_depth

_REJECTED = "the server rejected our request due to an error in our request"
"""How the apiserver words a JSON patch that does not apply (`NewGenericServerResponse` in apimachinery, code 422)."""


class ApiError(Exception):
    """The apiserver refused, or did not answer; subclasses say what a caller can do about it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 where no answer came."""
        self.reason = reason
        """`Status.reason`, e.g. `NotFound`."""
        self.message = message


class NotFound(ApiError):
    """The object (or its kind) does not exist."""


class AlreadyExists(ApiError):
    """An object of that name exists; it may be ours."""


class Conflict(ApiError):
    """The object is not as the caller believed: read it again. Nothing was written."""


class Forbidden(ApiError):
    """The caller (or the account it acts as) lacks a permission, or an admission policy denies it."""


class Invalid(ApiError):
    """The request itself is wrong; sending it again cannot help."""


class Unreadable(ApiError):
    """What was asked for is there, and nested too deep to be read."""


class Unavailable(ApiError):
    """No answer, or one that says "later"."""

    def __init__(self, status: int, reason: str, message: str, *, sent: bool) -> None:
        super().__init__(status, reason, message)
        self.sent = sent
        """Whether the request may have been applied all the same."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def of_answer(status: int, body: bytes, *, tested: bool = False) -> ApiError:
    """Return the error that an answer stands for; `tested` says that the request was a JSON patch with a `test`."""
    answer = _status_object(body)
    reason = str(answer.get("reason") or "Unknown")
    message = str(answer.get("message") or f"the apiserver answered {status}")
    if status in {401, 429} or status >= 500:
        return Unavailable(status, reason, message, sent=status >= 500)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message)
    if status == 422 and tested and message.startswith(_REJECTED):
        return Conflict(status, reason, "the object changed since it was read")
    return _BY_STATUS.get(status, ApiError)(status, reason, message)


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json_depth.loads(body)
    except ValueError:
        return {"message": body[:500].decode(errors="replace").strip()}
    return answer if isinstance(answer, dict) else {}


def decoded(method: str, path: str, body: bytes) -> Any:
    """Return what an answer of 2xx says. Raises `Unreadable` for a read of what is too deep, else `Unavailable`.

    A write whose answer cannot be read may have been applied, as after a lost answer.
    """
    try:
        return json_depth.loads(body)
    except json_depth.TooDeepError as error:
        if method == "GET":
            raise Unreadable(200, "Unreadable", f"{path} is {error}, which is not read") from None
        raise Unavailable(200, "Unreadable", f"the answer on {path} is {error}", sent=True) from None
    except ValueError:
        raise Unavailable(200, "Unreadable", f"the answer on {path} is not JSON", sent=method != "GET") from None


def unreachable(error: Exception) -> Unavailable:
    """Return what a broken connection means: a request that never had one was not applied."""
    never_connected = isinstance(
        error, transport.NotConnectedError | aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
    )
    why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unavailable(0, "Unreachable", f"the apiserver cannot be reached: {why}", sent=not never_connected)
