"""What every small server here needs: JSON answers, a bearer token, one line of log per request, a quick stop."""

import hmac
import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """A request handler that answers in JSON or plain text."""

    protocol_version = "HTTP/1.1"
    quiet = ("/healthz", "/metrics")

    def answer(self, status: int, body: Any, content_type: str = "application/json") -> None:
        """Send the whole response; anything that is not text is sent as JSON."""
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def bears(self, token: str) -> bool:
        """Whether the request carries this bearer token."""
        given = self.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave probes and scrapes out of the log."""
        if self.path not in self.quiet:
            super().log_request(code, size)


def serve(handler: type[Handler], port: int) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("0.0.0.0", port), handler).serve_forever()
