"""`python3 -m api`: POST /execute, GET /metrics, GET /healthz on port 8000. API_TOKEN is what clients have to bear."""

import json
import os

import psycopg
from pricing import database, web

from api import freshness

MAX_BODY = 64 * 1024


class Api(web.Handler):
    """The public face of the platform."""

    def do_GET(self) -> None:  # noqa: N802
        if self.path == "/healthz":
            self.answer(200, {"status": "ok"})
        elif self.path == "/metrics":
            self._metrics()
        else:
            self.answer(404, {"error": "no such page"})

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), MAX_BODY))
        if self.path != "/execute":
            self.answer(404, {"error": "no such page"})
        elif not self.bears(os.environ["API_TOKEN"]):
            self.answer(401, {"error": "a bearer token is needed"})
        elif (pattern := _pattern(body)) is None:
            self.answer(400, {"error": "expected a JSON object with pattern_id and portfolio_id"})
        else:
            self._execute(pattern)

    def _execute(self, pattern: str) -> None:
        try:
            with database.connect() as connection:
                pack = freshness.fresh_pack(connection)
        except psycopg.Error:
            self.answer(500, {"error": "the database does not answer"})
            return
        if pack is None:
            self.answer(503, {"error": "Pricing pack warming in progress"})
            return
        valued = {
            "pattern_id": pattern,
            "pricing_pack_id": pack.id,
            "asof_date": pack.date,
            "securities": pack.securities,
        }
        self.answer(200, valued)

    def _metrics(self) -> None:
        try:
            with database.connect() as connection:
                self.answer(200, freshness.metrics(connection), "text/plain; version=0.0.4")
        except psycopg.Error:
            self.answer(500, {"error": "the database does not answer"})


def _pattern(body: bytes) -> str | None:
    try:
        given = json.loads(body)
    except ValueError:
        return None
    return given["pattern_id"] if isinstance(given, dict) and {"pattern_id", "portfolio_id"} <= given.keys() else None


if __name__ == "__main__":
    web.serve(Api, 8000)
