"""A small Kubernetes API server on loopback, over real HTTP, for the door of server-side apply.

It is no Kubernetes: it holds objects in memory, knows discovery, get, list by label, delete and apply, and no schema, no
admission and no controller. What it does of apply is what the door relies on: who owns which field, conflicts, a version
that changes only when the object does, and a kind that is served only from a moment on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import yaml

Path_ = tuple[str, ...]


def plural(kind: str) -> str:
    low = kind.lower()
    if low.endswith("s"):
        return low + "es"
    return low[:-1] + "ies" if low.endswith("y") else low + "s"


def leaves(value: Any, at: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Give every field with its value; a list is one field."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*at, key))
    else:
        yield at, value


@dataclass
class FakeApiServer:
    """Objects by resource, namespace and name.

    Attributes:
        kinds: Served kinds: (api version, kind) -> whether it lives in a namespace.
        objects: What there is.
        owners: By object, field and owner.
        requests: Method and path of everything asked, in order.
        broken: How many applies from now on are answered with 500, as where a webhook's pods are not there yet.
        forbidden: Paths of objects that may not be applied.
    """

    kinds: dict[tuple[str, str], bool]
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    owners: dict[tuple[str, str, str], dict[Path_, str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    broken: int = 0
    forbidden: set[str] = field(default_factory=set)
    versions: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    @contextmanager
    def running(self) -> Iterator[FakeApiServer]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def kubeconfig(self, path: Path, context: str = "test") -> Path:
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": "of-a-test"}}],
            "contexts": [{"name": context, "context": {"cluster": "test", "user": "test"}}],
            "current-context": context,
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, dict[str, Any]]:
        parsed = urlparse(url)
        query = {key: values[0] for key, values in parse_qs(parsed.query).items()}
        with self.lock:
            self.requests.append((method, parsed.path))
            parts = parsed.path.strip("/").split("/")
            if parts == ["version"]:
                return 200, {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
            if parts == ["api"]:
                return 200, {"kind": "APIVersions", "versions": ["v1"]}
            if parts == ["apis"]:
                return 200, self._groups()
            version, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
            if not rest:
                return self._resources(version)
            return self._object(method, version, rest, query, body)

    def _groups(self) -> dict[str, Any]:
        groups: dict[str, list[str]] = {}
        for version, _ in self.kinds:
            if "/" in version and version not in groups.setdefault(version.split("/")[0], []):
                groups[version.split("/")[0]].append(version)
        return {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": name,
                    "versions": [{"groupVersion": item, "version": item.split("/")[1]} for item in versions],
                    "preferredVersion": {"groupVersion": versions[0], "version": versions[0].split("/")[1]},
                }
                for name, versions in groups.items()
            ],
        }

    def _resources(self, version: str) -> tuple[int, dict[str, Any]]:
        found = [
            {
                "name": plural(kind),
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": namespaced,
                "verbs": ["get", "list", "patch", "delete"],
            }
            for (api, kind), namespaced in self.kinds.items()
            if api == version
        ]
        if not found:
            return _status(404, "NotFound", f"{version} is not served")
        return 200, {"kind": "APIResourceList", "groupVersion": version, "resources": found}

    def _object(
        self, method: str, version: str, rest: list[str], query: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource = f"{version}/{rest[0]}"
        kind = next((kind for (api, kind) in self.kinds if api == version and plural(kind) == rest[0]), None)
        if kind is None:
            return _status(404, "NotFound", f"{resource} is not served")
        if len(rest) == 1:
            return 200, self._list(resource, kind, version, query)
        key = (resource, namespace, rest[1])
        if method == "PATCH":
            return self._apply(key, query, yaml.safe_load(body))
        if key not in self.objects:
            return _status(404, "NotFound", f"{rest[0]} {rest[1]!r} not found")
        if method == "DELETE":
            del self.objects[key], self.owners[key]
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        return 200, self._shown(key)

    def _list(self, resource: str, kind: str, version: str, query: dict[str, str]) -> dict[str, Any]:
        wanted = dict(item.split("=") for item in query.get("labelSelector", "").split(",") if item)
        items = [
            self._shown(key)
            for key, item in sorted(self.objects.items())
            if key[0] == resource and wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]
        return {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}

    def _apply(
        self, key: tuple[str, str, str], query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        manager = query["fieldManager"]
        if "/".join(key) in self.forbidden:
            return _status(403, "Forbidden", f"{manager} may not patch {key[2]}")
        if self.broken > 0:
            self.broken -= 1
            return _status(500, "InternalError", "failed calling webhook: no endpoints available")
        if body["metadata"].get("namespace", "") != key[1] or body["metadata"]["name"] != key[2]:
            return _status(400, "BadRequest", "the object's name or namespace is not the path's")
        current = self.objects.get(key)
        owners = self.owners.setdefault(key, {})
        wanted = dict(leaves(body))
        known = dict(leaves(current)) if current is not None else {}
        conflicts = [
            at for at, value in wanted.items() if owners.get(at, manager) != manager and known.get(at) != value
        ]
        if conflicts and query.get("force", "").lower() != "true":
            others = sorted({owners[at] for at in conflicts})
            fields = ", ".join("." + ".".join(at) for at in conflicts)
            return _status(
                409, "Conflict", f"Apply failed with {len(conflicts)} conflict: conflict with {others}: {fields}"
            )
        gone = [at for at, owner in owners.items() if owner == manager and at not in wanted]
        for at in gone:
            del owners[at]
        owners.update(dict.fromkeys(wanted, manager))
        merged = {at: value for at, value in known.items() if at not in gone} | wanted
        document = _nested(merged)
        if document != current:
            self.versions += 1
            document["metadata"]["resourceVersion"] = str(self.versions)
            owners[("metadata", "resourceVersion")] = "server"
            if current is not None and _without_version(document) == _without_version(current):
                document = current
        self.objects[key] = document
        return (200 if current is not None else 201), self._shown(key)

    def _shown(self, key: tuple[str, str, str]) -> dict[str, Any]:
        managers = sorted({item for item in self.owners[key].values() if item != "server"})
        shown = json.loads(json.dumps(self.objects[key]))
        shown["metadata"]["managedFields"] = [{"manager": item, "operation": "Apply"} for item in managers]
        return dict(shown)


def _without_version(document: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
    return {**document, "metadata": meta}


def _nested(fields: dict[Path_, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for at, value in fields.items():
        place = document
        for key in at[:-1]:
            place = place.setdefault(key, {})
        place[at[-1]] = value
    return document


def _status(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


def _handler(fake: FakeApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or every answer waits 40 ms for the client's acknowledgement

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command == "PATCH" and self.headers["Content-Type"] != "application/apply-patch+yaml":
                code, document = _status(415, "UnsupportedMediaType", str(self.headers["Content-Type"]))
            elif self.headers.get("authorization") != "Bearer of-a-test":
                code, document = _status(401, "Unauthorized", "Unauthorized")
            else:
                code, document = fake.answer(self.command, self.path, body)
            data = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

        def log_message(self, *arguments: object) -> None:
            """Say nothing: the test's output is its own."""

    return Handler
