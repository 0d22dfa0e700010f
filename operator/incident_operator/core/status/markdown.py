"""Text from outside inside our Markdown: on one line, unable to start a link, HTML or code, or to steer a terminal."""

import re

from incident_operator.core import texts

_SPECIAL = re.compile(r"([\\`\[\]<>])")
_OPENS_A_BLOCK = re.compile(r"^(?=[#*+~-])")


def plain(text: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return _OPENS_A_BLOCK.sub(r"\\", _SPECIAL.sub(r"\\\1", texts.visible(text)))
