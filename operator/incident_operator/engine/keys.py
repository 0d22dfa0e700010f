"""What work is named by."""

from typing import NamedTuple


class Key(NamedTuple):
    """An object of a namespace."""

    namespace: str
    name: str
