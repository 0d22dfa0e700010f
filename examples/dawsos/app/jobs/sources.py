"""Fetches what a pack is made of. Every failure is a ProviderError that names the provider and what it answered."""

import json
import os
from urllib import error, request

TIMEOUT_SECONDS = 10
FX_SERIES = {"USD/EUR": "DEXUSEU", "USD/GBP": "DEXUSUK", "CAD/USD": "DEXCAUS"}


class ProviderError(Exception):
    """A provider did not deliver."""


def equity_prices(symbols: list[str], day: str) -> dict[str, float]:
    """Closing prices from Polygon."""
    answer = _get("polygon", f"/v2/aggs/grouped/locale/us/market/stocks/{day}?tickers={','.join(symbols)}")
    return {entry["T"]: entry["c"] for entry in answer["results"]}


def fund_prices(symbols: list[str]) -> dict[str, float]:
    """Fund quotes from FMP."""
    return {entry["symbol"]: entry["price"] for entry in _get("fmp", f"/api/v3/quote/{','.join(symbols)}")}


def fx_rates() -> dict[str, float]:
    """Exchange rates from FRED."""
    return {pair: _observation(series) for pair, series in FX_SERIES.items()}


def _observation(series: str) -> float:
    answer = _get("fred", f"/fred/series/observations?series_id={series}&sort_order=desc&limit=1")
    return float(answer["observations"][0]["value"])


def _get(provider: str, path: str):
    base, key = os.environ[f"URL_{provider.upper()}"], os.environ[f"KEY_{provider.upper()}"]
    asked = request.Request(base + path, headers={"Authorization": f"Bearer {key}"})
    try:
        with request.urlopen(asked, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)
    except error.HTTPError as problem:
        raise ProviderError(
            f"{provider} answered {problem.code} {problem.reason} to {path.partition('?')[0]}"
        ) from problem
    except OSError as problem:
        raise ProviderError(f"{provider} cannot be reached: {problem}") from problem
