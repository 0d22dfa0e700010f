"""What text may be stored: which characters are no text, and how long texts are cut. Secrets are not looked for here."""

import hashlib
import json
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


def cut_counted(text: str, length: int) -> str:
    """Return the first `length` characters; behind a cut it stands how many the whole text has."""
    return text if len(text) <= length else f"{text[:length]}{_CUT} (cut; {len(text)} characters)"


def digest(text: str) -> str:
    """Return the SHA-256 of a text, written `sha256:…`."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def escaped(text: str, length: int) -> str:
    """Return hostile text for people: at most `length` of its characters, escapes for all that is not plain ASCII."""
    if len(text) <= length:
        return json.dumps(text)[1:-1]
    return json.dumps(text[: length - len(_CUT)])[1:-1] + _CUT


def quoted(text: str, length: int) -> str:
    """Return hostile text as `escaped` does, in double quotes."""
    return f'"{escaped(text, length)}"'


def _first(unwanted: re.Pattern[str], text: str) -> str | None:
    found = unwanted.search(text)
    return f"U+{ord(found.group()):04X}" if found else None
