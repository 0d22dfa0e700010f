"""Text from outside inside our Markdown: on one line, unable to start a link, HTML or code, or to steer a terminal."""

import re

from incident_operator.core import texts

_SPECIAL = re.compile(r"([\\`\[\]<>])")
_BLANKS = re.compile(r"\s+")


def plain(text: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return _SPECIAL.sub(r"\\\1", _BLANKS.sub(" ", texts.cleaned(text))).strip()
