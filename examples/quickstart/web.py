"""A web server whose requests wait in one line: more replicas, shorter lines. GET / works 50 ms, /metrics tells how long it took."""

import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORK_SECONDS = 0.05
METRICS = """# TYPE http_request_duration_seconds summary
http_request_duration_seconds_sum {seconds}
http_request_duration_seconds_count {count}
"""


class Web(BaseHTTPRequestHandler):
    """One page, its metrics, and a probe."""

    line = threading.Lock()
    seconds = 0.0
    count = 0

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.answer(METRICS.format(seconds=Web.seconds, count=Web.count))
        elif self.path == "/healthz":
            self.answer("ok\n")
        else:
            self.work()

    def work(self) -> None:
        began = time.monotonic()
        with Web.line:
            time.sleep(WORK_SECONDS)
            Web.seconds += time.monotonic() - began
            Web.count += 1
        self.answer("hello\n")

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("0.0.0.0", 8000), Web).serve_forever()
