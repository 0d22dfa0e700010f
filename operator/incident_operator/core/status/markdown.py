"""Text from outside inside our Markdown: on one line, unable to start a link, HTML or code, or to steer a terminal."""

import re

from incident_operator.core import texts

_SPECIAL = re.compile(r"([\\`\[\]<>])")
_TICKS = re.compile(r"`+")
_OPENS_A_BLOCK = re.compile(r"^(?=[#*+~-])")


def plain(text: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return _OPENS_A_BLOCK.sub(r"\\", _SPECIAL.sub(r"\\\1", texts.visible(text)))


def code(text: str) -> str:
    """Return the text as a code span, in which nothing but its own end means anything; empty stays empty."""
    told = texts.visible(text)
    if not told:
        return ""
    fence = "`" * (max((len(run) for run in _TICKS.findall(told)), default=0) + 1)
    room = " " if "`" in {told[0], told[-1]} else ""
    return f"{fence}{room}{told}{room}{fence}"


def cell(written: str) -> str:
    """Return Markdown as it stands in one cell of a table."""
    return written.replace("|", "\\|")
