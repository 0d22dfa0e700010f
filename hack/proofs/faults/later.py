"""Operators that live days later: what expires in that time can be waited for."""

from datetime import timedelta

from incident_operator import app


def apply(days: str) -> None:
    """Move the only clock that decisions see."""
    right, ahead = app.clock, timedelta(days=int(days))
    app.clock = lambda: right() + ahead
