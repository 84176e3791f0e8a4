"""An object store (moto, over HTTP) behind a proxy that misbehaves as it is told."""

from __future__ import annotations

import http.client
import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Literal

import boto3
import pytest
from moto.server import ThreadedMotoServer

Fault = Literal["500", "503", "cut", "short", "flip", "closed"]
"""An error; a body that ends too early; one whose length says so too; one with a wrong byte; no answer at all."""
BUCKET = "drives"
_BODIES = {
    "500": b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>",
    "503": b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
}


@dataclass
class FaultyStore:
    """The store; `plan` says what goes wrong with the n-th GET of a path (counted from 0), or None.

    `plan_writes` says the same of every other request: of its method, its path, and its number among those of both.
    """

    client: object
    plan: Callable[[str, int], Fault | None] = lambda path, number: None
    plan_writes: Callable[[str, str, int], Fault | None] = lambda method, path, number: None
    gets: dict[str, int] = field(default_factory=dict)
    writes: dict[tuple[str, str], int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, key: str, content: bytes | Path) -> None:
        """Upload past the proxy."""
        body = content.read_bytes() if isinstance(content, Path) else content
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)  # type: ignore[attr-defined] # boto3 has no types

    def next_fault(self, path: str) -> Fault | None:
        """Count a GET and say what goes wrong with it."""
        with self.lock:
            number = self.gets.get(path, 0)
            self.gets[path] = number + 1
        return self.plan(path, number)

    def next_write_fault(self, method: str, path: str) -> Fault | None:
        """Count any other request and say what goes wrong with it."""
        with self.lock:
            number = self.writes.get((method, path), 0)
            self.writes[method, path] = number + 1
        return self.plan_writes(method, path, number)


@contextmanager
def faulty_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    """Run a store for the block; the environment names its proxy as the AWS endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }.items():
        monkeypatch.setenv(name, value)
    reset = http.client.HTTPConnection(host, port)
    reset.request("POST", "/moto-api/reset")  # its buckets are the process's
    reset.getresponse().read()
    reset.close()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket=BUCKET)
    store = FaultyStore(client)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store, host, port))
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_address[1]}")
    try:
        yield store
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        client.close()
        server.stop()


class _Proxy(BaseHTTPRequestHandler):
    """Hands requests on to the store, or does not."""

    store: ClassVar[FaultyStore]
    host: ClassVar[str]
    port: ClassVar[int]

    def do_GET(self) -> None:
        self._serve(self.store.next_fault(self.path.partition("?")[0]), None)

    def do_HEAD(self) -> None:
        self._write()

    def do_PUT(self) -> None:
        self._write()

    def do_POST(self) -> None:
        self._write()

    def do_DELETE(self) -> None:
        self._write()

    def _write(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._serve(self.store.next_write_fault(self.command, self.path.partition("?")[0]), body)

    def _serve(self, fault: Fault | None, sent: bytes | None) -> None:
        if fault == "closed":
            self.close_connection = True
            return
        if fault in ("500", "503"):
            self._answer(int(fault), {"Content-Type": "application/xml"}, _BODIES[fault], None)
            return
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.request(self.command, self.path, sent, dict(self.headers))
        response = connection.getresponse()
        body = response.read()
        headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        connection.close()
        if self.command == "HEAD":
            self._head(response.status, {**headers, "Content-Length": response.getheader("Content-Length", "0")})
        else:
            self._answer(response.status, headers, body, fault)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        half = body[: len(body) // 2]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(half if fault == "short" else body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if fault == "flip":
            body = bytes([body[0] ^ 1]) + body[1:]
        if self.command != "HEAD":
            self.wfile.write(half if fault in ("cut", "short") else body)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def _handler(store: FaultyStore, host: str, port: int) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Proxy,), {"store": store, "host": host, "port": port})


_HOP_BY_HOP = frozenset({"content-length", "connection", "transfer-encoding", "date", "server"})


def every_third(path: str, number: int) -> Fault | None:
    """Plan: every third answer about a path is a fault, of a kind that depends on the path."""
    kinds: tuple[Fault, ...] = ("500", "503", "cut", "closed")
    return kinds[(zlib.crc32(path.encode()) + number) % len(kinds)] if number % 3 == 0 else None


def every_third_write(method: str, path: str, number: int) -> Fault | None:
    """Plan of writes: every third of a path is refused, in a way that depends on the path."""
    kinds: tuple[Fault, ...] = ("500", "503")
    return kinds[zlib.crc32(path.encode()) % 2] if number % 3 == 0 else None
