"""Invented market data: the same for the same name and day."""

import hashlib


def price(name: str, day: str) -> float:
    """A price between 50 and 250 that drifts a little from day to day."""
    level = 50 + _number(name) % 20000 / 100
    return round(level * (1 + (_number(name + day) % 400 - 200) / 10000), 2)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
