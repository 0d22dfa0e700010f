"""Logging: structlog everywhere, JSON for machines and colours for a terminal; library logs go the same way."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog

Clean = Callable[[Any], Any]
"""Returns decoded JSON with credentials masked in its texts."""
_NAMES = frozenset({"namespace", "incident", "runbook", "step", "connection", "name", "level", "timestamp"})
"""Keys whose values are names: a mask would hide what the line is about."""


def configure(log_format: str, clean: Clean = lambda told: told) -> None:
    """Set up logging for the process. `clean` masks credentials in what is about to be written, but for names.

    Our own lines go straight to standard error; `logging` is for those of libraries, of which there are few.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _masking(clean),
    ]
    renderer = structlog.processors.JSONRenderer(_as_json) if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        # our own lines do not pass through the standard library's logging, which costs more than an alert does
        processors=[*shared, renderer],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("kopf").setLevel(logging.WARNING)


def _as_json(entry: dict[str, Any], **_: Any) -> str:
    try:
        return orjson.dumps(entry).decode()
    except TypeError:
        # a half of a surrogate pair, or a number beyond 64 bits: a line is told all the same
        return json.dumps(entry, default=str)


def _masking(clean: Clean) -> Callable[[Any, str, Any], Any]:
    def mask(_logger: Any, _method: str, entry: dict[str, Any]) -> dict[str, Any]:
        told = {key: _plain(value) for key, value in entry.items() if key not in _NAMES and not key.startswith("_")}
        return {**entry, **clean(told)}

    return mask


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a text, where it has none."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            return str(value)
