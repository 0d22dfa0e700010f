"""The dates of HTTP's headers (RFC 9110 §5.6.7): anybody's text, from which a moment in UTC comes or nothing. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def moment(text: str) -> datetime | None:
    """Return what a header says, in UTC; None where that is not a date. One without a zone is in UTC, as HTTP has it."""
    try:
        at = parsedate_to_datetime(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
