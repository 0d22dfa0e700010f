"""Takes JSON text apart without reading what is inside, however deep that is nested: one object must not spoil a list.

Ordinary decoders recurse, so a single object of a page that somebody nested a thousand times keeps the whole page from being
read. Here a page is split where its items begin and end, and nothing is decoded.
"""

import re
from collections.abc import Iterator

import msgspec


class Page(msgspec.Struct):
    """A page of a list, its items undecoded."""

    metadata: dict[str, str | int]
    items: list[msgspec.Raw] = []


class _Written(msgspec.Struct):
    metadata: dict[str, str | int]
    items: list[msgspec.Raw] | None = None
    """Null where there is none: the apiserver words an empty list of metadata so."""


_PAGE, _METADATA = msgspec.json.Decoder(_Written), msgspec.json.Decoder(dict[str, str | int])
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]', re.DOTALL)
_OPENS, _CLOSES = frozenset(b"[{"), frozenset(b"]}")


def page(text: bytes) -> Page:
    """Return a page of a list, whatever is in its items. Raises `ValueError` for what is not a page."""
    try:
        written = _PAGE.decode(text)
        return Page(written.metadata, written.items or [])
    except (msgspec.MsgspecError, RecursionError):
        parts = members(text)
    try:
        items = [msgspec.Raw(item) for item in elements(parts.get("items", b"[]"))]
        return Page(_METADATA.decode(parts["metadata"]), items)
    except (KeyError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a page of a list: {error}") from error


def members(text: bytes) -> dict[str, bytes]:
    """Return an object's members: name → text of the value. Raises `ValueError` where the text is not an object."""
    found: dict[str, bytes] = {}
    for part in _parts(text, b"{}"):
        name = _TOKEN.match(part)
        if name is None or not part[name.end() :].lstrip().startswith(b":"):
            raise ValueError("a member of the object has no name")
        _, _, value = part[name.end() :].partition(b":")
        found[name.group()[1:-1].decode(errors="replace")] = value.strip()
    return found


def elements(text: bytes) -> list[bytes]:
    """Return the texts of an array's elements. Raises `ValueError` where the text is not an array."""
    return list(_parts(text, b"[]"))


def _parts(text: bytes, brackets: bytes) -> Iterator[bytes]:
    """Yield what stands between the commas of the outermost brackets."""
    text = text.strip()
    if text[:1] + text[-1:] != brackets:
        raise ValueError(f"expected {brackets.decode()}, found {text[:1].decode(errors='replace') or 'nothing'}")
    depth, start = 0, 1
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark in _OPENS:
            depth += 1
        elif mark in _CLOSES:
            depth -= 1
        if (depth == 1 and mark == ord(",")) or depth == 0:
            if part := text[start : token.start()].strip():
                yield part
            start = token.end()
    if depth != 0:
        raise ValueError("the text ends before its brackets are closed")
