"""Text from outside inside our Markdown: on one line, and unable to start a link, HTML or code."""

import re

_SPECIAL = re.compile(r"([\\`\[\]<>])")
_BLANKS = re.compile(r"\s+")


def plain(text: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return _SPECIAL.sub(r"\\\1", _BLANKS.sub(" ", text)).strip()
