"""`python3 -m providers`: the three providers behind one port, told apart by their paths.

BROKEN names those that are down (`polygon,fmp`); DELAY_SECONDS is how long data takes; KEY_<PROVIDER> is its API key.
"""

import os
import time
from urllib.parse import parse_qs, urlsplit

from pricing import web

from providers import data

ROUTES = {"/v1/status": "polygon", "/v2/aggs/": "polygon", "/api/v3/quote/": "fmp", "/fred/series/observations": "fred"}


class Providers(web.Handler):
    """Answers as the provider to whom the path belongs."""

    def do_GET(self) -> None:  # noqa: N802
        if self.path == "/healthz":
            self.answer(200, {"status": "ok"})
            return
        provider = next((name for path, name in ROUTES.items() if self.path.startswith(path)), None)
        if provider is None:
            self.answer(404, {"status": "error", "error": f"no provider has {self.path}"})
        elif provider in os.environ.get("BROKEN", "").split(","):
            self.answer(503, {"status": "error", "error": f"{provider} is down for maintenance"})
        elif not self.bears(os.environ[f"KEY_{provider.upper()}"]):
            self.answer(401, {"status": "error", "error": "unknown API key"})
        else:
            self.answer(200, _data(self.path))


def _data(url: str) -> object:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    last = parts.path.rpartition("/")[2]
    if parts.path == "/v1/status":
        return {"status": "ok"}
    time.sleep(float(os.environ.get("DELAY_SECONDS", "0")))
    if parts.path.startswith("/v2/aggs/"):
        return {
            "status": "ok",
            "results": [{"T": name, "c": data.price(name, last)} for name in query["tickers"][0].split(",")],
        }
    if parts.path.startswith("/api/v3/quote/"):
        return [{"symbol": name, "price": data.price(name, "quote")} for name in last.split(",")]
    return {"observations": [{"date": "latest", "value": str(data.price(query["series_id"][0], "fx") / 100)}]}


if __name__ == "__main__":
    web.serve(Providers, 8000)
