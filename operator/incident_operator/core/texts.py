"""What text may be stored: which characters are no text, and how long texts are cut. Secrets are not looked for here."""

import re

_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but for tab and line ends, and halves of surrogate pairs: terminals obey the former, and UTF-8,
hence etcd and PostgreSQL, cannot hold the latter."""
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
_CUT = "…"


def not_text(text: str) -> str | None:
    """Return the first character that is not for people to read, written `U+0000`; None where all are fine."""
    return _first(_NOT_TEXT, text)


def not_storable(text: str) -> str | None:
    """Return the first character that no database takes (NUL, half a surrogate pair); None where there is none."""
    return _first(_NOT_STORABLE, text)


def cleaned(text: str) -> str:
    """Return the text with `U+FFFD` in place of every character that is not for people to read."""
    return _NOT_TEXT.sub("\ufffd", text)


def storable(text: str) -> str:
    """Return the text with `U+FFFD` in place of every character that no database takes."""
    return _NOT_STORABLE.sub("\ufffd", text)


def cut(text: str, length: int) -> str:
    """Return at most `length` characters; a cut is marked with an ellipsis."""
    return text if len(text) <= length else text[: length - len(_CUT)] + _CUT


def _first(unwanted: re.Pattern[str], text: str) -> str | None:
    found = unwanted.search(text)
    return f"U+{ord(found.group()):04X}" if found else None
