"""Lists by pages of so many bytes, whatever an object weighs: what a namespace stores is never all in memory at once.

A page is asked for by a number of objects, for the apiserver knows no other size. Where its bytes are more than a page may
have, reading stops there and fewer objects are asked for, from the same place; where they are few, more are.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from incident_operator.clients import api_errors, raw_json

PAGE_BYTES = 4 * 1024 * 1024
"""Of one page with several objects."""
OBJECT_BYTES = 8 * 1024 * 1024
"""Of one object, or a page with only one; etcd keeps no object of this size."""
MOST_OBJECTS = 500
_FEWER, _MORE = 8, 2

Read = Callable[[Mapping[str, str], int], Awaitable[bytes]]
"""Asks for a page by its query, and returns at most so many bytes of it. Raises `api_errors.TooLarge` where there are more."""


async def pages(read: Read, query: Mapping[str, str], most: int = MOST_OBJECTS) -> AsyncIterator[raw_json.Page]:
    """Yield the pages of a list, their items undecoded, with `most` objects each at first. Raises what `read` does."""
    asked, limit = dict(query), most
    while True:
        try:
            text = await read({**asked, "limit": str(limit)}, PAGE_BYTES if limit > 1 else OBJECT_BYTES)
        except api_errors.TooLarge:
            if limit == 1:
                raise
            limit = max(1, limit // _FEWER)
            continue
        page = _page(text)
        if len(text) < PAGE_BYTES // (2 * _MORE):
            limit = min(most, limit * _MORE)
        asked["continue"] = str(page.metadata.get("continue") or "")
        yield page
        if not asked["continue"]:
            return
        del page, text  # so that it is not in memory beside the next one


def _page(text: bytes) -> raw_json.Page:
    try:
        return raw_json.page(text)
    except ValueError as error:
        raise api_errors.unreadable(f"it is not a list: {error}", writes=False) from None
