"""A small Prometheus: evaluates nothing, but speaks the protocol of range queries, its limit, its errors and its NaN."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

LIMIT = 11_000


def of_container(namespace: str, pod: str, container: str) -> tuple[tuple[str, str], ...]:
    """Return the labels of a container's series."""
    return ("namespace", namespace), ("pod", pod), ("container", container)


@dataclass
class FakePrometheus:
    """What it holds: samples by a part of the query and by labels."""

    samples: dict[str, dict[tuple[tuple[str, str], ...], dict[float, str]]] = field(default_factory=dict)
    token: str | None = None
    busy: int = 0
    raw: bytes | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    def answer(self, form: dict[str, str], sent: str | None) -> tuple[int, bytes]:
        self.asked.append(form)
        if self.busy:
            self.busy -= 1
            return 503, b"busy"
        if self.token and sent != f"Bearer {self.token}":
            return 401, b"who are you?"
        if self.raw is not None:
            return 200, self.raw
        first, last, step = (float(form[name]) for name in ("start", "end", "step"))
        if math.floor((last - first) / step) + 1 > LIMIT:
            said = "exceeded maximum resolution of 11,000 points per timeseries."
            return 400, json.dumps({"status": "error", "errorType": "bad_data", "error": said}).encode()
        result: list[dict[str, Any]] = []
        for labels, points in self._of(form["query"]).items():
            values = [[at, value] for at, value in sorted(points.items()) if first <= at <= last]
            if values:
                result.append({"metric": dict(labels), "values": values})
        data = {"resultType": "matrix", "result": result}
        return 200, json.dumps({"status": "success", "data": data}).encode()

    def _of(self, query: str) -> dict[tuple[tuple[str, str], ...], dict[float, str]]:
        return next((found for part, found in self.samples.items() if part in query), {})


@contextmanager
def serving(prometheus: FakePrometheus) -> Iterator[str]:
    """Serve on loopback; give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            assert self.path == "/api/v1/query_range"
            status, content = prometheus.answer(form, self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
