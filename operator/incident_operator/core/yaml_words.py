"""What a plain word of YAML is to the cluster: kubectl reads YAML 1.1 as go-yaml v2 does, and makes JSON of it.

`y`, `n`, `yes`, `no`, `on` and `off` are booleans, `0755` is octal, `12:30` and a date stay texts, and a key that is not a text is made
one: `n` becomes `false`.
"""

import math
import re
import struct
from typing import Any

_BOOLEANS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_FINITE = {
    **dict.fromkeys((".nan", ".NaN", ".NAN"), "nan"),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), "inf"),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), "-inf"),
}
_KEYS_OF_NOT_FINITE = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}
_DATE = re.compile(r"[0-9]{4}-")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|0[bB]([01]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])_(?=[0-9])")
_LARGEST, _SMALLEST = 2**64 - 1, -(2**63)
_WHOLE = 2.0**63
"""A whole float below this is an integer to the cluster: JSON does not tell them apart."""
_SINGLE_DIGITS = 9
"""That tell any float of 32 bits from its neighbours."""


def value_of(word: str) -> Any:
    """Return what an unquoted word is: a boolean, None, an int, a float (maybe not finite), or the text itself. Never raises."""
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if word in _NULLS:
        return None
    if word in _NOT_FINITE:
        return float(_NOT_FINITE[word])
    if word[0] == ".":
        return _float(_BETWEEN_DIGITS.sub("", word), word)
    if word[0] not in "+-0123456789" or _DATE.match(word):
        return word
    return _number(word)


def key_of(value: Any) -> str | None:
    """Return the text that a key becomes; None where the cluster takes no such key."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value < 2**63 else None
        case float():
            return _KEYS_OF_NOT_FINITE.get(repr(value)) or _single(value)
        case _:
            return None


def in_json(value: Any) -> Any:
    """Return a value as JSON has it once it was written and read: a whole float is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE else value


def is_boolean_word(word: str) -> bool:
    """Tell whether an unquoted word is read as a boolean and does not look like one: `y`, `no`, `on`."""
    return word in _BOOLEANS and word.lower() not in {"true", "false"}


def _number(word: str) -> Any:
    plain = word.replace("_", "")
    found = _INTEGER.fullmatch(plain)
    if found is None:
        return _float(plain, word)
    sign, *digits = found.groups()
    number = next(int(each, base) for each, base in zip(digits, (16, 8, 2, 10), strict=True) if each is not None)
    number = -number if sign == "-" else number
    if _SMALLEST <= number <= (_LARGEST if not sign else 2**63 - 1):
        return number
    return _float(plain, word)


def _float(plain: str, word: str) -> Any:
    number = float(plain) if _FLOAT.fullmatch(plain) else math.inf
    return number if math.isfinite(number) else word


def _single(value: float) -> str:
    """Write a float as Go does with 32 bits and as few digits as tell it."""
    single = _rounded(value)
    digits = next(n for n in range(1, _SINGLE_DIGITS + 1) if _rounded(float(f"{value:.{n - 1}e}")) == single)
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific.partition("e")[2])
    return f"{value:.{max(digits - 1 - exponent, 0)}f}" if -4 <= exponent < 6 else scientific


def _rounded(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
