"""Names and values of labels as the apiserver takes them (RFC 1123), made from texts that may be too long or hold anything.

Whatever is made of somebody's text goes through here: it is cut, then trimmed to a letter or digit, then told apart by a hash
(`label_value`) or by an ending that the caller has (`with_ending`, `cut`).
"""

import hashlib
import re

LABEL_VALUE_LENGTH = 63
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NOT_IN_A_LABEL = re.compile(r"[^-A-Za-z0-9_.]")
_HASH = 8


def is_label_value(text: str) -> bool:
    """Tell whether a text can be the value of a label as it is."""
    return _LABEL_VALUE.fullmatch(text) is not None


def label_value(text: str) -> str:
    """Return a text as the value of a label: itself where it is one, else what can be kept of it and a hash of the whole."""
    if is_label_value(text):
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_HASH]
    kept = _NOT_IN_A_LABEL.sub("-", text)[: LABEL_VALUE_LENGTH - _HASH - 1].strip("-._")
    return f"{kept}-{digest}" if kept else digest


def with_ending(name: str, ending: str, longest: int) -> str:
    """Return `<name>-<ending>` as an object's name of at most `longest` characters: the object's `name` is cut, the ending never.

    `name` is an object's name, and `ending` lower-case letters and digits.
    """
    return f"{cut(name, longest - len(ending) - 1)}-{ending}"


def cut(name: str, longest: int) -> str:
    """Return an object's name, or as much of it as `longest` characters hold and still is one."""
    return name[:longest].rstrip("-.")
