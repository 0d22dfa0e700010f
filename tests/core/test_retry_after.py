"""How long a service asks to be left alone: seconds or a date, and never longer than is obeyed."""

import pytest

from incident_operator.core.outcomes import bounded_retry_after, retry_after_seconds

DATE = "Tue, 21 Oct 2025 12:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("99999999999999999999", 300.0),
        ("9" * 400, 300.0),
        ("Tue, 21 Oct 2025 12:00:30 GMT", 30.0),
        ("Tuesday, 21-Oct-25 12:00:30 GMT", 30.0),
        ("Tue Oct 21 12:00:30 2025", 30.0),
        ("Tue, 21 Oct 2025 11:00:00 GMT", 0.0),
        ("Tue, 21 Oct 2099 11:00:00 GMT", 300.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("nan", 0.0),
        ("٣", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_a_header_asks_for_bounded_seconds(header, seconds):
    headers = {"Date": DATE} if header is None else {"Date": DATE, "retry-AFTER": header}
    assert retry_after_seconds(headers) == seconds


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_date_says_nothing_where_it_is_not_known_what_time_it_is_there(date):
    assert retry_after_seconds({"Retry-After": "Tue, 21 Oct 2025 12:00:30 GMT", "Date": date}) == 0.0


@pytest.mark.parametrize(
    ("asked", "obeyed"), [(-1.0, 0.0), (5.0, 5.0), (1e9, 300.0), (float("inf"), 300.0), (float("nan"), 0.0)]
)
def test_what_is_asked_for_is_obeyed_within_bounds(asked, obeyed):
    assert bounded_retry_after(asked) == obeyed
