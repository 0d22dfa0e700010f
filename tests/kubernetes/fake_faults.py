"""What goes wrong with a request to the fake apiserver, on demand."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.kubernetes.fake_routes import Request
from tests.kubernetes.fake_store import RefusedError


class Fault(Enum):
    """How a request goes wrong."""

    REPLY_LOST = "applied or refused, but the connection breaks before the answer"
    DROPPED = "the connection breaks before anything is applied"
    SILENT = "applied or refused, but no answer ever comes"
    CUT_SHORT = "a stream begins, and the connection breaks"
    NO_END = "a stream ends without its last word"
    UNAUTHORIZED = 401
    FORBIDDEN = 403
    CONFLICT = 409
    GONE = 410
    INVALID = 422
    TOO_MANY_REQUESTS = 429
    INTERNAL_ERROR = 500
    SERVICE_UNAVAILABLE = 503


@dataclass(slots=True)
class _Injected:
    act: Fault | Callable[[], object]
    method: str
    path: str
    left: int

    def takes(self, request: Request) -> bool:
        return self.left > 0 and self.method in {"", request.method} and self.path in request.path


class Faults:
    """What is to go wrong, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._injected: list[_Injected] = []
        self.headers: dict[str, str] = {}
        """What refusals carry, e.g. `Retry-After`."""

    def add(self, act: Fault | Callable[[], object], method: str, path: str, times: int) -> None:
        """Let the next `times` matching requests meet a fault, or a moment at which something else happens."""
        self._injected.append(_Injected(act, method, path, times))

    def strike(self, request: Request) -> Fault | None:
        """Return how the connection breaks, if it does; raises `RefusedError` for a fault that is an answer."""
        for injected in [one for one in self._injected if one.takes(request)]:
            injected.left -= 1
            if not isinstance(injected.act, Fault):
                injected.act()
                continue
            if isinstance(injected.act.value, int):
                raise RefusedError(injected.act.value, "Injected", f"injected by the test: {injected.act.name}")
            return injected.act
        return None
