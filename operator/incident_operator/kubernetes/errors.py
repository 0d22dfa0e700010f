"""What a call to the apiserver can end in, sorted by what the caller can do about it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import aiohttp
import msgspec

from incident_operator.core import reasons
from incident_operator.core.outcomes import Failure, bounded_retry_after
from incident_operator.core.sanitize import MOST, TooDeepError, loads
from incident_operator.kubernetes import transport

_REJECTED = "the server rejected our request due to an error in our request"
"""How the apiserver words a JSON patch that does not apply (`NewGenericServerResponse` in apimachinery, code 422)."""


class ApiError(Failure):
    """The apiserver refused, or did not answer; subclasses say what a caller can do about it."""

    means: ClassVar[str] = reasons.BAD_REQUEST
    """The `reason` of such a failure."""
    passes: ClassVar[bool] = False
    """Whether the same request may work later."""

    def __init__(self, status: int, status_reason: str, message: str, *, maybe_applied: bool = False) -> None:
        super().__init__(self.means, message, retryable=self.passes, maybe_applied=maybe_applied)
        self.status = status
        """HTTP status; 0 where no answer came."""
        self.status_reason = status_reason
        """`Status.reason`, e.g. `NotFound`."""


class NotFound(ApiError):
    """The object (or its kind) does not exist."""

    means = reasons.NOT_FOUND
    passes = True


class NotServed(NotFound):
    """Nothing is served at that path just now, which says nothing about the object."""


class AlreadyExists(ApiError):
    """An object of that name exists; it may be ours."""

    means = reasons.CONFLICT
    passes = True


class Conflict(ApiError):
    """The object is not as the caller believed: read it again. Nothing was written."""

    means = reasons.CONFLICT
    passes = True


class Forbidden(ApiError):
    """The caller (or the account it acts as) lacks a permission, or an admission policy denies it."""

    means = reasons.FORBIDDEN


class Invalid(ApiError):
    """The request itself is wrong; sending it again cannot help."""


class Unreadable(ApiError):
    """What was asked for is there, and nested too deep to be read."""


class TooLarge(Unreadable):
    """What was asked for is there, and longer than is read; reading stopped at the limit."""

    means = reasons.RESPONSE_TOO_LARGE


class Unavailable(ApiError):
    """No answer, or one that says "later"; `maybe_applied` tells whether the request may have been carried out all the same."""

    means = reasons.CONNECTION_FAILED
    passes = True

    def __init__(self, status: int, status_reason: str, message: str, *, maybe_applied: bool) -> None:
        super().__init__(status, status_reason, message, maybe_applied=maybe_applied)


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def of_answer(status: int, body: bytes, *, tested: bool = False, writes: bool = True) -> ApiError:
    """Return the error that an answer stands for.

    `tested` says that the request was a JSON patch with a `test`; `writes` that it could change anything at all.
    """
    answer = _status_object(body)
    reason = str(answer.get("reason") or "Unknown")
    message = str(answer.get("message") or f"the apiserver answered {status}")
    if status in {401, 429} or status >= 500:
        error = Unavailable(status, reason, message, maybe_applied=writes and status >= 500)
        error.after = _asked(answer)
        return error
    if status == 404 and not _names_an_object(answer):
        return NotServed(status, reason, message)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message)
    if status == 422 and tested and message.startswith(_REJECTED):
        return Conflict(status, reason, "the object changed since it was read")
    return _BY_STATUS.get(status, ApiError)(status, reason, message)


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = loads(body)
    except ValueError:
        return {"message": body[:500].decode(errors="replace").strip()}
    return answer if isinstance(answer, dict) else {}


def _asked(answer: Mapping[str, Any]) -> float:
    """Return the seconds after which an answer says to come again; 0 where it does not."""
    details = answer.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return bounded_retry_after(float(seconds)) if isinstance(seconds, int) else 0.0


def _names_an_object(answer: Mapping[str, Any]) -> bool:
    """Whether a 404 is about an object: of a group that is not served, or from a proxy, it names none."""
    details = answer.get("details")
    return answer.get("reason") == "NotFound" and isinstance(details, dict) and bool(details.get("name"))


def decoded(method: str, path: str, body: bytes, *, writes: bool | None = None, depth: int = MOST) -> Any:
    """Return what an answer of 2xx says. Raises `Unreadable` for a read of what is too deep, else `Unavailable`.

    A write whose answer cannot be read may have been applied, as after a lost answer.
    """
    changes = method != "GET" if writes is None else writes
    try:
        return loads(body, depth)
    except TooDeepError as error:
        if not changes:
            raise Unreadable(200, "Unreadable", f"{path} is {error}, which is not read") from None
        raise unreadable(f"the answer on {path} is {error}") from None
    except ValueError:
        raise unreadable(f"the answer on {path} is not JSON", writes=changes) from None


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str


class _Written(msgspec.Struct):
    metadata: _Metadata


_WRITTEN = msgspec.json.Decoder(_Written)


def version_written(path: str, body: bytes) -> str:
    """Return the resourceVersion in the answer to a write, and read nothing else. Raises `Unavailable`: it may have been applied."""
    try:
        return _WRITTEN.decode(body).metadata.resource_version
    except (msgspec.MsgspecError, RecursionError):
        raise unreadable(f"the answer on {path} has no resourceVersion") from None


def unreachable(error: Exception, *, writes: bool = True) -> Unavailable:
    """Return what a broken connection means: a request that never had one was not applied."""
    never_connected = isinstance(
        error, transport.NotConnectedError | aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
    )
    why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    told = f"the apiserver cannot be reached: {why}"
    return Unavailable(0, "Unreachable", told, maybe_applied=writes and not never_connected)


def too_large(path: str, most: int) -> TooLarge:
    """Return what a read means that was stopped at `most` bytes."""
    return TooLarge(200, "TooLarge", f"{path} has more than {most} bytes, which is not read")


def unreadable(what: str, *, writes: bool = True) -> Unavailable:
    """Return what an answer means that is none of an apiserver's, although it says that all went well."""
    return Unavailable(0, "Unreadable", f"the apiserver sent what cannot be read: {what}", maybe_applied=writes)


def acting_as(error: ApiError, namespace: str, service_account: str) -> ApiError:
    """Return the error as an account that is impersonated met it: where that itself is refused, how a namespace opts in."""
    if not isinstance(error, Forbidden) or " cannot impersonate " not in error.message:
        return error
    whom = f"service account {service_account} in {namespace}"
    told = f"the operator may not act as {whom}; bind its impersonator role there ({error.message})"
    return Forbidden(error.status, error.status_reason, told)
