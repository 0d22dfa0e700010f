"""The sample's own programs: calendar, providers, and the log that the Runbook reads."""

import importlib
import sys
import threading
from datetime import UTC, date, datetime
from http.server import ThreadingHTTPServer

import pytest
import re2

from tests.examples import shipped

APP = shipped.EXAMPLES / "dawsos" / "app"


@pytest.fixture
def app(monkeypatch):
    """Imports the sample's modules, whose names are too plain to stay on the import path of all tests."""
    monkeypatch.syspath_prepend(str(APP))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"api", "jobs", "pricing", "providers"}:
            del sys.modules[name]


@pytest.fixture
def providers(app, monkeypatch):
    """All three providers on one loopback port, and the environment that a scheduler has."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), app("providers.__main__").Providers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("POLYGON", "FMP", "FRED"):
        monkeypatch.setenv(f"URL_{name}", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv(f"KEY_{name}", "key")
    yield app("jobs.sources")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_pack_is_made_of_prices_and_rates_of_all_three(providers):
    assert providers.equity_prices(["AAPL", "MSFT"], "2025-10-21").keys() == {"AAPL", "MSFT"}
    assert providers.fund_prices(["SPY"]).keys() == {"SPY"}
    assert providers.fx_rates().keys() == {"USD/EUR", "USD/GBP", "CAD/USD"}


def test_prices_are_the_same_for_the_same_day_and_others_the_next(providers):
    monday, again, tuesday = (providers.equity_prices(["AAPL"], f"2025-10-{day}") for day in (20, 20, 21))
    assert monday == again != tuesday


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        pytest.param("BROKEN", "polygon", "^polygon answered 503 Service Unavailable to /v2/aggs/", id="down"),
        pytest.param("URL_POLYGON", "http://127.0.0.1:1", "^polygon cannot be reached", id="unreachable"),
    ],
)
def test_an_outage_is_told_by_the_providers_name(providers, monkeypatch, variable, value, complaint):
    monkeypatch.setenv(variable, value)
    with pytest.raises(providers.ProviderError, match=complaint):
        providers.equity_prices(["AAPL"], "2025-10-21")
    assert providers.fund_prices(["SPY"])


class Connection:
    """A database in which nothing is stored yet."""

    autocommit = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    transaction = cursor = __enter__

    def execute(self, statement, _params=None):
        self.found = [("AAPL",)] if "symbol_mapping" in statement else []
        return self

    def executemany(self, _statement, _rows):
        return None

    def fetchone(self):
        return None

    def __iter__(self):
        return iter(self.found)


@pytest.fixture
def build(app, providers, monkeypatch):
    job = app("jobs.build_pack")
    monkeypatch.setattr(job.database, "connect", Connection)
    return job


def read_by_the_runbook(lines):
    """What the step job-log would find in these lines."""
    spec = next(each["spec"] for each in shipped.of_kind("Runbook") if each["metadata"]["namespace"] == "prod")
    pattern = re2.compile(spec["diagnose"][0]["logs"]["pattern"])
    return [match.groupdict() for line in lines if (match := pattern.search(line))]


def written(caplog):
    return [f"2025-10-21 00:00:01,000 {each.levelname} {each.name} {each.getMessage()}" for each in caplog.records]


def test_the_runbook_reads_every_step_of_a_build(build, caplog):
    caplog.set_level("INFO")
    assert build.run(date(2025, 10, 21), force=True)
    found = read_by_the_runbook(written(caplog))
    assert {each["pack"] for each in found} == {"PP-2025-10-21"}
    assert [each["step"] for each in found] == [
        "started",
        "prices fetched",
        "FX rates fetched",
        "hash computed",
        "built",
    ]


def test_the_runbook_reads_how_far_a_failed_build_came_and_why(build, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setenv("BROKEN", "fred")
    assert not build.run(date(2025, 10, 21), force=True)
    found = read_by_the_runbook(written(caplog))
    assert [each["step"] for each in found] == ["started", "prices fetched", "failed"]
    assert found[-1]["detail"] == "fred answered 503 Service Unavailable to /fred/series/observations"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2025-10-21T13:00", "2025-10-22T00:00"),
        ("2025-10-21T00:00", "2025-10-22T00:00"),
        ("2025-10-21T23:59", "2025-10-22T00:00"),
    ],
)
def test_the_next_night_is_never_now_and_never_more_than_a_day_away(app, after, expected):
    moment = datetime.fromisoformat(after).astimezone()
    assert app("pricing.calendar").next_run("00:00", moment) == datetime.fromisoformat(expected).astimezone()


def test_the_due_day_may_be_pinned(app, monkeypatch):
    monkeypatch.setenv("PRICING_DATE", "2025-10-21")
    calendar = app("pricing.calendar")
    assert calendar.pricing_date() == date(2025, 10, 21)
    assert calendar.due_at(date(2025, 10, 21)).astimezone(UTC) == datetime(2025, 10, 21, 0, 15).astimezone(UTC)
