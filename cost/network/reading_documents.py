"""Reads what `kubectl` and `aws` wrote, and AWS's own list of ranges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cost.network.addresses import Snapshot
from cost.network.cluster import Node, Service, items_of, latest_time_s, node_of, pod_of, service_of, volume_zones
from cost.network.interfaces import Interface, ServiceRange, endpoint_services, interface_of, service_ranges, zone_ids
from cost.network.quantities import seconds_of
from platform_lib.errors import ConfigError

_Found = TypeVar("_Found")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """Files beside the flow logs.

    Attributes:
        pods: Snapshots: a file, or `FILE@TIME` where TIME is when it was made.
        nodes: Of `kubectl get nodes -o json`.
        interfaces: Of `aws ec2 describe-network-interfaces`, and of `describe-vpc-endpoints` for what endpoints lead to.
        services: Of `kubectl get services -A -o json`.
        volumes: Of `kubectl get pv -o json`.
        zones: Of `aws ec2 describe-availability-zones`, of the cluster's account.
        ranges: AWS's ip-ranges.json.
    """

    pods: Sequence[str]
    nodes: Sequence[Path]
    interfaces: Sequence[Path] = ()
    services: Sequence[Path] = ()
    volumes: Sequence[Path] = ()
    zones: Path | None = None
    ranges: Path | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the files say.

    Attributes:
        snapshots: Pods by time.
        nodes: The newest of each name.
        interfaces: All.
        services: Those that spread what is sent to them; None where no file was given.
        volumes: Zones of claims; None where no file was given.
        ids: Zone names with their ids.
        ranges: Of AWS.
    """

    snapshots: tuple[Snapshot, ...]
    nodes: tuple[Node, ...]
    interfaces: tuple[Interface, ...]
    services: tuple[Service, ...] | None
    volumes: Mapping[tuple[str, str], frozenset[str]] | None
    ids: Mapping[str, str]
    ranges: tuple[ServiceRange, ...]


def read_surroundings(sources: Sources) -> Surroundings:
    """Read all of them.

    Raises:
        ConfigError: One is missing, or not what its command writes.
    """
    nodes = {item.name: item for path in sources.nodes for item in _each(path, "Node", node_of)}
    interfaces = _interfaces(sources.interfaces)
    services = [item for path in sources.services for item in _each(path, "Service", service_of)]
    volumes = {
        claim: zones
        for path in sources.volumes
        for claim, zones in _taken(path, lambda document: volume_zones(items_of(document, "PersistentVolume"))).items()
    }
    return Surroundings(
        tuple(_snapshot(text) for text in sources.pods),
        tuple(nodes.values()),
        interfaces,
        tuple(item for item in services if item is not None) if sources.services else None,
        volumes if sources.volumes else None,
        {} if sources.zones is None else _taken(sources.zones, zone_ids),
        () if sources.ranges is None else tuple(_taken(sources.ranges, service_ranges)),
    )


def _snapshot(text: str) -> Snapshot:
    path, taken_s = Path(text), None
    if not path.exists() and "@" in text:
        name, _, when = text.rpartition("@")
        path = Path(name)
        try:
            taken_s = seconds_of(when)
        except ValueError as error:
            raise ConfigError(
                f"'{when}' is no time with a zone", where=text, remedy="write FILE@2026-11-30T09:00:00Z"
            ) from error

    def read(document: Json) -> Snapshot:
        items = items_of(document, "Pod")
        taken = latest_time_s(items) if taken_s is None else taken_s
        return Snapshot(taken or 0, tuple(pod_of(item) for item in items))

    return _taken(path, read)


def _each(path: Path, kind: str, read: Callable[[Json], _Found]) -> Iterable[_Found]:
    return _taken(path, lambda document: [read(item) for item in items_of(document, kind)])


def _interfaces(paths: Sequence[Path]) -> tuple[Interface, ...]:
    found: dict[str, Interface] = {}
    services: dict[str, str] = {}

    def take(document: Json) -> None:
        if isinstance(document.get("VpcEndpoints"), list):
            services.update(endpoint_services(document))
        elif isinstance(document.get("NetworkInterfaces"), list):
            found.update((item.interface_id, item) for item in map(interface_of, document["NetworkInterfaces"]))
        else:
            raise ValueError("no `NetworkInterfaces`: not what `aws ec2 describe-network-interfaces` writes")

    for path in paths:
        _taken(path, take)
    return tuple(replace(item, name=services.get(item.interface_id, item.name)) for item in found.values())


def _taken(path: Path, take: Callable[[Json], _Found]) -> _Found:
    try:
        content = path.read_bytes()
        document = yaml.safe_load(content) if path.suffix in {".yaml", ".yml"} else json.loads(content)
        if not isinstance(document, dict):
            raise ConfigError("is not one object", where=path)
        return take(document)
    except OSError as error:
        raise ConfigError("cannot be read", where=path) from error
    except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is no JSON: {error}", where=path, remedy="write it again with -o json") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = f"an object lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            said, where=path, remedy="write it again with `kubectl get ... -o json`, or `aws ec2 ...`"
        ) from error
