"""Evaluates expressions for the operator, one at a time, each within its budget of memory and processor time.

Over the budget the process ends: no answer says what it was, but how it ended does.
"""

import socket
from datetime import datetime
from typing import Any

from incident_operator.clients import helper_process
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import NoAnswer, Program, Scope
from incident_operator.core.lru_cache import LRUCache
from incident_operator.helper import cap_memory, end_for_memory, start_clock, stop_clock

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
        cap_memory(hello["memory"])
        line.sendall(helper_process.encode({"ready": True}))
        _answer_all(line, hello["seconds"])
    except MemoryError:
        end_for_memory()
    except (BrokenPipeError, ConnectionResetError):
        return  # the operator is gone


def _answer_all(line: socket.socket, seconds: float) -> None:
    programs: LRUCache[tuple[str, str], Program] = LRUCache(_PROGRAMS, _PARTS)
    while True:
        text = _received_text(line)
        if text is None:
            return
        start_clock(seconds)
        reply = _reply(programs, helper_process.decode(text))
        stop_clock()
        line.sendall(reply)


def _reply(programs: LRUCache[tuple[str, str], Program], request: dict[str, Any]) -> bytes:
    program = _program(programs, request["scope"], request["source"])
    found = cel.evaluate_here(program, request["variables"], datetime.fromisoformat(request["now"]))
    if not isinstance(found, NoAnswer):
        return _fitting(helper_process.encode({"value": found}))
    if found.over_budget:
        raise MemoryError
    return helper_process.encode({"why": found.why, "missing": found.missing})


def _fitting(reply: bytes) -> bytes:
    if len(reply) <= MAX_ANSWER:
        return reply
    why = f"its result has {len(reply)} bytes; at most {MAX_ANSWER} are allowed"
    return helper_process.encode({"why": why, "missing": None})


def _program(programs: LRUCache[tuple[str, str], Program], scope: str, source: str) -> Program:
    known = programs.get((scope, source))
    if known is not None:
        return known
    made = cel.compile_value(source, Scope[scope])
    if not isinstance(made, Program):
        raise TypeError(made.message)  # the operator compiled the same
    programs.put((scope, source), made, made.parts)
    return made


def _warm_up() -> None:
    """Load what the library loads late, so that the memory limit is what an expression may take."""
    for scope in Scope:
        program = cel.compile_value("'a'.replace('a', 'b').matches('b')", scope)
        if isinstance(program, Program):
            cel.evaluate_here(program, {}, datetime.fromisoformat("2000-01-01T00:00:00+00:00"))


def _received(line: socket.socket) -> dict[str, Any] | None:
    text = _received_text(line)
    return None if text is None else helper_process.decode(text)


def _received_text(line: socket.socket) -> bytes | None:
    prefix = _exactly(line, helper_process.LENGTH.size)
    return None if prefix is None else _exactly(line, helper_process.length(prefix))


def _exactly(line: socket.socket, size: int) -> bytes | None:
    """Return the next bytes of the line; None where it ends first."""
    found = bytearray()
    while len(found) < size:
        part = line.recv(min(size - len(found), 1 << 20))
        if not part:
            return None
        found += part
    return bytes(found)
