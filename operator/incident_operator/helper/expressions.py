"""Evaluates expressions for the operator, one at a time, each within its budget of memory and processor time.

Over the budget the process ends: no answer says what it was, but how it ended does.
"""

import socket
from datetime import datetime
from typing import Any

from incident_operator.clients import frames
from incident_operator.core.expressions import expr
from incident_operator.core.expressions.expr import NoAnswer, Program, Scope
from incident_operator.core.lru_cache import LRUCache
from incident_operator.helper import limits

_PROGRAMS, _PARTS = 256, 128 * 1024
"""Programs that are kept, and their parts together: about 20 MiB, which count as those of whatever is evaluated next."""
MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer as JSON; no field of a Runbook and no status takes as much."""


def serve(line: socket.socket) -> None:
    """Answer until the line ends. The first request sets the limits."""
    try:
        hello = _received(line)
        if hello is None:
            return
        _warm_up()
        limits.cap_memory(hello["memory"])
        line.sendall(frames.encode({"ready": True}))
        _answer_all(line, hello["seconds"])
    except MemoryError:
        limits.end_for_memory()
    except (BrokenPipeError, ConnectionResetError):
        return  # the operator is gone


def _answer_all(line: socket.socket, seconds: float) -> None:
    programs: LRUCache[tuple[str, str], Program] = LRUCache(_PROGRAMS, _PARTS)
    while True:
        text = _received_text(line)
        if text is None:
            return
        limits.start_clock(seconds)
        reply = _reply(programs, frames.decode(text))
        limits.stop_clock()
        line.sendall(reply)


def _reply(programs: LRUCache[tuple[str, str], Program], request: dict[str, Any]) -> bytes:
    program = _program(programs, request["scope"], request["source"])
    found = expr.evaluate_here(program, request["variables"], datetime.fromisoformat(request["now"]))
    if not isinstance(found, NoAnswer):
        return _fitting(frames.encode({"value": found}))
    if found.over_budget:
        raise MemoryError
    return frames.encode({"why": found.why, "missing": found.missing})


def _fitting(reply: bytes) -> bytes:
    if len(reply) <= MAX_ANSWER:
        return reply
    why = f"its result has {len(reply)} bytes; at most {MAX_ANSWER} are allowed"
    return frames.encode({"why": why, "missing": None})


def _program(programs: LRUCache[tuple[str, str], Program], scope: str, source: str) -> Program:
    known = programs.get((scope, source))
    if known is not None:
        return known
    made = expr.compile_value(source, Scope[scope])
    if not isinstance(made, Program):
        raise TypeError(made.message)  # the operator compiled the same
    programs.put((scope, source), made, made.parts)
    return made


def _warm_up() -> None:
    """Load what the library loads late, so that the memory limit is what an expression may take."""
    for scope in Scope:
        program = expr.compile_value("'a'.replace('a', 'b').matches('b')", scope)
        if isinstance(program, Program):
            expr.evaluate_here(program, {}, datetime.fromisoformat("2000-01-01T00:00:00+00:00"))


def _received(line: socket.socket) -> dict[str, Any] | None:
    text = _received_text(line)
    return None if text is None else frames.decode(text)


def _received_text(line: socket.socket) -> bytes | None:
    prefix = _exactly(line, frames.LENGTH.size)
    return None if prefix is None else _exactly(line, frames.length(prefix))


def _exactly(line: socket.socket, size: int) -> bytes | None:
    """Return the next bytes of the line; None where it ends first."""
    found = bytearray()
    while len(found) < size:
        part = line.recv(min(size - len(found), 1 << 20))
        if not part:
            return None
        found += part
    return bytes(found)
